#include "proxy/io/splice_pipe.h"

#include <fcntl.h>
#include <unistd.h>

#include <cassert>
#include <utility>

namespace roost::proxy {
namespace {

constexpr size_t kIdleMax = 16;

}  // namespace

std::unique_ptr<SplicePipe> SplicePipe::Open() {
  int ends[2];
  if (pipe2(ends, O_NONBLOCK | O_CLOEXEC) != 0) return nullptr;
  // Refused where the user's pipes have too much already; a smaller one does too.
  fcntl(ends[1], F_SETPIPE_SZ, static_cast<int>(kBytesMax));
  return std::unique_ptr<SplicePipe>(new SplicePipe(ends[0], ends[1]));
}

SplicePipe::~SplicePipe() {
  close(read_end_);
  close(write_end_);
}

Socket::Io SplicePipe::Fill(Socket* from, size_t bytes_max, size_t* bytes) {
  assert(held_ == 0);
  const Socket::Io io = from->SpliceTo(write_end_, bytes_max, bytes);
  if (io == Socket::Io::kDone) held_ = *bytes;
  return io;
}

Socket::Io SplicePipe::Drain(Socket* to, size_t* bytes) {
  assert(held_ > 0);
  const Socket::Io io = to->SpliceFrom(read_end_, held_, bytes);
  if (io == Socket::Io::kDone) held_ -= *bytes;
  return io;
}

std::unique_ptr<SplicePipe> SplicePipes::Take() {
  if (idle_.empty()) return SplicePipe::Open();
  std::unique_ptr<SplicePipe> pipe = std::move(idle_.back());
  idle_.pop_back();
  return pipe;
}

void SplicePipes::Return(std::unique_ptr<SplicePipe> pipe) {
  // One with bytes of a message that broke off is closed, and they with it.
  if (pipe->held() == 0 && idle_.size() < kIdleMax) idle_.push_back(std::move(pipe));
}

}  // namespace roost::proxy

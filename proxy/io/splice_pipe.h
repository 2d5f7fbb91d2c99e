// SplicePipe carries payload from one socket to another inside the kernel: nothing of it is copied
// to this process and back. Only worth it in bulk, and only where nobody has to look at the bytes.
//
// What it holds is bounded by kBytesMax and no longer readable: a message of which a part has gone
// this way can't be sent again.
//
// Owner: BodyPump, while bulk moves, else SplicePipes. Thread: the loop's.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "proxy/io/socket.h"

namespace roost::proxy {

class SplicePipe {
 public:
  static constexpr size_t kBytesMax = 256 << 10;

  // Null: the system has no room for one.
  static std::unique_ptr<SplicePipe> Open();
  ~SplicePipe();
  SplicePipe(const SplicePipe&) = delete;
  SplicePipe& operator=(const SplicePipe&) = delete;

  // At most `bytes_max` from the socket. kClosed: it sends no more. REQUIRES: nothing is held.
  Socket::Io Fill(Socket* from, size_t bytes_max, size_t* bytes);
  // What the socket takes of it. REQUIRES: something is held.
  Socket::Io Drain(Socket* to, size_t* bytes);
  size_t held() const { return held_; }

 private:
  SplicePipe(int read_end, int write_end) : read_end_(read_end), write_end_(write_end) {}

  const int read_end_;
  const int write_end_;
  size_t held_ = 0;
};

// Of one loop: those that are not in use.
class SplicePipes {
 public:
  // Null: go on copying.
  std::unique_ptr<SplicePipe> Take();
  void Return(std::unique_ptr<SplicePipe> pipe);

 private:
  std::vector<std::unique_ptr<SplicePipe>> idle_;
};

}  // namespace roost::proxy

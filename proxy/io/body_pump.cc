#include "proxy/io/body_pump.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cstring>
#include <utility>

namespace roost::proxy {
namespace {

// Payload up to this size is copied behind its head: one plain send is cheaper than a gathered one.
constexpr size_t kCopyMax = 2 << 10;
// Reads and writes of one transfer before others get their turn.
constexpr int kTurnsMax = 32;
// What must be left of a body for a pipe to pay.
constexpr size_t kSpliceMin = 16 << 10;
constexpr size_t kLeadCapacityMax = 16 << 10;
constexpr absl::string_view kChunkEndAndLast = "\r\n0\r\n\r\n";

}  // namespace

void BodyPump::Start(BodyKind in, uint64_t content_length, const BodyLimits& limits, BodyKind out,
                     size_t base) {
  decoder_ = BodyDecoder(in, content_length, limits);
  assert(pipe_ == nullptr);
  in_ = in;
  out_ = out;
  bulk_ = false;
  closed_ = end_framed_ = forgot_ = false;
  base_ = sent_ = frame_end_ = payload_end_ = raw_ = base;
  tail_ = {};
  bytes_written_ = bytes_spliced_ = 0;
}

void BodyPump::Rewind() {
  assert(!forgot_);
  sent_ = frame_end_ = base_;
  end_framed_ = false;
  lead_.clear();
  lead_sent_ = 0;
  tail_ = {};
  bytes_written_ = 0;
}

void BodyPump::Clear() {
  EndSplice();
  if (lead_.capacity() > kLeadCapacityMax) {
    std::string().swap(lead_);
  } else {
    lead_.clear();
  }
  lead_sent_ = 0;
  bytes_written_ = bytes_spliced_ = 0;
}

bool BodyPump::Decode(Buffer* in) {
  while (!decoder_.done()) {
    const BodyDecoder::Step step = decoder_.Decode(in->view().substr(raw_));
    if (step.error) return false;
    if (!step.data.empty()) {
      char* to = in->data() + payload_end_;
      if (step.data.data() != to) memmove(to, step.data.data(), step.data.size());
      payload_end_ += step.data.size();
    }
    raw_ += step.consumed;
    if (step.consumed == 0) break;
  }
  return true;
}

bool BodyPump::HasOutput() const {
  return lead_sent_ < lead_.size() || sent_ < payload_end_ || !tail_.empty() ||
         (out_ == BodyKind::kChunked && source_done() && !end_framed_);
}

void BodyPump::Frame(const Buffer& in) {
  if (sent_ < frame_end_ || !tail_.empty()) return;
  if (sent_ < payload_end_) {
    frame_end_ = payload_end_;
    if (out_ == BodyKind::kChunked) {
      const ChunkHeader header(frame_end_ - sent_);
      lead_.append(header.text().data(), header.text().size());
      end_framed_ = source_done();
      tail_ = end_framed_ ? kChunkEndAndLast : kChunkEnd;
    }
    if (!lead_.empty() && frame_end_ - sent_ <= kCopyMax) {
      lead_.append(in.data() + sent_, frame_end_ - sent_);
      lead_.append(tail_.data(), tail_.size());
      sent_ = frame_end_;
      tail_ = {};
    }
  } else if (out_ == BodyKind::kChunked && source_done() && !end_framed_) {
    end_framed_ = true;
    lead_.append(kLastChunk.data(), kLastChunk.size());
  }
}

Socket::Io BodyPump::Write(Socket* to, const Buffer& in) {
  std::array<iovec, 3> pieces;
  int count = 0;
  if (lead_sent_ < lead_.size()) {
    pieces[count++] = {lead_.data() + lead_sent_, lead_.size() - lead_sent_};
  }
  if (sent_ < frame_end_) {
    pieces[count++] = {const_cast<char*>(in.data()) + sent_, frame_end_ - sent_};
  }
  if (!tail_.empty()) pieces[count++] = {const_cast<char*>(tail_.data()), tail_.size()};
  size_t bytes = 0;
  const Socket::Io io = to->Write(pieces.data(), count, &bytes);
  if (io == Socket::Io::kDone) Written(bytes);
  return io;
}

void BodyPump::Written(size_t bytes) {
  bytes_written_ += bytes;
  progress_ += bytes;
  const size_t of_lead = std::min(bytes, lead_.size() - lead_sent_);
  lead_sent_ += of_lead;
  bytes -= of_lead;
  if (lead_sent_ == lead_.size()) {
    lead_.clear();
    lead_sent_ = 0;
  }
  const size_t of_frame = std::min(bytes, frame_end_ - sent_);
  sent_ += of_frame;
  tail_.remove_prefix(bytes - of_frame);
}

void BodyPump::MakeRoom(Buffer* in) {
  assert(sent_ == payload_end_);
  if (in->space() >= in->size()) return;
  in->Erase(base_, raw_);
  forgot_ = true;
  sent_ = frame_end_ = payload_end_ = raw_ = base_;
}

bool BodyPump::MaySplice(const Buffer& in, const Socket& from, const Socket& to) const {
  return bulk_ && in_ == out_ && decoder_.passable() >= kSpliceMin && raw_ == in.size() &&
         from.can_splice() && to.can_splice();
}

void BodyPump::BeginSplice(Buffer* in) {
  bulk_ = false;
  pipe_ = pipes_->Take();
  if (pipe_ == nullptr) return;
  in->Erase(base_, raw_);
  forgot_ = true;
  sent_ = frame_end_ = payload_end_ = raw_ = base_;
}

void BodyPump::EndSplice() {
  if (pipe_ != nullptr) pipes_->Return(std::move(pipe_));
}

std::optional<BodyPump::Result> BodyPump::Splice(Socket* from, Socket* to) {
  size_t bytes = 0;
  if (pipe_->held() > 0) {
    if (!to->writable()) return Result::kBlocked;
    const Socket::Io io = pipe_->Drain(to, &bytes);
    if (io == Socket::Io::kBlocked) return Result::kBlocked;
    if (io != Socket::Io::kDone) return Result::kSinkFailed;
    bytes_written_ += bytes;
    bytes_spliced_ += bytes;
    progress_ += bytes;
    return std::nullopt;
  }
  if (decoder_.done()) {
    EndSplice();
    return std::nullopt;
  }
  const size_t wanted = std::min<uint64_t>(decoder_.passable(), SplicePipe::kBytesMax);
  const Socket::Io io = from->readable() ? pipe_->Fill(from, wanted, &bytes) : Socket::Io::kBlocked;
  if (io == Socket::Io::kDone) {
    decoder_.Pass(bytes);
    progress_ += bytes;
    return std::nullopt;
  }
  // A pause: what comes after it may be little, but for a body that says how much is left.
  EndSplice();
  bulk_ = in_ == BodyKind::kLength;
  if (io == Socket::Io::kBlocked) return Result::kStarved;
  if (io == Socket::Io::kFailed || !decoder_.CompleteAtClose()) return Result::kSourceClosed;
  closed_ = true;
  return std::nullopt;
}

BodyPump::Result BodyPump::Run(Socket* from, Buffer* in, Socket* to) {
  for (int turn = 0; turn < kTurnsMax; ++turn) {
    if (pipe_ != nullptr) {
      const std::optional<Result> result = Splice(from, to);
      if (result.has_value()) return *result;
      continue;
    }
    if (!Decode(in)) return Result::kBroken;
    if (HasOutput()) {
      if (!to->writable()) return Result::kBlocked;
      Frame(*in);
      const Socket::Io io = Write(to, *in);
      if (io == Socket::Io::kBlocked) return Result::kBlocked;
      if (io != Socket::Io::kDone) return Result::kSinkFailed;
      continue;
    }
    if (source_done()) return Result::kFinished;
    if (MaySplice(*in, *from, *to)) {
      BeginSplice(in);
      continue;
    }
    MakeRoom(in);
    if (!from->readable()) return Result::kStarved;
    size_t bytes = 0;
    const Socket::Io io = from->Read(in, &bytes);
    progress_ += bytes;
    bulk_ = in->space() == 0;
    if (io == Socket::Io::kBlocked) return Result::kStarved;
    if (io == Socket::Io::kDone) continue;
    if (io == Socket::Io::kFailed || !decoder_.CompleteAtClose()) return Result::kSourceClosed;
    closed_ = true;
  }
  return Result::kYield;
}

BodyPump::Result BodyPump::Flush(Socket* to) {
  while (lead_sent_ < lead_.size()) {
    if (!to->writable()) return Result::kBlocked;
    const iovec piece{lead_.data() + lead_sent_, lead_.size() - lead_sent_};
    size_t bytes = 0;
    const Socket::Io io = to->Write(&piece, 1, &bytes);
    if (io == Socket::Io::kBlocked) return Result::kBlocked;
    if (io != Socket::Io::kDone) return Result::kSinkFailed;
    lead_sent_ += bytes;
    progress_ += bytes;
    bytes_written_ += bytes;
  }
  lead_.clear();
  lead_sent_ = 0;
  return Result::kFinished;
}

}  // namespace roost::proxy

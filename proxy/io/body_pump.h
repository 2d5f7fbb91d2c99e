// BodyPump carries one message (its rewritten head, then its body) from one socket to another and
// frames the body anew.
//
// Payload stays where it was received: the decoder finds it, the bytes between chunks are closed
// up, and it is written from there. What is held is at most one buffer; when that is full and the
// sink does not take more, nothing is read: that is the back-pressure. Bytes that were sent are
// kept as long as there is room, so that a small request can be sent again.
//
// Bulk that needs no new framing goes through a pipe inside the kernel (splice_pipe.h) instead:
// once a read has filled the buffer and much is left.
//
// Owner: Exchange, one per direction. Thread: the loop's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "proxy/core/body_decoder.h"
#include "proxy/io/buffer.h"
#include "proxy/io/socket.h"
#include "proxy/io/splice_pipe.h"

namespace roost::proxy {

class BodyPump {
 public:
  // `pipes` outlives it.
  explicit BodyPump(SplicePipes* pipes) : pipes_(pipes) {}

  enum class Result : uint8_t {
    kFinished,      // The whole message is written.
    kStarved,       // The source has nothing more for now.
    kBlocked,       // The sink takes nothing more for now.
    kYield,         // Others want to run; call again after the batch.
    kSourceClosed,  // Before the end of the message.
    kSinkFailed,
    kBroken,  // The framing is; error() says how.
  };

  // A message whose body starts at `base` of the source's buffer; bytes before that stay.
  void Start(BodyKind in, uint64_t content_length, const BodyLimits& limits, BodyKind out,
             size_t base);
  // What is sent before the body: heads are appended here before Run.
  std::string& lead() { return lead_; }

  // Moves what can be moved now.
  Result Run(Socket* from, Buffer* in, Socket* to);
  // Writes only what lies in lead().
  Result Flush(Socket* to);

  // Starts sending again from the beginning; the caller appends the head anew. REQUIRES:
  // replayable().
  void Rewind();
  // Nothing that was sent has been forgotten.
  bool replayable() const { return !forgot_; }

  // The body was read to its end, and `end` is where it ended in the source's buffer.
  bool source_done() const { return decoder_.done() || closed_; }
  size_t end() const { return raw_; }
  // Bytes written since Start or Rewind, the head included.
  uint64_t bytes_written() const { return bytes_written_; }
  // Of these, those that were never copied.
  uint64_t bytes_spliced() const { return bytes_spliced_; }
  // Changes whenever a byte was read or written.
  uint64_t progress() const { return progress_; }
  const ScanError& error() const { return decoder_.error(); }
  // Forgets everything and gives back unusual amounts of memory.
  void Clear();

 private:
  bool Decode(Buffer* in);
  bool HasOutput() const;
  // Makes the next run of payload ready to write.
  void Frame(const Buffer& in);
  Socket::Io Write(Socket* to, const Buffer& in);
  void Written(size_t bytes);
  // Whether bulk may begin to go through a pipe.
  bool MaySplice(const Buffer& in, const Socket& from, const Socket& to) const;
  void BeginSplice(Buffer* in);
  void EndSplice();
  // Nothing: call it again, or go on copying.
  std::optional<Result> Splice(Socket* from, Socket* to);
  // Forgets sent bytes once `in` is more than half full.
  void MakeRoom(Buffer* in);

  SplicePipes* const pipes_;
  std::unique_ptr<SplicePipe> pipe_;  // While bulk moves.
  bool bulk_ = false;                 // The last read filled the buffer, or bulk has moved.
  BodyDecoder decoder_;
  BodyKind in_ = BodyKind::kNone;
  BodyKind out_ = BodyKind::kNone;
  bool closed_ = false;      // kUntilClose: the source has ended.
  bool end_framed_ = false;  // The last chunk is in what is written.
  bool forgot_ = false;
  // Offsets in the source's buffer: base_ <= sent_ <= frame_end_ <= payload_end_ <= raw_.
  size_t base_ = 0;
  size_t sent_ = 0;         // Payload before this is written.
  size_t frame_end_ = 0;    // Payload before this is framed.
  size_t payload_end_ = 0;  // Payload before this is decoded.
  size_t raw_ = 0;          // Undecoded bytes start here.
  std::string lead_;        // Goes before the frame.
  size_t lead_sent_ = 0;
  absl::string_view tail_;  // Goes behind the frame; a literal.
  uint64_t bytes_written_ = 0;
  uint64_t bytes_spliced_ = 0;
  uint64_t progress_ = 0;
};

}  // namespace roost::proxy

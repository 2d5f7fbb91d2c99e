#include "tests/proxy/differential/reading.h"

#include <boost/beast/http/basic_parser.hpp>

#include "absl/strings/str_cat.h"
#include "proxy/core/body_decoder.h"
#include "proxy/core/head_scanner.h"
#include "proxy/core/header_rules.h"

namespace roost::proxy {
namespace {

namespace beast = boost::beast;
namespace http = beast::http;

std::string Text(absl::string_view text) { return {text.data(), text.size()}; }
std::string Text(beast::string_view text) { return {text.data(), text.size()}; }

// Keeps what it is told, of one message.
template <bool kIsRequest>
class BeastParser : public http::basic_parser<kIsRequest> {
 public:
  BeastParser() {
    this->body_limit(boost::none);
    this->header_limit(16 << 10);
  }
  ReadMessage message;

 protected:
  void on_request_impl(http::verb, beast::string_view method, beast::string_view target, int,
                       beast::error_code&) override {
    message.method = Text(method);
    message.target = Text(target);
  }
  void on_response_impl(int status, beast::string_view reason, int, beast::error_code&) override {
    message.method = absl::StrCat(status);
    message.target = Text(reason);
  }
  void on_field_impl(http::field, beast::string_view name, beast::string_view value,
                     beast::error_code&) override {
    if (!this->is_header_done()) message.fields.emplace_back(Text(name), Text(value));
  }
  void on_header_impl(beast::error_code&) override {}
  void on_body_init_impl(boost::optional<uint64_t> const&, beast::error_code&) override {}
  size_t on_body_impl(beast::string_view body, beast::error_code&) override {
    message.body += Text(body);
    return body.size();
  }
  void on_chunk_header_impl(uint64_t, beast::string_view, beast::error_code&) override {}
  size_t on_chunk_body_impl(uint64_t, beast::string_view body, beast::error_code&) override {
    message.body += Text(body);
    return body.size();
  }
  void on_finish_impl(beast::error_code&) override {}
};

// Reads one body; false if the stream ends or is refused within.
template <typename Head>
bool TakeBody(const Head& head, absl::string_view* stream, std::string* body, Reading* reading) {
  BodyDecoder decoder(head.body, head.content_length, {});
  while (!decoder.done()) {
    const BodyDecoder::Step step = decoder.Decode(*stream);
    body->append(step.data.data(), step.data.size());
    stream->remove_prefix(step.consumed);
    if (step.error) {
      reading->end = End::kRefused;
      reading->reason = decoder.error().reason;
      return false;
    }
    if (step.consumed == 0 && !step.done) {
      reading->end = End::kMidway;
      return decoder.CompleteAtClose();
    }
  }
  return true;
}

// False: the stream goes no further. `reading` says how it ended.
bool Judge(ScanStatus status, const ScanError& error, Reading* reading) {
  if (status == ScanStatus::kComplete) return true;
  reading->end = status == ScanStatus::kBad ? End::kRefused : End::kMidway;
  if (status == ScanStatus::kBad) reading->reason = error.reason;
  return false;
}

ReadMessage MessageOf(std::string method, std::string target,
                      const std::vector<HeaderField>& fields) {
  ReadMessage message{std::move(method), std::move(target), {}, ""};
  for (const HeaderField& field : fields) {
    message.fields.emplace_back(Text(field.name), Text(field.value));
  }
  return message;
}

Reading ReadRequests(absl::string_view stream) {
  Reading reading;
  RequestScanner scanner{ScanLimits{}};
  RequestHead head;
  while (!stream.empty()) {
    if (!Judge(scanner.Scan(stream, &head), scanner.error(), &reading)) return reading;
    ReadMessage message = MessageOf(Text(head.method), Text(head.target), head.fields);
    stream.remove_prefix(head.size);
    if (!TakeBody(head, &stream, &message.body, &reading)) return reading;
    reading.messages.push_back(std::move(message));
    if (!head.keep_alive) {
      reading.end = End::kClosed;
      return reading;
    }
  }
  return reading;
}

Reading ReadResponses(absl::string_view stream) {
  Reading reading;
  ResponseScanner scanner{ScanLimits{}};
  ResponseHead head;
  while (!stream.empty()) {
    const ResponseContext context{Method::kGet, ""};
    if (!Judge(scanner.Scan(stream, context, &head), scanner.error(), &reading)) return reading;
    ReadMessage message = MessageOf(absl::StrCat(head.status), Text(head.reason), head.fields);
    stream.remove_prefix(head.size);
    if (!TakeBody(head, &stream, &message.body, &reading)) return reading;
    reading.messages.push_back(std::move(message));
    if (!head.keep_alive && !head.is_interim) {
      reading.end = End::kClosed;
      return reading;
    }
  }
  return reading;
}

void AppendBody(BodyKind kind, absl::string_view body, std::string* out) {
  if (kind != BodyKind::kChunked) return absl::StrAppend(out, body);
  if (!body.empty()) absl::StrAppend(out, ChunkHeader(body.size()).text(), body, kChunkEnd);
  absl::StrAppend(out, kLastChunk);
}

std::string ForwardedRequests(absl::string_view stream) {
  std::string out;
  RequestScanner scanner{ScanLimits{}};
  RequestHead head;
  Reading ignored;
  while (!stream.empty() && scanner.Scan(stream, &head) == ScanStatus::kComplete) {
    std::string message;
    AppendRequestHead(head, {.client_ip = "192.0.2.1", .default_host = "app"}, &message);
    stream.remove_prefix(head.size);
    std::string body;
    if (!TakeBody(head, &stream, &body, &ignored)) break;
    AppendBody(head.body, body, &message);
    out += message;
    if (!head.keep_alive) break;
  }
  return out;
}

std::string ForwardedResponses(absl::string_view stream) {
  std::string out;
  ResponseScanner scanner{ScanLimits{}};
  ResponseHead head;
  Reading ignored;
  const ResponseContext context{Method::kGet, ""};
  while (!stream.empty() && scanner.Scan(stream, context, &head) == ScanStatus::kComplete) {
    std::string message;
    const ResponseFraming framing = AppendResponseHead(head, {}, &message);
    stream.remove_prefix(head.size);
    std::string body;
    if (!TakeBody(head, &stream, &body, &ignored)) break;
    AppendBody(framing.body, body, &message);
    out += message;
    if (!head.keep_alive && !head.is_interim) break;
  }
  return out;
}

template <bool kIsRequest>
Reading ReadWithBeast(absl::string_view stream) {
  Reading reading;
  while (!stream.empty()) {
    BeastParser<kIsRequest> parser;
    parser.eager(true);
    while (!parser.is_done()) {
      beast::error_code error;
      const size_t used = parser.put(boost::asio::buffer(stream.data(), stream.size()), error);
      stream.remove_prefix(used);
      if (error == http::error::need_more || (!error && used == 0)) {
        error = {};
        if (parser.is_header_done() && parser.need_eof() && !kIsRequest) parser.put_eof(error);
        if (parser.is_done()) break;
        reading.end = End::kMidway;
        return reading;
      }
      if (error) {
        reading.end = End::kRefused;
        reading.reason = error.message();
        return reading;
      }
    }
    const bool interim = !kIsRequest && parser.message.method[0] == '1';
    reading.messages.push_back(std::move(parser.message));
    if (!interim && (!parser.keep_alive() || parser.need_eof())) {
      reading.end = End::kClosed;
      return reading;
    }
  }
  return reading;
}

}  // namespace

Reading ReadByRoost(StreamKind kind, absl::string_view stream) {
  return kind == StreamKind::kRequests ? ReadRequests(stream) : ReadResponses(stream);
}

std::string ForwardedByRoost(StreamKind kind, absl::string_view stream) {
  return kind == StreamKind::kRequests ? ForwardedRequests(stream) : ForwardedResponses(stream);
}

Reading ReadByBeast(StreamKind kind, absl::string_view stream) {
  return kind == StreamKind::kRequests ? ReadWithBeast<true>(stream) : ReadWithBeast<false>(stream);
}

}  // namespace roost::proxy

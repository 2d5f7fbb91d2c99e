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
class BeastParser : public http::basic_parser<true> {
 public:
  BeastParser() {
    body_limit(boost::none);
    header_limit(16 << 10);
  }
  ReadMessage message;

 protected:
  void on_request_impl(http::verb, beast::string_view method, beast::string_view target, int,
                       beast::error_code&) override {
    message.method = Text(method);
    message.target = Text(target);
  }
  void on_response_impl(int, beast::string_view, int, beast::error_code&) override {}
  void on_field_impl(http::field, beast::string_view name, beast::string_view value,
                     beast::error_code&) override {
    if (!is_header_done()) message.fields.emplace_back(Text(name), Text(value));
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
bool TakeBody(const RequestHead& head, absl::string_view* stream, std::string* body,
              Reading* reading) {
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
      return false;
    }
  }
  return true;
}

}  // namespace

Reading ReadByRoost(absl::string_view stream) {
  Reading reading;
  RequestScanner scanner{ScanLimits{}};
  RequestHead head;
  while (!stream.empty()) {
    const ScanStatus status = scanner.Scan(stream, &head);
    if (status == ScanStatus::kBad) {
      reading.end = End::kRefused;
      reading.reason = scanner.error().reason;
      return reading;
    }
    if (status == ScanStatus::kIncomplete) {
      reading.end = End::kMidway;
      return reading;
    }
    ReadMessage message{Text(head.method), Text(head.target), {}, ""};
    for (const HeaderField& field : head.fields) {
      message.fields.emplace_back(Text(field.name), Text(field.value));
    }
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

std::string ForwardedByRoost(absl::string_view stream) {
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
    if (head.body == BodyKind::kChunked) {
      if (!body.empty())
        absl::StrAppend(&message, ChunkHeader(body.size()).text(), body, kChunkEnd);
      absl::StrAppend(&message, kLastChunk);
    } else {
      message += body;
    }
    out += message;
    if (!head.keep_alive) break;
  }
  return out;
}

Reading ReadByBeast(absl::string_view stream) {
  Reading reading;
  while (!stream.empty()) {
    BeastParser parser;
    parser.eager(true);
    while (!parser.is_done()) {
      beast::error_code error;
      const size_t used = parser.put(boost::asio::buffer(stream.data(), stream.size()), error);
      stream.remove_prefix(used);
      if (error == http::error::need_more || (!error && used == 0)) {
        reading.end = End::kMidway;
        return reading;
      }
      if (error) {
        reading.end = End::kRefused;
        reading.reason = error.message();
        return reading;
      }
    }
    reading.messages.push_back(std::move(parser.message));
    if (!parser.keep_alive()) {
      reading.end = End::kClosed;
      return reading;
    }
  }
  return reading;
}

}  // namespace roost::proxy

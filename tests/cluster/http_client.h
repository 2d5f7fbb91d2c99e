// A blocking HTTP/1.1 client for tests: one request per call, every wait bounded.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace roost::testing {

struct HttpResponse {
  int status = 0;
  // Lower-case names; of repeated fields the last one.
  std::map<std::string, std::string> headers;
  std::string body;
};

// A connection to 127.0.0.1. Any failure is a Status, never an abort.
class HttpConnection {
 public:
  static absl::StatusOr<HttpConnection> Connect(
      uint16_t port, std::chrono::milliseconds timeout = std::chrono::seconds(5));
  ~HttpConnection();
  HttpConnection(HttpConnection&& other) noexcept;
  HttpConnection& operator=(HttpConnection&&) = delete;

  absl::Status Send(absl::string_view bytes);
  // Reads one response: by Content-Length, in chunks, or to the end of the connection. DATA_LOSS if
  // the connection ends before the body.
  absl::StatusOr<HttpResponse> Receive(std::chrono::milliseconds timeout = std::chrono::seconds(5));
  // True if the peer closed within `timeout`.
  bool WaitForClose(std::chrono::milliseconds timeout);

 private:
  explicit HttpConnection(int fd) : fd_(fd) {}

  // Reads some bytes into buffer_; 0 at the end of the connection.
  absl::StatusOr<size_t> Fill(std::chrono::steady_clock::time_point deadline);

  // Reads the chunks of a body without trailers.
  absl::Status TakeChunks(std::chrono::steady_clock::time_point deadline, std::string* body);

  int fd_;
  std::string buffer_;
};

// One request on a connection of its own. `cookie` may be empty.
absl::StatusOr<HttpResponse> Get(uint16_t port, absl::string_view path,
                                 absl::string_view cookie = "",
                                 std::chrono::milliseconds timeout = std::chrono::seconds(5));

// "NAME=VALUE" of the response's Set-Cookie; empty if there is none.
std::string CookieOf(const HttpResponse& response);

}  // namespace roost::testing

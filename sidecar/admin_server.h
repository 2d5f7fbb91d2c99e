// AdminServer answers a few fixed paths over HTTP/1.1: health checks and metrics.
//
// It is small on purpose: GET and HEAD, one page per path, a bound on everything. The Host field
// must be localhost or an IP literal, so that a web page in an operator's browser can't read it
// under a name of its own (DNS rebinding).
//
// Owner: Node. One thread of its own; pages are asked for on it and may be delivered from any.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "membership/address.h"

namespace roost::sidecar {

class AdminServer {
 public:
  struct Page {
    int status = 200;
    std::string content_type = "text/plain; charset=utf-8";
    std::string body;
  };
  using Deliver = std::function<void(Page)>;
  // Makes the page of one request; must call `deliver` exactly once, now or later.
  using Handler = std::function<void(Deliver deliver)>;

  struct Options {
    membership::Address listen;
    // Path -> handler; any other path is 404.
    std::map<std::string, Handler> pages;
    // One above it is closed at once.
    size_t connections_max = 64;
    size_t head_bytes_max = 8 << 10;
    // From one event of a connection to the next: a whole head, a page, a sent answer.
    std::chrono::milliseconds timeout{5'000};
  };

  // Binds and listens; the error names admin.listen.
  static absl::StatusOr<std::unique_ptr<AdminServer>> Create(Options options);
  ~AdminServer();
  AdminServer(const AdminServer&) = delete;
  AdminServer& operator=(const AdminServer&) = delete;

  // With the port that was chosen if it was 0.
  membership::Address listen_address() const;
  void Start();
  // Cuts open connections. Idempotent.
  void Stop();

 private:
  class Connection;
  struct State;
  explicit AdminServer(std::unique_ptr<State> state);

  std::unique_ptr<State> state_;
};

}  // namespace roost::sidecar

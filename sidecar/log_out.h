// LogOut deletes every session of one principal: it pages through them and deletes each page at
// once.
//
// Ends when the pages do, or after kSessionsMax. Threads: Start from any; the rest happens on the
// store's loop.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "membership/node_id.h"
#include "store/session_store.h"

namespace roost::sidecar {

class LogOut : public std::enable_shared_from_this<LogOut> {
 public:
  static constexpr size_t kPageSize = 250;
  static constexpr size_t kSessionsMax = 10'000;

  struct Request {
    uint64_t principal = 0;
    // {0, 0}: none is kept.
    store::SessionKey except;
    store::Ack ack = store::Ack::kDefault;
  };
  struct Result {
    uint32_t deleted = 0;
    uint32_t failed = 0;
    // Each once.
    std::vector<membership::NodeId> unanswered;
    bool cut = false;  // There are more sessions than kSessionsMax.
  };
  using Done = std::function<void(const Result&)>;

  LogOut(store::SessionStore* store, const Request& request, Done done)
      : store_(store), request_(request), done_(std::move(done)) {}

  void Start();

 private:
  void OnPage(store::ListPage page);
  void OnDeleted(const absl::Status& status);
  void Next();

  store::SessionStore* const store_;
  const Request request_;
  const Done done_;
  std::optional<store::SessionKey> after_;
  bool more_ = false;
  size_t waiting_ = 0;
  Result result_;
};

}  // namespace roost::sidecar

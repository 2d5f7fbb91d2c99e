#include "sidecar/log_out.h"

#include <algorithm>
#include <utility>

namespace roost::sidecar {

void LogOut::Start() {
  store::ListQuery query;
  query.principal = request_.principal;
  query.cluster = true;
  query.after = after_;
  query.limit = kPageSize;
  store_->List(
      query, [self = shared_from_this()](store::ListPage page) { self->OnPage(std::move(page)); });
}

void LogOut::OnPage(store::ListPage page) {
  for (const membership::NodeId member : page.unanswered) {
    auto& all = result_.unanswered;
    if (std::find(all.begin(), all.end(), member) == all.end()) all.push_back(member);
  }
  more_ = page.more;
  after_ = page.reached;
  // One for this loop, so that answers that come at once do not go on before it ends.
  waiting_ = 1;
  for (const store::ListEntry& entry : page.entries) {
    if (entry.key == request_.except) continue;
    ++waiting_;
    store_->Execute(store::DeleteOp{entry.key, request_.ack},
                    [self = shared_from_this()](const store::OperationResult& result) {
                      self->OnDeleted(result.status);
                    });
  }
  Next();
}

void LogOut::OnDeleted(const absl::Status& status) {
  // Ended by itself meanwhile: as good as deleted.
  ++(status.ok() || absl::IsNotFound(status) ? result_.deleted : result_.failed);
  Next();
}

void LogOut::Next() {
  if (--waiting_ > 0) return;
  const bool full = result_.deleted + result_.failed >= kSessionsMax;
  result_.cut = more_ && full;
  if (more_ && !full) return Start();
  done_(result_);
}

}  // namespace roost::sidecar

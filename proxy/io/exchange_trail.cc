// The part of Exchange that tells the access log what became of a request.
#include <chrono>

#include "proxy/core/access_line.h"
#include "proxy/io/client_connection.h"
#include "proxy/io/exchange.h"
#include "proxy/io/proxy_loop.h"

namespace roost::proxy {
namespace {

int64_t WallMillis() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

}  // namespace

// The head is there, or it will not come.
void Exchange::BeginTrail() {
  trail_.outcome = Outcome::kPending;
  trail_.attempted = trail_.client_gone = false;
  trail_.reason = Reason::kNoSession;
  trail_.status = 0;
  trail_.started = loop_->loop().now();
  trail_.first_byte = {};
  trail_.held = {};
  trail_.line.clear();
  if (!loop_->logs_access()) return;
  AppendAccessHead({.unix_ms = WallMillis(),
                    .ip = client_->ip(),
                    .scheme = client_->scheme(),
                    .is_peer = client_->from_peer()},
                   head_, &trail_.line);
}

Exchange::Step Exchange::ClientGone() {
  loop_->counters().client_aborted.Add();
  trail_.client_gone = true;
  return Step::kAborted;
}

void Exchange::EndTrail() {
  if (trail_.line.empty()) return;
  const SteadyTime now = loop_->loop().now();
  AccessEnd end = AccessEnd::kDone;
  if (trail_.outcome == Outcome::kPending) {
    end = AccessEnd::kStopped;
  } else if (trail_.outcome == Outcome::kAborted) {
    end = trail_.client_gone ? AccessEnd::kClientGone : AccessEnd::kUpstreamBroken;
  } else if (state_ == State::kAnswer) {
    end = AccessEnd::kRefused;
  }
  const bool answered = trail_.first_byte != SteadyTime{};
  membership::NodeId node;
  if (trail_.attempted) node = target_.is_peer() ? target_.node : loop_->view().self();
  AppendAccessResult(
      {.status = trail_.status,
       .routed = trail_.attempted,
       .reason = trail_.reason,
       .node = node,
       .tunnel = state_ == State::kTunnel,
       .bytes_in = request_.bytes_written(),
       .bytes_out = response_.bytes_written(),
       .held = trail_.held,
       .first_byte = answered ? trail_.first_byte - trail_.started : membership::SteadyDuration(0),
       .duration = now - trail_.started,
       .end = end},
      &trail_.line);
  loop_->LogAccess(trail_.line);
  trail_.line.clear();
}

}  // namespace roost::proxy

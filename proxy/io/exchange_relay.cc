// The part of Exchange that moves messages: request up, response down, tunnel.
#include <algorithm>
#include <chrono>
#include <utility>

#include "proxy/io/client_connection.h"
#include "proxy/io/exchange.h"
#include "proxy/io/proxy_loop.h"

namespace roost::proxy {
namespace {

// How long a request waits for the next lookup after so many peers did not own its session.
constexpr std::chrono::milliseconds kMissDelay{10};
constexpr std::chrono::milliseconds kMissDelayMax{50};

int64_t WallSeconds() {
  return std::chrono::duration_cast<std::chrono::seconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

}  // namespace

Exchange::Step Exchange::Relay() {
  if (client_->socket().failed()) return ClientGone();
  if (!request_done_ && !request_broken_) {
    const Step step = RelayRequest();
    if (step != Step::kPending) return step;
  }
  const Step step = RelayResponse();
  if (step != Step::kPending || state_ != State::kRelay) return step;
  if (ClientIsTooSlow()) {
    loop_->counters().client_too_slow.Add();
    timeout_ = Timeout::kBody;
    return TimedOut();
  }
  ArmRelayTimer();
  return Step::kPending;
}

bool Exchange::ClientIsTooSlow() {
  return !rate_.Note(loop_->loop().now(), request_.bytes_written() + response_.bytes_written(),
                     request_starved_ || response_blocked_);
}

// One timer watches both directions: it starts anew whenever a byte moved, but while the
// application thinks (the request is sent, no response has begun) it runs from the request's end.
void Exchange::ArmRelayTimer() {
  const bool thinking = request_done_ && !response_started_;
  if (thinking) {
    if (!response_timer_) loop_->loop().Arm(client_, Timeout::kResponse);
    response_timer_ = true;
    return;
  }
  RearmOnProgress(Timeout::kBody);
}

void Exchange::RearmOnProgress(Timeout timeout) {
  const uint64_t progress = request_.progress() + response_.progress();
  if (progress != progress_seen_) loop_->loop().Arm(client_, timeout);
  progress_seen_ = progress;
}

Exchange::Step Exchange::RelayRequest() {
  const BodyPump::Result result =
      request_.Run(&client_->socket(), &client_->in(), &upstream_->socket);
  request_read_ = request_.source_done();
  request_starved_ = result == BodyPump::Result::kStarved;
  switch (result) {
    case BodyPump::Result::kFinished:
      request_done_ = true;
      return Step::kPending;
    case BodyPump::Result::kStarved:
    case BodyPump::Result::kBlocked:
      return Step::kPending;
    case BodyPump::Result::kYield:
      client_->DriveLater();
      return Step::kPending;
    case BodyPump::Result::kSinkFailed:
      request_broken_ = true;  // There may be a response all the same: an early refusal.
      return Step::kPending;
    case BodyPump::Result::kSourceClosed:
      return ClientGone();
    case BodyPump::Result::kBroken:
      break;
  }
  if (response_started_) return Step::kAborted;
  return Refuse(RefusalOf(request_.error().status), request_.error().reason);
}

Exchange::Step Exchange::RelayResponse() {
  if (!response_started_) {
    const Step step = ReadResponseHead();
    if (step != Step::kAgain || state_ != State::kRelay || !response_started_) return step;
  }
  return RelayResponseBody();
}

// kAgain: a head was dealt with.
Exchange::Step Exchange::ReadResponseHead() {
  // An interim response that the client has not taken yet goes first.
  if (response_.Flush(&client_->socket()) == BodyPump::Result::kBlocked) return Step::kPending;
  const ResponseContext context{
      .method = head_.method_id,
      .offered_upgrade = head_.wants_upgrade ? head_.upgrade() : absl::string_view()};
  if (scanning_response_) return ScanResponse();
  Buffer& in = upstream_->in;
  for (;;) {
    if (in.size() > 0) {
      const ScanStatus status = response_scanner_.Scan(in.view(), context, &response_head_);
      if (status == ScanStatus::kComplete) break;
      if (status == ScanStatus::kBad) {
        loop_->counters().app_bad_responses.Add();
        return Refuse(Refusal::kAppBadResponse, response_scanner_.error().reason);
      }
    }
    Socket& socket = upstream_->socket;
    // After a failed write no event may come any more, so the end is looked for.
    if (!socket.readable() && !request_broken_) return Step::kPending;
    size_t bytes = 0;
    const Socket::Io io = socket.Read(&in, &bytes);
    received_ += bytes;
    if (io == Socket::Io::kBlocked && !request_broken_) return Step::kPending;
    if (io != Socket::Io::kDone) return UpstreamGone();
  }
  if (response_head_.is_interim) return InterimResponse();
  if (target_.is_peer()) loop_->PeerWorks(target_.node);
  if (target_.is_peer() && !response_head_.is_upgrade) {
    if (IsNotOwnerAnswer(response_head_)) return NotOwner();
    if (IsAppDownAnswer(response_head_)) return PeersAppDown();
  } else if (!response_head_.is_upgrade) {
    loop_->app_watch().Report(true);
    if (ScansResponse()) {
      scanning_response_ = true;
      return ScanResponse();
    }
  }
  return Respond();
}

// The application may name a new session in the response's body: the client must not have it before
// the store does.
bool Exchange::ScansResponse() {
  if (scan_ == nullptr) return false;
  const Affinity& affinity = loop_->node().affinity;
  const auto kind = affinity.IdInBody(head_, affinity_, response_head_);
  if (!kind || head_.method_id == Method::kHead) return false;
  scan_->Start(*kind, response_head_.body, response_head_.content_length, response_head_.size,
               affinity.body_bytes_max());
  return true;
}

Exchange::Step Exchange::ScanResponse() {
  Buffer& in = upstream_->in;
  while ((scan_result_ = scan_->Run(in.view())) == BodyIdScan::Result::kMore && in.space() > 0) {
    if (!upstream_->socket.readable()) return Step::kPending;
    size_t bytes = 0;
    const Socket::Io io = upstream_->socket.Read(&in, &bytes);
    received_ += bytes;
    if (io == Socket::Io::kBlocked) return Step::kPending;
    if (io != Socket::Io::kDone) break;  // Whether that is the body's end, the pump will say.
  }
  return Respond();
}

// The head is read, and may go on to the client.
Exchange::Step Exchange::Respond() {
  if (!target_.is_peer() && epoch_.n != 0 && !still_owner_) return CheckOwner();
  return response_head_.is_upgrade ? BeginTunnel() : FinalResponse();
}

// The session is fenced: what its application has answered counts only if it has been this node's
// all the while.
Exchange::Step Exchange::CheckOwner() {
  EndWait();
  client_->Cancel();
  ticket_ = loop_->Check(this, key_);
  state_ = State::kChecking;
  return Step::kPending;
}

void Exchange::OnChecked(const store::Ownership& answer) {
  ticket_ = 0;
  still_owner_ = answer.state == store::Ownership::State::kOwned &&
                 answer.owner == loop_->view().self() && answer.epoch == epoch_;
}

Exchange::Step Exchange::WhileChecking() {
  if (client_->socket().failed()) return ClientGone();
  if (ticket_ != 0) return Step::kPending;
  if (!still_owner_) {
    loop_->counters().fenced_refused.Add();
    return Refuse(Refusal::kFenced);
  }
  state_ = State::kRelay;
  return Respond();
}

Exchange::Step Exchange::InterimResponse() {
  if (head_.minor_version > 0) {
    AppendResponseHead(response_head_, {.client_minor_version = head_.minor_version},
                       &response_.lead());
  }
  upstream_->in.Consume(response_head_.size);
  return Step::kAgain;
}

Exchange::Step Exchange::NotOwner() {
  loop_->counters().forward_misses.Add();
  DropUpstream();
  if (!request_.replayable()) return Refuse(Refusal::kSessionUnavailable);
  // The peer has not passed it on, so this attempt does not count.
  --attempts_;
  // A session that is just being handed over is named by its old owner before its new one knows.
  const auto delay = std::min(kMissDelay * misses_, kMissDelayMax);
  ++misses_;
  return Hold(delay);
}

// The view did not know it yet.
Exchange::Step Exchange::PeersAppDown() {
  const membership::NodeId node = target_.node;
  DropUpstream();
  if (!request_.replayable()) return Refuse(Refusal::kAppDown);
  --attempts_;  // The peer has not passed it on.
  return AppGone(node);
}

Exchange::Step Exchange::FinalResponse() {
  EndWait();
  trail_.status = response_head_.status;
  trail_.first_byte = loop_->loop().now();
  const bool keep_alive =
      head_.keep_alive && request_done_ && !request_broken_ && !client_->closing();
  edits_.Clear();
  const bool learns = !target_.is_peer() && ReadSession();
  framing_ = AppendResponseHead(response_head_,
                                {.client_minor_version = head_.minor_version,
                                 .client_keep_alive = keep_alive,
                                 .head_request = head_.method_id == Method::kHead,
                                 .edits = &edits_},
                                &response_.lead());
  response_.Start(response_head_.body, response_head_.content_length, BodyLimits(), framing_.body,
                  response_head_.size);
  response_started_ = true;
  if (learns) {
    loop_->loop().Arm(client_, Timeout::kCreateHold);
    state_ = State::kLearning;
  }
  return Step::kAgain;
}

// What the application says of the session, and what the visitor's balancer has to know of its
// node. True: a new session is being learned.
bool Exchange::ReadSession() {
  using Kind = store::OwnershipIndex::Kind;
  const Affinity& affinity = loop_->node().affinity;
  const membership::NodeId self = loop_->view().self();
  store::SessionKey key = key_;
  bool owned_here = has_session_ ? trail_.reason == Reason::kOwnedHere && candidate_ == 0
                                 : affinity.RoutesWithoutId() && !stand_in_;
  bool learns = false;
  response_affinity_.Clear();
  if (affinity.MaySetId(response_head_)) {
    affinity.Read(response_head_, WallSeconds(), &response_affinity_);
  }
  if (scanning_response_ && scan_result_ == BodyIdScan::Result::kFound) {
    affinity.AddBodyId(scan_->id(), &response_affinity_);
  }
  if (response_affinity_.change == IdChange::kSet) {
    key = client_->KeyOf(response_affinity_.id);
    const auto entry = loop_->node().dependencies.store->index().Find(key);
    const bool known = entry.kind == Kind::kHeld || entry.kind == Kind::kLearned;
    owned_here = known ? entry.owner == self : !stand_in_;
    learns = entry.kind != Kind::kHeld;
    if (learns) ticket_ = loop_->Learn(this, key);
  }
  if (affinity.WriteRoutes({affinity_, response_affinity_, key, owned_here, loop_->seal_keys()},
                           loop_->view(), &edits_)) {
    loop_->counters().affinity_moved.Add();
  }
  return learns;
}

void Exchange::OnLearned() {
  ticket_ = 0;
  loop_->counters().sessions_learned.Add();
}

Exchange::Step Exchange::WhileLearning() {
  if (client_->socket().failed()) return ClientGone();
  if (ticket_ != 0) return Step::kPending;
  client_->Cancel();
  state_ = State::kRelay;
  return Step::kAgain;
}

Exchange::Step Exchange::RelayResponseBody() {
  const uint64_t before = response_.bytes_written();
  const BodyPump::Result result =
      response_.Run(&upstream_->socket, &upstream_->in, &client_->socket());
  loop_->counters().bytes_out.Add(response_.bytes_written() - before);
  response_blocked_ = result == BodyPump::Result::kBlocked;
  switch (result) {
    case BodyPump::Result::kFinished:
      return ResponseDone();
    case BodyPump::Result::kStarved:
    case BodyPump::Result::kBlocked:
      return Step::kPending;
    case BodyPump::Result::kYield:
      client_->DriveLater();
      return Step::kPending;
    case BodyPump::Result::kSinkFailed:
      return ClientGone();
    case BodyPump::Result::kSourceClosed:
    case BodyPump::Result::kBroken:
      break;
  }
  // The client must not take the part that it has for the whole.
  loop_->counters().upstream_aborted.Add();
  return Step::kAborted;
}

Exchange::Step Exchange::ResponseDone() {
  const bool reusable = request_done_ && response_head_.keep_alive &&
                        response_head_.body != BodyKind::kUntilClose &&
                        response_.end() == upstream_->in.size();
  if (reusable) {
    loop_->pool().Return(std::exchange(upstream_, nullptr));
  } else {
    DropUpstream();
  }
  return framing_.keep_alive && request_done_ ? Step::kDone : Step::kLast;
}

Exchange::Step Exchange::BeginTunnel() {
  EndWait();
  trail_.status = response_head_.status;
  trail_.first_byte = loop_->loop().now();
  AppendResponseHead(response_head_, {.client_minor_version = head_.minor_version},
                     &response_.lead());
  response_.Start(BodyKind::kUntilClose, 0, BodyLimits(), BodyKind::kUntilClose,
                  response_head_.size);
  client_->in().Consume(request_.end());
  request_.Clear();
  request_.Start(BodyKind::kUntilClose, 0, BodyLimits(), BodyKind::kUntilClose, 0);
  response_started_ = true;
  progress_seen_ = 0;
  loop_->counters().tunnels.Add();
  state_ = State::kTunnel;
  return Step::kAgain;
}

Exchange::Step Exchange::Tunnel() {
  const Step up = PumpTunnel(&request_, &client_->socket(), &client_->in(), &upstream_->socket,
                             &tunnel_up_done_);
  if (up != Step::kAgain) return up;
  const Step down = PumpTunnel(&response_, &upstream_->socket, &upstream_->in, &client_->socket(),
                               &tunnel_down_done_);
  if (down != Step::kAgain) return down;
  if (tunnel_up_done_ && tunnel_down_done_) return Step::kLast;
  RearmOnProgress(Timeout::kTunnelIdle);
  return Step::kPending;
}

// kAgain: nothing is wrong. When one side has said all, the other hears so and may go on talking.
Exchange::Step Exchange::PumpTunnel(BodyPump* pump, Socket* from, Buffer* in, Socket* to,
                                    bool* finished) {
  if (*finished) return Step::kAgain;
  switch (pump->Run(from, in, to)) {
    case BodyPump::Result::kFinished:
      *finished = true;
      to->ShutdownWrite();
      return Step::kAgain;
    case BodyPump::Result::kStarved:
    case BodyPump::Result::kBlocked:
      return Step::kAgain;
    case BodyPump::Result::kYield:
      client_->DriveLater();
      return Step::kAgain;
    default:
      return Step::kAborted;
  }
}

}  // namespace roost::proxy

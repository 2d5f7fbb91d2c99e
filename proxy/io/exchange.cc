#include "proxy/io/exchange.h"

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <utility>

#include "proxy/core/retry_policy.h"
#include "proxy/io/client_connection.h"
#include "proxy/io/proxy_loop.h"
#include "store/fencing_token.h"

namespace roost::proxy {
namespace {

// An access is reported to the store at most this often.
constexpr uint32_t kTouchPeriodSeconds = 1;

Counter* CounterOf(int status, Counters* counters) {
  switch (status) {
    case 400:
      return &counters->refused_400;
    case 408:
      return &counters->refused_408;
    case 413:
      return &counters->refused_413;
    case 431:
    case 414:
      return &counters->refused_431;
    case 501:
      return &counters->refused_501;
    case 502:
      return &counters->refused_502;
    case 503:
      return &counters->refused_503;
    case 504:
      return &counters->refused_504;
    case 505:
      return &counters->refused_505;
    default:
      return nullptr;  // 421 is counted where it is received.
  }
}

uint32_t Seconds(SteadyTime now) {
  return static_cast<uint32_t>(
      std::chrono::duration_cast<std::chrono::seconds>(now.time_since_epoch()).count());
}

}  // namespace

Exchange::Exchange(ProxyLoop* loop)
    : loop_(loop),
      scanner_(loop->node().scan_limits),
      request_(loop->pipes()),
      response_scanner_(loop->node().scan_limits),
      response_(loop->pipes()),
      rate_(loop->options().body_rate_min, loop->options().body_timeout) {
  if (loop->node().affinity.reads_bodies()) scan_ = std::make_unique<BodyIdScan>();
}

void Exchange::Start(ClientConnection* client) {
  client_ = client;
  state_ = State::kHead;
  scanner_.Reset();
  has_session_ = head_timer_ = released_ = stand_in_ = false;
  apps_tried_.clear();
  candidate_ = candidates_tried_ = 0;
  scanning_response_ = still_owner_ = false;
  epoch_ = {};
  hold_until_ = {};
  attempts_ = misses_ = 0;
  body_started_ = request_done_ = request_read_ = request_broken_ = false;
  received_ = 0;
  response_started_ = keep_alive_ = request_starved_ = response_blocked_ = false;
  rate_.Reset(loop_->loop().now());
  tunnel_up_done_ = tunnel_down_done_ = timed_out_ = false;
}

void Exchange::Stop() {
  EndTrail();
  if (hold_ != 0) {
    loop_->CancelHold(hold_, hold_bytes_);
    hold_ = 0;
  }
  if (ticket_ != 0) loop_->ForgetAsked(std::exchange(ticket_, 0));
  DropUpstream();
  loop_->counters().bytes_spliced.Add(request_.bytes_spliced() + response_.bytes_spliced());
  request_.Clear();
  response_.Clear();
  client_ = nullptr;
}

void Exchange::OnUpstream() { client_->Drive(); }

size_t Exchange::request_end() const { return body_started_ ? request_.end() : head_.size; }

Exchange::Outcome Exchange::Advance() {
  for (;;) {
    switch (Next()) {
      case Step::kAgain:
        break;
      case Step::kPending:
        return Outcome::kPending;
      case Step::kDone:
        return trail_.outcome = Outcome::kDone;
      case Step::kLast:
        return trail_.outcome = Outcome::kLast;
      case Step::kAborted:
        return trail_.outcome = Outcome::kAborted;
    }
  }
}

Exchange::Step Exchange::Next() {
  if (timed_out_) {
    timed_out_ = false;
    return TimedOut();
  }
  switch (state_) {
    case State::kHead:
      return ReadHead();
    case State::kScan:
      return ScanRequest();
    case State::kHeld:
      return WhileHeld();
    case State::kConnecting:
      return WhileConnecting();
    case State::kRelay:
      return Relay();
    case State::kChecking:
      return WhileChecking();
    case State::kLearning:
      return WhileLearning();
    case State::kTunnel:
      return Tunnel();
    case State::kAnswer:
      return WhileAnswering();
  }
  assert(false);
  return Step::kAborted;
}

void Exchange::OnTimeout(Timeout which) {
  timed_out_ = true;
  timeout_ = which;
}

Exchange::Step Exchange::TimedOut() {
  switch (timeout_) {
    case Timeout::kHead:
      head_ = RequestHead();
      BeginTrail();
      return Refuse(Refusal::kRequestTimeout);
    case Timeout::kConnect:
      return ConnectFailed(ETIMEDOUT);
    case Timeout::kResponse:
      if (!target_.is_peer()) loop_->app_watch().Report(false);
      return Refuse(Refusal::kResponseTimeout);
    case Timeout::kCreateHold:
      loop_->counters().create_hold_timeouts.Add();
      loop_->ForgetAsked(std::exchange(ticket_, 0));
      return Step::kAgain;
    case Timeout::kTunnelIdle:
      return Step::kLast;
    default:  // kBody
      break;
  }
  if (!response_started_ && state_ == State::kRelay) {
    return Refuse(request_read_ ? Refusal::kResponseTimeout : Refusal::kRequestTimeout);
  }
  // Either the client does not take the answer, or the upstream does not go on with it.
  if (!client_->socket().writable()) return ClientGone();
  loop_->counters().upstream_aborted.Add();
  return Step::kAborted;
}

Exchange::Step Exchange::ReadHead() {
  Buffer& in = client_->in();
  for (;;) {
    const ScanStatus status = scanner_.Scan(in.view(), &head_);
    if (status == ScanStatus::kComplete) break;
    if (status == ScanStatus::kBad) {
      head_ = RequestHead();
      BeginTrail();
      return Refuse(RefusalOf(scanner_.error().status), scanner_.error().reason);
    }
    if (!head_timer_) {
      head_timer_ = true;
      loop_->loop().Arm(client_, Timeout::kHead);
    }
    if (!client_->socket().readable()) return Step::kPending;
    size_t bytes = 0;
    const Socket::Io io = client_->socket().Read(&in, &bytes);
    if (io == Socket::Io::kBlocked) return Step::kPending;
    if (io != Socket::Io::kDone) return Step::kLast;  // Nobody is there to answer to.
    loop_->counters().bytes_in.Add(bytes);
  }
  BeginTrail();
  request_read_ = !head_.has_body();
  const bool from_peer = client_->from_peer();
  Counters& counters = loop_->counters();
  (from_peer ? counters.requests_forwarded_in : counters.requests).Add();

  const Affinity& affinity = loop_->node().affinity;
  affinity.Read(head_, &affinity_);
  return affinity.IdInBody(head_, affinity_) ? BeginScan() : FindSession();
}

Exchange::Step Exchange::BeginScan() {
  scan_->Start(BodyIdScan::Kind::kSoap, head_.body, head_.content_length, head_.size,
               loop_->node().affinity.body_bytes_max());
  // Until then the client sends nothing to be looked at.
  if (head_.expects_continue && head_.minor_version > 0 && client_->in().size() == head_.size) {
    response_.lead().append("HTTP/1.1 100 Continue\r\n\r\n");
    response_.Flush(&client_->socket());
  }
  if (!head_timer_) {
    head_timer_ = true;
    loop_->loop().Arm(client_, Timeout::kHead);
  }
  state_ = State::kScan;
  return Step::kAgain;
}

Exchange::Step Exchange::ScanRequest() {
  Buffer& in = client_->in();
  BodyIdScan::Result result;
  while ((result = scan_->Run(in.view())) == BodyIdScan::Result::kMore && in.space() > 0) {
    if (!client_->socket().readable()) return Step::kPending;
    size_t bytes = 0;
    const Socket::Io io = client_->socket().Read(&in, &bytes);
    if (io == Socket::Io::kBlocked) return Step::kPending;
    if (io != Socket::Io::kDone) return ClientGone();
    loop_->counters().bytes_in.Add(bytes);
  }
  if (result == BodyIdScan::Result::kFound) {
    // The scan will be used again for the response.
    body_id_.assign(scan_->id().data(), scan_->id().size());
    loop_->node().affinity.AddBodyId(body_id_, &affinity_);
  }
  client_->Cancel();
  return FindSession();
}

Exchange::Step Exchange::FindSession() {
  const Affinity& affinity = loop_->node().affinity;
  if (affinity_.conflict()) loop_->counters().affinity_conflicts.Add();
  has_session_ = affinity_.count() > 0;
  if (!has_session_) {
    key_ = loop_->NextKey();
    const RequestFacts facts = affinity.RoutesWithoutId() ? HintedFacts() : Facts();
    return Routed(Route(facts, {}, loop_->view()));
  }
  if (affinity_.count() > 1) candidate_ = KnownCandidate();
  key_ = client_->KeyOf(affinity_.id(candidate_));
  bool touch_due = false;
  const store::OwnershipIndex::Entry entry = loop_->node().dependencies.store->index().FindAndTouch(
      key_, Seconds(loop_->loop().now()), kTouchPeriodSeconds, &touch_due);
  if (entry.kind == store::OwnershipIndex::Kind::kNone) {
    const membership::NodeId owner = SealedOwner();
    if (owner) return Routed({Action::kForward, Reason::kHint, owner});
  }
  const Decision decision = Route(Facts(), entry, loop_->view());
  if (touch_due && decision.reason == Reason::kOwnedHere) loop_->Touch(key_);
  return Routed(decision);
}

// The live peer that the visitor's sealed cookie names, so that nobody has to be asked for it: it
// checks that it owns the session.
membership::NodeId Exchange::SealedOwner() {
  const SealKeys* seals = loop_->seal_keys();
  if (seals == nullptr || affinity_.seal().empty() || client_->from_peer()) return {};
  const auto owner = seals->Open(key_, affinity_.seal());
  if (!owner) loop_->counters().seals_refused.Add();
  return owner && *owner != loop_->view().self() && loop_->view().IsLive(*owner)
             ? *owner
             : membership::NodeId();
}

// The first of several ids whose session this node knows: an application looks further too. Of a
// forwarded request, the first that it owns, since the peer chose one of those.
size_t Exchange::KnownCandidate() {
  using Kind = store::OwnershipIndex::Kind;
  size_t known = affinity_.count();
  for (size_t i = 0; i < affinity_.count(); ++i) {
    const store::OwnershipIndex::Entry entry =
        loop_->node().dependencies.store->index().Find(client_->KeyOf(affinity_.id(i)));
    if (entry.kind != Kind::kHeld && entry.kind != Kind::kLearned) continue;
    if (!client_->from_peer() || entry.owner == loop_->view().self()) return i;
    known = std::min(known, i);
  }
  return known == affinity_.count() ? 0 : known;
}

// Nobody knows the one that was asked for.
void Exchange::NextCandidate() {
  candidate_ = (candidate_ + 1) % affinity_.count();
  key_ = client_->KeyOf(affinity_.id(candidate_));
  decision_ = Route(Facts(), loop_->node().dependencies.store->index().Find(key_), loop_->view());
}

void Exchange::CountRoute(const Decision& decision) {
  if (client_->from_peer()) return;
  Counters& counters = loop_->counters();
  if (decision.reason == Reason::kHint) return counters.routed_hint.Add();
  if (decision.reason == Reason::kStandIn) {
    if (decision.action != Action::kAppDown) counters.routed_stand_in.Add();
  } else if (decision.action == Action::kForward) {
    counters.routed_forward.Add();
  } else if (decision.action == Action::kLocal) {
    switch (decision.reason) {
      case Reason::kNoSession:
        counters.routed_no_session.Add();
        break;
      case Reason::kOwnedHere:
        counters.routed_local.Add();
        break;
      default:
        counters.routed_unknown.Add();
    }
  }
}

RequestFacts Exchange::Facts() const {
  const bool from_peer = client_->from_peer();
  return {.has_session = has_session_,
          .from_peer = from_peer,
          .stand_in = from_peer && IsForStandIn(head_),
          .fenced = has_session_ && key_.fenced()};
}

RequestFacts Exchange::HintedFacts() const {
  RequestFacts facts = Facts();
  facts.hint = loop_->node().affinity.Hint(affinity_, loop_->view());
  return facts;
}

Exchange::Step Exchange::Routed(const Decision& wanted) {
  Decision decision = wanted;
  const bool app_needed = wanted.action == Action::kLocal || wanted.action == Action::kForward;
  if (app_needed) {
    const AppFacts apps{.up_here = loop_->app_watch().up(), .key = key_, .tried = apps_tried_};
    decision = AroundDeadApp(wanted, Facts(), apps, loop_->view());
  }
  stand_in_ = decision.reason == Reason::kStandIn;
  trail_.reason = decision.reason;
  CountRoute(decision);
  switch (decision.action) {
    case Action::kLocal:
      return Attempt({.node = {}, .address = loop_->options().app}, false);
    case Action::kForward: {
      const membership::Member* member = loop_->view().Find(decision.node);
      if (member == nullptr) return Hold();
      if (!loop_->MayTry(decision.node)) return stand_in_ ? AppGone(decision.node) : Hold();
      return Attempt({.node = decision.node, .address = member->forward()}, false);
    }
    case Action::kHold:
      return Hold();
    case Action::kNotOwner:
      return Refuse(Refusal::kNotOwner);
    case Action::kAppDown:
      return Refuse(Refusal::kAppDown);
    case Action::kUnavailable:
      return Refuse(Refusal::kSessionUnavailable);
  }
  assert(false);
  return Step::kAborted;
}

Exchange::Step Exchange::Hold(std::chrono::milliseconds lookup_delay) {
  const SteadyTime now = loop_->loop().now();
  if (hold_until_ == SteadyTime{}) {
    hold_until_ = now + loop_->options().grace.wait;
  } else if (now >= hold_until_) {
    return Refuse(Refusal::kSessionUnavailable);
  }
  client_->Cancel();
  trail_.held_since = now;
  hold_bytes_ = static_cast<int64_t>(client_->in().size());
  hold_ = loop_->Hold(this, key_, hold_bytes_, trail_.reason != Reason::kUnknown, lookup_delay);
  if (hold_ == 0) return Refuse(Refusal::kGraceFull);
  state_ = State::kHeld;
  return Step::kPending;
}

void Exchange::OnReleased(const GraceQueue::Released& released, const store::Ownership& answer) {
  hold_ = 0;
  released_ = true;
  trail_.held += loop_->loop().now() - trail_.held_since;
  const UnknownSession unknown_session = loop_->options().grace.unknown_session;
  epoch_ = {};
  if (released.outcome != GraceQueue::Outcome::kAnswered && key_.fenced()) {
    decision_ = {Action::kUnavailable, Reason::kOwnerDead, {}};
  } else if (released.outcome != GraceQueue::Outcome::kAnswered) {
    decision_ = RouteUnknown(HintedFacts(), loop_->view(), unknown_session);
  } else if (answer.state == store::Ownership::State::kUnknown &&
             ++candidates_tried_ < affinity_.count()) {
    NextCandidate();
  } else {
    decision_ = RouteAnswer(HintedFacts(), answer, loop_->view(), unknown_session);
    if (key_.fenced() && decision_.reason == Reason::kOwnedHere) epoch_ = answer.epoch;
  }
}

Exchange::Step Exchange::WhileHeld() {
  if (released_) {
    released_ = false;
    return Routed(decision_);
  }
  // A client that only closed its own half counts as gone too: the two look alike, and what waits
  // here costs room that others need.
  if (!client_->socket().peer_closed() && !client_->socket().failed()) return Step::kPending;
  loop_->counters().grace_cancelled.Add();
  return ClientGone();
}

Exchange::Step Exchange::Attempt(const UpstreamTarget& target, bool fresh) {
  if (!target.is_peer()) {
    waits_for_app_ = loop_->BeginWait();
    if (!waits_for_app_) return Refuse(Refusal::kAppBusy);
  }
  ++attempts_;
  trail_.attempted = true;
  target_ = target;
  received_ = 0;
  request_done_ = request_broken_ = response_timer_ = scanning_response_ = false;
  response_scanner_.Reset();
  if (body_started_) {
    request_.Rewind();
  } else {
    body_started_ = true;
    request_.Start(head_.body, head_.content_length, loop_->node().request_body_limits, head_.body,
                   head_.size);
  }
  const bool fenced = !target.is_peer() && epoch_.n != 0;
  const std::string token = fenced ? store::FencingToken(epoch_) : std::string();
  const RequestHop hop{.from_peer = client_->from_peer(),
                       .to_peer = target.is_peer(),
                       .stand_in = target.is_peer() && stand_in_,
                       .client_trusted = client_->trusted(),
                       .client_ip = client_->ip(),
                       .scheme = client_->scheme(),
                       .default_host = loop_->node().default_host,
                       .edits = &edits_,
                       .fencing_token = token};
  edits_.Clear();
  if (!target.is_peer()) loop_->node().affinity.HideRoutes(affinity_, &edits_);
  AppendRequestHead(head_, hop, &request_.lead());
  upstream_ = fresh ? nullptr : loop_->pool().Take(target, this, !head_.idempotent);
  reused_ = upstream_ != nullptr;
  if (reused_) {
    state_ = State::kRelay;
    return Step::kAgain;
  }
  int error = 0;
  upstream_ = loop_->pool().Connect(target, this, &error);
  if (upstream_ == nullptr) return ConnectFailed(error);
  loop_->loop().Arm(client_, Timeout::kConnect);
  state_ = State::kConnecting;
  return Step::kPending;
}

Exchange::Step Exchange::WhileConnecting() {
  if (client_->socket().failed()) return ClientGone();
  switch (upstream_->Establish()) {
    case UpstreamConnection::Progress::kPending:
      return Step::kPending;
    case UpstreamConnection::Progress::kFailed:
      return ConnectFailed(upstream_->error());
    case UpstreamConnection::Progress::kReady:
      break;
  }
  if (target_.is_peer()) loop_->PeerWorks(target_.node);
  client_->Cancel();
  state_ = State::kRelay;
  return Step::kAgain;
}

// Nothing of this attempt was sent, so it does not count as one.
Exchange::Step Exchange::ConnectFailed(int error) {
  --attempts_;
  DropUpstream();
  if (!target_.is_peer()) {
    loop_->counters().app_connect_failures.Add();
    loop_->app_watch().Report(false);
    return AppGone(loop_->view().self());
  }
  (error == EPROTO ? loop_->counters().peer_proof_failures
                   : loop_->counters().peer_connect_failures)
      .Add();
  loop_->PeerFailed(target_.node);
  if (error == ECONNREFUSED && loop_->node().dependencies.on_peer_refused) {
    loop_->node().dependencies.on_peer_refused(target_.node);
  }
  return stand_in_ ? AppGone(target_.node) : Hold();
}

// The application at `node` can't be reached, and has seen nothing of the request.
Exchange::Step Exchange::AppGone(membership::NodeId node) {
  constexpr size_t kAppsMax = 3;
  apps_tried_.push_back(node);
  const bool here = node == loop_->view().self();
  if (here && client_->from_peer()) return Refuse(Refusal::kAppDown);
  const AppFacts apps{.up_here = loop_->app_watch().up(), .key = key_, .tried = apps_tried_};
  const Decision decision = AroundDeadApp({here ? Action::kLocal : Action::kForward, {}, node},
                                          Facts(), apps, loop_->view());
  if (decision.action != Action::kAppDown && apps_tried_.size() < kAppsMax) {
    return Routed(decision);
  }
  // As long as it counts as up, this says best what to look for.
  const bool first = apps_tried_.size() == 1 && here && loop_->app_watch().up();
  return Refuse(first ? Refusal::kAppUnreachable : Refusal::kAppDown);
}

// The upstream's connection ended before its response began.
Exchange::Step Exchange::UpstreamGone() {
  // Attempts at peers are bounded by the grace wait instead: they are held, not repeated at once.
  const AttemptFacts facts{.attempts = target_.is_peer() ? 1 : attempts_,
                           .bytes_sent = request_.bytes_written(),
                           .bytes_received = received_,
                           .idempotent = head_.idempotent,
                           .replayable = request_.replayable()};
  DropUpstream();
  if (MayRetry(facts) && request_.replayable()) {
    loop_->counters().retries.Add();
    if (!target_.is_peer() || reused_) return Attempt(target_, true);
    loop_->PeerFailed(target_.node);
    return stand_in_ ? AppGone(target_.node) : Hold();
  }
  if (target_.is_peer()) {
    loop_->counters().upstream_aborted.Add();
    return Refuse(Refusal::kOwnerUnreachable);
  }
  if (received_ == 0) {
    loop_->counters().upstream_aborted.Add();
  } else {
    loop_->counters().app_bad_responses.Add();
  }
  return Refuse(Refusal::kAppBadResponse);
}

void Exchange::EndWait() {
  if (std::exchange(waits_for_app_, false)) loop_->EndWait();
}

void Exchange::DropUpstream() {
  EndWait();
  if (upstream_ == nullptr) return;
  loop_->pool().Discard(upstream_);
  upstream_ = nullptr;
}

Exchange::Step Exchange::Refuse(Refusal refusal, absl::string_view detail) {
  DropUpstream();
  trail_.status = StatusOf(refusal);
  if (Counter* counter = CounterOf(StatusOf(refusal), &loop_->counters())) counter->Add();
  keep_alive_ = head_.keep_alive && head_.size > 0 && !head_.has_body() && !client_->closing();
  AppendRefusal(refusal,
                {.keep_alive = keep_alive_,
                 .minor_version = head_.minor_version,
                 .head_request = head_.method_id == Method::kHead,
                 .detail = detail,
                 .to_peer = client_->from_peer()},
                &response_.lead());
  loop_->loop().Arm(client_, Timeout::kBody);
  state_ = State::kAnswer;
  return Step::kAgain;
}

Exchange::Step Exchange::WhileAnswering() {
  switch (response_.Flush(&client_->socket())) {
    case BodyPump::Result::kFinished:
      return keep_alive_ ? Step::kDone : Step::kLast;
    case BodyPump::Result::kBlocked:
      return client_->socket().failed() ? Step::kAborted : Step::kPending;
    default:
      return Step::kAborted;
  }
}

}  // namespace roost::proxy

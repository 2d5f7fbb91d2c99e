// Exchange is one request and its response: head, route, hold, forward, retry, answer.
//
// A state machine that is advanced after every event and does all that can be done without waiting:
//
//   kHead -> kScan -> kHeld <-> kConnecting -> kRelay -> done
//                                   |            |-> kLearning -> kRelay
//                                   '-> kAnswer <'-> kTunnel
//
// Of a fenced session, kRelay goes through kChecking before the response's head is sent.
//
// The request's bytes stay in the client's buffer until the response begins, so that a request that
// fits there can be sent to another node when its owner dies.
//
// Owner: ClientConnection while a request is under way, else ProxyLoop's list of spare ones.
// Thread: the loop's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "proxy/core/affinity.h"
#include "proxy/core/grace_queue.h"
#include "proxy/core/head.h"
#include "proxy/core/head_scanner.h"
#include "proxy/core/header_rules.h"
#include "proxy/core/rate_watch.h"
#include "proxy/core/refusal.h"
#include "proxy/core/router.h"
#include "proxy/io/body_pump.h"
#include "proxy/io/upstream_pool.h"
#include "store/operations.h"

namespace roost::proxy {

class ClientConnection;
class ProxyLoop;

class Exchange final : public UpstreamUser {
 public:
  enum class Outcome : uint8_t {
    kPending,  // Waits for an event.
    kDone,     // The connection may carry another request.
    kLast,     // Answered; the connection has to close.
    kAborted,  // No proper end is possible.
  };

  explicit Exchange(ProxyLoop* loop);

  // `client` holds the first bytes of a request.
  void Start(ClientConnection* client);
  Outcome Advance();
  void OnTimeout(Timeout which);
  // The grace buffer let the request go.
  void OnReleased(const GraceQueue::Released& released, const store::Ownership& answer);
  // The store has answered the LearnOp.
  void OnLearned();
  // The store has said who owns the session now.
  void OnChecked(const store::Ownership& answer);
  // Gives back everything: upstream, hold, ticket.
  void Stop();

  ClientConnection* client() const { return client_; }
  // Where the request ended in the client's buffer. REQUIRES: kDone.
  size_t request_end() const;
  bool request_read() const { return request_read_; }

 private:
  enum class State : uint8_t {
    kHead,
    kScan,  // The session's id may be in the body.
    kHeld,
    kConnecting,
    kRelay,
    kChecking,
    kLearning,
    kTunnel,
    kAnswer
  };
  // What a step says: go on, or return this outcome.
  enum class Step : uint8_t { kAgain, kPending, kDone, kLast, kAborted };

  void OnUpstream() override;

  // exchange.cc: towards an upstream.
  Step Next();
  Step TimedOut();
  Step ReadHead();
  Step BeginScan();
  Step ScanRequest();
  Step FindSession();
  membership::NodeId SealedOwner();
  size_t KnownCandidate();
  void NextCandidate();
  RequestFacts Facts() const;
  RequestFacts HintedFacts() const;
  Step Routed(const Decision& decision);
  Step AppGone(membership::NodeId node);
  void CountRoute(const Decision& decision);
  Step Hold(std::chrono::milliseconds lookup_delay = std::chrono::milliseconds(0));
  Step WhileHeld();
  Step Attempt(const UpstreamTarget& target, bool fresh);
  Step WhileConnecting();
  Step ConnectFailed(int error);
  Step UpstreamGone();
  Step Refuse(Refusal refusal, absl::string_view detail = {});
  Step WhileAnswering();
  void DropUpstream();

  // exchange_trail.cc: what the access log says.
  void BeginTrail();
  void EndTrail();
  Step ClientGone();

  // exchange_relay.cc: messages both ways.
  Step Relay();
  Step RelayRequest();
  Step RelayResponse();
  Step ReadResponseHead();
  Step InterimResponse();
  Step Respond();
  Step CheckOwner();
  Step WhileChecking();
  Step FinalResponse();
  Step NotOwner();
  Step PeersAppDown();
  bool ScansResponse();
  Step ScanResponse();
  bool ReadSession();
  Step RelayResponseBody();
  Step ResponseDone();
  Step WhileLearning();
  Step BeginTunnel();
  Step Tunnel();
  Step PumpTunnel(BodyPump* pump, Socket* from, Buffer* in, Socket* to, bool* finished);
  void ArmRelayTimer();
  void RearmOnProgress(Timeout timeout);
  void EndWait();
  bool ClientIsTooSlow();

  // For the access log.
  struct Trail {
    std::string line;  // Begun; empty: nothing is logged.
    Outcome outcome = Outcome::kPending;
    bool attempted = false;
    bool client_gone = false;
    Reason reason = Reason::kNoSession;
    int status = 0;
    SteadyTime started{}, first_byte{}, held_since{};
    membership::SteadyDuration held{0};
  };

  ProxyLoop* const loop_;
  ClientConnection* client_ = nullptr;
  State state_ = State::kHead;

  RequestScanner scanner_;
  RequestHead head_;
  RequestAffinity affinity_;
  std::unique_ptr<BodyIdScan> scan_;  // Null: ids are never in bodies.
  std::string body_id_;               // That it found in the request.
  size_t candidate_ = 0;              // Which of its ids is taken for the session's.
  size_t candidates_tried_ = 0;
  store::SessionKey key_;
  bool has_session_ = false;
  bool stand_in_ = false;  // The application that should answer is down.
  std::vector<membership::NodeId> apps_tried_;
  bool head_timer_ = false;

  Decision decision_;  // From the grace buffer, while `released_`.
  bool released_ = false;
  GraceQueue::Token hold_ = 0;
  int64_t hold_bytes_ = 0;
  SteadyTime hold_until_{};  // Of the first hold; later ones do not prolong it.

  UpstreamTarget target_;
  UpstreamConnection* upstream_ = nullptr;
  bool reused_ = false;  // `upstream_` has carried requests before.
  int attempts_ = 0;
  int misses_ = 0;  // Peers that turned out not to own the session.
  bool body_started_ = false;
  BodyPump request_;
  bool request_done_ = false;     // Written to the upstream to the last byte.
  bool request_read_ = false;     // Read from the client to the last byte.
  bool request_broken_ = false;   // The upstream takes no more of it.
  bool request_starved_ = false;  // The client is waited for.

  ResponseScanner response_scanner_;
  ResponseHead response_head_;
  ResponseAffinity response_affinity_;
  bool scanning_response_ = false;  // Its head is read, its body not searched yet.
  BodyIdScan::Result scan_result_ = BodyIdScan::Result::kNone;
  HeadEdits edits_;  // Of the head that is being written.
  ResponseFraming framing_;
  BodyPump response_;
  uint64_t received_ = 0;
  bool response_started_ = false;
  bool response_blocked_ = false;  // Likewise, to take more.
  bool keep_alive_ = false;        // After a refusal.
  uint64_t ticket_ = 0;            // While the store is asked, in kLearning and kChecking.
  // Of a fenced session: under which this node had leases when the request went to its application.
  // Else, and while that is not so, zero.
  store::Epoch epoch_;
  bool still_owner_ = false;  // After kChecking.
  bool tunnel_up_done_ = false;
  bool tunnel_down_done_ = false;
  uint64_t progress_seen_ = 0;
  bool response_timer_ = false;
  Trail trail_;
  RateWatch rate_;
  bool waits_for_app_ = false;
  bool timed_out_ = false;
  Timeout timeout_ = Timeout::kHead;
};

}  // namespace roost::proxy

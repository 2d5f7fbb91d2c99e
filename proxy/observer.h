// What the proxy reports about itself. One block per event loop, written by that loop alone, summed
// by the sidecar's metrics.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace roost::proxy {

// Single-writer counter: a plain load and store, no locked instruction, readable from any thread.
class Counter {
 public:
  void Add(uint64_t n = 1) {
    value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  void Sub(uint64_t n = 1) { Add(~n + 1); }
  uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};

// plaintext, unknown_key, wrong_node, forged: see core/hop_proof.h.
inline constexpr size_t kPeerRefusals = 4;
inline constexpr const char* kPeerRefusalNames[kPeerRefusals] = {"plaintext", "unknown_key",
                                                                 "wrong_node", "forged"};

struct alignas(64) Counters {
  Counter connections;            // Accepted from clients.
  Counter connections_open;       // Now.
  Counter connections_refused;    // Over connections_max.
  Counter sources_refused;        // Over connections_per_source_max.
  Counter preambles_refused;      // Not the PROXY protocol, where it is required.
  Counter tls_handshakes;         // Completed.
  Counter tls_resumed;            // Of these, from a session ticket.
  Counter tls_failures;           // Handshakes that failed or took too long.
  Counter requests;               // Heads read on the public listeners.
  Counter requests_forwarded_in;  // Heads read on the forward listener.
  // How requests of the public listeners were routed.
  Counter routed_no_session;
  Counter routed_local;
  Counter routed_forward;
  Counter routed_unknown;   // To the local application: nobody knows the session.
  Counter routed_hint;      // Nobody knows the session: where the request's route says.
  Counter routed_stand_in;  // To another node's application: the one that should answer is down.
  Counter forward_misses;   // Peer answered that it does not own the session.
  // Grace buffer: requests that were held, by how it ended.
  Counter grace_held;  // Entered.
  Counter grace_now;   // Held now.
  Counter grace_bytes_now;
  Counter grace_owner_found;
  Counter grace_unknown;  // The lookup said that nobody knows the session.
  Counter grace_timeout;
  Counter grace_full;       // Refused: a bound was reached.
  Counter grace_cancelled;  // The client went away.
  // Answers that the proxy made itself, by status.
  Counter refused_400;
  Counter refused_408;
  Counter refused_413;
  Counter refused_431;
  Counter refused_501;
  Counter refused_502;
  Counter refused_503;
  Counter refused_504;
  Counter refused_505;
  Counter app_connect_failures;
  Counter app_waiting;  // Now: requests that the application has not begun to answer.
  Counter app_busy;     // Refused: too many of these.
  Counter app_checks_passed;
  Counter app_checks_failed;
  Counter app_bad_responses;  // Answers of the application that are not HTTP.
  Counter peer_connect_failures;
  Counter circuits_opened;      // Peers that worked and then failed.
  Counter circuit_waits;        // Requests that did not try a peer that had failed.
  Counter peer_proof_failures;  // What answered at a peer's address does not hold the key.
  // Connections to the forward listener without a peer's proof, by HopRefusal.
  std::array<Counter, kPeerRefusals> peers_refused;
  Counter retries;
  Counter upstream_aborted;  // Vanished in the middle of a response.
  Counter client_aborted;
  Counter client_too_slow;  // Below body_rate_min.
  Counter sessions_learned;
  Counter affinity_conflicts;  // Requests that name different sessions in two places.
  Counter seals_refused;       // Sealed cookies that no node has made for that session.
  Counter affinity_moved;      // Visitors who were told of their session's new node.
  // Answers withheld: their node lost the fenced session before they went out.
  Counter fenced_refused;
  Counter create_hold_timeouts;  // Released before the record reached its copies.
  Counter tunnels;
  Counter bytes_in;   // From clients.
  Counter bytes_out;  // To clients.
  // Of bodies and tunnels, both ways, inside the kernel; counted when the request has ended.
  Counter bytes_spliced;
};

struct AccessLogStats {
  uint64_t written = 0;  // Lines.
  uint64_t dropped = 0;  // The disk was too slow, or full.
};

// The certificates of proxy.tls_dir; all zero without TLS.
struct CertificateStats {
  size_t certificates = 0;  // In use.
  size_t rejected = 0;      // Files that can't be used.
  int64_t earliest_expiry_unix_s = 0;
};

}  // namespace roost::proxy

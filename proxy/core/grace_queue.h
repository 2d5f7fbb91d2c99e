// GraceQueue holds requests whose owner this node does not know (yet), one queue per event loop.
//
// Requests of one session leave in the order in which they came. A session is looked up once,
// however many requests wait for it; while it is orphaned (its owner died and nobody has taken
// over) the lookup is repeated. Each request waits GraceOptions::wait at most. Bounds in requests
// and bytes are shared by the node's queues through a GraceBudget; no session gets more than its
// share, and sessions that nobody has heard of get half at most: whoever makes ids up can't take
// the room of visitors whose session's owner has died.
//
// Reads no clock and starts no lookup: the caller does both. Thread: that of its event loop.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <set>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "membership/steady_time.h"
#include "membership/view.h"
#include "proxy/options.h"
#include "store/operations.h"
#include "store/session_key.h"

namespace roost::proxy {

// What all queues of a node hold together. Any thread.
class GraceBudget {
 public:
  GraceBudget(int64_t requests_max, int64_t bytes_max)
      : all_{requests_max, bytes_max},
        unknown_{std::max<int64_t>(1, requests_max / 2), std::max<int64_t>(1, bytes_max / 2)} {}

  // Takes one request of `bytes`, or nothing. `known`: the session is.
  bool TryTake(int64_t bytes, bool known);
  void Release(int64_t bytes, bool known);
  int64_t requests() const { return all_.requests.load(std::memory_order_relaxed); }
  int64_t bytes() const { return all_.bytes.load(std::memory_order_relaxed); }

 private:
  struct Share {
    const int64_t requests_max;
    const int64_t bytes_max;
    std::atomic<int64_t> requests{0};
    std::atomic<int64_t> bytes{0};

    bool TryTake(int64_t bytes_wanted);
    void Release(int64_t bytes_held);
  };

  Share all_;
  Share unknown_;  // Of these.
};

class GraceQueue {
 public:
  // Names a held request; never reused while it could be confused. 0 is none.
  using Token = uint64_t;

  enum class Outcome : uint8_t {
    kAnswered,  // Route it with RouteAnswer and the answer that was given.
    kTimeout,   // RouteUnknown.
  };
  struct Released {
    Token token = 0;
    Outcome outcome = Outcome::kAnswered;
  };
  // What the caller has to do; it clears and reuses it. Carry out `released` in order.
  struct Effects {
    std::vector<Released> released;
    std::vector<store::SessionKey> lookups;  // Call SessionStore::Resolve.
    void Clear();
  };
  enum class AddStatus : uint8_t { kHeld, kFull, kSessionFull };
  struct Added {
    AddStatus status = AddStatus::kFull;
    Token token = 0;
    bool start_lookup = false;  // First of its session: call SessionStore::Resolve now.
  };

  // `budget` outlives the queue.
  GraceQueue(const GraceOptions& options, GraceBudget* budget);
  ~GraceQueue();
  GraceQueue(const GraceQueue&) = delete;
  GraceQueue& operator=(const GraceQueue&) = delete;

  // The lookup of a session that nobody waits for yet starts after `lookup_delay`: what was learned
  // a moment ago proved wrong, and the cluster needs a little to agree.
  // `known`: somebody has named an owner of the session.
  Added Add(membership::SteadyTime now, store::SessionKey key, int64_t bytes, bool known,
            std::chrono::milliseconds lookup_delay = std::chrono::milliseconds(0));
  // Resolve answered, or the session's record came by itself. Releases all that wait for it, unless
  // RouteAnswer says kHold with `view`: then the lookup is repeated a little later.
  void OnAnswer(membership::SteadyTime now, store::SessionKey key, const store::Ownership& answer,
                const membership::View& view, Effects* effects);
  // The client went away. False if the token is not held.
  bool Cancel(Token token);

  // kNever if nothing waits.
  membership::SteadyTime NextDeadline() const;
  // Requests that waited long enough, and lookups to repeat.
  void OnDeadline(membership::SteadyTime now, Effects* effects);

  size_t size() const { return held_; }

 private:
  static constexpr uint32_t kNone = ~uint32_t{0};
  struct Slot {
    store::SessionKey key;
    membership::SteadyTime deadline;
    int64_t bytes = 0;
    uint32_t generation = 0;
    bool known = false;
    bool used = false;
    // Neighbours in arrival order: of all requests (so of all deadlines), and of the session's.
    uint32_t older = kNone, newer = kNone;
    uint32_t session_older = kNone, session_newer = kNone;
  };
  struct Session {
    uint32_t oldest = kNone, newest = kNone;
    int count = 0;
    // kNever while a lookup is under way.
    membership::SteadyTime retry_at = membership::kNever;
  };
  using Sessions = absl::flat_hash_map<store::SessionKey, Session>;

  uint32_t TakeSlot();
  Token TokenOf(uint32_t slot) const;
  void Link(uint32_t slot, Session* session);
  // Frees the slot, and the session with its last request.
  void Remove(uint32_t slot);
  void SetRetry(store::SessionKey key, Session* session, membership::SteadyTime at);

  const GraceOptions options_;
  const int session_requests_max_;
  GraceBudget* const budget_;
  std::vector<Slot> slots_;
  std::vector<uint32_t> free_;
  uint32_t oldest_ = kNone, newest_ = kNone;
  size_t held_ = 0;
  Sessions sessions_;
  // (retry_at, key) of every session that waits to be looked up again.
  std::set<std::pair<membership::SteadyTime, store::SessionKey>> retries_;
};

}  // namespace roost::proxy

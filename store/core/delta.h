// What a stream need not send again: attributes that the peer has from a record of the session that
// was sent before.
//
// A record on a stream may name an attribute by the write that made it (name, line, version)
// instead of carrying it. Who receives it puts in what it has, if it has that very write; else it
// asks for the stream to go on from there in full. So what the sender remembers of a stream is a
// guess that costs time if it is wrong, never a wrong record.
// Owner: Replica. Thread: the store's loop.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "store/session.h"

namespace roost::store {

// The last record of each session that was sent on a stream. Bounded; the oldest makes room.
class SentRecords {
 public:
  static constexpr size_t kSessionsMax = 16'384;

  struct Sent {
    uint64_t line = 0;
    uint64_t version = 0;
  };
  void Note(SessionKey key, Sent sent);
  std::optional<Sent> Find(SessionKey key) const;
  void Forget(SessionKey key) { sent_.erase(key); }
  void Clear();

 private:
  absl::flat_hash_map<SessionKey, Sent> sent_;
  std::deque<SessionKey> order_;
};

// The attributes of `session` that a peer has if it got `sent`, and whose value takes at least
// `value_bytes_min`; in order.
std::vector<std::string> KeptSince(const Session& session, SentRecords::Sent sent,
                                   int64_t value_bytes_min);

// `session` as it arrives: with nothing but name, line and version of those in `kept`.
// REQUIRES: `session` has them.
Session WithoutValues(Session session, const std::vector<std::string>& kept);

// Puts what `held` has in their place. False if it lacks one of these writes.
bool FillIn(const Session& held, const std::vector<std::string>& kept, Session* session);

}  // namespace roost::store

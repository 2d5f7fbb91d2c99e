// Lineage tells whether one record of a session contains another's writes.
//
// The writes of one owner without a break are a line, with an id of its own. A record names the
// line of its last write and those that it went on from or merged, each up to a version; so a
// record contains another exactly if it contains that one's last write. A record of a version that
// knew of no lines (0) is taken to be contained in whatever has its version.
// Pure functions.
#pragma once

#include <cstdint>

#include "absl/types/span.h"
#include "store/core/effects.h"
#include "store/core/session_summary.h"
#include "store/epoch.h"
#include "store/session.h"

namespace roost::store {

// Begins `line` under `epoch`. `version`: up to which `session` has the writes of its line so far;
// its own version may be that of a write that is the new line's.
void Succeed(Session* session, uint64_t version, Epoch epoch, uint64_t line);

bool Contains(uint64_t line, uint64_t version, absl::Span<const Ancestor> ancestors,
              uint64_t other_line, uint64_t other_version);
inline bool Contains(const Session& session, const SessionSummary& other) {
  return Contains(session.line, session.version, session.ancestors, other.line, other.version);
}
inline bool Contains(const Session& session, const Session& other) {
  return Contains(session.line, session.version, session.ancestors, other.line, other.version);
}
inline bool Contains(const Drop& drop, const SessionSummary& other) {
  return drop.line == 0 ||
         Contains(drop.line, drop.version, drop.ancestors, other.line, other.version);
}

// Does the session, or a session that it went on from, show that write?
inline bool Contains(const Session& session, const Attribute& write) {
  return Contains(session.line, session.version, session.ancestors, write.line, write.version);
}

// `session` contains all that `other` does from now on.
void AddAncestors(Session* session, const Session& other);

inline Drop DropOf(const Session& session) {
  return {session.key, session.epoch, session.line, session.version, session.ancestors};
}

}  // namespace roost::store

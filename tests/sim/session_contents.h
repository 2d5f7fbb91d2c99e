// What the checks read out of a record.
#pragma once

#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"
#include "store/session.h"

namespace roost::sim {

inline std::string NameOf(store::SessionKey key) { return absl::StrCat("session ", key.lo); }

inline std::string NameOf(const store::Session& session) {
  return absl::StrCat(NameOf(session.key), " at epoch ", session.epoch.n, "/",
                      session.epoch.node.value, " version ", session.version);
}

inline uint64_t Fold(uint64_t hash, uint64_t value) { return (hash ^ value) * 0x100000001b3u; }

inline uint64_t Fold(uint64_t hash, const std::string& text) {
  for (const char c : text) hash = Fold(hash, static_cast<uint8_t>(c));
  return Fold(hash, text.size());
}

// Of all that a session's holders must agree on.
inline uint64_t ContentHash(const store::Session& session) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (const auto& [name, attribute] : session.attributes) {
    hash = Fold(Fold(Fold(hash, name), attribute.value), attribute.version);
  }
  for (const membership::NodeId node : session.copy_set) hash = Fold(hash, node.value);
  hash = Fold(hash, static_cast<uint64_t>(session.absolute_deadline_ms));
  for (const store::Conflict& conflict : session.conflicts) hash = Fold(hash, conflict.id);
  return Fold(hash, session.tombstone ? 1 : 0);
}

// In the record, or in the journal that it carries.
inline bool Shows(const store::Session& session, const std::string& attribute) {
  if (session.attributes.count(attribute) > 0) return true;
  for (const store::Conflict& conflict : session.conflicts) {
    for (const store::Loss& loss : conflict.losses) {
      if (loss.name == attribute && !loss.removed) return true;
    }
  }
  return false;
}

}  // namespace roost::sim

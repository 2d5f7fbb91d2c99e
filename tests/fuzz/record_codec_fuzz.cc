// Records from disk: decoding never crashes, what decodes survives a round trip, and the summary that
// a start reads by hand says the same as the record.
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <string>

#include "store/io/record_codec.h"
#include "store/io/record_proto.h"

namespace roost::store {
namespace {

void CheckSummary(const StoredSession& summary, const Session& session) {
  assert(summary.key == session.key && summary.epoch == session.epoch);
  assert(summary.version == session.version && summary.line == session.line);
  assert(summary.copy_set == session.copy_set);
  assert(summary.absolute_deadline_ms == session.absolute_deadline_ms);
  assert(summary.idle_ttl_ms == session.idle_ttl_ms);
  assert(summary.last_access_ms == session.last_access_ms);
  assert(summary.tombstone == session.tombstone && summary.alias == session.alias);
  assert(summary.conflicts == session.conflicts.size());
  const int64_t due =
      session.renewal_ttl_ms == 0 ? 0 : session.renewed_ms + session.renewal_ttl_ms;
  assert(summary.renewal_due_ms == due);
  assert(summary.principal ==
         (session.principal.empty() ? 0 : PrincipalHash(session.name_space, session.principal)));
}

}  // namespace
}  // namespace roost::store

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using roost::store::DecodeStored;
  const absl::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto session = DecodeStored(bytes);
  const auto summary = roost::store::DecodeStoredSummary(bytes);
  if (session.ok()) {
    assert(!session->copy_set.empty());
    assert(session->copy_set.size() <= roost::store::kRecordHoldersMax);
    const std::string encoded = roost::store::EncodeStored(*session, 7);
    const auto again = DecodeStored(encoded);
    assert(again.ok() && *again == *session);
    const auto read = roost::store::DecodeStoredSummary(encoded);
    assert(read.ok() && read->sequence == 7);
    roost::store::CheckSummary(*read, *session);
  }
  if (summary.ok()) {
    assert(!summary->copy_set.empty());
    assert(summary->copy_set.size() <= roost::store::kRecordHoldersMax);
  }
  return 0;
}

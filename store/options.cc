#include "store/options.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace roost::store {
namespace {

constexpr int64_t kMiB = 1 << 20;
// Larger records would not fit into one message between peers.
constexpr int64_t kRecordBytesMax = 3 * kMiB;
constexpr int64_t kYearMs = 366LL * 24 * 3'600'000;

// The first rule that was broken.
class Rules {
 public:
  void Within(absl::string_view field, int64_t value, int64_t min, int64_t max) {
    if (!status_.ok() || (value >= min && value <= max)) return;
    status_ = absl::InvalidArgumentError(
        absl::StrCat("store.", field, " is ", value, "; it must be ", min, " to ", max));
  }
  const absl::Status& status() const { return status_; }

 private:
  absl::Status status_;
};

}  // namespace

absl::Status Options::Validate() const {
  Rules rules;
  rules.Within("copies", copies, 0, 8);
  rules.Within("ack", static_cast<int>(ack), 1, 3);
  rules.Within("ack_timeout_ms", ack_timeout.count(), 10, 60'000);
  rules.Within("absolute_ttl_max_ms", absolute_ttl_max.count(), 1'000, kYearMs);
  rules.Within("absolute_ttl_ms", absolute_ttl.count(), 1'000, absolute_ttl_max.count());
  rules.Within("idle_ttl_ms", idle_ttl.count(), 1'000, absolute_ttl.count());
  rules.Within("renewal_ttl_ms", renewal_ttl.count(), 0, kYearMs);
  rules.Within("rotated_alias_ms", rotated_alias.count(), 0, 600'000);
  rules.Within("lock_waiters_max", lock_waiters_max, 0, 10'000);
  rules.Within("attribute_bytes_max", attribute_bytes_max, 1, kRecordBytesMax);
  rules.Within("session_bytes_max", session_bytes_max, 1'024, kRecordBytesMax);
  rules.Within("attributes_max", attributes_max, 1, 65'536);
  rules.Within("in_flight_bytes", in_flight_bytes, 64 * 1'024, 1'024 * kMiB);
  rules.Within("cache_bytes", cache_bytes, kMiB, 1'024 * 1'024 * kMiB);
  rules.Within("memtable_bytes", memtable_bytes, 4 * kMiB, 16 * 1'024 * kMiB);
  rules.Within("fsync", static_cast<int>(fsync), 1, 3);
  rules.Within("disk_free_min_bytes", disk_free_min_bytes, 0, 1'024 * 1'024 * kMiB);
  rules.Within("fsync_interval_ms", fsync_interval.count(), 0, 60'000);
  rules.Within("pending_max", pending_max, 1, 1'000'000);
  rules.Within("takeover_query_timeout_ms", takeover_query_timeout.count(), 1, 10'000);
  rules.Within("clock_bound_ms", clock_bound.count(), 0, 24 * 3'600'000);
  rules.Within("merge_policy", static_cast<int>(merge_policy), 1, 4);
  rules.Within("conflicts_max", conflicts_max, 0, 1'024);
  rules.Within("conflict_bytes_max", conflict_bytes_max, 0, kMiB);
  rules.Within("conflict_retention_ms", conflict_retention.count(), 0, kYearMs);
  rules.Within("fenced_copies", fenced_copies, 2, 8);
  rules.Within("lease_ms", lease.count(), 100, 60'000);
  rules.Within("slice", slice, 1, 65'536);
  if (rules.status().ok() && !(clock_drift >= 0 && clock_drift <= 0.2)) {
    return absl::InvalidArgumentError("store.clock_drift must be 0 to 0.2");
  }
  if (rules.status().ok() && !(touch_replicate_fraction > 0 && touch_replicate_fraction <= 1)) {
    return absl::InvalidArgumentError(
        "store.touch_replicate_fraction must be above 0 and at most 1");
  }
  return rules.status();
}

}  // namespace roost::store

#include "membership/options.h"

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace roost::membership {
namespace {

constexpr size_t kNameBytesMax = 64;
constexpr std::chrono::milliseconds kIntervalMin{10};
constexpr std::chrono::milliseconds kIntervalMax{60'000};

bool IsName(absl::string_view text, absl::string_view extra) {
  if (text.size() > kNameBytesMax) return false;
  for (const char c : text) {
    if (!absl::ascii_isalnum(static_cast<unsigned char>(c)) && !absl::StrContains(extra, c)) {
      return false;
    }
  }
  return true;
}

absl::Status Wrong(absl::string_view field, absl::string_view rule) {
  return absl::InvalidArgumentError(absl::StrCat(field, " ", rule));
}

absl::Status CheckDuration(absl::string_view field, std::chrono::milliseconds value,
                           std::chrono::milliseconds min, std::chrono::milliseconds max) {
  if (value >= min && value <= max) return absl::OkStatus();
  return Wrong(field, absl::StrFormat("must be %d to %d ms, is %d ms", min.count(), max.count(),
                                      value.count()));
}

absl::Status CheckNumber(absl::string_view field, int value, int min, int max) {
  if (value >= min && value <= max) return absl::OkStatus();
  return Wrong(field, absl::StrFormat("must be %d to %d, is %d", min, max, value));
}

absl::Status ValidateTiming(const Timing& t) {
  using std::chrono::hours;
  using std::chrono::milliseconds;
  const milliseconds short_min{1};
  for (const absl::Status& status : {
           CheckDuration("membership.probe_interval_ms", t.probe_interval, milliseconds(50),
                         kIntervalMax),
           CheckDuration("membership.probe_timeout_ms", t.probe_timeout, short_min, kIntervalMax),
           CheckDuration("membership.nack_timeout_ms", t.nack_timeout, short_min, kIntervalMax),
           CheckNumber("membership.indirect_probes", t.indirect_probes, 1, 16),
           CheckNumber("membership.suspicion_mult", t.suspicion_mult, 1, 32),
           CheckNumber("membership.suspicion_max_mult", t.suspicion_max_mult, 1, 32),
           CheckDuration("membership.refused_suspicion_ms", t.refused_suspicion, short_min,
                         kIntervalMax),
           CheckDuration("membership.gossip_interval_ms", t.gossip_interval, kIntervalMin,
                         kIntervalMax),
           CheckNumber("membership.gossip_fanout", t.gossip_fanout, 1, 16),
           CheckNumber("membership.retransmit_mult", t.retransmit_mult, 1, 16),
           CheckDuration("membership.sync_interval_ms", t.sync_interval, milliseconds(100),
                         hours(1)),
           CheckDuration("membership.rejoin_interval_ms", t.rejoin_interval, milliseconds(100),
                         hours(1)),
           CheckDuration("membership.tombstone_retention", t.tombstone_retention, hours(1),
                         hours(24 * 365)),
           CheckNumber("membership.health_max", t.health_max, 0, 31),
       }) {
    if (!status.ok()) return status;
  }
  if (t.probe_timeout + t.nack_timeout >= t.probe_interval) {
    return Wrong(
        "membership.probe_interval_ms",
        absl::StrFormat("must be above probe_timeout_ms + nack_timeout_ms (%d + %d), is "
                        "%d: late nacks would make healthy nodes blame themselves",
                        t.probe_timeout.count(), t.nack_timeout.count(), t.probe_interval.count()));
  }
  if (t.gossip_interval > t.probe_interval) {
    return Wrong(
        "membership.gossip_interval_ms",
        absl::StrFormat("must be at most probe_interval_ms (%d), is %d: probes go out with "
                        "gossip",
                        t.probe_interval.count(), t.gossip_interval.count()));
  }
  if (t.sync_interval < t.gossip_interval) {
    return Wrong(
        "membership.sync_interval_ms",
        absl::StrFormat("must be at least gossip_interval_ms (%d), is %d: lists repair what "
                        "gossip missed",
                        t.gossip_interval.count(), t.sync_interval.count()));
  }
  if (t.refused_suspicion > t.suspicion_mult * t.probe_interval) {
    return Wrong("membership.refused_suspicion_ms",
                 absl::StrFormat("must be at most suspicion_mult * probe_interval_ms (%d), is %d: "
                                 "it is there to shorten suspicions",
                                 (t.suspicion_mult * t.probe_interval).count(),
                                 t.refused_suspicion.count()));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status Options::Validate() const {
  if (cluster.empty() || !IsName(cluster, "_.-")) {
    return Wrong("cluster.name", "must be 1 to 64 characters of [A-Za-z0-9_.-]");
  }
  if (name.empty() || !IsName(name, "_-")) {
    return Wrong("node.name", "must be 1 to 64 characters of [A-Za-z0-9_-]");
  }
  if (zone.size() > kNameBytesMax) return Wrong("node.zone", "must be at most 64 characters");
  for (const char c : zone) {
    if (!absl::ascii_isprint(static_cast<unsigned char>(c))) {
      return Wrong("node.zone", "must be printable ASCII");
    }
  }
  if (!id) return Wrong("node id", "must not be 0");
  if (boot_epoch == 0) return Wrong("boot epoch", "must be at least 1");
  if (advertise.IsWildcard()) {
    return Wrong("cluster.advertise", "must be an address that peers can reach, not a wildcard");
  }
  if (absl::Status status = CheckNumber("cluster.expect", expect, 1, 1'000); !status.ok()) {
    return status;
  }
  return ValidateTiming(timing);
}

}  // namespace roost::membership

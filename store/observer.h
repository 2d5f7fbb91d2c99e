// What the store reports about itself. Each counter only grows; written on the store's loop,
// readable from any thread.
#pragma once

#include <atomic>
#include <cstdint>

namespace roost::store {

// How much room the disk has.
enum class DiskSpace : uint8_t {
  kAmple,
  kLow,   // No new sessions.
  kNone,  // No writes but deletes, no copies.
};

struct Counters {
  std::atomic<uint64_t> creates{0};
  std::atomic<uint64_t> gets{0};
  std::atomic<uint64_t> puts{0};
  std::atomic<uint64_t> increments{0};
  std::atomic<uint64_t> rotates{0};
  std::atomic<uint64_t> locks{0};
  // Lock calls that had to wait, and those among them that did not get the lock in time.
  std::atomic<uint64_t> lock_waits{0};
  std::atomic<uint64_t> lock_timeouts{0};
  // Calls refused because their token did not hold the lock any more.
  std::atomic<uint64_t> stale_locks{0};
  std::atomic<uint64_t> deletes{0};
  std::atomic<uint64_t> touches{0};
  std::atomic<uint64_t> cas_conflicts{0};
  std::atomic<uint64_t> forwarded{0};
  std::atomic<uint64_t> expired_idle{0};
  std::atomic<uint64_t> expired_absolute{0};
  std::atomic<uint64_t> takeovers{0};
  // Replication refused because the receiver knew a higher epoch: this node stepped down.
  std::atomic<uint64_t> step_downs{0};
  // Of the mode `fenced`: leases asked for and granted.
  std::atomic<uint64_t> lease_messages{0};
  // Merges of lines of a session that had both been written, and the writes that lost in them: in
  // the conflict journal, but for those that its bounds, or its session's end, took out of it.
  std::atomic<uint64_t> conflicts{0};
  std::atomic<uint64_t> conflict_losses{0};
  std::atomic<uint64_t> conflicts_dropped{0};
  std::atomic<uint64_t> conflicts_restored{0};
  // Stamps of writes from further in the future than clocks may differ.
  std::atomic<uint64_t> refused_stamps{0};
  // Records here that gave way to a line that may lack what they hold, until it was merged.
  std::atomic<uint64_t> superseded{0};
  // Sessions looked at by sweeps, and for having been in doubt.
  std::atomic<uint64_t> reviews{0};
  std::atomic<uint64_t> ack_timeouts{0};
  std::atomic<uint64_t> degraded_writes{0};
  std::atomic<uint64_t> refused_writes{0};
  std::atomic<uint64_t> replicated_out{0};
  std::atomic<uint64_t> replicated_in{0};
  std::atomic<uint64_t> bytes_out{0};
  // Records that came without attributes that were here, and that went so but did not fit there.
  std::atomic<uint64_t> deltas_in{0};
  std::atomic<uint64_t> deltas_refused{0};
  // Sessions of this node that a copy had lost, or had older, without a change on its way.
  std::atomic<uint64_t> divergences{0};
  std::atomic<uint64_t> resolves{0};
  std::atomic<uint64_t> resolve_unknown{0};
  std::atomic<uint64_t> corrupt_records{0};
  std::atomic<uint64_t> disk_errors{0};
  // Peer messages and forwarded calls that could not be decoded; the stream was closed.
  std::atomic<uint64_t> malformed_messages{0};
};

}  // namespace roost::store

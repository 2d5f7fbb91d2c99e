// What the store reports about itself. Each counter only grows; written on the store's loop,
// readable from any thread.
#pragma once

#include <atomic>
#include <cstdint>

namespace roost::store {

struct Counters {
  std::atomic<uint64_t> creates{0};
  std::atomic<uint64_t> gets{0};
  std::atomic<uint64_t> puts{0};
  std::atomic<uint64_t> deletes{0};
  std::atomic<uint64_t> touches{0};
  std::atomic<uint64_t> cas_conflicts{0};
  std::atomic<uint64_t> forwarded{0};
  std::atomic<uint64_t> expired_idle{0};
  std::atomic<uint64_t> expired_absolute{0};
  std::atomic<uint64_t> takeovers{0};
  // Replication refused because the receiver knew a higher epoch: this node stepped down.
  std::atomic<uint64_t> step_downs{0};
  // Sessions of which two lines parted and were merged here.
  std::atomic<uint64_t> conflicts{0};
  // Writes that a merge did not keep; they are in the conflict journal.
  std::atomic<uint64_t> conflict_losses{0};
  // Entries that the journal lost to newer ones.
  std::atomic<uint64_t> conflicts_dropped{0};
  // Attributes whose stamp lay too far in the future when they were merged.
  std::atomic<uint64_t> refused_stamps{0};
  std::atomic<uint64_t> ack_timeouts{0};
  std::atomic<uint64_t> degraded_writes{0};
  std::atomic<uint64_t> refused_writes{0};
  std::atomic<uint64_t> replicated_out{0};
  std::atomic<uint64_t> replicated_in{0};
  std::atomic<uint64_t> bytes_out{0};
  std::atomic<uint64_t> resolves{0};
  std::atomic<uint64_t> resolve_unknown{0};
  std::atomic<uint64_t> corrupt_records{0};
  std::atomic<uint64_t> disk_errors{0};
  // Peer messages and forwarded calls that could not be decoded; the stream was closed.
  std::atomic<uint64_t> malformed_messages{0};
};

}  // namespace roost::store

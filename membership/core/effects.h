// What the core wants done after an input. The shell carries it out in this order and clears it.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "membership/address.h"
#include "membership/core/message.h"
#include "membership/core/sync_message.h"
#include "membership/event.h"
#include "membership/view.h"

namespace roost::membership {

struct Send {
  Address to;
  Message message;
};

// How often things happened during the input; the shell adds them to its Counters.
struct Tally {
  uint32_t probes_failed = 0;
  uint32_t suspicions = 0;
  uint32_t refutations = 0;
  uint32_t deaths = 0;
  uint32_t refused_evidence = 0;
  uint32_t events_dropped = 0;
  uint32_t syncs = 0;         // Calls made to compare member tables...
  uint32_t syncs_failed = 0;  // ...and those that were not answered.
};

struct Effects {
  // More events of one input are only counted.
  static constexpr size_t kEventsMax = 1'024;

  std::vector<Send> sends;
  std::vector<SyncCall> sync_calls;
  std::vector<Event> events;
  // Null unless the view changed.
  ViewPtr view;
  // Set if this node may not be a member (its name or id belongs to a live one): it must stop.
  std::optional<absl::Status> fatal;
  Tally tally;

  void Clear() { *this = Effects{}; }
};

}  // namespace roost::membership

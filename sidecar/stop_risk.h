// Whether the node may be stopped: what the store counts, looked at often enough to tell a change
// on its way to a copy from one that does not get there.
#pragma once

#include <functional>

#include "proto/cluster.pb.h"
#include "store/listing.h"

namespace roost::sidecar {

// StoreLoop::Risk.
using RiskSource = std::function<void(store::RiskQuery, std::function<void(store::StopRisk)>)>;

// `done` once, at most a second or so after all sessions were looked at; until then `source` is
// called, from any thread.
void CountRisk(RiskSource source, std::function<void(const v1::SafeToStopResponse&)> done);

}  // namespace roost::sidecar

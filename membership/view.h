// View is an immutable snapshot of who is in the cluster, as one node sees it.
//
// The gossip loop makes a new one after every change and posts it to whoever subscribed; nobody
// ever changes one. Two nodes may disagree for a while: nothing may depend on views being equal.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "membership/address.h"
#include "membership/attributes.h"
#include "membership/node_id.h"

namespace roost::membership {

enum class MemberState : uint8_t {
  kAlive = 1,
  kSuspect = 2,  // Did not answer; counts as live until the suspicion ends.
  kDead = 3,
  kLeft = 4,  // Left on purpose.
};

absl::string_view MemberStateName(MemberState state);

// Whether a node's sidecar reached its application when it last tried.
enum class AppHealth : uint8_t { kUnknown = 0, kOk = 1, kFailing = 2 };

absl::string_view AppHealthName(AppHealth health);

struct Member {
  NodeId id;
  // Persisted boot counter, then the member's own counter of refutations: the pair orders claims
  // about it.
  uint64_t boot_epoch = 0;
  uint32_t incarnation = 0;
  MemberState state = MemberState::kAlive;
  std::string name;
  std::string zone;
  // The member hands its sessions over and takes no new ones.
  bool draining = false;
  AppHealth app = AppHealth::kUnknown;
  // The versions of the cluster's protocol that the member speaks.
  uint16_t protocol_min = 1;
  uint16_t protocol_max = 1;
  // Of the attributes that the member has now. Those that are known here may be older, until the
  // newer ones have arrived.
  uint64_t attributes_digest = 0;
  Attributes attributes;
  // Its place in the member list: lower is older. 0: not in the list yet, or not any more.
  uint64_t join_seq = 0;
  Address gossip;             // udp
  uint16_t peer_port = 0;     // gRPC of the stores, same IP
  uint16_t forward_port = 0;  // HTTP forwarded by other nodes' proxies, same IP
  // Smoothed round-trip time of gossip between this node and the member, as of about when the view
  // was made; 0: not measured. In views only.
  std::chrono::microseconds rtt{0};

  Address peer() const { return gossip.WithPort(peer_port); }
  Address forward() const { return gossip.WithPort(forward_port); }
  // Suspects count as live: they are routed to until they are declared dead.
  bool live() const { return state == MemberState::kAlive || state == MemberState::kSuspect; }

  bool attributes_known() const { return attributes.digest() == attributes_digest; }

  friend bool operator==(const Member&, const Member&) = default;
};

// The member list that a view goes by. Nodes that show the same lineage and version hold the same.
struct ListSummary {
  uint64_t lineage = 0;  // 0: this node is in no list yet.
  uint64_t version = 0;
  uint64_t parent = 0;  // The lineage that this one was forked from; 0: none.
  // The oldest listed member that is live; 0 without a list.
  NodeId coordinator;
  // This side lost the majority of the cluster.
  bool degraded = false;
  // Fewer live listed members than split_brain.min_members.
  bool below_min_members = false;
};

class View {
 public:
  // `members` must hold `self` and no id twice.
  View(uint64_t version, NodeId self, std::vector<Member> members, ListSummary list = {});

  // Grows with every change at this node; views of different nodes are not comparable.
  uint64_t version() const { return version_; }
  NodeId self() const { return self_; }
  // Ordered by id; the dead and the left are listed until they are forgotten.
  const std::vector<Member>& members() const { return members_; }
  // Null if unknown.
  const Member* Find(NodeId id) const;
  const Member* FindByName(absl::string_view name) const;
  bool IsLive(NodeId id) const;
  size_t live_count() const { return live_count_; }
  const ListSummary& list() const { return list_; }
  bool below_min_members() const { return list_.below_min_members; }
  // The newest protocol version that every live member speaks; 0 if there is none.
  uint16_t protocol_version() const { return protocol_version_; }

 private:
  uint64_t version_;
  NodeId self_;
  std::vector<Member> members_;
  absl::flat_hash_map<NodeId, size_t> index_;
  size_t live_count_ = 0;
  ListSummary list_;
  uint16_t protocol_version_ = 0;
};

using ViewPtr = std::shared_ptr<const View>;

}  // namespace roost::membership

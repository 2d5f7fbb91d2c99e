#include "membership/io/list_wire.h"

#include <algorithm>

#include "membership/core/message.h"

namespace roost::membership {
namespace {

namespace pb = roost::gossip::v1;

// Counters beyond are refused as garbage, so that nobody can exhaust them.
constexpr uint64_t kCounterMax = uint64_t{1} << 62;
constexpr uint32_t kAttemptMax = uint32_t{1} << 31;
// No datagram holds more.
constexpr int kItemsMax = 128;

void EncodeBallot(const Ballot& ballot, pb::Ballot* out) {
  out->set_term(ballot.term);
  out->set_node(ballot.node.value);
}

bool DecodeBallot(const pb::Ballot& in, Ballot* out) {
  *out = {in.term(), NodeId{in.node()}};
  return in.term() <= kCounterMax;
}

}  // namespace

void EncodeEntry(const ListEntry& entry, pb::ListEntry* out) {
  out->set_node(entry.id.value);
  out->set_boot_epoch(entry.boot_epoch);
  out->set_attempt(entry.attempt);
  out->set_join_seq(entry.join_seq);
}

bool DecodeEntry(const pb::ListEntry& in, ListEntry* out) {
  *out = {NodeId{in.node()}, in.boot_epoch(), in.attempt(), in.join_seq()};
  return in.node() != 0 && in.boot_epoch() <= kBootEpochMax && in.attempt() <= kAttemptMax &&
         in.join_seq() <= kCounterMax;
}

namespace {

template <typename Entries>
bool DecodeEntries(const Entries& in, std::vector<ListEntry>* out) {
  if (in.size() > kItemsMax) return false;
  return std::all_of(in.begin(), in.end(), [out](const pb::ListEntry& entry) {
    return DecodeEntry(entry, &out->emplace_back());
  });
}

template <typename Ids>
bool DecodeIds(const Ids& in, std::vector<NodeId>* out) {
  if (in.size() > kItemsMax) return false;
  for (const uint64_t id : in) out->push_back(NodeId{id});
  return true;
}

void EncodePart(const ListPart& part, pb::ListPart* out) {
  out->set_parent(part.parent);
  out->set_next_join_seq(part.next_join_seq);
  out->set_degraded(part.degraded);
  out->set_offset(part.offset);
  out->set_members_total(part.members_total);
  out->set_base_total(part.base_total);
  for (const ListEntry& entry : part.members) EncodeEntry(entry, out->add_members());
  for (const NodeId id : part.base) out->add_base(id.value);
}

bool DecodePart(const pb::ListPart& in, ListPart* out) {
  out->parent = in.parent();
  out->next_join_seq = in.next_join_seq();
  out->degraded = in.degraded();
  out->offset = in.offset();
  out->members_total = in.members_total();
  out->base_total = in.base_total();
  return in.next_join_seq() <= kCounterMax && in.members_total() <= OrderedList::kMembersMax &&
         in.base_total() <= OrderedList::kMembersMax &&
         in.offset() < in.members_total() + in.base_total() &&
         DecodeEntries(in.members(), &out->members) && DecodeIds(in.base(), &out->base);
}

void EncodeChange(const ListChange& change, pb::ListChange* out) {
  for (const ListEntry& entry : change.joined) EncodeEntry(entry, out->add_joined());
  for (const NodeId id : change.gone) out->add_gone(id.value);
  out->set_degraded(change.degraded);
}

bool DecodeChange(const pb::ListChange& in, ListChange* out) {
  out->degraded = in.degraded();
  return DecodeEntries(in.joined(), &out->joined) && DecodeIds(in.gone(), &out->gone);
}

}  // namespace

void EncodeTag(const ListTag& tag, pb::ListTag* out) {
  out->set_lineage(tag.lineage);
  out->set_version(tag.version);
  out->set_attempt(tag.attempt);
}

bool DecodeTag(const pb::ListTag& in, ListTag* out) {
  *out = {in.lineage(), in.version(), in.attempt()};
  return out->version <= kCounterMax && out->attempt <= kAttemptMax;
}

void EncodeList(const ListMessage& message, pb::List* out) {
  out->set_op(static_cast<pb::List::Op>(message.op));
  out->set_lineage(message.lineage);
  out->set_version(message.version);
  out->set_other(message.other);
  out->set_via(message.via.value);
  out->set_offset(message.offset);
  if (message.ballot != Ballot{}) EncodeBallot(message.ballot, out->mutable_ballot());
  if (message.accepted != Ballot{}) EncodeBallot(message.accepted, out->mutable_accepted());
  if (message.change != ListChange{}) EncodeChange(message.change, out->mutable_change());
  if (message.joiner != ListEntry{}) EncodeEntry(message.joiner, out->mutable_joiner());
  if (message.facts != LineageFacts{}) {
    out->mutable_facts()->set_lineage(message.facts.lineage);
    out->mutable_facts()->set_degraded(message.facts.degraded);
    out->mutable_facts()->set_members(message.facts.members);
    out->mutable_facts()->set_coordinator(message.facts.coordinator.value);
  }
  if (message.part != ListPart{}) EncodePart(message.part, out->mutable_part());
}

bool DecodeList(const pb::List& in, ListMessage* out) {
  if (in.op() < pb::List::OP_JOIN || in.op() > pb::List::OP_COMMAND_ACK) return false;
  if (in.lineage() == 0 || in.version() > kCounterMax) return false;
  out->op = static_cast<ListOp>(in.op());
  out->lineage = in.lineage();
  out->version = in.version();
  out->other = in.other();
  out->via = NodeId{in.via()};
  out->offset = in.offset();
  out->facts = {in.facts().lineage(), in.facts().degraded(), in.facts().members(),
                NodeId{in.facts().coordinator()}};
  const bool needs_facts = out->op == ListOp::kOffer || out->op == ListOp::kCommand;
  if (needs_facts && (out->facts.lineage == 0 || !out->facts.coordinator)) return false;
  if (out->op == ListOp::kJoin && !in.has_joiner()) return false;
  if (out->op == ListOp::kPart && !in.has_part()) return false;
  return DecodeBallot(in.ballot(), &out->ballot) && DecodeBallot(in.accepted(), &out->accepted) &&
         DecodeChange(in.change(), &out->change) &&
         (!in.has_joiner() || DecodeEntry(in.joiner(), &out->joiner)) &&
         (!in.has_part() || DecodePart(in.part(), &out->part));
}

}  // namespace roost::membership

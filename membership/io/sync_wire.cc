#include "membership/io/sync_wire.h"

#include <bit>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "membership/io/list_wire.h"
#include "membership/io/update_wire.h"

namespace roost::membership {
namespace {

namespace pb = roost::gossip::v1;

absl::Status Malformed(absl::string_view field) {
  return absl::InvalidArgumentError(absl::StrCat(field, ": is outside its limits"));
}

template <typename Claims>
void EncodeClaims(const std::vector<Update>& claims, Claims* out) {
  for (const Update& claim : claims) {
    EncodeUpdate(claim, claim.member.attributes_known(), out->Add());
  }
}

template <typename Claims>
bool DecodeClaims(const Claims& in, std::vector<Update>* out) {
  if (static_cast<size_t>(in.size()) > OrderedList::kMembersMax) return false;
  out->reserve(static_cast<size_t>(in.size()));
  for (const pb::Update& claim : in) {
    if (!DecodeUpdate(claim, &out->emplace_back())) return false;
  }
  return true;
}

template <typename Buckets>
bool DecodeBuckets(const Buckets& in, std::vector<uint32_t>* out) {
  if (static_cast<size_t>(in.size()) > kSyncBucketsMax) return false;
  for (const uint32_t bucket : in) {
    if (bucket >= kSyncBucketsMax) return false;
    out->push_back(bucket);
  }
  return true;
}

bool IsSender(uint64_t id, uint64_t boot_epoch) {
  return id != 0 && boot_epoch != 0 && boot_epoch <= kBootEpochMax;
}

void EncodeWholeList(const OrderedList& list, pb::WholeList* out) {
  out->set_lineage(list.lineage);
  out->set_version(list.version);
  out->set_parent(list.parent);
  out->set_next_join_seq(list.next_join_seq);
  out->set_degraded(list.degraded);
  for (const ListEntry& entry : list.members) EncodeEntry(entry, out->add_members());
  for (const NodeId id : list.base) out->add_base(id.value);
}

bool DecodeWholeList(const pb::WholeList& in, OrderedList* out) {
  ListTag tag;
  pb::ListTag range;
  range.set_version(in.version());
  if (in.lineage() == 0 || !DecodeTag(range, &tag)) return false;
  range.set_version(in.next_join_seq());
  if (!DecodeTag(range, &tag)) return false;
  if (static_cast<size_t>(in.members_size()) > OrderedList::kMembersMax ||
      static_cast<size_t>(in.base_size()) > OrderedList::kMembersMax) {
    return false;
  }
  out->lineage = in.lineage();
  out->version = in.version();
  out->parent = in.parent();
  out->next_join_seq = in.next_join_seq();
  out->degraded = in.degraded();
  for (const pb::ListEntry& entry : in.members()) {
    if (!DecodeEntry(entry, &out->members.emplace_back())) return false;
  }
  for (const uint64_t id : in.base()) out->base.push_back(NodeId{id});
  return true;
}

}  // namespace

void EncodeSyncRequest(const SyncRequest& request, absl::string_view cluster,
                       pb::SyncRequest* out) {
  out->set_cluster(std::string(cluster));
  out->set_sender(request.sender.value);
  out->set_sender_boot_epoch(request.sender_boot_epoch);
  EncodeTag(request.tag, out->mutable_tag());
  out->set_lineage(request.lineage);
  EncodeClaims(request.claims, out->mutable_claims());
  out->mutable_digests()->Add(request.digests.begin(), request.digests.end());
  out->mutable_buckets()->Add(request.buckets.begin(), request.buckets.end());
}

void EncodeSyncAnswer(const SyncAnswer& answer, pb::SyncAnswer* out) {
  out->set_sender(answer.sender.value);
  out->set_sender_boot_epoch(answer.sender_boot_epoch);
  EncodeTag(answer.tag, out->mutable_tag());
  EncodeClaims(answer.claims, out->mutable_claims());
  out->mutable_answered()->Add(answer.answered.begin(), answer.answered.end());
  out->mutable_left_over()->Add(answer.left_over.begin(), answer.left_over.end());
  if (answer.list) EncodeWholeList(*answer.list, out->mutable_list());
}

absl::Status DecodeSyncRequest(const pb::SyncRequest& in, absl::string_view cluster,
                               SyncRequest* out) {
  if (in.cluster() != cluster) return absl::FailedPreconditionError("cluster.name differs");
  *out = SyncRequest{};
  out->sender = NodeId{in.sender()};
  out->sender_boot_epoch = in.sender_boot_epoch();
  out->lineage = in.lineage();
  if (!IsSender(in.sender(), in.sender_boot_epoch())) return Malformed("sender");
  if (!DecodeTag(in.tag(), &out->tag)) return Malformed("tag");
  if (!DecodeClaims(in.claims(), &out->claims)) return Malformed("claims");
  const auto digests = static_cast<size_t>(in.digests_size());
  if (digests > kSyncBucketsMax || (digests != 0 && !std::has_single_bit(digests))) {
    return Malformed("digests");
  }
  out->digests.assign(in.digests().begin(), in.digests().end());
  return DecodeBuckets(in.buckets(), &out->buckets) ? absl::OkStatus() : Malformed("buckets");
}

absl::Status DecodeSyncAnswer(const pb::SyncAnswer& in, SyncAnswer* out) {
  *out = SyncAnswer{};
  out->sender = NodeId{in.sender()};
  out->sender_boot_epoch = in.sender_boot_epoch();
  if (!IsSender(in.sender(), in.sender_boot_epoch())) return Malformed("sender");
  if (!DecodeTag(in.tag(), &out->tag)) return Malformed("tag");
  if (!DecodeClaims(in.claims(), &out->claims)) return Malformed("claims");
  if (!DecodeBuckets(in.answered(), &out->answered)) return Malformed("answered");
  if (!DecodeBuckets(in.left_over(), &out->left_over)) return Malformed("left_over");
  if (in.has_list() && !DecodeWholeList(in.list(), &out->list.emplace())) return Malformed("list");
  return absl::OkStatus();
}

}  // namespace roost::membership

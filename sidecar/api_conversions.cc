#include "sidecar/api_conversions.h"

#include <algorithm>
#include <cassert>
#include <map>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "proto/config.pb.h"
#include "store/fencing_token.h"
#include "store/session_key.h"

namespace roost::sidecar {
namespace {

using membership::NodeId;
using membership::View;
using store::Ack;
using store::SessionKey;

constexpr size_t kNamespaceBytesMax = 64;
constexpr size_t kIdBytesMax = 1'024;
constexpr size_t kNameBytesMax = 256;
constexpr size_t kSchemaBytesMax = 128;
constexpr size_t kPrincipalBytesMax = 256;
constexpr size_t kPageDefault = 100;
constexpr int64_t kLockLeaseMsDefault = 30'000;

absl::Status Invalid(absl::string_view field, absl::string_view reason) {
  return absl::InvalidArgumentError(absl::StrCat(field, ": ", reason));
}

absl::Status CheckLength(absl::string_view field, absl::string_view text, size_t max) {
  if (text.size() <= max) return absl::OkStatus();
  return Invalid(field,
                 absl::StrCat("is ", text.size(), " bytes long, at most ", max, " are allowed"));
}

absl::Status CheckNamespace(absl::string_view name_space) {
  if (absl::Status status = CheckLength("namespace", name_space, kNamespaceBytesMax);
      !status.ok()) {
    return status;
  }
  const bool plain = std::all_of(name_space.begin(), name_space.end(), [](char c) {
    return absl::ascii_isalnum(c) || c == '_' || c == '.' || c == '-';
  });
  return plain ? absl::OkStatus()
               : Invalid("namespace", "may hold only letters, digits, '_', '.' and '-'");
}

absl::Status CheckName(absl::string_view field, absl::string_view name) {
  if (name.empty()) return Invalid(field, "an attribute's name is empty");
  if (name.size() <= kNameBytesMax) return absl::OkStatus();
  return Invalid(field, absl::StrCat("an attribute's name is ", name.size(),
                                     " bytes long, at most ", kNameBytesMax, " are allowed"));
}

using ValueMap = google::protobuf::Map<std::string, std::string>;

// `field` is what the request calls `values`. Names and values are never part of a message.
absl::StatusOr<std::map<std::string, store::Attribute>> ToAttributes(absl::string_view field,
                                                                     const ValueMap& values,
                                                                     const ValueMap& schemas,
                                                                     const store::Options& limits) {
  if (values.size() > static_cast<size_t>(limits.attributes_max)) {
    return Invalid(field, absl::StrCat("has ", values.size(), " attributes, at most ",
                                       limits.attributes_max, " are allowed"));
  }
  std::map<std::string, store::Attribute> attributes;
  int64_t total = 0;
  for (const auto& [name, value] : values) {
    if (absl::Status status = CheckName(field, name); !status.ok()) return status;
    const auto size = static_cast<int64_t>(value.size());
    if (size > limits.attribute_bytes_max) {
      return Invalid(field, absl::StrCat("a value is ", size, " bytes long, at most ",
                                         limits.attribute_bytes_max, " are allowed"));
    }
    total += size;
    attributes[name].value = value;
  }
  if (total > limits.session_bytes_max) {
    return Invalid(field, absl::StrCat("its values are ", total, " bytes in all, at most ",
                                       limits.session_bytes_max, " are allowed"));
  }
  for (const auto& [name, schema] : schemas) {
    const auto found = attributes.find(name);
    if (found == attributes.end()) {
      return Invalid("schemas", absl::StrCat("names an attribute that is not in ", field));
    }
    if (absl::Status status = CheckLength("schemas", schema, kSchemaBytesMax); !status.ok()) {
      return status;
    }
    found->second.schema = schema;
  }
  return attributes;
}

absl::Status CheckTtl(absl::string_view field, int64_t ttl_ms, int64_t max_ms) {
  if (ttl_ms >= 0 && ttl_ms <= max_ms) return absl::OkStatus();
  return Invalid(field, absl::StrCat(ttl_ms, " ms is not within 0 to ", max_ms));
}

// Empty means "default", in keys and in records.
std::string NamespaceOf(const std::string& name_space) {
  return name_space.empty() ? "default" : name_space;
}

absl::Status CheckTtls(const v1::CreateRequest& request, const store::Options& limits) {
  absl::Status status =
      CheckTtl("absolute_ttl_ms", request.absolute_ttl_ms(), limits.absolute_ttl_max.count());
  if (!status.ok()) return status;
  const int64_t absolute =
      request.absolute_ttl_ms() != 0 ? request.absolute_ttl_ms() : limits.absolute_ttl.count();
  status = CheckTtl("renewal_ttl_ms", request.renewal_ttl_ms(), limits.absolute_ttl_max.count());
  if (!status.ok()) return status;
  return CheckTtl("idle_ttl_ms", request.idle_ttl_ms(), absolute);
}

template <typename Names>
void ShowNames(const std::vector<NodeId>& ids, const View* view, Names* out) {
  for (NodeId id : ids) *out->Add() = NameOf(id, view);
}

v1::MemberState ToProto(membership::MemberState state) {
  switch (state) {
    case membership::MemberState::kAlive:
      return v1::MEMBER_STATE_ALIVE;
    case membership::MemberState::kSuspect:
      return v1::MEMBER_STATE_SUSPECT;
    case membership::MemberState::kDead:
      return v1::MEMBER_STATE_DEAD;
    case membership::MemberState::kLeft:
      return v1::MEMBER_STATE_LEFT;
  }
  return v1::MEMBER_STATE_UNSPECIFIED;
}

void ShowMember(const membership::Member& member, bool self, v1::Member* out) {
  out->set_id(member.id.ToString());
  out->set_name(member.name);
  out->set_state(ToProto(member.state));
  out->set_boot_epoch(member.boot_epoch);
  out->set_incarnation(member.incarnation);
  out->set_host(member.gossip.Host());
  out->set_gossip_port(member.gossip.port);
  out->set_peer_port(member.peer_port);
  out->set_forward_port(member.forward_port);
  out->set_zone(member.zone);
  out->set_draining(member.draining);
  out->set_self(self);
  out->set_join_seq(member.join_seq);
  out->set_app(static_cast<v1::AppHealth>(member.app));
  out->set_protocol_min(member.protocol_min);
  out->set_protocol_max(member.protocol_max);
  out->set_rtt_us(static_cast<uint64_t>(member.rtt.count()));
  for (const auto& [name, value] : member.attributes.values()) {
    (*out->mutable_attributes())[name] = value;
  }
}

}  // namespace

absl::StatusOr<Ack> ToAck(v1::Ack ack) {
  switch (ack) {
    case v1::ACK_UNSPECIFIED:
      return Ack::kDefault;
    case v1::ACK_LOCAL:
      return Ack::kLocal;
    case v1::ACK_ONE:
      return Ack::kOne;
    case v1::ACK_ALL:
      return Ack::kAll;
    default:
      return Invalid("ack", absl::StrCat(static_cast<int>(ack), " is not a known value"));
  }
}

std::string NameOf(NodeId id, const View* view) {
  const membership::Member* member = view == nullptr ? nullptr : view->Find(id);
  return member == nullptr ? id.ToString() : member->name;
}

absl::StatusOr<uint64_t> ToPrincipal(const std::string& name_space, const std::string& principal) {
  if (absl::Status status = CheckNamespace(name_space); !status.ok()) return status;
  if (principal.empty()) return Invalid("principal", "is empty");
  if (absl::Status status = CheckLength("principal", principal, kPrincipalBytesMax); !status.ok()) {
    return status;
  }
  return store::PrincipalHash(NamespaceOf(name_space), principal);
}

absl::StatusOr<size_t> ToPageSize(uint32_t page_size) {
  if (page_size <= store::kListLimitMax) return page_size == 0 ? kPageDefault : page_size;
  return Invalid("page_size", absl::StrCat("at most ", store::kListLimitMax, " are allowed"));
}

void Show(const store::ListPage& page, const View* view, v1::ListResponse* out) {
  for (const store::ListEntry& entry : page.entries) {
    v1::ListResponse::Entry* shown = out->add_sessions();
    shown->set_session_key(entry.key.ToHex());
    ShowNames(entry.copy_set, view, shown->mutable_copy_set());
    shown->set_epoch(entry.epoch.n);
    shown->set_version(entry.version);
    shown->set_idle_remaining_ms(entry.idle_remaining_ms);
    shown->set_size_bytes(entry.size_bytes);
  }
  ShowNames(page.unanswered, view, out->mutable_unanswered());
}

absl::StatusOr<SessionKey> KeyOfRequest(const std::string& name_space, const std::string& id,
                                        const ApiRules& rules) {
  if (absl::Status status = CheckNamespace(name_space); !status.ok()) return status;
  if (id.empty()) return Invalid("id", "is empty");
  if (absl::Status status = CheckLength("id", id, kIdBytesMax); !status.ok()) return status;
  const std::string named = NamespaceOf(name_space);
  return store::MakeSessionKey(named, id, rules.ModeOf(named));
}

absl::StatusOr<SessionKey> KeyOfRequest(const v1::ResolveRequest& request, const ApiRules& rules) {
  if (request.session_key().empty()) return KeyOfRequest(request.namespace_(), request.id(), rules);
  if (!request.id().empty()) return Invalid("session_key", "is set together with id; give one");
  const auto key = SessionKey::FromHex(request.session_key());
  if (!key) return Invalid("session_key", "is not 32 hexadecimal digits");
  return *key;
}

absl::StatusOr<store::CreateOp> ToOperation(const v1::CreateRequest& request, const std::string& id,
                                            const ApiRules& rules) {
  store::CreateOp operation;
  const auto key = KeyOfRequest(request.namespace_(), id, rules);
  if (!key.ok()) return key.status();
  auto attributes =
      ToAttributes("attributes", request.attributes(), request.schemas(), rules.limits);
  if (!attributes.ok()) return attributes.status();
  absl::Status status = CheckLength("principal", request.principal(), kPrincipalBytesMax);
  status.Update(CheckTtls(request, rules.limits));
  if (!status.ok()) return status;
  const auto ack = ToAck(request.ack());
  if (!ack.ok()) return ack.status();
  operation.key = *key;
  operation.attributes = *std::move(attributes);
  operation.principal = request.principal();
  if (!request.principal().empty()) operation.name_space = NamespaceOf(request.namespace_());
  operation.renewal_ttl_ms = request.renewal_ttl_ms();
  operation.idle_ttl_ms = request.idle_ttl_ms();
  operation.absolute_ttl_ms = request.absolute_ttl_ms();
  operation.ack = *ack;
  return operation;
}

absl::StatusOr<store::GetOp> ToOperation(const v1::GetRequest& request, const ApiRules& rules) {
  const auto key = KeyOfRequest(request.namespace_(), request.id(), rules);
  if (!key.ok()) return key.status();
  return store::GetOp{.key = *key, .peek = request.peek(), .min_version = request.min_version()};
}

absl::StatusOr<store::PutOp> ToOperation(const v1::PutRequest& request, const ApiRules& rules) {
  const auto key = KeyOfRequest(request.namespace_(), request.id(), rules);
  if (!key.ok()) return key.status();
  if (request.create() && request.expected_version() != 0) {
    return Invalid("create", "is not allowed together with expected_version");
  }
  auto set = ToAttributes("set", request.set(), request.schemas(), rules.limits);
  if (!set.ok()) return set.status();
  if (request.remove_size() > rules.limits.attributes_max) {
    return Invalid("remove", absl::StrCat("has ", request.remove_size(), " names, at most ",
                                          rules.limits.attributes_max, " are allowed"));
  }
  for (const std::string& name : request.remove()) {
    if (absl::Status status = CheckName("remove", name); !status.ok()) return status;
    if (set->count(name) != 0) return Invalid("remove", "names an attribute that is in set too");
  }
  if (absl::Status status = CheckLength("principal", request.principal(), kPrincipalBytesMax);
      !status.ok()) {
    return status;
  }
  const auto ack = ToAck(request.ack());
  if (!ack.ok()) return ack.status();
  store::PutOp operation;
  operation.key = *key;
  operation.set = *std::move(set);
  operation.remove.assign(request.remove().begin(), request.remove().end());
  operation.replace_all = request.replace_all();
  operation.expected_version = request.expected_version();
  operation.lock_token = request.lock_token();
  operation.create = request.create();
  operation.principal = request.principal();
  if (!request.principal().empty()) operation.name_space = NamespaceOf(request.namespace_());
  operation.ack = *ack;
  return operation;
}

absl::StatusOr<store::IncrementOp> ToOperation(const v1::IncrementRequest& request,
                                               const ApiRules& rules) {
  const auto key = KeyOfRequest(request.namespace_(), request.id(), rules);
  if (!key.ok()) return key.status();
  if (absl::Status status = CheckName("name", request.name()); !status.ok()) return status;
  const auto ack = ToAck(request.ack());
  if (!ack.ok()) return ack.status();
  return store::IncrementOp{.key = *key,
                            .name = request.name(),
                            .delta = request.delta(),
                            .initial = request.initial(),
                            .ack = *ack};
}

absl::StatusOr<store::RotateOp> ToOperation(const v1::RotateRequest& request,
                                            const std::string& new_id, const ApiRules& rules) {
  const auto key = KeyOfRequest(request.namespace_(), request.id(), rules);
  if (!key.ok()) return key.status();
  if (absl::Status status = CheckLength("new_id", new_id, kIdBytesMax); !status.ok()) return status;
  if (new_id == request.id()) return Invalid("new_id", "is the session's id already");
  const auto new_key = KeyOfRequest(request.namespace_(), new_id, rules);
  if (!new_key.ok()) return new_key.status();
  if (absl::Status status = CheckLength("principal", request.principal(), kPrincipalBytesMax);
      !status.ok()) {
    return status;
  }
  const auto ack = ToAck(request.ack());
  if (!ack.ok()) return ack.status();
  store::RotateOp operation;
  operation.key = *key;
  operation.new_key = *new_key;
  operation.principal = request.principal();
  if (!request.principal().empty()) operation.name_space = NamespaceOf(request.namespace_());
  operation.ack = *ack;
  return operation;
}

absl::StatusOr<store::LockOp> ToOperation(const v1::LockRequest& request, const ApiRules& rules) {
  const auto key = KeyOfRequest(request.namespace_(), request.id(), rules);
  if (!key.ok()) return key.status();
  if (absl::Status status = CheckTtl("wait_ms", request.wait_ms(), store::kLockWaitMsMax);
      !status.ok()) {
    return status;
  }
  const int64_t lease_ms = request.lease_ms() == 0 ? kLockLeaseMsDefault : request.lease_ms();
  if (lease_ms < store::kLockLeaseMsMin || lease_ms > store::kLockLeaseMsMax) {
    return Invalid("lease_ms", absl::StrCat(lease_ms, " ms is not within ", store::kLockLeaseMsMin,
                                            " to ", store::kLockLeaseMsMax));
  }
  const auto ack = ToAck(request.ack());
  if (!ack.ok()) return ack.status();
  return store::LockOp{.key = *key,
                       .token = request.token(),
                       .wait_ms = request.wait_ms(),
                       .lease_ms = lease_ms,
                       .ack = *ack};
}

absl::StatusOr<store::UnlockOp> ToOperation(const v1::UnlockRequest& request,
                                            const ApiRules& rules) {
  const auto key = KeyOfRequest(request.namespace_(), request.id(), rules);
  if (!key.ok()) return key.status();
  if (request.token() == 0) return Invalid("token", "is 0, which no lock has");
  return store::UnlockOp{.key = *key, .token = request.token()};
}

absl::StatusOr<store::TouchOp> ToOperation(const v1::TouchRequest& request, const ApiRules& rules) {
  const auto key = KeyOfRequest(request.namespace_(), request.id(), rules);
  if (!key.ok()) return key.status();
  return store::TouchOp{.key = *key};
}

absl::StatusOr<store::DeleteOp> ToOperation(const v1::DeleteRequest& request,
                                            const ApiRules& rules) {
  const auto key = KeyOfRequest(request.namespace_(), request.id(), rules);
  if (!key.ok()) return key.status();
  const auto ack = ToAck(request.ack());
  if (!ack.ok()) return ack.status();
  return store::DeleteOp{.key = *key, .ack = *ack};
}

void Fill(const store::OperationResult& result, const v1::CreateRequest&, const View*,
          v1::CreateResponse* out) {
  Show(result.receipt, out->mutable_receipt());
}

void Fill(const store::OperationResult& result, const v1::GetRequest& request, const View* view,
          v1::GetResponse* out) {
  assert(result.session != nullptr);
  v1::Session* session = out->mutable_session();
  session->set_namespace_(request.namespace_().empty() ? "default" : request.namespace_());
  session->set_id(request.id());
  // Rotations stay within a namespace, and so within its mode.
  const store::Mode mode = result.session->key.mode();
  session->set_rotated(result.session->key !=
                       store::MakeSessionKey(session->namespace_(), request.id(), mode));
  Show(result, view, session);
}

void Fill(const store::OperationResult& result, const v1::PutRequest&, const View*,
          v1::PutResponse* out) {
  Show(result.receipt, out->mutable_receipt());
  out->set_created(result.created);
}

void Fill(const store::OperationResult& result, const v1::TouchRequest&, const View*,
          v1::TouchResponse* out) {
  out->set_idle_remaining_ms(result.idle_remaining_ms);
  out->set_absolute_deadline_ms(result.absolute_deadline_ms);
  out->set_renewal_due_ms(result.renewal_due_ms);
  out->set_renewal_due(result.renewal_due);
}

void Fill(const store::OperationResult& result, const v1::DeleteRequest&, const View*,
          v1::DeleteResponse* out) {
  Show(result.receipt, out->mutable_receipt());
}

void Fill(const store::OperationResult& result, const v1::IncrementRequest&, const View*,
          v1::IncrementResponse* out) {
  out->set_value(result.counter);
  Show(result.receipt, out->mutable_receipt());
}

void Fill(const store::OperationResult& result, const v1::RotateRequest&, const View*,
          v1::RotateResponse* out) {
  Show(result.receipt, out->mutable_receipt());
}

void Fill(const store::OperationResult& result, const v1::LockRequest&, const View*,
          v1::LockResponse* out) {
  out->set_token(result.lock_token);
  Show(result.receipt, out->mutable_receipt());
}

void Fill(const store::OperationResult&, const v1::UnlockRequest&, const View*,
          v1::UnlockResponse*) {}

absl::Status CheckMembers(const View* view) {
  if (view == nullptr || !view->below_min_members()) return absl::OkStatus();
  return absl::UnavailableError(
      "this node sees fewer live members than split_brain.min_members; writes are refused");
}

void Show(const store::Receipt& receipt, v1::WriteReceipt* out) {
  out->set_version(receipt.version);
  out->set_epoch(receipt.epoch.n);
  out->set_epoch_node(receipt.epoch.node.ToString());
  out->set_copies(receipt.copies);
  out->set_zones(receipt.zones);
  out->set_degraded(receipt.degraded);
  out->set_fencing_token(store::FencingToken(receipt.epoch));
}

void Show(const store::OperationResult& result, const View* view, v1::Session* out) {
  const store::Session& session = *result.session;
  out->set_session_key(session.key.ToHex());
  out->set_version(session.version);
  out->set_epoch(session.epoch.n);
  out->set_epoch_node(session.epoch.node.ToString());
  out->set_fencing_token(store::FencingToken(session.epoch));
  out->set_fenced(session.key.fenced());
  out->set_owner(NameOf(session.owner(), view));
  ShowNames(session.copy_set, view, out->mutable_copy_set());
  for (const auto& [name, attribute] : session.attributes) {
    v1::Attribute& shown = (*out->mutable_attributes())[name];
    shown.set_value(attribute.value);
    shown.set_schema(attribute.schema);
    shown.set_version(attribute.version);
  }
  out->set_principal(session.principal);
  out->set_created_ms(session.created_ms);
  out->set_idle_remaining_ms(result.idle_remaining_ms);
  out->set_absolute_deadline_ms(session.absolute_deadline_ms);
  out->set_renewal_due_ms(result.renewal_due_ms);
  out->set_renewal_due(result.renewal_due);
}

void Show(const store::Ownership& ownership, SessionKey key, const View* view,
          v1::ResolveResponse* out) {
  out->set_session_key(key.ToHex());
  out->set_deleted(ownership.state == store::Ownership::State::kDeleted);
  if (ownership.owner) {
    out->set_owner(NameOf(ownership.owner, view));
    out->set_owner_node(ownership.owner.ToString());
    out->set_owned_here(view != nullptr && ownership.owner == view->self());
  }
  out->set_epoch(ownership.epoch.n);
  if (ownership.epoch.node) out->set_epoch_node(ownership.epoch.node.ToString());
  out->set_version(ownership.version);
  ShowNames(ownership.copy_set, view, out->mutable_copy_set());
}

void Show(const store::ListEntry& entry, const View* view, v1::ListSessionsResponse::Entry* out) {
  out->set_session_key(entry.key.ToHex());
  if (!entry.copy_set.empty()) out->set_owner(NameOf(entry.copy_set.front(), view));
  out->set_epoch(entry.epoch.n);
  out->set_version(entry.version);
  ShowNames(entry.copy_set, view, out->mutable_copy_set());
  out->set_idle_remaining_ms(entry.idle_remaining_ms);
  out->set_deleted(entry.tombstone);
  out->set_size_bytes(entry.size_bytes);
  out->set_conflicts(entry.conflicts);
}

void Show(const store::Session& session, v1::ShowConflictsResponse* out) {
  for (const store::Conflict& conflict : session.conflicts) {
    v1::ShowConflictsResponse::Conflict* shown = out->add_conflicts();
    shown->set_id(absl::StrFormat("%016x", conflict.id));
    shown->set_when_ms(conflict.when_ms);
    shown->set_policy(config::v1::MergePolicy_Name(static_cast<int>(conflict.policy)));
    shown->set_lost_epoch(conflict.lost_epoch.n);
    shown->set_lost_version(conflict.lost_version);
    shown->set_kept_epoch(conflict.kept_epoch.n);
    shown->set_kept_version(conflict.kept_version);
    for (const store::Loss& loss : conflict.losses) {
      v1::ShowConflictsResponse::Loss* lost = shown->add_losses();
      lost->set_name(loss.name);
      lost->set_removed(loss.removed);
      lost->set_value(loss.attribute.value);
      lost->set_schema(loss.attribute.schema);
    }
  }
}

void Show(const View& view, v1::MembersResponse* out) {
  out->set_view(view.version());
  std::vector<const membership::Member*> members;
  for (const auto& member : view.members()) members.push_back(&member);
  std::sort(members.begin(), members.end(), [](const auto* a, const auto* b) {
    // Without a place (0): last.
    return std::tuple(a->join_seq - 1, a->name, a->id) <
           std::tuple(b->join_seq - 1, b->name, b->id);
  });
  const membership::ListSummary& list = view.list();
  for (const auto* member : members) {
    ShowMember(*member, member->id == view.self(), out->add_members());
    out->mutable_members()->rbegin()->set_coordinator(member->id == list.coordinator);
  }
  if (list.lineage != 0) out->set_lineage(absl::StrFormat("%016x", list.lineage));
  if (list.parent != 0) out->set_parent_lineage(absl::StrFormat("%016x", list.parent));
  if (list.coordinator) out->set_coordinator(NameOf(list.coordinator, &view));
  out->set_list_version(list.version);
  out->set_degraded(list.degraded);
  out->set_below_min_members(list.below_min_members);
  out->set_protocol_version(view.protocol_version());
}

grpc::Status ToGrpcStatus(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  // Both follow google.rpc.Code.
  return {static_cast<grpc::StatusCode>(status.code()), std::string(status.message())};
}

}  // namespace roost::sidecar

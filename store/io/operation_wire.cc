// The forwarded calls of replication_wire.h.
#include <cassert>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "store/io/record_proto.h"
#include "store/io/replication_wire.h"

namespace roost::store {
namespace {

absl::Status Bad(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("forwarded call: ", what));
}

absl::StatusOr<Ack> DecodeAck(uint32_t ack) {
  if (ack > static_cast<uint32_t>(Ack::kAll)) return Bad("ack is not known");
  return static_cast<Ack>(ack);
}

absl::Status CheckPrincipal(const std::string& principal, const std::string& name_space) {
  if (principal.size() > kPrincipalBytesMax) {
    return Bad(absl::StrCat("principal above ", kPrincipalBytesMax, " bytes"));
  }
  if (name_space.size() > kNamespaceBytesMax) {
    return Bad(absl::StrCat("namespace above ", kNamespaceBytesMax, " bytes"));
  }
  return absl::OkStatus();
}

absl::StatusOr<Operation> DecodeCreate(SessionKey key, peer::v1::Operation::Create* message) {
  const auto ack = DecodeAck(message->ack());
  if (!ack.ok()) return ack.status();
  if (absl::Status status = CheckPrincipal(message->principal(), message->namespace_());
      !status.ok()) {
    return status;
  }
  if (message->idle_ttl_ms() < 0 || message->absolute_ttl_ms() < 0 ||
      message->renewal_ttl_ms() < 0) {
    return Bad("TTL is negative");
  }
  auto attributes = DecodeAttributes(message->mutable_attributes());
  if (!attributes.ok()) return attributes.status();
  return CreateOp{.key = key,
                  .attributes = *std::move(attributes),
                  .principal = std::move(*message->mutable_principal()),
                  .name_space = std::move(*message->mutable_namespace_()),
                  .idle_ttl_ms = message->idle_ttl_ms(),
                  .absolute_ttl_ms = message->absolute_ttl_ms(),
                  .renewal_ttl_ms = message->renewal_ttl_ms(),
                  .ack = *ack};
}

absl::StatusOr<Operation> DecodePut(SessionKey key, peer::v1::Operation::Put* message) {
  const auto ack = DecodeAck(message->ack());
  if (!ack.ok()) return ack.status();
  if (absl::Status status = CheckPrincipal(message->principal(), message->namespace_());
      !status.ok()) {
    return status;
  }
  if (message->remove_size() > kRecordAttributesMax) {
    return Bad(absl::StrCat("removes more than ", kRecordAttributesMax, " attributes"));
  }
  auto set = DecodeAttributes(message->mutable_set());
  if (!set.ok()) return set.status();
  PutOp put{.key = key,
            .set = *std::move(set),
            .remove = {},
            .replace_all = message->replace_all(),
            .expected_version = message->expected_version(),
            .create = message->create(),
            .principal = std::move(*message->mutable_principal()),
            .name_space = std::move(*message->mutable_namespace_()),
            .lock_token = message->lock_token(),
            .ack = *ack};
  put.remove.reserve(message->remove_size());
  for (std::string& name : *message->mutable_remove()) {
    if (name.size() > kAttributeNameBytesMax) {
      return Bad(absl::StrCat("attribute name above ", kAttributeNameBytesMax, " bytes"));
    }
    put.remove.push_back(std::move(name));
  }
  return put;
}

absl::StatusOr<Operation> DecodeIncrement(SessionKey key, peer::v1::Operation::Increment* message) {
  const auto ack = DecodeAck(message->ack());
  if (!ack.ok()) return ack.status();
  if (message->name().empty() || message->name().size() > kAttributeNameBytesMax) {
    return Bad(absl::StrCat("attribute name must have 1 to ", kAttributeNameBytesMax, " bytes"));
  }
  return IncrementOp{.key = key,
                     .name = std::move(*message->mutable_name()),
                     .delta = message->delta(),
                     .initial = message->initial(),
                     .ack = *ack};
}

absl::StatusOr<Operation> DecodeRotate(SessionKey key, peer::v1::Operation::Rotate* message) {
  const auto ack = DecodeAck(message->ack());
  if (!ack.ok()) return ack.status();
  const auto new_key = DecodeKey(message->new_key());
  if (!new_key.ok()) return new_key.status();
  if (absl::Status status = CheckPrincipal(message->principal(), message->namespace_());
      !status.ok()) {
    return status;
  }
  return RotateOp{.key = key,
                  .new_key = *new_key,
                  .principal = std::move(*message->mutable_principal()),
                  .name_space = std::move(*message->mutable_namespace_()),
                  .ack = *ack};
}

absl::StatusOr<Operation> DecodeList(SessionKey key, const peer::v1::Operation::List& message) {
  if (message.limit() == 0 || message.limit() > kListLimitMax) {
    return Bad(absl::StrCat("list.limit must be 1 to ", kListLimitMax));
  }
  return ListOp{.key = key,
                .first = message.first(),
                .principal = message.principal(),
                .limit = message.limit()};
}

void EncodePage(const ListPage& page, peer::v1::Page* out) {
  for (const ListEntry& entry : page.entries) {
    peer::v1::Page::Entry* encoded = out->add_entries();
    encoded->set_key(entry.key.ToBytes());
    EncodeEpoch(entry.epoch, encoded->mutable_epoch());
    encoded->set_version(entry.version);
    for (const membership::NodeId id : entry.copy_set) encoded->add_copy_set(id.value);
    encoded->set_idle_remaining_ms(entry.idle_remaining_ms);
    encoded->set_size_bytes(entry.size_bytes);
  }
  out->set_more(page.more);
  if (page.more) out->set_reached(page.reached.ToBytes());
}

absl::StatusOr<ListPage> DecodePage(const peer::v1::Page& page) {
  if (static_cast<size_t>(page.entries_size()) > kListLimitMax) {
    return Bad(absl::StrCat("page has more than ", kListLimitMax, " entries"));
  }
  ListPage decoded;
  for (const peer::v1::Page::Entry& entry : page.entries()) {
    const auto key = DecodeKey(entry.key());
    if (!key.ok()) return key.status();
    if (static_cast<size_t>(entry.copy_set_size()) > kRecordHoldersMax) {
      return Bad("page: copy_set names too many nodes");
    }
    ListEntry& added = decoded.entries.emplace_back();
    added.key = *key;
    added.epoch = DecodeEpoch(entry.epoch());
    added.version = entry.version();
    for (const uint64_t id : entry.copy_set()) added.copy_set.push_back(membership::NodeId{id});
    added.idle_remaining_ms = entry.idle_remaining_ms();
    added.size_bytes = entry.size_bytes();
  }
  decoded.more = page.more();
  if (!page.more()) return decoded;
  const auto reached = DecodeKey(page.reached());
  if (!reached.ok()) return reached.status();
  decoded.reached = *reached;
  return decoded;
}

struct OperationEncoder {
  peer::v1::Operation* out;

  void operator()(const CreateOp& op) const {
    peer::v1::Operation::Create* create = out->mutable_create();
    EncodeAttributes(op.attributes, create->mutable_attributes());
    create->set_principal(op.principal);
    create->set_namespace_(op.name_space);
    create->set_renewal_ttl_ms(op.renewal_ttl_ms);
    create->set_idle_ttl_ms(op.idle_ttl_ms);
    create->set_absolute_ttl_ms(op.absolute_ttl_ms);
    create->set_ack(static_cast<uint32_t>(op.ack));
  }
  void operator()(const GetOp& op) const {
    out->mutable_get()->set_peek(op.peek);
    out->mutable_get()->set_min_version(op.min_version);
  }
  void operator()(const PutOp& op) const {
    peer::v1::Operation::Put* put = out->mutable_put();
    EncodeAttributes(op.set, put->mutable_set());
    for (const std::string& name : op.remove) put->add_remove(name);
    put->set_replace_all(op.replace_all);
    put->set_expected_version(op.expected_version);
    put->set_create(op.create);
    put->set_principal(op.principal);
    put->set_namespace_(op.name_space);
    put->set_lock_token(op.lock_token);
    put->set_ack(static_cast<uint32_t>(op.ack));
  }
  void operator()(const TouchOp&) const { out->mutable_touch(); }
  void operator()(const DeleteOp& op) const {
    out->mutable_delete_()->set_ack(static_cast<uint32_t>(op.ack));
  }
  void operator()(const IncrementOp& op) const {
    peer::v1::Operation::Increment* increment = out->mutable_increment();
    increment->set_name(op.name);
    increment->set_delta(op.delta);
    increment->set_initial(op.initial);
    increment->set_ack(static_cast<uint32_t>(op.ack));
  }
  void operator()(const RotateOp& op) const {
    peer::v1::Operation::Rotate* rotate = out->mutable_rotate();
    rotate->set_new_key(op.new_key.ToBytes());
    rotate->set_principal(op.principal);
    rotate->set_namespace_(op.name_space);
    rotate->set_ack(static_cast<uint32_t>(op.ack));
  }
  void operator()(const ListOp& op) const {
    out->mutable_list()->set_first(op.first);
    out->mutable_list()->set_principal(op.principal);
    out->mutable_list()->set_limit(op.limit);
  }
  void operator()(const LockOp& op) const {
    peer::v1::Operation::Lock* lock = out->mutable_lock();
    lock->set_token(op.token);
    lock->set_wait_ms(op.wait_ms);
    lock->set_lease_ms(op.lease_ms);
    lock->set_ack(static_cast<uint32_t>(op.ack));
  }
  void operator()(const UnlockOp& op) const { out->mutable_unlock()->set_token(op.token); }
  void operator()(const ConflictOp& op) const {
    out->mutable_conflict()->set_id(op.conflict);
    out->mutable_conflict()->set_forget(op.forget);
    out->mutable_conflict()->set_ack(static_cast<uint32_t>(op.ack));
  }
  void operator()(const LearnOp&) const { assert(false); }
};

}  // namespace

void EncodeOperation(const Operation& operation, peer::v1::Operation* out) {
  out->set_key(KeyOf(operation).ToBytes());
  std::visit(OperationEncoder{out}, operation);
}

absl::StatusOr<Operation> DecodeOperation(peer::v1::Operation* operation) {
  const auto key = DecodeKey(operation->key());
  if (!key.ok()) return key.status();
  switch (operation->kind_case()) {
    case peer::v1::Operation::kCreate:
      return DecodeCreate(*key, operation->mutable_create());
    case peer::v1::Operation::kGet:
      return GetOp{.key = *key,
                   .peek = operation->get().peek(),
                   .min_version = operation->get().min_version()};
    case peer::v1::Operation::kPut:
      return DecodePut(*key, operation->mutable_put());
    case peer::v1::Operation::kTouch:
      return TouchOp{.key = *key};
    case peer::v1::Operation::kDelete: {
      const auto ack = DecodeAck(operation->delete_().ack());
      if (!ack.ok()) return ack.status();
      return DeleteOp{.key = *key, .ack = *ack};
    }
    case peer::v1::Operation::kIncrement:
      return DecodeIncrement(*key, operation->mutable_increment());
    case peer::v1::Operation::kRotate:
      return DecodeRotate(*key, operation->mutable_rotate());
    case peer::v1::Operation::kList:
      return DecodeList(*key, operation->list());
    case peer::v1::Operation::kLock: {
      const auto ack = DecodeAck(operation->lock().ack());
      if (!ack.ok()) return ack.status();
      return LockOp{.key = *key,
                    .token = operation->lock().token(),
                    .wait_ms = operation->lock().wait_ms(),
                    .lease_ms = operation->lock().lease_ms(),
                    .ack = *ack};
    }
    case peer::v1::Operation::kUnlock:
      return UnlockOp{.key = *key, .token = operation->unlock().token()};
    case peer::v1::Operation::kConflict: {
      const auto ack = DecodeAck(operation->conflict().ack());
      if (!ack.ok()) return ack.status();
      return ConflictOp{.key = *key,
                        .conflict = operation->conflict().id(),
                        .forget = operation->conflict().forget(),
                        .ack = *ack};
    }
    default:
      return Bad("empty or not known to this version");
  }
}

void EncodeResult(const OperationResult& result, peer::v1::ExecuteResponse* out) {
  out->set_code(static_cast<uint32_t>(result.status.code()));
  out->set_message(std::string(result.status.message()));
  out->set_version(result.receipt.version);
  EncodeEpoch(result.receipt.epoch, out->mutable_epoch());
  out->set_copies(result.receipt.copies);
  out->set_zones(result.receipt.zones);
  out->set_degraded(result.receipt.degraded);
  out->set_created(result.created);
  if (result.session != nullptr) EncodeRecord(*result.session, out->mutable_session());
  out->set_idle_remaining_ms(result.idle_remaining_ms);
  out->set_absolute_deadline_ms(result.absolute_deadline_ms);
  out->set_counter(result.counter);
  out->set_lock_token(result.lock_token);
  if (result.page != nullptr) EncodePage(*result.page, out->mutable_page());
  if (result.moved_to != SessionKey{}) out->set_moved_to(result.moved_to.ToBytes());
  out->set_renewal_due_ms(result.renewal_due_ms);
  out->set_renewal_due(result.renewal_due);
  out->set_owner(result.owner.value);
}

absl::StatusOr<OperationResult> DecodeResult(peer::v1::ExecuteResponse* response) {
  if (response->code() > static_cast<uint32_t>(absl::StatusCode::kUnauthenticated)) {
    return Bad("result code is not known");
  }
  OperationResult result;
  result.status =
      absl::Status(static_cast<absl::StatusCode>(response->code()), response->message());
  result.receipt = {.version = response->version(),
                    .epoch = DecodeEpoch(response->epoch()),
                    .copies = response->copies(),
                    .zones = response->zones(),
                    .degraded = response->degraded()};
  result.created = response->created();
  if (response->has_session()) {
    auto session = DecodeRecord(response->mutable_session());
    if (!session.ok()) return session.status();
    result.session = std::make_shared<const Session>(*std::move(session));
  }
  result.idle_remaining_ms = response->idle_remaining_ms();
  result.absolute_deadline_ms = response->absolute_deadline_ms();
  result.counter = response->counter();
  result.lock_token = response->lock_token();
  if (response->has_page()) {
    auto page = DecodePage(response->page());
    if (!page.ok()) return page.status();
    result.page = std::make_shared<const ListPage>(*std::move(page));
  }
  if (!response->moved_to().empty()) {
    const auto moved_to = DecodeKey(response->moved_to());
    if (!moved_to.ok()) return moved_to.status();
    result.moved_to = *moved_to;
  }
  result.renewal_due_ms = response->renewal_due_ms();
  result.renewal_due = response->renewal_due();
  result.owner = membership::NodeId{response->owner()};
  return result;
}

}  // namespace roost::store

#include "store/io/fenced_wire.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "store/io/record_proto.h"

namespace roost::store {
namespace {

constexpr int kPlacesMax = 16;

absl::Status Bad(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("peer message: ", what));
}

absl::Status CheckCount(absl::string_view what, int count) {
  if (static_cast<size_t>(count) <= kFencedItemsMax) return absl::OkStatus();
  return Bad(absl::StrCat(what, " has more than ", kFencedItemsMax, " items"));
}

// Of a fenced session, or the message makes no sense.
absl::StatusOr<SessionKey> DecodeFencedKey(const std::string& bytes) {
  const auto key = DecodeKey(bytes);
  if (key.ok() && !key->fenced()) return Bad("the session is not of the mode fenced");
  return key;
}

Term DecodeTerm(const peer::v1::Term& term) { return {term.boot(), term.n()}; }

void EncodeTerm(Term term, peer::v1::Term* out) {
  out->set_boot(term.boot);
  out->set_n(term.n);
}

}  // namespace

size_t SessionBytes(const SessionPtr& session) {
  if (session == nullptr) return 0;
  size_t bytes = 160 + session->principal.size();
  for (const auto& [name, attribute] : session->attributes) {
    bytes += 44 + name.size() + attribute.value.size() + attribute.schema.size();
  }
  for (const Conflict& conflict : session->conflicts) {
    bytes += 96;
    for (const Loss& loss : conflict.losses) {
      bytes += 48 + loss.name.size() + loss.attribute.value.size() + loss.attribute.schema.size();
    }
  }
  return bytes + 24 * session->ancestors.size();
}

void EncodeTravelling(const Session& session, const Remaining& remaining, peer::v1::Record* out) {
  EncodeRecord(session, out);
  out->clear_last_access_ms();
  out->clear_lock_until_ms();
  out->set_idle_remaining_ms(remaining.idle_ms);
  out->set_lock_remaining_ms(remaining.lock_ms);
}

Remaining DecodeRemaining(const peer::v1::Record& record) {
  // What the receiver makes of it, a time by its own clock, must be fit for its disk.
  const auto bounded = [](int64_t ms) { return std::clamp<int64_t>(ms, 0, kMillisecondsMax / 2); };
  return {.idle_ms = bounded(record.idle_remaining_ms()),
          .lock_ms = bounded(record.lock_remaining_ms())};
}

absl::StatusOr<SessionPtr> DecodeTravelling(peer::v1::Record* record) {
  auto session = DecodeRecord(record);
  if (!session.ok()) return session.status();
  return std::make_shared<const Session>(*std::move(session));
}

size_t WireBytesOf(const PromiseAsk& ask) {
  size_t bytes = 32;
  for (const PromiseAsk::Item& item : ask.items) bytes += 64 + 8 * item.copy_set.size();
  return bytes;
}

size_t WireBytesOf(const PromiseResult& result) {
  size_t bytes = 48;
  for (const PromiseResult::Item& item : result.items) bytes += 96 + SessionBytes(item.session);
  return bytes;
}

void Encode(const LeaseAsk& ask, peer::v1::LeaseAsk* out) { out->set_id(ask.id); }

void Encode(const PromiseAsk& ask, peer::v1::PromiseAsk* out) {
  for (const PromiseAsk::Item& item : ask.items) {
    peer::v1::PromiseAsk::Item* encoded = out->add_items();
    encoded->set_key(item.key.ToBytes());
    EncodeEpoch(item.epoch, encoded->mutable_epoch());
    for (const membership::NodeId id : item.copy_set) encoded->add_copy_set(id.value);
    encoded->set_absolute_deadline_ms(item.absolute_deadline_ms);
  }
}

void Encode(const ValidateAsk& ask, peer::v1::ValidateAsk* out) {
  for (const ValidateAsk::Item& item : ask.items) {
    peer::v1::ValidateAsk::Item* encoded = out->add_items();
    encoded->set_key(item.key.ToBytes());
    EncodeEpoch(item.epoch, encoded->mutable_epoch());
  }
}

void Encode(const LeaseGrant& grant, peer::v1::LeaseGrant* out) {
  out->set_id(grant.id);
  EncodeTerm(grant.term, out->mutable_term());
  out->set_duration_ms(grant.duration.count());
}

void Encode(const PromiseResult& result, peer::v1::PromiseResult* out) {
  EncodeTerm(result.term, out->mutable_term());
  for (const PromiseResult::Item& item : result.items) {
    peer::v1::PromiseResult::Item* encoded = out->add_items();
    encoded->set_key(item.key.ToBytes());
    EncodeEpoch(item.epoch, encoded->mutable_epoch());
    encoded->set_outcome(static_cast<peer::v1::PromiseResult::Outcome>(item.outcome));
    if (item.promised != Epoch{}) EncodeEpoch(item.promised, encoded->mutable_promised());
    encoded->set_wait_ms(item.wait_ms);
    if (item.session == nullptr) continue;
    EncodeTravelling(*item.session, item.remaining, encoded->mutable_record());
  }
}

void Encode(const ValidateResult& result, peer::v1::ValidateResult* out) {
  EncodeTerm(result.term, out->mutable_term());
  for (const ValidateResult::Item& item : result.items) {
    peer::v1::ValidateResult::Item* encoded = out->add_items();
    encoded->set_key(item.key.ToBytes());
    EncodeEpoch(item.epoch, encoded->mutable_epoch());
    if (item.promised != Epoch{}) EncodeEpoch(item.promised, encoded->mutable_promised());
    if (item.record_epoch != Epoch{})
      EncodeEpoch(item.record_epoch, encoded->mutable_record_epoch());
    encoded->set_version(item.version);
  }
}

absl::StatusOr<ToReceiver> Decode(const peer::v1::LeaseAsk& message) {
  return LeaseAsk{.id = message.id()};
}

absl::StatusOr<ToReceiver> Decode(const peer::v1::PromiseAsk& message) {
  if (absl::Status status = CheckCount("promise_ask", message.items_size()); !status.ok()) {
    return status;
  }
  PromiseAsk ask;
  ask.items.reserve(message.items_size());
  for (const peer::v1::PromiseAsk::Item& encoded : message.items()) {
    const auto key = DecodeFencedKey(encoded.key());
    if (!key.ok()) return key.status();
    if (encoded.copy_set_size() > kPlacesMax) {
      return Bad(absl::StrCat("promise_ask names more than ", kPlacesMax, " places"));
    }
    if (encoded.absolute_deadline_ms() < 0) return Bad("promise_ask: a time is negative");
    PromiseAsk::Item item;
    item.key = *key;
    item.epoch = DecodeEpoch(encoded.epoch());
    for (const uint64_t id : encoded.copy_set()) item.copy_set.push_back(membership::NodeId{id});
    if (absl::Status status = CheckHolders(item.copy_set); !status.ok()) return status;
    item.absolute_deadline_ms = encoded.absolute_deadline_ms();
    ask.items.push_back(std::move(item));
  }
  return ask;
}

absl::StatusOr<ToReceiver> Decode(const peer::v1::ValidateAsk& message) {
  if (absl::Status status = CheckCount("validate_ask", message.items_size()); !status.ok()) {
    return status;
  }
  ValidateAsk ask;
  ask.items.reserve(message.items_size());
  for (const peer::v1::ValidateAsk::Item& encoded : message.items()) {
    const auto key = DecodeFencedKey(encoded.key());
    if (!key.ok()) return key.status();
    ask.items.push_back({*key, DecodeEpoch(encoded.epoch())});
  }
  return ask;
}

absl::StatusOr<ToSender> Decode(const peer::v1::LeaseGrant& message) {
  if (message.duration_ms() < 0) return Bad("lease_grant.duration_ms is negative");
  return LeaseGrant{.id = message.id(),
                    .term = DecodeTerm(message.term()),
                    .duration = std::chrono::milliseconds(message.duration_ms())};
}

absl::StatusOr<ToSender> Decode(peer::v1::PromiseResult* message) {
  if (absl::Status status = CheckCount("promise_result", message->items_size()); !status.ok()) {
    return status;
  }
  PromiseResult result;
  result.term = DecodeTerm(message->term());
  result.items.reserve(message->items_size());
  for (peer::v1::PromiseResult::Item& encoded : *message->mutable_items()) {
    const auto key = DecodeFencedKey(encoded.key());
    if (!key.ok()) return key.status();
    if (encoded.outcome() < peer::v1::PromiseResult::OUTCOME_PROMISED ||
        encoded.outcome() > peer::v1::PromiseResult::OUTCOME_WANTED) {
      return Bad("promise_result.outcome is not known");
    }
    PromiseResult::Item item;
    item.key = *key;
    item.epoch = DecodeEpoch(encoded.epoch());
    item.outcome = static_cast<PromiseResult::Outcome>(encoded.outcome());
    item.promised = DecodeEpoch(encoded.promised());
    item.wait_ms = encoded.wait_ms();
    if (encoded.has_record()) {
      item.remaining = DecodeRemaining(encoded.record());
      auto session = DecodeTravelling(encoded.mutable_record());
      if (!session.ok()) return session.status();
      if ((*session)->key != item.key) return Bad("promise_result has the record of another key");
      item.session = *std::move(session);
    }
    result.items.push_back(std::move(item));
  }
  return result;
}

absl::StatusOr<ToSender> Decode(const peer::v1::ValidateResult& message) {
  if (absl::Status status = CheckCount("validate_result", message.items_size()); !status.ok()) {
    return status;
  }
  ValidateResult result;
  result.term = DecodeTerm(message.term());
  result.items.reserve(message.items_size());
  for (const peer::v1::ValidateResult::Item& encoded : message.items()) {
    const auto key = DecodeFencedKey(encoded.key());
    if (!key.ok()) return key.status();
    result.items.push_back({*key, DecodeEpoch(encoded.epoch()), DecodeEpoch(encoded.promised()),
                            DecodeEpoch(encoded.record_epoch()), encoded.version()});
  }
  return result;
}

}  // namespace roost::store

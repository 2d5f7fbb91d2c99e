#include "store/io/replication_wire.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "store/core/digests.h"
#include "store/io/fenced_wire.h"
#include "store/io/record_proto.h"

namespace roost::store {
namespace {

using membership::NodeId;

// More would not fit into a frame of records anyway.
constexpr int kFencedMax = 4'096;

absl::Status Bad(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("peer message: ", what));
}

size_t KeptBytes(const Replicate& message) {
  size_t bytes = 0;
  for (const std::string& name : message.kept) {
    const Attribute& attribute = message.session->attributes.at(name);
    bytes += attribute.value.size() + attribute.schema.size();
  }
  return bytes;
}

// REQUIRES: `kept` is in order, as the record's attributes are.
void LeaveOut(const std::vector<std::string>& kept, peer::v1::Record* record) {
  auto next = kept.begin();
  for (peer::v1::Attribute& attribute : *record->mutable_attributes()) {
    if (next == kept.end()) return;
    if (attribute.name() != *next) continue;
    attribute.clear_value();
    attribute.clear_schema();
    attribute.clear_stamp();
    attribute.set_kept(true);
    ++next;
  }
}

absl::StatusOr<std::vector<std::string>> TakeKept(peer::v1::Record* record) {
  std::vector<std::string> kept;
  for (peer::v1::Attribute& attribute : *record->mutable_attributes()) {
    if (!attribute.kept()) continue;
    if (!attribute.value().empty() || !attribute.schema().empty() || attribute.stamp() != 0) {
      return Bad("an attribute that is kept has a value, schema or stamp");
    }
    attribute.clear_kept();
    kept.push_back(attribute.name());
  }
  std::sort(kept.begin(), kept.end());
  return kept;
}

absl::StatusOr<ToReceiver> DecodeReplicate(peer::v1::Replicate* message) {
  if (message->sequence() == 0) return Bad("replicate.sequence is 0");
  auto kept = TakeKept(message->mutable_record());
  if (!kept.ok()) return kept.status();
  auto session = DecodeTravelling(message->mutable_record());
  if (!session.ok()) return session.status();
  return Replicate{.sequence = message->sequence(),
                   .session = *std::move(session),
                   .remaining = DecodeRemaining(message->record()),
                   .kept = *std::move(kept)};
}

absl::StatusOr<ToReceiver> DecodeQuery(const peer::v1::Query& message) {
  if (static_cast<size_t>(message.keys_size()) > kQueryKeysMax) {
    return Bad(absl::StrCat("query asks for more than ", kQueryKeysMax, " keys"));
  }
  Query query{.id = message.id(), .purpose = QueryPurpose::kResolve, .keys = {}};
  switch (message.purpose()) {
    case peer::v1::Query::PURPOSE_RESOLVE:
      break;
    case peer::v1::Query::PURPOSE_TAKEOVER:
      query.purpose = QueryPurpose::kTakeover;
      break;
    case peer::v1::Query::PURPOSE_VALIDATE:
      query.purpose = QueryPurpose::kValidate;
      break;
    case peer::v1::Query::PURPOSE_CLAIM:
      query.purpose = QueryPurpose::kClaim;
      break;
    case peer::v1::Query::PURPOSE_MERGE:
      query.purpose = QueryPurpose::kMerge;
      break;
    default:
      return Bad("query.purpose is not known");
  }
  query.keys.reserve(message.keys_size());
  for (const std::string& bytes : message.keys()) {
    const auto key = DecodeKey(bytes);
    if (!key.ok()) return key.status();
    query.keys.push_back(*key);
  }
  return query;
}

absl::StatusOr<ToReceiver> DecodeDigests(const peer::v1::Digests& message) {
  if (message.sums_size() > RangeDigests::kRanges) return Bad("digests of more than 256 ranges");
  Digests digests;
  digests.sums.reserve(message.sums_size());
  for (const peer::v1::Digests::Sum& sum : message.sums()) {
    if (sum.range() >= RangeDigests::kRanges) return Bad("digests.range is above 255");
    digests.sums.push_back({static_cast<uint8_t>(sum.range()), sum.sum()});
  }
  return digests;
}

absl::StatusOr<ToReceiver> DecodeListing(const peer::v1::Listing& message) {
  if (static_cast<size_t>(message.entries_size()) > kListingEntriesMax) {
    return Bad(absl::StrCat("listing of more than ", kListingEntriesMax, " sessions"));
  }
  Listing listing;
  const auto first = DecodeKey(message.first());
  if (!first.ok()) return first.status();
  listing.first = *first;
  listing.to_the_end = message.end().empty();
  if (!listing.to_the_end) {
    const auto end = DecodeKey(message.end());
    if (!end.ok()) return end.status();
    listing.end = *end;
  }
  listing.entries.reserve(message.entries_size());
  for (const peer::v1::Listing::Entry& entry : message.entries()) {
    const auto key = DecodeKey(entry.key());
    if (!key.ok()) return key.status();
    const bool ascends =
        listing.entries.empty() ? *key >= listing.first : *key > listing.entries.back().key;
    if (!ascends || (!listing.to_the_end && *key >= listing.end)) {
      return Bad("listing.entries are not ascending from first to end");
    }
    listing.entries.push_back({*key, DecodeEpoch(entry.epoch()), entry.version()});
  }
  return listing;
}

absl::StatusOr<ToReceiver> DecodeAccesses(const peer::v1::Accesses& message) {
  if (static_cast<size_t>(message.items_size()) > kAccessesMax) {
    return Bad(absl::StrCat("more than ", kAccessesMax, " accesses"));
  }
  Accesses accesses;
  accesses.items.reserve(message.items_size());
  for (const peer::v1::Accesses::Item& item : message.items()) {
    const auto key = DecodeKey(item.key());
    if (!key.ok()) return key.status();
    if (item.idle_remaining_ms() < 0) return Bad("accesses.idle_remaining_ms is negative");
    accesses.items.push_back({*key, DecodeEpoch(item.epoch()), item.idle_remaining_ms()});
  }
  return accesses;
}

absl::StatusOr<ToReceiver> DecodeMessage(peer::v1::SenderMessage* message) {
  using Body = peer::v1::SenderMessage;
  switch (message->body_case()) {
    case Body::kReplicate:
      return DecodeReplicate(message->mutable_replicate());
    case Body::kQuery:
      return DecodeQuery(message->query());
    case Body::kDrop: {
      const auto key = DecodeKey(message->drop().key());
      if (!key.ok()) return key.status();
      auto ancestors = DecodeAncestors(message->drop().ancestors());
      if (!ancestors.ok()) return ancestors.status();
      return Drop{.key = *key,
                  .epoch = DecodeEpoch(message->drop().epoch()),
                  .line = message->drop().line(),
                  .version = message->drop().version(),
                  .ancestors = *std::move(ancestors)};
    }
    case Body::kOffer: {
      const auto key = DecodeKey(message->offer().key());
      if (!key.ok()) return key.status();
      return Offer{.key = *key,
                   .epoch = DecodeEpoch(message->offer().epoch()),
                   .line = message->offer().line(),
                   .version = message->offer().version()};
    }
    case Body::kLeaseAsk:
      return Decode(message->lease_ask());
    case Body::kPromiseAsk:
      return Decode(message->promise_ask());
    case Body::kValidateAsk:
      return Decode(message->validate_ask());
    case Body::kCursor:
      return CursorUpdate{.sequence = message->cursor().sequence()};
    case Body::kDigests:
      return DecodeDigests(message->digests());
    case Body::kListing:
      return DecodeListing(message->listing());
    case Body::kAccesses:
      return DecodeAccesses(message->accesses());
    case Body::kHello:
      return Bad("a second hello");
    default:
      return Bad("empty or not known to this version");
  }
}

absl::StatusOr<ToSender> DecodeReplicateResult(const peer::v1::ReplicateResult& message) {
  if (message.fenced_size() > kFencedMax) {
    return Bad(absl::StrCat("result refuses more than ", kFencedMax, " changes"));
  }
  ReplicateResult result{.sequence = message.sequence(), .fenced = {}, .misfit = message.misfit()};
  result.fenced.reserve(message.fenced_size());
  for (const peer::v1::Fenced& fenced : message.fenced()) {
    const auto key = DecodeKey(fenced.key());
    if (!key.ok()) return key.status();
    result.fenced.push_back({.key = *key,
                             .epoch = DecodeEpoch(fenced.epoch()),
                             .owner = NodeId{fenced.owner()},
                             .sequence = fenced.sequence()});
  }
  return result;
}

absl::StatusOr<Answer> DecodeAnswer(peer::v1::QueryResult::Answer* message) {
  const auto key = DecodeKey(message->key());
  if (!key.ok()) return key.status();
  Answer answer;
  answer.key = *key;
  answer.known = message->known();
  answer.epoch = DecodeEpoch(message->epoch());
  answer.version = message->version();
  answer.owner = NodeId{message->owner()};
  answer.tombstone = message->tombstone();
  if (!message->alias().empty()) {
    const auto alias = DecodeKey(message->alias());
    if (!alias.ok()) return alias.status();
    answer.alias = *alias;
  }
  if (!message->has_record()) return answer;
  auto session = DecodeTravelling(message->mutable_record());
  if (!session.ok()) return session.status();
  if ((*session)->key != answer.key) return Bad("answer carries the record of another key");
  answer.session = *std::move(session);
  answer.remaining = DecodeRemaining(message->record());
  return answer;
}

absl::StatusOr<ToSender> DecodeQueryResult(peer::v1::QueryResult* message) {
  if (static_cast<size_t>(message->answers_size()) > kQueryKeysMax) {
    return Bad(absl::StrCat("query result has more than ", kQueryKeysMax, " answers"));
  }
  QueryResult result{.id = message->id(), .answers = {}};
  result.answers.reserve(message->answers_size());
  for (peer::v1::QueryResult::Answer& encoded : *message->mutable_answers()) {
    auto answer = DecodeAnswer(&encoded);
    if (!answer.ok()) return answer.status();
    result.answers.push_back(*std::move(answer));
  }
  return result;
}

absl::StatusOr<ToSender> DecodeDifferent(const peer::v1::Different& message) {
  if (static_cast<size_t>(message.ranges_size()) > kDifferentRangesMax) {
    return Bad(absl::StrCat("more than ", kDifferentRangesMax, " different ranges"));
  }
  Different different;
  for (const uint32_t range : message.ranges()) {
    if (range >= RangeDigests::kRanges) return Bad("different.ranges: above 255");
    different.ranges.push_back(static_cast<uint8_t>(range));
  }
  return different;
}

absl::StatusOr<ToSender> DecodeWanted(const peer::v1::Wanted& message) {
  if (static_cast<size_t>(message.keys_size()) > kWantedKeysMax) {
    return Bad(absl::StrCat("more than ", kWantedKeysMax, " keys wanted"));
  }
  Wanted wanted;
  for (const std::string& bytes : message.keys()) {
    const auto key = DecodeKey(bytes);
    if (!key.ok()) return key.status();
    wanted.keys.push_back(*key);
  }
  return wanted;
}

absl::StatusOr<ToSender> DecodeMessage(peer::v1::ReceiverMessage* message) {
  using Body = peer::v1::ReceiverMessage;
  switch (message->body_case()) {
    case Body::kResult:
      return DecodeReplicateResult(message->result());
    case Body::kLeaseGrant:
      return Decode(message->lease_grant());
    case Body::kPromiseResult:
      return Decode(message->mutable_promise_result());
    case Body::kValidateResult:
      return Decode(message->validate_result());
    case Body::kQueryResult:
      return DecodeQueryResult(message->mutable_query_result());
    case Body::kDifferent:
      return DecodeDifferent(message->different());
    case Body::kWanted:
      return DecodeWanted(message->wanted());
    case Body::kHello:
      return Bad("a second hello");
    default:
      return Bad("empty or not known to this version");
  }
}

template <typename Message, typename Frame>
absl::StatusOr<std::vector<Message>> DecodeMessages(Frame* frame) {
  if (frame->messages_size() > kFrameMessagesMax) {
    return Bad(absl::StrCat("frame has more than ", kFrameMessagesMax, " messages"));
  }
  std::vector<Message> messages;
  messages.reserve(frame->messages_size());
  for (auto& encoded : *frame->mutable_messages()) {
    auto message = DecodeMessage(&encoded);
    if (!message.ok()) return message.status();
    messages.push_back(*std::move(message));
  }
  return messages;
}

void EncodeAnswer(const Answer& answer, peer::v1::QueryResult::Answer* out) {
  out->set_key(answer.key.ToBytes());
  out->set_known(answer.known);
  EncodeEpoch(answer.epoch, out->mutable_epoch());
  out->set_version(answer.version);
  out->set_owner(answer.owner.value);
  out->set_tombstone(answer.tombstone);
  if (answer.alias != SessionKey{}) out->set_alias(answer.alias.ToBytes());
  if (answer.session == nullptr) return;
  EncodeTravelling(*answer.session, answer.remaining, out->mutable_record());
}

void EncodeListing(const Listing& listing, peer::v1::Listing* out) {
  out->set_first(listing.first.ToBytes());
  if (!listing.to_the_end) out->set_end(listing.end.ToBytes());
  for (const Listing::Entry& entry : listing.entries) {
    peer::v1::Listing::Entry* added = out->add_entries();
    added->set_key(entry.key.ToBytes());
    if (entry.version == 0) continue;
    EncodeEpoch(entry.epoch, added->mutable_epoch());
    added->set_version(entry.version);
  }
}

void EncodeAccesses(const Accesses& accesses, peer::v1::Accesses* out) {
  for (const Accesses::Item& item : accesses.items) {
    peer::v1::Accesses::Item* added = out->add_items();
    added->set_key(item.key.ToBytes());
    EncodeEpoch(item.epoch, added->mutable_epoch());
    added->set_idle_remaining_ms(item.idle_ms);
  }
}

}  // namespace

size_t WireBytes(const ToReceiver& message) {
  if (const auto* replicate = std::get_if<Replicate>(&message)) {
    return 32 + SessionBytes(replicate->session) - KeptBytes(*replicate);
  }
  if (const auto* query = std::get_if<Query>(&message)) return 32 + 18 * query->keys.size();
  if (const auto* promise = std::get_if<PromiseAsk>(&message)) return WireBytesOf(*promise);
  if (const auto* validate = std::get_if<ValidateAsk>(&message)) {
    return 32 + 48 * validate->items.size();
  }
  if (const auto* drop = std::get_if<Drop>(&message)) return 80 + 24 * drop->ancestors.size();
  if (const auto* digests = std::get_if<Digests>(&message)) return 32 + 16 * digests->sums.size();
  if (const auto* listing = std::get_if<Listing>(&message)) {
    return 80 + 56 * listing->entries.size();
  }
  if (const auto* accesses = std::get_if<Accesses>(&message)) {
    return 32 + 56 * accesses->items.size();
  }
  return 80;
}

size_t WireBytes(const ToSender& message) {
  if (const auto* result = std::get_if<ReplicateResult>(&message)) {
    return 32 + 64 * result->fenced.size();
  }
  if (std::holds_alternative<LeaseGrant>(message)) return 48;
  if (const auto* promised = std::get_if<PromiseResult>(&message)) return WireBytesOf(*promised);
  if (const auto* validated = std::get_if<ValidateResult>(&message)) {
    return 48 + 96 * validated->items.size();
  }
  if (const auto* different = std::get_if<Different>(&message)) {
    return 32 + 3 * different->ranges.size();
  }
  if (const auto* wanted = std::get_if<Wanted>(&message)) return 32 + 18 * wanted->keys.size();
  size_t bytes = 32;
  for (const Answer& answer : std::get<QueryResult>(message).answers) {
    bytes += 80 + SessionBytes(answer.session);
  }
  return bytes;
}

void EncodeToReceiver(const ToReceiver& message, peer::v1::SenderMessage* out) {
  if (const auto* replicate = std::get_if<Replicate>(&message)) {
    peer::v1::Replicate* encoded = out->mutable_replicate();
    encoded->set_sequence(replicate->sequence);
    EncodeTravelling(*replicate->session, replicate->remaining, encoded->mutable_record());
    LeaveOut(replicate->kept, encoded->mutable_record());
  } else if (const auto* cursor = std::get_if<CursorUpdate>(&message)) {
    out->mutable_cursor()->set_sequence(cursor->sequence);
  } else if (const auto* drop = std::get_if<Drop>(&message)) {
    out->mutable_drop()->set_key(drop->key.ToBytes());
    EncodeEpoch(drop->epoch, out->mutable_drop()->mutable_epoch());
    out->mutable_drop()->set_line(drop->line);
    out->mutable_drop()->set_version(drop->version);
    EncodeAncestors(drop->ancestors, out->mutable_drop()->mutable_ancestors());
  } else if (const auto* offer = std::get_if<Offer>(&message)) {
    out->mutable_offer()->set_key(offer->key.ToBytes());
    EncodeEpoch(offer->epoch, out->mutable_offer()->mutable_epoch());
    out->mutable_offer()->set_line(offer->line);
    out->mutable_offer()->set_version(offer->version);
  } else if (const auto* lease = std::get_if<LeaseAsk>(&message)) {
    Encode(*lease, out->mutable_lease_ask());
  } else if (const auto* promise = std::get_if<PromiseAsk>(&message)) {
    Encode(*promise, out->mutable_promise_ask());
  } else if (const auto* validate = std::get_if<ValidateAsk>(&message)) {
    Encode(*validate, out->mutable_validate_ask());
  } else if (const auto* digests = std::get_if<Digests>(&message)) {
    peer::v1::Digests* encoded = out->mutable_digests();
    for (const auto& [range, sum] : digests->sums) {
      peer::v1::Digests::Sum* added = encoded->add_sums();
      added->set_range(range);
      added->set_sum(sum);
    }
  } else if (const auto* listing = std::get_if<Listing>(&message)) {
    EncodeListing(*listing, out->mutable_listing());
  } else if (const auto* accesses = std::get_if<Accesses>(&message)) {
    EncodeAccesses(*accesses, out->mutable_accesses());
  } else {
    const auto& query = std::get<Query>(message);
    peer::v1::Query* encoded = out->mutable_query();
    encoded->set_id(query.id);
    encoded->set_purpose(static_cast<peer::v1::Query::Purpose>(query.purpose));
    for (const SessionKey key : query.keys) encoded->add_keys(key.ToBytes());
  }
}

void EncodeToSender(const ToSender& message, peer::v1::ReceiverMessage* out) {
  if (const auto* result = std::get_if<ReplicateResult>(&message)) {
    peer::v1::ReplicateResult* encoded = out->mutable_result();
    encoded->set_sequence(result->sequence);
    encoded->set_misfit(result->misfit);
    for (const Fenced& fenced : result->fenced) {
      peer::v1::Fenced* item = encoded->add_fenced();
      item->set_key(fenced.key.ToBytes());
      EncodeEpoch(fenced.epoch, item->mutable_epoch());
      item->set_owner(fenced.owner.value);
      item->set_sequence(fenced.sequence);
    }
  } else if (const auto* grant = std::get_if<LeaseGrant>(&message)) {
    Encode(*grant, out->mutable_lease_grant());
  } else if (const auto* promised = std::get_if<PromiseResult>(&message)) {
    Encode(*promised, out->mutable_promise_result());
  } else if (const auto* validated = std::get_if<ValidateResult>(&message)) {
    Encode(*validated, out->mutable_validate_result());
  } else if (const auto* different = std::get_if<Different>(&message)) {
    peer::v1::Different* encoded = out->mutable_different();
    for (const uint8_t range : different->ranges) encoded->add_ranges(range);
  } else if (const auto* wanted = std::get_if<Wanted>(&message)) {
    peer::v1::Wanted* encoded = out->mutable_wanted();
    for (const SessionKey key : wanted->keys) encoded->add_keys(key.ToBytes());
  } else {
    const auto& answers = std::get<QueryResult>(message);
    out->mutable_query_result()->set_id(answers.id);
    for (const Answer& answer : answers.answers) {
      EncodeAnswer(answer, out->mutable_query_result()->add_answers());
    }
  }
}

absl::StatusOr<std::vector<ToReceiver>> DecodeFrame(peer::v1::SenderFrame* frame) {
  return DecodeMessages<ToReceiver>(frame);
}

absl::StatusOr<std::vector<ToSender>> DecodeFrame(peer::v1::ReceiverFrame* frame) {
  return DecodeMessages<ToSender>(frame);
}

}  // namespace roost::store

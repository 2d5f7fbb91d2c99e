// Leases and validation in the mode `fenced`, and the messages of the mode: asked for while this
// node owns fenced sessions or wants to, one lease per pair of nodes whatever their number.
#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/algorithm/container.h"
#include "store/core/fenced_rules.h"
#include "store/core/planted_bugs.h"

namespace roost::store {
namespace {

using membership::NodeId;
using membership::SteadyTime;
using std::chrono::milliseconds;

// A question that is not answered is asked again.
constexpr milliseconds kAskAgain{500};
constexpr milliseconds kLookAgain{200};
// Of records in one message of answers.
constexpr int64_t kAnswerBytesMax = 1 << 20;
constexpr size_t kAsksMax = 64;

}  // namespace

// --- The holder.

// The other holders that have not validated the session in the term that their lease is in.
void FencedRules::QueueValidations(SessionKey key, const SessionSummary& summary) {
  const auto queue = [&](NodeId node) {
    if (node == self_) return;
    const FencedSummary::Peer* peer = summary.fenced->FindPeer(node);
    const Term* term = fenced_.leases.Valid(now_.steady, node);
    const bool done = peer != nullptr && peer->validated.has_value() &&
                      (term == nullptr || *peer->validated == *term);
    if (!done) fenced_.validations[node].keys.insert(key);
  };
  for (const NodeId node : summary.copy_set) queue(node);
  for (const NodeId node : summary.fenced->next_copy_set) queue(node);
}

void FencedRules::OnLeaseGrant(NodeId from, const LeaseGrant& grant) {
  const bool had = fenced_.leases.Valid(now_.steady, from) != nullptr;
  if (!fenced_.leases.OnGrant(now_.steady, from, grant)) return;
  const auto [it, first] = fenced_.queued_in.try_emplace(from, grant.term);
  if (first || it->second != grant.term) {
    it->second = grant.term;
    for (const SessionKey key : fenced_.owned) {
      const SessionSummary* summary = Find(key);
      if (summary->HasCopyAt(from) && Owns(*summary)) QueueValidations(key, *summary);
    }
  }
  if (had) return;
  // Who waited for leases.
  std::vector<SessionKey> waiting;
  for (const auto& [key, held] : held_) {
    if (key.fenced()) waiting.push_back(key);
  }
  absl::c_sort(waiting);
  for (const SessionKey key : waiting) Settle(key);
  for (const SessionKey key : writes_.Keys()) {
    if (key.fenced()) CheckWaits(key);
  }
}

void FencedRules::OnValidateResult(NodeId from, const ValidateResult& result) {
  const auto asked = fenced_.validations.find(from);
  if (asked == fenced_.validations.end()) return;
  asked->second.ask_at = now_.steady;
  // All at once: what follows from an item may have other members asked, and move `asked`.
  for (const ValidateResult::Item& item : result.items) asked->second.keys.erase(item.key);
  for (const ValidateResult::Item& item : result.items) {
    SessionSummary* summary = Find(item.key);
    if (summary == nullptr || summary->fenced == nullptr || summary->epoch != item.epoch) continue;
    if (item.promised > item.epoch) {
      Overtake(item.key, item.promised);
      Settle(item.key);
      continue;
    }
    if (!Owns(*summary)) continue;
    if (item.promised == item.epoch) {
      summary->fenced->PeerAt(from).validated = result.term;
      if (item.record_epoch == item.epoch) OnReached(from, item.key, item.epoch, item.version);
    }
    summary = Find(item.key);
    const FencedSummary::Peer* peer = summary->fenced->FindPeer(from);
    // It will have the record soon, or must be sent it again: it acknowledged in an earlier life of
    // this node, or has lost it.
    if (peer == nullptr || !peer->validated.has_value() || peer->reached < summary->line) {
      SetTimer(now_.steady + kLookAgain, Timer::kRepeat, item.key);
    }
    CheckWaits(item.key);
    Settle(item.key);
  }
}

// The owner repeats what is not acknowledged.
void FencedRules::Repeat(SessionKey key) {
  const SessionSummary* summary = Find(key);
  if (summary == nullptr || summary->stub() || !Owns(*summary)) return;
  QueueValidations(key, *summary);
  if (summary->sequence > outbox_.durable()) return;
  const auto lacks = [&](NodeId node) {
    if (node == self_) return false;
    const FencedSummary::Peer* peer = summary->fenced->FindPeer(node);
    if (peer != nullptr && peer->reached >= summary->line) return false;
    // It has answered for what was sent last, and it was not this.
    const auto stream = outbox_.streams().find(node);
    return stream != outbox_.streams().end() && stream->second.up &&
           (summary->sequence == 0 || stream->second.acked >= summary->sequence);
  };
  if (absl::c_none_of(summary->copy_set, lacks) &&
      absl::c_none_of(summary->fenced->next_copy_set, lacks)) {
    return;
  }
  const SessionPtr body = Body(key);
  if (body == nullptr) {
    WantBody(key).repeat = true;
    return;
  }
  Session next = *body;
  next.last_access_ms = summary->last_access_ms;
  CommitFenced(std::move(next));
}

// --- The granter.

void FencedRules::OnLeaseAsk(NodeId from, const LeaseAsk& ask) {
  counters_->lease_messages.fetch_add(1, std::memory_order_relaxed);
  SendAfterPersist(from, ToSender(fenced_.leases.Grant(now_.steady, from, ask)));
}

void FencedRules::OnValidateAsk(NodeId from, const ValidateAsk& ask) {
  const size_t count = std::min(ask.items.size(), kFencedItemsMax);
  for (size_t i = 0; i < count; ++i) {
    const ValidateAsk::Item& item = ask.items[i];
    if (item.epoch.node != from || !item.key.fenced()) {
      counters_->corrupt_records.fetch_add(1, std::memory_order_relaxed);
      continue;
    }
    fenced_.mail[from].validate_results.emplace_back(fenced_.leases.TermOf(from),
                                                     AnswerValidation(item));
  }
}

ValidateResult::Item FencedRules::AnswerValidation(const ValidateAsk::Item& item) {
  ValidateResult::Item answer;
  answer.key = item.key;
  answer.epoch = item.epoch;
  const SessionSummary* summary = Find(item.key);
  if (summary == nullptr) return answer;
  if (summary->fenced->promised < item.epoch && !Planted(Bug::kValidationDoesNotBind)) {
    if (!summary->stub() && Body(item.key) == nullptr) {
      WantBody(item.key);
      return answer;
    }
    Promise(item.key, item.epoch, summary->copy_set, summary->absolute_deadline_ms);
    summary = Find(item.key);
  }
  answer.promised = summary->fenced->promised;
  if (Planted(Bug::kValidationDoesNotBind)) answer.promised = std::max(answer.promised, item.epoch);
  answer.record_epoch = summary->epoch;
  answer.version = summary->line;
  return answer;
}

// --- Messages.

// What this node says it has, or will not do, is on its disk first.
void FencedRules::SendAfterPersist(NodeId peer, ToSender message) {
  if (Planted(Bug::kPromiseBeforePersist)) {
    out_->sends.emplace_back(peer, std::move(message));
  } else {
    sealing_.sends.emplace_back(peer, std::move(message));
  }
}

void FencedRules::Release(Unpersisted* done) {
  for (auto& [peer, message] : done->sends) out_->sends.emplace_back(peer, std::move(message));
  for (auto& [peer, ask] : done->asks) {
    out_->sends.emplace_back(peer, std::move(ask));
  }
  done->sends.clear();
  done->asks.clear();
}

void FencedRules::FlushFenced() {
  fenced_.tick_at = membership::kNever;
  const bool active = !fenced_.owned.empty() || !fenced_.candidacies.empty();
  for (const auto& [peer, stream] : outbox_.streams()) {
    if (!active || !stream.up) continue;
    if (fenced_.leases.AskDue(now_.steady, peer)) {
      counters_->lease_messages.fetch_add(1, std::memory_order_relaxed);
      out_->sends.emplace_back(peer, ToReceiver(fenced_.leases.Ask(now_.steady, peer)));
    }
    fenced_.tick_at = std::min(fenced_.tick_at, fenced_.leases.AskDueAt(peer));
    const auto validation = fenced_.validations.find(peer);
    if (validation == fenced_.validations.end() || validation->second.keys.empty()) continue;
    if (now_.steady >= validation->second.ask_at) {
      SendValidateAsk(peer, &validation->second);
      validation->second.ask_at = now_.steady + kAskAgain;
    }
    fenced_.tick_at = std::min(fenced_.tick_at, validation->second.ask_at);
  }
  for (auto& [peer, mail] : fenced_.mail) FlushMail(peer, &mail);
  fenced_.mail.clear();
}

void FencedRules::SendValidateAsk(NodeId peer, Validation* validation) {
  ValidateAsk ask;
  for (auto it = validation->keys.begin();
       it != validation->keys.end() && ask.items.size() < kFencedItemsMax;) {
    const SessionSummary* summary = Find(*it);
    if (summary == nullptr || !Owns(*summary) || !summary->HasCopyAt(peer)) {
      it = validation->keys.erase(it);
      continue;
    }
    ask.items.push_back({*it, summary->epoch});
    ++it;
  }
  if (!ask.items.empty()) out_->sends.emplace_back(peer, ToReceiver(std::move(ask)));
}

// Answers of one term go together.
void FencedRules::FlushMail(NodeId peer, FencedMail* mail) {
  const bool up = outbox_.IsUp(peer);
  PromiseAsk ask;
  for (PromiseAsk::Item& item : mail->promise_asks) {
    ask.items.push_back(std::move(item));
    if (ask.items.size() < kAsksMax) continue;
    if (up) sealing_.asks.emplace_back(peer, ToReceiver(std::exchange(ask, {})));
  }
  if (up && !ask.items.empty()) sealing_.asks.emplace_back(peer, ToReceiver(std::move(ask)));
  PromiseResult promises;
  int64_t bytes = 0;
  const auto send = [&] {
    if (!promises.items.empty()) SendAfterPersist(peer, ToSender(std::exchange(promises, {})));
    bytes = 0;
  };
  for (auto& [term, item] : mail->promise_results) {
    const int64_t size = item.session == nullptr ? 0 : SizeOf(*item.session);
    if (promises.term != term || bytes + size > kAnswerBytesMax) send();
    promises.term = term;
    bytes += size;
    promises.items.push_back(std::move(item));
  }
  send();
  ValidateResult validated;
  for (auto& [term, item] : mail->validate_results) {
    if (validated.term != term && !validated.items.empty()) {
      SendAfterPersist(peer, ToSender(std::exchange(validated, {})));
    }
    validated.term = term;
    validated.items.push_back(item);
  }
  if (!validated.items.empty()) SendAfterPersist(peer, ToSender(std::move(validated)));
}

}  // namespace roost::store

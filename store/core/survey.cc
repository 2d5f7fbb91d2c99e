#include "store/core/survey.h"

#include <algorithm>
#include <iterator>
#include <tuple>
#include <utility>

#include "absl/algorithm/container.h"
#include "store/core/planted_bugs.h"

namespace roost::store {

using membership::NodeId;

bool Newer(const Answer& a, const Answer& b) {
  const auto order = std::tie(a.known, a.tombstone, a.epoch, a.version) <=>
                     std::tie(b.known, b.tombstone, b.epoch, b.version);
  return order > 0 || (order == 0 && !a.owner && b.owner);
}

void Surveys::Open(SessionKey key, QueryPurpose purpose, std::vector<NodeId> peers,
                   membership::SteadyTime deadline) {
  for (const NodeId peer : peers) unsent_[peer].push_back(key);
  Survey& survey = open_[key];
  survey.purpose = purpose;
  survey.waiting = std::move(peers);
  survey.deadline = deadline;
  survey.after_id = last_id_;
}

const Survey* Surveys::Find(SessionKey key) const {
  const auto it = open_.find(key);
  return it == open_.end() ? nullptr : &it->second;
}

Survey Surveys::Close(SessionKey key) {
  const auto it = open_.find(key);
  Survey survey = std::move(it->second);
  open_.erase(it);
  return survey;
}

void Surveys::Discard(SessionKey key) {
  if (open_.erase(key) == 0) return;
  for (auto& [id, sent] : sent_) {
    sent.keys.erase(std::remove(sent.keys.begin(), sent.keys.end(), key), sent.keys.end());
  }
}

std::vector<NodeId> Surveys::PeersToAsk() const {
  std::vector<NodeId> peers;
  for (const auto& [peer, keys] : unsent_) peers.push_back(peer);
  return peers;
}

std::vector<Query> Surveys::TakeQueries(NodeId peer) {
  std::vector<Query> queries;
  const auto unsent = unsent_.find(peer);
  if (unsent == unsent_.end()) return queries;
  absl::btree_map<QueryPurpose, std::vector<SessionKey>> by_purpose;
  for (const SessionKey key : unsent->second) {
    const Survey* survey = Find(key);
    // Closed meanwhile, or opened anew without this peer.
    if (survey == nullptr || !absl::c_linear_search(survey->waiting, peer)) continue;
    by_purpose[survey->purpose].push_back(key);
  }
  unsent_.erase(unsent);
  for (auto& [purpose, keys] : by_purpose) {
    for (size_t start = 0; start < keys.size(); start += kQueryKeysMax) {
      const size_t end = std::min(keys.size(), start + kQueryKeysMax);
      queries.push_back({++last_id_, purpose, {keys.begin() + start, keys.begin() + end}});
      sent_[last_id_] = Sent{peer, purpose, queries.back().keys};
    }
  }
  return queries;
}

bool Surveys::StopWaiting(Survey* survey, NodeId peer) {
  const auto it = absl::c_find(survey->waiting, peer);
  if (it == survey->waiting.end()) return false;
  survey->waiting.erase(it);
  return true;
}

std::vector<SessionKey> Surveys::OnResult(NodeId peer, const QueryResult& result) {
  std::vector<SessionKey> done;
  const auto sent = sent_.find(result.id);
  if (sent == sent_.end() || sent->second.peer != peer) return done;
  for (const Answer& answer : result.answers) {
    const auto asked = absl::c_find(sent->second.keys, answer.key);
    if (asked == sent->second.keys.end()) continue;
    sent->second.keys.erase(asked);
    const auto it = open_.find(answer.key);
    if (it == open_.end()) continue;
    Survey& survey = it->second;
    // Late, of a survey before this one: what was not known then may be by now.
    if (result.id <= survey.after_id && !Planted(Bug::kLateAnswersHeard)) continue;
    if (!StopWaiting(&survey, peer)) continue;
    if (!answer.known) survey.ignorant.push_back(peer);
    if (Newer(answer, survey.best)) survey.best = answer;
    if (survey.waiting.empty()) done.push_back(answer.key);
  }
  if (sent->second.keys.empty()) sent_.erase(sent);
  return done;
}

void Surveys::ForgetSent(NodeId peer) {
  for (auto it = sent_.begin(); it != sent_.end();) {
    it = it->second.peer == peer ? sent_.erase(it) : std::next(it);
  }
}

void Surveys::OnStreamDown(NodeId peer) {
  std::vector<SessionKey>& unsent = unsent_[peer];
  for (const auto& [id, sent] : sent_) {
    if (sent.peer == peer) unsent.insert(unsent.end(), sent.keys.begin(), sent.keys.end());
  }
  ForgetSent(peer);
  if (unsent.empty()) unsent_.erase(peer);
}

void Surveys::OnJoin() {
  for (auto& [key, survey] : open_) survey.partial = true;
}

void Surveys::OnStreamUp(NodeId peer) {
  for (auto& [key, survey] : open_) {
    const bool lookup =
        survey.purpose == QueryPurpose::kResolve || survey.purpose == QueryPurpose::kClaim;
    survey.partial |= lookup && (absl::c_linear_search(survey.waiting, peer) ||
                                 absl::c_linear_search(survey.ignorant, peer));
  }
}

std::vector<SessionKey> Surveys::OnPeerGone(NodeId peer) {
  std::vector<SessionKey> done;
  unsent_.erase(peer);
  ForgetSent(peer);
  for (auto& [key, survey] : open_) {
    if (!StopWaiting(&survey, peer)) continue;
    survey.partial = true;
    if (survey.waiting.empty()) done.push_back(key);
  }
  absl::c_sort(done);
  return done;
}

}  // namespace roost::store

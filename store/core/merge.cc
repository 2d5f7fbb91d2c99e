#include "store/core/merge.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "absl/algorithm/container.h"
#include "store/core/lineage.h"
#include "store/core/planted_bugs.h"

namespace roost::store {
namespace {

class Merger {
 public:
  Merger(const Session& ours, const Session& theirs, MergePolicy policy, uint64_t stamp_max)
      : ours_(ours), theirs_(theirs), policy_(policy), stamp_max_(stamp_max) {}

  Merged Run() {
    Session& session = merged_.session;
    session = ours_;
    session.version = std::max(ours_.version, theirs_.version) + 1;
    const bool theirs_win = TheirLineWins();
    MergeClocks(&session);
    if (!theirs_.principal.empty() && (session.principal.empty() || theirs_win)) {
      session.principal = theirs_.principal;
      session.name_space = theirs_.name_space;
    }
    if (theirs_.lock_token > session.lock_token) {
      session.lock_token = theirs_.lock_token;
      session.lock_until_ms = theirs_.lock_until_ms;
    }
    if (session.extra.empty() || (theirs_win && !theirs_.extra.empty())) {
      session.extra = theirs_.extra;
    }
    for (const Conflict& conflict : theirs_.conflicts) {
      const auto same = [&](const Conflict& c) { return c.id == conflict.id; };
      if (absl::c_none_of(session.conflicts, same)) session.conflicts.push_back(conflict);
    }
    absl::c_stable_sort(session.conflicts, [](const Conflict& a, const Conflict& b) {
      return std::pair(a.when_ms, a.id) < std::pair(b.when_ms, b.id);
    });
    std::set<std::string> names;
    for (const auto& [name, attribute] : ours_.attributes) names.insert(name);
    for (const auto& [name, attribute] : theirs_.attributes) names.insert(name);
    for (const std::string& name : names) MergeOne(name, theirs_win);
    AddAncestors(&session, theirs_);
    return std::move(merged_);
  }

 private:
  // A tombstone must outlive every copy of either line.
  void MergeClocks(Session* session) const {
    session->created_ms = std::min(ours_.created_ms, theirs_.created_ms);
    session->absolute_deadline_ms =
        std::max(ours_.absolute_deadline_ms, theirs_.absolute_deadline_ms);
    session->idle_ttl_ms = std::max(ours_.idle_ttl_ms, theirs_.idle_ttl_ms);
    session->last_access_ms = std::max(ours_.last_access_ms, theirs_.last_access_ms);
    session->renewed_ms = std::max(ours_.renewed_ms, theirs_.renewed_ms);
  }
  static const Attribute* In(const Session& session, const std::string& name) {
    const auto it = session.attributes.find(name);
    return it == session.attributes.end() ? nullptr : &it->second;
  }
  uint64_t StampOf(const Attribute& attribute) {
    if (attribute.stamp <= stamp_max_) return attribute.stamp;
    ++merged_.refused_stamps;
    return 0;
  }
  uint64_t LastStamp(const Session& session) {
    uint64_t last = 0;
    for (const auto& [name, attribute] : session.attributes) {
      last = std::max(last, StampOf(attribute));
    }
    return last;
  }

  bool TheirLineWins() {
    const bool higher = theirs_.epoch > ours_.epoch;
    switch (policy_) {
      case MergePolicy::kHigherEpoch:
        return higher;
      case MergePolicy::kLatestUpdate: {
        const uint64_t our_last = LastStamp(ours_);
        const uint64_t their_last = LastStamp(theirs_);
        return our_last == their_last ? higher : their_last > our_last;
      }
      case MergePolicy::kLatestAccess:
        return ours_.last_access_ms == theirs_.last_access_ms
                   ? higher
                   : theirs_.last_access_ms > ours_.last_access_ms;
      case MergePolicy::kDiscardMinority:
        return ours_.minority == theirs_.minority ? higher : ours_.minority;
    }
    return higher;
  }

  // A write that one side knows of and does not show any more, it replaced or removed. One that
  // replaced what the other side removed counts: a removal leaves no trace of its own.
  void MergeOne(const std::string& name, bool theirs_win) {
    const Attribute* our = In(ours_, name);
    const Attribute* their = In(theirs_, name);
    if (our != nullptr && their != nullptr && our->line == their->line &&
        our->version == their->version) {
      return;
    }
    const bool we_wrote = our != nullptr ? !Contains(theirs_, *our) : Contains(ours_, *their);
    const bool they_wrote = their != nullptr ? !Contains(ours_, *their) : Contains(theirs_, *our);
    if ((!they_wrote && !we_wrote) || (!we_wrote && Planted(Bug::kMergeDropsTheirs))) return;
    bool take_theirs = they_wrote;
    if (policy_ != MergePolicy::kLatestUpdate) {
      take_theirs = theirs_win;
    } else if (we_wrote && they_wrote) {
      take_theirs = our == nullptr || (their != nullptr && Later(*their, *our));
    }
    // The side that did not write has what the other's write replaced: no loss.
    if (take_theirs && we_wrote) Lose(name, our, their, &merged_.our_losses);
    if (!take_theirs && they_wrote) Lose(name, their, our, &merged_.their_losses);
    const Attribute* taken = take_theirs ? their : our;
    if (taken == nullptr) {
      merged_.session.attributes.erase(name);
      return;
    }
    merged_.session.attributes[name] = *taken;
  }

  bool Later(const Attribute& a, const Attribute& b) {
    const uint64_t a_stamp = StampOf(a);
    const uint64_t b_stamp = StampOf(b);
    return a_stamp == b_stamp ? a.value > b.value : a_stamp > b_stamp;
  }

  static void Lose(const std::string& name, const Attribute* lost, const Attribute* kept,
                   std::vector<Loss>* losses) {
    if (lost == nullptr && kept == nullptr) return;
    if (lost != nullptr && kept != nullptr && lost->value == kept->value) return;
    losses->push_back({name, lost == nullptr, lost == nullptr ? Attribute{} : *lost});
  }

  const Session& ours_;
  const Session& theirs_;
  const MergePolicy policy_;
  const uint64_t stamp_max_;
  Merged merged_;
};

}  // namespace

Merged Merge(const Session& ours, const Session& theirs, MergePolicy policy, uint64_t stamp_max) {
  return Merger(ours, theirs, policy, stamp_max).Run();
}

}  // namespace roost::store

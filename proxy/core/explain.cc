#include "proxy/core/explain.h"

#include <optional>

#include "absl/strings/str_cat.h"

namespace roost::proxy {
namespace {

using membership::NodeId;
using store::OwnershipIndex;

absl::string_view PlaceName(IdPlace place) {
  switch (place) {
    case IdPlace::kCookie:
      return "cookie";
    case IdPlace::kPath:
      return "path";
    case IdPlace::kQuery:
      return "query";
    case IdPlace::kHeader:
      return "header";
    case IdPlace::kSoap:
      return "soap";
  }
  return "";
}

std::string NameOf(NodeId node, const membership::View& view) {
  const membership::Member* member = view.Find(node);
  return member == nullptr || member->name.empty() ? node.ToString() : member->name;
}

class Explainer {
 public:
  explicit Explainer(const ExplainContext& context) : context_(context) {}

  Explanation Run(const RequestHead& head) {
    context_.affinity.Read(head, &request_);
    facts_.has_session = request_.count() > 0;
    facts_.fenced = context_.mode == store::Mode::kFenced;
    ReadSession(head);
    hint_ = context_.affinity.Hint(request_, context_.view);
    ReadRoutes();
    const OwnershipIndex::Entry entry = LookUp();
    const std::optional<NodeId> sealed = ReadSeal(entry);
    Decision decision;
    if (sealed) {
      decision = {Action::kForward, Reason::kHint, *sealed};
    } else {
      if (!facts_.has_session && context_.affinity.RoutesWithoutId()) facts_.hint = hint_;
      decision = Route(facts_, entry, context_.view);
    }
    Decide(decision);
    return std::move(out_);
  }

 private:
  void Say(absl::string_view rule, std::string outcome) {
    out_.steps.push_back({std::string(rule), std::move(outcome)});
  }

  store::SessionKey KeyOf(size_t i) const {
    return store::MakeSessionKey(context_.name_space, request_.id(i), context_.mode);
  }

  void ReadSession(const RequestHead& head) {
    if (context_.affinity.IdInBody(head, request_)) {
      Say("id", "the body would be searched for a SOAP ServiceGroupId first; here it is not known");
    }
    if (!facts_.has_session) return Say("id", "none: a request without a session");
    Say("id", absl::StrCat(request_.count(), request_.count() == 1 ? " id" : " ids",
                           ", the first in the ", PlaceName(request_.place()),
                           request_.conflict() ? "; other places name another session" : ""));
  }

  void ReadRoutes() {
    if (request_.routes().empty()) return;
    Say("route", hint_ ? absl::StrCat("names ", NameOf(hint_, context_.view),
                                      ", a live member; heeded if nobody knows the session")
                       : "names no live member; not heeded");
  }

  // The first of several that is known here, as the proxy takes it.
  OwnershipIndex::Entry LookUp() {
    OwnershipIndex::Entry chosen;
    bool found = false;
    for (size_t i = 0; i < request_.count(); ++i) {
      const OwnershipIndex::Entry entry = context_.index.Find(KeyOf(i));
      const bool known =
          entry.kind == OwnershipIndex::Kind::kHeld || entry.kind == OwnershipIndex::Kind::kLearned;
      Say("session", absl::StrCat(KeyOf(i).ToHex(), " ", Describe(entry)));
      if (i == 0 || (known && !found)) {
        chosen = entry;
        key_ = KeyOf(i);
      }
      found |= known;
    }
    return chosen;
  }

  std::string Describe(const OwnershipIndex::Entry& entry) const {
    const std::string owner = NameOf(entry.owner, context_.view);
    switch (entry.kind) {
      case OwnershipIndex::Kind::kNone:
        return "is not known here";
      case OwnershipIndex::Kind::kHeld:
        return absl::StrCat("is held here and owned by ", owner);
      case OwnershipIndex::Kind::kLearned:
        return absl::StrCat("was learned to be owned by ", owner);
      case OwnershipIndex::Kind::kDeleted:
        return "was deleted";
    }
    return "";
  }

  std::optional<NodeId> ReadSeal(const OwnershipIndex::Entry& entry) {
    if (request_.seal().empty() || context_.seals == nullptr) return std::nullopt;
    const auto owner = context_.seals->Open(key_, request_.seal());
    if (!owner) {
      Say("seal", "was not made for this session; refused");
      return std::nullopt;
    }
    const bool used = entry.kind == OwnershipIndex::Kind::kNone && *owner != context_.view.self() &&
                      context_.view.IsLive(*owner);
    Say("seal", absl::StrCat("names ", NameOf(*owner, context_.view), used ? "" : "; not needed"));
    return used ? owner : std::nullopt;
  }

  void Decide(const Decision& wanted) {
    if (wanted.action == Action::kHold && wanted.reason == Reason::kOwnedHere) {
      Say("decision", "the application here, if this node has leases of a majority then");
      out_.action = "local";
      out_.node = NameOf(context_.view.self(), context_.view);
      return;
    }
    if (wanted.action == Action::kHold) {
      Say("decision", absl::StrCat(wanted.reason == Reason::kOwnerDead
                                       ? "hold, while its successor is asked for"
                                       : "hold, while the members that may know it are asked"));
      DecideUnknown();
      out_.action = "hold";
      return;
    }
    const Decision decision =
        AroundDeadApp(wanted, facts_, {.up_here = context_.app_up, .key = key_}, context_.view);
    if (decision.reason == Reason::kStandIn) {
      Say("application", "the one that should answer is down; another stands in");
    }
    Conclude("decision", decision);
  }

  void DecideUnknown() {
    RequestFacts facts = facts_;
    facts.hint = hint_;
    const Decision decision = RouteUnknown(facts, context_.view, context_.unknown_session);
    Conclude("if nobody knows it", decision);
    out_.node.clear();
  }

  void Conclude(absl::string_view rule, const Decision& decision) {
    switch (decision.action) {
      case Action::kLocal:
        out_.action = "local";
        out_.node = NameOf(context_.view.self(), context_.view);
        return Say(rule, "the application here");
      case Action::kForward:
        out_.action = "forward";
        out_.node = NameOf(decision.node, context_.view);
        return Say(rule, absl::StrCat("forward to ", out_.node));
      default:
        out_.action = "refuse";
        return Say(rule, "503 with Retry-After");
    }
  }

  const ExplainContext& context_;
  RequestAffinity request_;
  RequestFacts facts_;
  NodeId hint_;
  store::SessionKey key_;
  Explanation out_;
};

}  // namespace

absl::StatusOr<Explanation> Explain(absl::string_view head, const ExplainContext& context) {
  RequestScanner scanner(context.scan_limits);
  RequestHead request;
  switch (scanner.Scan(head, &request)) {
    case ScanStatus::kComplete:
      return Explainer(context).Run(request);
    case ScanStatus::kBad:
      return absl::InvalidArgumentError(absl::StrCat(
          "would be refused with ", scanner.error().status, ": ", scanner.error().reason));
    case ScanStatus::kIncomplete:
      break;
  }
  return absl::InvalidArgumentError("is no whole request head");
}

}  // namespace roost::proxy

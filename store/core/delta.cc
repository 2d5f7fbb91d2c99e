#include "store/core/delta.h"

#include "store/core/planted_bugs.h"

namespace roost::store {

void SentRecords::Note(SessionKey key, Sent sent) {
  if (!sent_.insert_or_assign(key, sent).second) return;
  order_.push_back(key);
  if (order_.size() <= kSessionsMax) return;
  sent_.erase(order_.front());
  order_.pop_front();
}

std::optional<SentRecords::Sent> SentRecords::Find(SessionKey key) const {
  const auto it = sent_.find(key);
  return it == sent_.end() ? std::nullopt : std::make_optional(it->second);
}

void SentRecords::Clear() {
  sent_.clear();
  order_.clear();
}

std::vector<std::string> KeptSince(const Session& session, SentRecords::Sent sent,
                                   int64_t value_bytes_min) {
  std::vector<std::string> kept;
  // Across lines versions say nothing; what an attribute has from a former line it has had since
  // the present one began.
  if (session.line == 0 || session.line != sent.line) return kept;
  for (const auto& [name, attribute] : session.attributes) {
    if (attribute.line == session.line && attribute.version > sent.version) continue;
    const auto bytes = static_cast<int64_t>(attribute.value.size() + attribute.schema.size());
    if (bytes >= value_bytes_min) kept.push_back(name);
  }
  return kept;
}

Session WithoutValues(Session session, const std::vector<std::string>& kept) {
  for (const std::string& name : kept) {
    Attribute& attribute = session.attributes.at(name);
    attribute = Attribute{.value = "",
                          .schema = "",
                          .version = attribute.version,
                          .stamp = 0,
                          .line = attribute.line};
  }
  return session;
}

bool FillIn(const Session& held, const std::vector<std::string>& kept, Session* session) {
  for (const std::string& name : kept) {
    const auto from = held.attributes.find(name);
    const auto to = session->attributes.find(name);
    if (from == held.attributes.end() || to == session->attributes.end()) {
      if (Planted(Bug::kDeltaOnAnyBase)) continue;
      return false;
    }
    const bool same =
        from->second.line == to->second.line && from->second.version == to->second.version;
    if (!same && !Planted(Bug::kDeltaOnAnyBase)) return false;
    to->second = from->second;
  }
  return true;
}

}  // namespace roost::store

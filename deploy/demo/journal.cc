#include "deploy/demo/journal.h"

#include <algorithm>

#include "absl/strings/str_split.h"

namespace roost::demo {

void Journal::OnRefused(const std::string& item) {
  const auto found = items_.find(item);
  if (found == items_.end()) return;
  if (--found->second.tries == 0) items_.erase(found);
}

void Journal::OnAcknowledged(const std::string& item) {
  Entry& entry = items_[item];
  entry.acknowledged = std::min(entry.acknowledged + 1, entry.tries);
}

Verdict Journal::Check(const std::vector<std::string>& cart) {
  std::map<std::string, int> seen;
  for (const std::string& item : cart) ++seen[item];
  for (const auto& [item, count] : seen) {
    const auto known = items_.find(item);
    if (known == items_.end() || count > known->second.tries) return Verdict::kWrong;
  }
  for (auto& [item, entry] : items_) {
    const auto found = seen.find(item);
    const int count = found == seen.end() ? 0 : found->second;
    if (count < entry.acknowledged) return Verdict::kLost;
    entry.acknowledged = count;
  }
  return Verdict::kRight;
}

void Journal::Restart(const std::vector<std::string>& cart) {
  items_.clear();
  for (const std::string& item : cart) {
    Entry& entry = items_[item];
    ++entry.tries;
    ++entry.acknowledged;
  }
}

size_t Journal::acknowledged() const {
  return std::count_if(items_.begin(), items_.end(),
                       [](const auto& item) { return item.second.acknowledged > 0; });
}

bool ParseItems(absl::string_view json, std::vector<std::string>* items) {
  items->clear();
  constexpr absl::string_view kStart = "\"items\":[";
  const size_t start = json.find(kStart);
  if (start == absl::string_view::npos) return false;
  absl::string_view list = json.substr(start + kStart.size());
  const size_t end = list.find(']');
  if (end == absl::string_view::npos) return false;
  list = list.substr(0, end);
  if (list.empty()) return true;
  for (absl::string_view part : absl::StrSplit(list, ',')) {
    if (part.size() < 2 || part.front() != '"' || part.back() != '"') return false;
    items->emplace_back(part.substr(1, part.size() - 2));
  }
  return true;
}

}  // namespace roost::demo

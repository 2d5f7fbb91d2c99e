#include "deploy/demo/report.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace roost::demo {
namespace {

uint64_t Sum(const std::map<std::string, uint64_t>& counts) {
  return std::accumulate(counts.begin(), counts.end(), uint64_t{0},
                         [](uint64_t sum, const auto& item) { return sum + item.second; });
}

std::string Share(uint64_t part, uint64_t whole) {
  return whole == 0 ? "" : absl::StrFormat("%5.1f %%", 100.0 * part / whole);
}

void Row(std::string* out, absl::string_view name, uint64_t value, absl::string_view note) {
  absl::StrAppendFormat(out, "  %-46s %9d  %s\n", name, value, note);
}

void Reasons(std::string* out, const std::map<std::string, uint64_t>& counts) {
  for (const auto& [reason, count] : counts) Row(out, absl::StrCat("    ", reason), count, "");
}

void Times(std::string* out, absl::string_view name, const std::vector<double>& values) {
  const Percentiles p = PercentilesOf(values);
  absl::StrAppendFormat(out, "  %-46s p50 %.0f ms, p99 %.0f ms, max %.0f ms (%d visitors)\n", name,
                        p.p50, p.p99, p.max, values.size());
}

// Reasons are our own words and system messages, but a quote in one must not break the file.
std::string Quote(absl::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  }
  return out + '"';
}

std::string JsonCounts(const std::map<std::string, uint64_t>& counts) {
  std::string out;
  for (const auto& [reason, count] : counts) {
    absl::StrAppend(&out, out.empty() ? "" : ", ", Quote(reason), ": ", count);
  }
  return absl::StrCat("{", out, "}");
}

std::string JsonTimes(const std::vector<double>& values) {
  const Percentiles p = PercentilesOf(values);
  return absl::StrFormat("{\"p50\": %.1f, \"p99\": %.1f, \"max\": %.1f, \"visitors\": %d}", p.p50,
                         p.p99, p.max, values.size());
}

}  // namespace

Percentiles PercentilesOf(std::vector<double> values) {
  if (values.empty()) return {};
  std::sort(values.begin(), values.end());
  const auto at = [&values](double share) {
    const size_t rank = static_cast<size_t>(std::ceil(share * values.size()));
    return values[std::max<size_t>(rank, 1) - 1];
  };
  return {at(0.5), at(0.99), values.back()};
}

std::string Table(const Report& r) {
  std::string out = absl::StrFormat("\n  %d visitors, %d nodes, %.0f seconds\n\n", r.visitors,
                                    r.nodes, r.seconds);
  const uint64_t answered = r.answered_by_owner + r.answered_by_other;
  Row(&out, "requests answered", r.requests, "");
  Row(&out, "landed on a node that was not the owner", r.landed_elsewhere,
      Share(r.landed_elsewhere, r.requests));
  Row(&out, "answered by the session's owner", r.answered_by_owner,
      Share(r.answered_by_owner, answered));
  Row(&out, "answered by a shop that knew the visitor", r.served_before,
      Share(r.served_before, r.carts_checked));
  Row(&out, "held in the grace buffer", r.held_in_grace, "");
  Row(&out, "carts checked", r.carts_checked, "");
  Row(&out, "wrong carts", r.wrong_carts, r.wrong_carts == 0 ? "" : "<-- WRONG");
  Row(&out, "lost carts", r.lost_carts, r.lost_carts == 0 ? "" : "<-- LOST");
  Row(&out, "requests tried again", Sum(r.retried), "");
  Reasons(&out, r.retried);
  Row(&out, "requests that failed", Sum(r.failed), "");
  Reasons(&out, r.failed);
  Times(&out, "kill to next good answer, its own visitors", r.kill_to_good_ms);
  Times(&out, "kill to next good answer, all visitors", r.kill_to_good_all_ms);
  if (r.never_good_again > 0) Row(&out, "visitors never answered again", r.never_good_again, "");
  return out;
}

std::string Json(const Report& r) {
  return absl::StrCat(
      "{\n  \"visitors\": ", r.visitors, ",\n  \"nodes\": ", r.nodes,
      ",\n  \"seconds\": ", absl::StrFormat("%.1f", r.seconds), ",\n  \"requests\": ", r.requests,
      ",\n  \"landed_known\": ", r.landed_known, ",\n  \"landed_elsewhere\": ", r.landed_elsewhere,
      ",\n  \"answered_by_owner\": ", r.answered_by_owner,
      ",\n  \"answered_by_other\": ", r.answered_by_other,
      ",\n  \"served_before\": ", r.served_before, ",\n  \"carts_checked\": ", r.carts_checked,
      ",\n  \"held_in_grace\": ", r.held_in_grace, ",\n  \"wrong_carts\": ", r.wrong_carts,
      ",\n  \"lost_carts\": ", r.lost_carts, ",\n  \"failed\": ", JsonCounts(r.failed),
      ",\n  \"retried\": ", JsonCounts(r.retried),
      ",\n  \"kill_to_good_ms\": ", JsonTimes(r.kill_to_good_ms),
      ",\n  \"kill_to_good_all_ms\": ", JsonTimes(r.kill_to_good_all_ms),
      ",\n  \"never_good_again\": ", r.never_good_again, "\n}\n");
}

}  // namespace roost::demo

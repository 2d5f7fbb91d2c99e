// Report is what the demo found out: figures, a table worth reading, and JSON.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace roost::demo {

struct Percentiles {
  double p50 = 0;
  double p99 = 0;
  double max = 0;
};

// Zeros if `values` is empty. By rank (nearest-rank method), so every figure is a value that
// occurred.
Percentiles PercentilesOf(std::vector<double> values);

struct Report {
  int nodes = 0;
  int visitors = 0;
  double seconds = 0;
  uint64_t requests = 0;      // Answered by anyone, with any status; every try counts.
  uint64_t landed_known = 0;  // Of them: it is known where they landed and who owned the session.
  uint64_t landed_elsewhere = 0;   // Of these: landed on a node that was not the owner.
  uint64_t answered_by_owner = 0;  // Good answers given by the shop of the session's owner.
  uint64_t answered_by_other = 0;
  uint64_t served_before = 0;  // Cart answers of a shop that had served this visitor before.
  uint64_t carts_checked = 0;
  uint64_t held_in_grace = 0;
  uint64_t wrong_carts = 0;
  uint64_t lost_carts = 0;
  std::map<std::string, uint64_t> failed;   // Given up, by reason.
  std::map<std::string, uint64_t> retried;  // Tried again, by reason.
  // From the kill to the visitor's next good answer: visitors whose session the killed node owned.
  std::vector<double> kill_to_good_ms;
  std::vector<double> kill_to_good_all_ms;  // All visitors.
  uint64_t never_good_again = 0;            // Visitors without a good answer after the kill.
};

std::string Table(const Report& report);
std::string Json(const Report& report);

}  // namespace roost::demo

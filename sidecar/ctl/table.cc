#include "sidecar/ctl/table.h"

#include <algorithm>
#include <cassert>
#include <utility>

namespace roost::ctl {

Table::Table(std::vector<std::string> header) { rows_.push_back(std::move(header)); }

void Table::Add(std::vector<std::string> row) {
  assert(row.size() == rows_.front().size());
  for (std::string& cell : row) {
    if (cell.empty()) cell.push_back('-');
    std::replace_if(
        cell.begin(), cell.end(), [](char c) { return c < 0x20 || c == 0x7f; }, '?');
  }
  rows_.push_back(std::move(row));
}

std::string Table::ToString() const {
  std::vector<size_t> widths(rows_.front().size());
  for (const auto& row : rows_) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (const auto& row : rows_) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      line += row[i];
      line.append(widths[i] - row[i].size() + 2, ' ');
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
  return text;
}

}  // namespace roost::ctl

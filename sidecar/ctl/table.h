// Table aligns columns of text for a terminal.
#pragma once

#include <string>
#include <vector>

namespace roost::ctl {

class Table {
 public:
  explicit Table(std::vector<std::string> header);
  // REQUIRES: as many cells as the header has.
  void Add(std::vector<std::string> row);
  // Lines end with '\n' and have no trailing spaces. An empty cell is shown as '-'; characters that
  // would drive a terminal as '?'.
  std::string ToString() const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace roost::ctl

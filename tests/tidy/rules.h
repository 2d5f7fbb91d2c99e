// The house's rules that a compiler does not check: who may include whom, what cores must not
// touch, how long a file may be, what lies at the top.
//
// Pure: takes paths and texts, reads nothing. tree_test.cc applies it to the checkout.
#pragma once

#include <string>
#include <vector>

namespace roost::tidy {

struct Finding {
  std::string path;
  int line = 0;  // 1-based; 0: the file as a whole.
  std::string reason;
};

// `path` is relative to the checkout, with '/'. `text` is the whole file. Other kinds of file than
// C++ have no findings.
std::vector<Finding> CheckFile(const std::string& path, const std::string& text);

// `names` are the files and folders that git knows at the top of the checkout.
std::vector<Finding> CheckTopLevel(const std::vector<std::string>& names);

}  // namespace roost::tidy

// Applies the rules to the checkout that this test was built from.
#include <filesystem>
#include <fstream>
#include <sstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/tidy/rules.h"

namespace roost::tidy {
namespace {

namespace fs = std::filesystem;

// Bazel gives tests links to the real files: any of them leads to the checkout.
fs::path Checkout() {
  return fs::canonical("tests/tidy/BUILD").parent_path().parent_path().parent_path();
}

std::string Read(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

std::string Describe(const std::vector<Finding>& findings) {
  std::string text;
  for (const Finding& f : findings)
    absl::StrAppend(&text, f.path, ":", f.line, ": ", f.reason, "\n");
  return text;
}

TEST(TreeTest, EveryFileKeepsTheRules) {
  const fs::path root = Checkout();
  std::vector<Finding> findings;
  int files = 0;
  for (const char* top : {"membership", "store", "proxy", "sidecar", "deploy", "tests"}) {
    for (const fs::directory_entry& entry : fs::recursive_directory_iterator(root / top)) {
      if (!entry.is_regular_file()) continue;
      const std::string path = fs::relative(entry.path(), root).string();
      for (Finding& f : CheckFile(path, Read(entry.path()))) findings.push_back(std::move(f));
      ++files;
    }
  }
  EXPECT_GT(files, 50) << "the checkout was not found at " << root;
  EXPECT_TRUE(findings.empty()) << Describe(findings);
}

TEST(TreeTest, TopLevelIsTheHouse) {
  std::vector<std::string> names;
  for (const fs::directory_entry& entry : fs::directory_iterator(Checkout())) {
    const std::string name = entry.path().filename().string();
    // What .gitignore names, and git itself.
    const bool ignored = absl::StartsWith(name, "bazel-") || name == ".git" || name == ".cache" ||
                         name == "compile_commands.json";
    if (!ignored) names.push_back(name);
  }
  const std::vector<Finding> findings = CheckTopLevel(names);
  EXPECT_TRUE(findings.empty()) << Describe(findings);
}

}  // namespace
}  // namespace roost::tidy

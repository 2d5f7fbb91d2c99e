#include "tests/tidy/rules.h"

#include <algorithm>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"

namespace roost::tidy {
namespace {

// A public header is read by everyone who uses the module, so it has to be shorter.
constexpr int kPublicHeaderLinesMax = 150;
constexpr int kHeaderLinesMax = 250;
constexpr int kSourceLinesMax = 600;

// Lowest first: a module may include those before it.
constexpr absl::string_view kModules[] = {"membership", "store", "proxy", "sidecar"};

// What cores, public headers and their helpers never include: sockets, disks, wire formats.
constexpr absl::string_view kIo[] = {
    "boost/asio/",   "boost/asio.hpp", "boost/beast/", "grpc",      "rocksdb/", "google/protobuf/",
    "openssl/ssl.h", "spdlog/",        "yaml-cpp/",    "sys/",      "netinet/", "unistd.h",
    "fcntl.h",       "poll.h",         "fstream",      "filesystem"};

// What cores never include besides: no core is ever entered by two threads.
constexpr absl::string_view kThreads[] = {
    "thread",    "mutex",     "shared_mutex", "condition_variable",    "future",
    "semaphore", "pthread.h", "iostream",     "absl/synchronization/", "absl/time/clock.h"};

// Reading a clock; only shells may.
constexpr absl::string_view kClocks[] = {
    "steady_clock::now", "system_clock::now", "high_resolution_clock::now",
    "absl::Now(",        "clock_gettime(",    "gettimeofday(",
    "time(nullptr)",     "time(NULL)"};

const std::set<std::string>& TopLevel() {
  static const auto* names = new std::set<std::string>{
      ".bazelrc",        ".ci",       ".clang-format", ".clang-tidy", ".gitignore",
      "ARCHITECTURE.md", "BUILD",     "CHANGELOG.md",  "LICENSE",     "README.md",
      "SECURITY.md",     "WORKSPACE", "clients",       "deploy",      "membership",
      "proto",           "proxy",     "sidecar",       "store",       "tests"};
  return *names;
}

int Rank(absl::string_view module) {
  for (int i = 0; i < static_cast<int>(std::size(kModules)); ++i) {
    if (kModules[i] == module) return i;
  }
  return -1;
}

struct Place {
  absl::string_view module;  // "proxy"; or another top folder.
  absl::string_view ring;    // "core", "io"; empty for public headers and their sources.
};

Place PlaceOf(absl::string_view path) {
  const std::vector<absl::string_view> parts = absl::StrSplit(path, '/');
  if (parts.size() < 2) return {};
  return {parts[0], parts.size() > 2 ? parts[1] : absl::string_view()};
}

// The path between <> or "" of an include directive; empty for any other line.
absl::string_view IncludeOf(absl::string_view line) {
  line = absl::StripLeadingAsciiWhitespace(line);
  if (!absl::ConsumePrefix(&line, "#")) return {};
  line = absl::StripLeadingAsciiWhitespace(line);
  if (!absl::ConsumePrefix(&line, "include")) return {};
  line = absl::StripAsciiWhitespace(line);
  if (line.size() < 3 || (line.front() != '<' && line.front() != '"')) return {};
  line.remove_prefix(1);
  return line.substr(0, line.find_first_of(">\""));
}

absl::string_view WithoutComment(absl::string_view line) { return line.substr(0, line.find("//")); }

// A name with '/' at its end, and "grpc", stand for all that begins so.
bool Matches(absl::string_view include, absl::string_view name) {
  const bool prefix = absl::EndsWith(name, "/") || name == "grpc";
  return prefix ? absl::StartsWith(include, name) : include == name;
}

// Whether decisions live here, so that no shell may leak in.
bool IsPure(const Place& place) {
  return Rank(place.module) >= 0 && place.module != "sidecar" && place.ring != "io";
}

bool IsImpure(const Place& place, absl::string_view include) {
  const auto matches = [include](absl::string_view name) { return Matches(include, name); };
  if (!IsPure(place)) return false;
  if (absl::EndsWith(include, ".pb.h")) return true;
  if (std::any_of(std::begin(kIo), std::end(kIo), matches)) return true;
  return place.ring == "core" && std::any_of(std::begin(kThreads), std::end(kThreads), matches);
}

// Empty if `from` may include `include`.
std::string BrokenDirection(const Place& from, absl::string_view include) {
  const Place to = PlaceOf(include);
  const int from_rank = Rank(from.module);
  if (to.module == "tests") return "production code never includes tests/";
  const int to_rank = Rank(to.module);
  if (to_rank < 0) return {};
  if (from.module == "deploy") return "the demo is an outsider: it uses the API, not the modules";
  if (to_rank > from_rank) return absl::StrCat(from.module, " comes before ", to.module);
  if (to_rank == from_rank) {
    if (from.ring == "core" && to.ring == "io") return "core never includes io";
    if (from.ring.empty() && to.ring == "io" && from.module != "sidecar") {
      return "public headers and helpers never include io";
    }
    return {};
  }
  if (to.ring.empty()) return {};
  if (from.module == "sidecar" && to.ring == "io") return {};  // Builds the io objects.
  return absl::StrCat("across modules only top-level headers are included, not ", to.ring, "/");
}

void CheckInclude(const Place& place, absl::string_view include,
                  std::vector<std::string>* reasons) {
  if (std::string broken = BrokenDirection(place, include); !broken.empty()) {
    reasons->push_back(std::move(broken));
  }
  if (IsImpure(place, include)) {
    reasons->push_back(absl::StrCat("<", include, "> belongs into io/ or sidecar/"));
  }
}

void CheckLine(const Place& place, absl::string_view line, std::vector<std::string>* reasons) {
  const absl::string_view include = IncludeOf(line);
  if (!include.empty()) {
    CheckInclude(place, include, reasons);
    return;
  }
  if (place.ring == "core") {
    const absl::string_view code = WithoutComment(line);
    for (const absl::string_view clock : kClocks) {
      if (absl::StrContains(code, clock)) {
        reasons->push_back(absl::StrCat(clock, ": cores are told the time"));
      }
    }
  }
}

std::vector<std::string> CheckWhole(const std::string& path, const Place& place,
                                    const std::string& text) {
  std::vector<std::string> reasons;
  const auto lines = std::count(text.begin(), text.end(), '\n');
  const bool header = absl::EndsWith(path, ".h");
  const int lines_max = !header                                         ? kSourceLinesMax
                        : place.ring.empty() && Rank(place.module) >= 0 ? kPublicHeaderLinesMax
                                                                        : kHeaderLinesMax;
  if (lines > lines_max) {
    reasons.push_back(absl::StrCat(lines, " lines; ", header ? "headers" : "sources",
                                   " have at most ", lines_max));
  }
  if (header && !absl::StrContains(text, "#pragma once")) reasons.push_back("no #pragma once");
  return reasons;
}

}  // namespace

std::vector<Finding> CheckFile(const std::string& path, const std::string& text) {
  const bool cpp = absl::EndsWith(path, ".h") || absl::EndsWith(path, ".cc");
  const Place place = PlaceOf(path);
  if (!cpp || place.module.empty()) return {};
  std::vector<Finding> findings;
  for (std::string& reason : CheckWhole(path, place, text))
    findings.push_back({path, 0, std::move(reason)});
  // Tests may look everywhere.
  if (place.module == "tests") return findings;
  int number = 0;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    std::vector<std::string> reasons;
    CheckLine(place, line, &reasons);
    for (std::string& reason : reasons) findings.push_back({path, number, std::move(reason)});
  }
  return findings;
}

std::vector<Finding> CheckTopLevel(const std::vector<std::string>& names) {
  std::vector<Finding> findings;
  for (const std::string& name : names) {
    if (TopLevel().count(name) == 0) {
      findings.push_back({name, 0, "not part of the layout in ARCHITECTURE.md"});
    }
  }
  for (const absl::string_view module : kModules) {
    if (std::find(names.begin(), names.end(), module) == names.end()) {
      findings.push_back({std::string(module), 0, "missing"});
    }
  }
  return findings;
}

}  // namespace roost::tidy

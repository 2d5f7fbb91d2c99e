// What the tests of the store's I/O share: a filled-in session, and a directory that goes away.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>

#include "absl/strings/str_cat.h"
#include "store/session.h"

namespace roost::store {

// Every field differs from its default; `n` tells sessions apart and orders their keys.
inline Session SampleSession(uint64_t n) {
  Session session;
  session.key = SessionKey{n, n * 31 + 7};
  session.epoch = Epoch{3, membership::NodeId{11}};
  session.version = n + 1;
  session.promised = Epoch{4, membership::NodeId{12}};
  session.copy_set = {membership::NodeId{11}, membership::NodeId{12}, membership::NodeId{~0ull}};
  session.next_copy_set = {membership::NodeId{13}};
  session.created_ms = 1'700'000'000'000;
  session.absolute_deadline_ms = 1'700'086'400'000;
  session.idle_ttl_ms = 1'800'000;
  session.last_access_ms = 1'700'000'000'500;
  session.principal = absl::StrCat("user-", n);
  session.attributes["cart"] = {.value = "apples", .schema = "cart/v2", .version = n + 1};
  session.attributes["raw\xff"] = {.value = std::string("\0\x80", 2), .schema = "", .version = 1};
  session.name_space = "shop";
  session.renewed_ms = 1'700'000'000'100;
  session.renewal_ttl_ms = 3'600'000;
  session.lock_token = 17;
  session.lock_until_ms = 1'700'000'030'000;
  session.line = 0xfeed0000 + n;
  session.ancestors = {{.line = 3, .version = 2}, {.line = ~0ull, .version = n}};
  session.minority = true;
  for (auto& [name, attribute] : session.attributes) {
    attribute.stamp = (1'700'000'000'200ull << 16) + n;
    attribute.line = attribute.version == 1 ? 3 : session.line;
  }
  session.conflicts = {
      {.id = n,
       .when_ms = 1'700'000'000'300,
       .policy = MergePolicy::kLatestAccess,
       .lost_epoch = Epoch{2, membership::NodeId{14}},
       .lost_version = 4,
       .kept_epoch = Epoch{3, membership::NodeId{11}},
       .kept_version = 5,
       .losses = {
           {.name = "cart",
            .removed = false,
            .attribute =
                {.value = "pears", .schema = "cart/v2", .version = 4, .stamp = 9, .line = 3}},
           {.name = "gone", .removed = true, .attribute = {}}}}};
  session.tombstone = n % 5 == 0;
  if (session.tombstone) session.alias = SessionKey{n, n};
  return session;
}

class TestDirectory {
 public:
  TestDirectory() {
    const char* base = std::getenv("TEST_TMPDIR");
    path_ = absl::StrCat(base != nullptr ? base : "/tmp", "/store_io_XXXXXX");
    if (mkdtemp(path_.data()) == nullptr) std::abort();
  }
  ~TestDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TestDirectory(const TestDirectory&) = delete;
  TestDirectory& operator=(const TestDirectory&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace roost::store

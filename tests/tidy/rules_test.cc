// The scanner must be able to fail: deliberately bad files, and good ones beside them.
#include "tests/tidy/rules.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace roost::tidy {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::vector<std::string> Reasons(const std::string& path, const std::string& text) {
  std::vector<std::string> reasons;
  for (const Finding& finding : CheckFile(path, text)) reasons.push_back(finding.reason);
  return reasons;
}

// One include line in a source file there.
std::vector<std::string> Including(const std::string& path, const std::string& include) {
  return Reasons(path, "#include " + include + "\n");
}

TEST(RulesTest, LowerModuleNeverIncludesHigher) {
  EXPECT_THAT(Including("membership/core/swim.cc", "\"store/session.h\""),
              ElementsAre(HasSubstr("before")));
  EXPECT_THAT(Including("store/io/store_loop.cc", "\"proxy/options.h\""),
              ElementsAre(HasSubstr("before")));
  EXPECT_THAT(Including("proxy/io/listener.cc", "\"sidecar/log.h\""),
              ElementsAre(HasSubstr("before")));
  EXPECT_THAT(Including("proxy/io/listener.cc", "\"store/session_store.h\""), IsEmpty());
}

TEST(RulesTest, AcrossModulesOnlyTopLevelHeaders) {
  EXPECT_THAT(Including("store/core/replica.cc", "\"membership/core/swim.h\""),
              ElementsAre(HasSubstr("top-level")));
  EXPECT_THAT(Including("proxy/io/listener.cc", "\"store/io/store_loop.h\""),
              ElementsAre(HasSubstr("top-level")));
  EXPECT_THAT(Including("sidecar/node.cc", "\"store/core/replica.h\""),
              ElementsAre(HasSubstr("top-level")));
  EXPECT_THAT(Including("sidecar/node.cc", "\"store/io/store_loop.h\""), IsEmpty());
  EXPECT_THAT(Including("store/core/replica.cc", "\"membership/view.h\""), IsEmpty());
}

TEST(RulesTest, CoreAndPublicHeadersNeverIncludeIo) {
  EXPECT_THAT(Including("store/core/replica.cc", "\"store/io/rocks_table.h\""),
              ElementsAre(HasSubstr("core never")));
  EXPECT_THAT(Including("store/session_store.h", "\"store/io/rocks_table.h\"\n#pragma once"),
              ElementsAre(HasSubstr("never include io")));
  EXPECT_THAT(Including("store/io/store_loop.cc", "\"store/core/replica.h\""), IsEmpty());
}

TEST(RulesTest, OnlyShellsSeeSocketsDisksAndWireFormats) {
  for (const char* include : {"<boost/asio.hpp>", "<grpcpp/grpcpp.h>", "\"rocksdb/db.h\"",
                              "\"proto/gossip.pb.h\"", "<sys/socket.h>", "<unistd.h>"}) {
    EXPECT_THAT(Including("membership/core/swim.cc", include), ElementsAre(HasSubstr("belongs")))
        << include;
    EXPECT_THAT(Including("store/placement.cc", include), ElementsAre(HasSubstr("belongs")))
        << include;
    EXPECT_THAT(Including("membership/io/gossip_loop.cc", include), IsEmpty()) << include;
    EXPECT_THAT(Including("sidecar/node.cc", include), IsEmpty()) << include;
  }
  EXPECT_THAT(Including("proxy/core/router.cc", "<vector>"), IsEmpty());
  EXPECT_THAT(Including("store/core/replica.cc", "\"absl/container/flat_hash_map.h\""), IsEmpty());
}

TEST(RulesTest, CoresHaveNoThreadsLocksOrClocks) {
  for (const char* include : {"<thread>", "<mutex>", "<condition_variable>", "<iostream>",
                              "\"absl/synchronization/mutex.h\"", "\"absl/time/clock.h\""}) {
    EXPECT_THAT(Including("membership/core/swim.cc", include), ElementsAre(HasSubstr("belongs")))
        << include;
    EXPECT_THAT(Including("store/ownership_index.cc", include), IsEmpty()) << include;
  }
}

TEST(RulesTest, SpacesInDirectiveHideNothing) {
  EXPECT_THAT(Reasons("store/core/replica.cc", "  #  include <mutex>\n"),
              ElementsAre(HasSubstr("belongs")));
}

TEST(RulesTest, CoresReadNoClock) {
  EXPECT_THAT(Reasons("proxy/core/router.cc", "auto t = std::chrono::steady_clock::now();\n"),
              ElementsAre(HasSubstr("told the time")));
  EXPECT_THAT(Reasons("store/core/expiry.cc", "int64_t t = absl::ToUnixMillis(absl::Now());\n"),
              ElementsAre(HasSubstr("told the time")));
  EXPECT_THAT(Reasons("store/core/expiry.cc", "// never steady_clock::now()\n"), IsEmpty());
  EXPECT_THAT(Reasons("proxy/io/listener.cc", "auto t = std::chrono::steady_clock::now();\n"),
              IsEmpty());
}

TEST(RulesTest, FilesStayShortAndHeadersAreGuarded) {
  const std::string guard = "#pragma once\n";
  std::string lines;
  for (int i = 0; i < 149; ++i) lines += '\n';
  EXPECT_THAT(Reasons("store/session.h", guard + lines), IsEmpty());
  EXPECT_THAT(Reasons("store/session.h", guard + lines + '\n'),
              ElementsAre(HasSubstr("at most 150")));
  EXPECT_THAT(Reasons("store/core/replica.h", guard + lines + lines),
              ElementsAre(HasSubstr("at most 250")));
  EXPECT_THAT(Reasons("store/session.cc", std::string(600, '\n')), IsEmpty());
  EXPECT_THAT(Reasons("store/session.cc", std::string(601, '\n')),
              ElementsAre(HasSubstr("at most 600")));
  EXPECT_THAT(Reasons("store/session.h", "int x;\n"), ElementsAre("no #pragma once"));
}

TEST(RulesTest, ProductionNeverIncludesTestsButTestsLookEverywhere) {
  EXPECT_THAT(Including("store/io/store_loop.cc", "\"tests/sim/network.h\""),
              ElementsAre(HasSubstr("tests/")));
  EXPECT_THAT(Including("tests/sim/network.cc", "\"store/core/replica.h\""), IsEmpty());
}

TEST(RulesTest, DemoUsesNothingButTheApi) {
  EXPECT_THAT(Including("deploy/demo/shop.cc", "\"store/session_key.h\""),
              ElementsAre(HasSubstr("outsider")));
  EXPECT_THAT(Including("deploy/demo/shop.cc", "\"proto/sessions.grpc.pb.h\""), IsEmpty());
}

TEST(RulesTest, TopLevelHoldsTheHouseAndNothingElse) {
  const std::vector<std::string> house = {"README.md", "deploy",  "membership", "proto",
                                          "proxy",     "sidecar", "store",      "tests"};
  EXPECT_THAT(CheckTopLevel(house), IsEmpty());
  std::vector<std::string> cluttered = house;
  cluttered.push_back("util");
  ASSERT_THAT(CheckTopLevel(cluttered), testing::SizeIs(1));
  EXPECT_EQ(CheckTopLevel(cluttered)[0].path, "util");
  EXPECT_THAT(CheckTopLevel({"README.md"}), testing::SizeIs(4));
}

}  // namespace
}  // namespace roost::tidy

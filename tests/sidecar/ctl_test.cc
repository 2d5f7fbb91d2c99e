#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "membership/keyring.h"
#include "sidecar/ctl/arguments.h"
#include "sidecar/ctl/certs.h"
#include "sidecar/ctl/commands.h"
#include "sidecar/ctl/table.h"
#include "sidecar/peer_tls.h"

namespace roost::ctl {
namespace {

using ::testing::HasSubstr;

TEST(ArgumentsTest, OptionsMayStandAnywhereAfterTheirCommand) {
  const auto arguments = ParseArguments(
      {"--api", "unix:/x", "owner", "abc", "--namespace=shop", "--json", "--timeout", "7"},
      "env:1");
  ASSERT_TRUE(arguments.ok()) << arguments.status();
  EXPECT_EQ(arguments->command, Command::kOwner);
  EXPECT_EQ(arguments->id, "abc");
  EXPECT_EQ(arguments->name_space, "shop");
  EXPECT_EQ(arguments->api, "unix:/x");
  EXPECT_TRUE(arguments->json);
  EXPECT_EQ(arguments->timeout, std::chrono::seconds(7));
}

TEST(ArgumentsTest, TheEnvironmentGivesTheTarget) {
  EXPECT_EQ(ParseArguments({"status"}, "10.0.0.1:1")->api, "10.0.0.1:1");
  EXPECT_EQ(ParseArguments({"status"}, "")->api, "127.0.0.1:7402");
}

TEST(ArgumentsTest, HelpIsOfTheCommand) {
  EXPECT_EQ(ParseArguments({"members", "--help"}, "")->help_for, Command::kMembers);
  EXPECT_EQ(ParseArguments({"help", "owner"}, "")->help_for, Command::kOwner);
  EXPECT_EQ(ParseArguments({"--help"}, "")->command, Command::kHelp);
  for (Command command :
       {Command::kHelp, Command::kStatus, Command::kMembers, Command::kOwner, Command::kSessions,
        Command::kCerts, Command::kBroadcast, Command::kSafeToStop, Command::kEvents, Command::kVersion}) {
    EXPECT_THAT(HelpText(command), HasSubstr("roostctl"));
  }
}

TEST(ArgumentsTest, WrongUsageIsNamed) {
  for (const std::vector<std::string>& words : std::vector<std::vector<std::string>>{
           {},
           {"stats"},
           {"owner"},
           {"owner", "a", "b"},
           {"owner", "a", "--key", "b"},
           {"status", "--watch"},
           {"status", "--limit", "3"},
           {"sessions", "--limit"},
           {"sessions", "--limit", "0"},
           {"sessions", "--limit=100001"},
           {"status", "--api="},
           {"status", "--frob"},
           {"broadcast"},
           {"broadcast", "a", "b", "c"},
           {"certs"},
           {"certs", "old", "/d", "--nodes", "a"},
           {"certs", "new", "--nodes", "a"},
           {"certs", "new", "/d"},
           {"certs", "new", "/d", "/e", "--nodes", "a"},
           {"certs", "new", "/d", "--nodes", "a", "--days", "0"},
           {"status", "--nodes", "a"},
           {"status", "--wait"},
           {"safe-to-stop", "now"},
           {"events", "all"},
       }) {
    EXPECT_EQ(ParseArguments(words, "").status().code(), absl::StatusCode::kInvalidArgument)
        << ::testing::PrintToString(words);
  }
}

TEST(ArgumentsTest, SafeToStopMayWait) {
  EXPECT_FALSE(ParseArguments({"safe-to-stop"}, "")->wait);
  EXPECT_TRUE(ParseArguments({"safe-to-stop", "--wait"}, "")->wait);
}

TEST(ArgumentsTest, KeysTakeAnActionAndItsOperand) {
  const auto parse = [](std::vector<std::string> words) {
    words.insert(words.begin(), "keys");
    return ParseArguments(words, "");
  };
  EXPECT_EQ(parse({"list"})->keys_action, KeysAction::kList);
  EXPECT_EQ(parse({"add"})->operand, "-");
  EXPECT_EQ(parse({"add", "-"})->operand, "-");
  EXPECT_EQ(parse({"add", "/k"})->operand, "/k");
  EXPECT_EQ(parse({"use", "01234567", "--json"})->operand, "01234567");
  EXPECT_EQ(parse({"remove", "01234567"})->keys_action, KeysAction::kRemove);
  for (const std::vector<std::string>& bad :
       std::vector<std::vector<std::string>>{{},
                                             {"shuffle"},
                                             {"use"},
                                             {"remove"},
                                             {"list", "x"},
                                             {"generate", "x"},
                                             {"use", "a", "b"}}) {
    EXPECT_FALSE(parse(bad).ok()) << ::testing::PrintToString(bad);
  }
}

TEST(CommandsTest, GenerateNeedsNoNodeAndMakesAKeyEachTime) {
  const auto generate = [] {
    std::string text;
    EXPECT_TRUE(ctl::Run(*ParseArguments({"keys", "generate"}, "unix:/nonexistent"),
                         [&text](absl::string_view printed) { text += std::string(printed); })
                    .ok());
    return text;
  };
  const std::string key = generate();
  EXPECT_TRUE(membership::Keyring::Parse(key).ok());
  EXPECT_NE(generate(), key);
}

TEST(CommandsTest, AddRefusesWhatIsNoKeyBeforeAskingTheNode) {
  for (const char* file : {"/nonexistent/key", "/etc/hostname", "/dev/zero"}) {
    const absl::Status status =
        ctl::Run(*ParseArguments({"keys", "add", file}, "unix:/nonexistent"),
                 [](absl::string_view) { ADD_FAILURE(); });
    EXPECT_THAT(std::string(status.message()), HasSubstr(file));
  }
}

TEST(TableTest, AlignsAndHidesControlCharacters) {
  Table table({"A", "LONG"});
  table.Add({"wide cell", ""});
  table.Add({"\x1b[31m", "x"});
  EXPECT_EQ(table.ToString(), "A          LONG\nwide cell  -\n?[31m      x\n");
}

TEST(CommandsTest, AnUnreachableNodeSaysWhatToLookAt) {
  const auto arguments = ParseArguments({"status", "--api", "unix:/nonexistent/sock"}, "");
  ASSERT_TRUE(arguments.ok());
  const absl::Status status = ctl::Run(*arguments, [](absl::string_view) { ADD_FAILURE(); });
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()), HasSubstr("/nonexistent/sock"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("ROOST_API"));
}

class CertsTest : public ::testing::Test {
 protected:
  CertsTest() {
    static int count = 0;
    request_.dir = absl::StrCat(std::getenv("TEST_TMPDIR"), "/certs", ++count);
    request_.nodes = {"web-1", "web-2"};
  }

  sidecar::TlsFiles Of(const std::string& node) const {
    const std::string folder = absl::StrCat(request_.dir, "/", node);
    return {folder + "/ca.pem", folder + "/cert.pem", folder + "/key.pem", node};
  }

  CertsRequest request_;
};

TEST_F(CertsTest, WhatIsMadeIsWhatANodeTakes) {
  ASSERT_EQ(NewCerts(request_, absl::Now()), absl::OkStatus());
  for (const std::string& node : request_.nodes) {
    EXPECT_EQ(sidecar::PeerTls::Check(Of(node)), absl::OkStatus());
  }
  struct stat status = {};
  for (const std::string& secret : {request_.dir + "/ca-key.pem", Of("web-1").key_file}) {
    ASSERT_EQ(stat(secret.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0600u) << secret;
  }
}

TEST_F(CertsTest, MoreAreIssuedFromTheSameAuthority) {
  ASSERT_EQ(NewCerts(request_, absl::Now()), absl::OkStatus());
  EXPECT_EQ(NewCerts(request_, absl::Now()).code(), absl::StatusCode::kFailedPrecondition);
  request_.nodes = {"web-1", "web-3"};
  request_.days = 1;
  ASSERT_EQ(IssueCerts(request_, absl::Now()), absl::OkStatus());
  sidecar::TlsFiles mixed = Of("web-3");
  mixed.ca_file = Of("web-2").ca_file;
  EXPECT_EQ(sidecar::PeerTls::Check(mixed), absl::OkStatus());
  EXPECT_LT((*sidecar::PeerTls::Load(Of("web-1")))->expires(), absl::Now() + absl::Hours(25));
}

TEST_F(CertsTest, NothingIsMadeForBadNames) {
  for (const std::vector<std::string>& bad : std::vector<std::vector<std::string>>{
           {}, {""}, {"a", "a"}, {"a", ".."}, {"a", "b/c"}, {std::string(65, 'a')}}) {
    request_.nodes = bad;
    EXPECT_EQ(NewCerts(request_, absl::Now()).code(), absl::StatusCode::kInvalidArgument);
    EXPECT_NE(access(request_.dir.c_str(), F_OK), 0) << ::testing::PrintToString(bad);
  }
}

TEST_F(CertsTest, WithoutAnAuthorityTheErrorNamesTheFile) {
  EXPECT_THAT(std::string(IssueCerts(request_, absl::Now()).message()),
              HasSubstr(request_.dir + "/ca.pem"));
}

}  // namespace
}  // namespace roost::ctl

#include "membership/io/discovery.h"

#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "membership/io/dns_srv.h"
#include "membership/io/gossip_socket.h"
#include "membership/io/seed_text.h"

namespace roost::membership {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

TEST(SeedTextTest, FormsAreTold) {
  EXPECT_EQ(*ParseSeed("10.0.0.1:7400"), (Seed{Seed::Kind::kHost, "10.0.0.1", 7400}));
  EXPECT_EQ(*ParseSeed("[fd00::1]:7400"), (Seed{Seed::Kind::kHost, "fd00::1", 7400}));
  EXPECT_EQ(*ParseSeed("web-1.example:7400"), (Seed{Seed::Kind::kHost, "web-1.example", 7400}));
  EXPECT_EQ(*ParseSeed("srv:_roost._udp.example"),
            (Seed{Seed::Kind::kSrv, "_roost._udp.example", 0}));
  for (const char* bad :
       {"", "web", "web:", ":7400", "web:0", "web:65536", "web:-1", "web:+1", "web: 1",
        "srv:", "srv:a b", "a b:1", "fd00::1:7400", "10.0.0.1:0", "web:7400:7400", "we\nb:1"}) {
    EXPECT_FALSE(ParseSeed(bad).ok()) << bad;
  }
  EXPECT_FALSE(ParseSeed(std::string(254, 'a') + ":1").ok());
}

TEST(SeedTextTest, FileIsBoundedAndErrorsNameTheLine) {
  const auto seeds = ParseSeedsFile("# here\n\n  a:1 \r\nsrv:b\n");
  ASSERT_TRUE(seeds.ok()) << seeds.status();
  EXPECT_EQ(seeds->size(), 2u);
  EXPECT_TRUE(ParseSeedsFile("")->empty());
  EXPECT_THAT(std::string(ParseSeedsFile("a:1\nb\n").status().message()), HasSubstr("line 2"));
  EXPECT_FALSE(ParseSeedsFile(std::string(kSeedsFileBytesMax + 1, '\n')).ok());
  std::string many;
  for (int i = 0; i < 257; ++i) absl::StrAppend(&many, "a:1\n");
  EXPECT_THAT(std::string(ParseSeedsFile(many).status().message()), HasSubstr("256"));
}

// Labels of a DNS name.
std::string Labels(std::vector<std::string> labels) {
  std::string out;
  for (const std::string& label : labels) {
    out += static_cast<char>(label.size());
    out += label;
  }
  return out + '\0';
}

std::string Word(int value) { return {static_cast<char>(value >> 8), static_cast<char>(value)}; }

std::string SrvRecord(int port, const std::string& target) {
  const std::string data = Word(1) + Word(1) + Word(port) + target;
  return "\xc0\x0c" + Word(33) + Word(1) + Word(0) + Word(5) + Word(static_cast<int>(data.size())) +
         data;
}

std::string Answer(const std::string& id, std::vector<std::string> records) {
  std::string out = id + Word(0x8180) + Word(1) + Word(static_cast<int>(records.size())) + Word(0) +
                    Word(0) + Labels({"_roost", "_udp", "test"}) + Word(33) + Word(1);
  for (const std::string& record : records) out += record;
  return out;
}

TEST(DnsSrvTest, HostsAndPortsAreRead) {
  const auto seeds = ParseSrvAnswer(
      Answer(Word(1), {SrvRecord(7400, Labels({"web-1", "test"})), SrvRecord(7401, "\xc0\x18"),
                       SrvRecord(0, Labels({"x"})), SrvRecord(7402, Labels({}))}));
  ASSERT_TRUE(seeds.ok()) << seeds.status();
  EXPECT_THAT(*seeds, ElementsAre(Seed{Seed::Kind::kHost, "web-1.test", 7400},
                                  Seed{Seed::Kind::kHost, "test", 7401}));
}

TEST(DnsSrvTest, GarbageIsRefused) {
  const std::string whole = Answer(Word(1), {SrvRecord(7400, Labels({"web-1", "test"}))});
  for (size_t size = 0; size < whole.size(); ++size) {
    EXPECT_FALSE(ParseSrvAnswer(whole.substr(0, size)).ok()) << size;
  }
  // A name that points to itself; a host that is no host name.
  EXPECT_FALSE(ParseSrvAnswer(Answer(Word(1), {SrvRecord(1, "\xc0\x41")})).ok());
  EXPECT_FALSE(ParseSrvAnswer(Answer(Word(1), {SrvRecord(1, Labels({"a b"}))})).ok());
  EXPECT_TRUE(ParseSrvAnswer(Answer(Word(1), {}))->empty());
}

// A name server on loopback that answers one question.
TEST(DnsSrvTest, AsksTheNameServer) {
  auto server = GossipSocket::Bind(Address::V4(0x7f000001, 0));
  ASSERT_TRUE(server.ok());
  std::atomic<bool> stop{false};
  std::thread answering([&] {
    char buffer[512];
    while (!stop) {
      const auto question = GossipSocket::Receive(server->descriptor(), buffer, sizeof(buffer));
      if (question) {
        GossipSocket::Send(
            server->descriptor(), question->from,
            Answer(std::string(buffer, 2), {SrvRecord(7400, Labels({"web-1", "test"}))}));
      } else {
        absl::SleepFor(absl::Milliseconds(2));
      }
    }
  });
  const auto seeds = LookUpSrv("_roost._udp.test", Address::V4(0x7f000001, server->port()));
  stop = true;
  answering.join();
  ASSERT_TRUE(seeds.ok()) << seeds.status();
  EXPECT_THAT(*seeds, ElementsAre(Seed{Seed::Kind::kHost, "web-1.test", 7400}));
}

// What a Discovery found last, awaited.
class Finder {
 public:
  explicit Finder(Discovery::Sources sources)
      : discovery_(std::move(sources), [this](Discovery::Found found) {
          absl::MutexLock lock(&mutex_);
          found_ = std::move(found);
        }) {
    discovery_.Start();
  }

  template <typename Predicate>
  bool Await(Predicate predicate) {
    absl::MutexLock lock(&mutex_);
    const auto holds = [&] { return predicate(found_); };
    return mutex_.AwaitWithTimeout(absl::Condition(&holds), absl::Seconds(20));
  }
  Discovery::Found found() {
    absl::MutexLock lock(&mutex_);
    return found_;
  }

 private:
  absl::Mutex mutex_;
  Discovery::Found found_;
  Discovery discovery_;  // Last: its thread uses the rest.
};

const Address kOne = Address::V4(0x7f000001, 1), kTwo = Address::V4(0x7f000001, 2);

TEST(DiscoveryTest, AddressesAreOfAFamilyThatGossipCanReach) {
  Finder finder({.seeds = {*ParseSeed("127.0.0.1:1"), *ParseSeed("[::1]:1")},
                 .seeds_file = "",
                 .ipv4 = true,
                 .ipv6 = false});
  ASSERT_TRUE(finder.Await([](const auto& found) { return !found.addresses.empty(); }));
  EXPECT_THAT(finder.found().addresses, ElementsAre(kOne));
  EXPECT_FALSE(finder.found().complete);
  EXPECT_THAT(finder.found().problem, HasSubstr("::1: no address that gossip can reach"));
}

TEST(DiscoveryTest, ANameThatDoesNotResolveIsToldAndLeavesThePictureIncomplete) {
  Finder finder(
      {.seeds = {*ParseSeed("127.0.0.1:1"), *ParseSeed("nobody.invalid:1")}, .seeds_file = ""});
  ASSERT_TRUE(finder.Await([](const auto& found) { return !found.problem.empty(); }));
  EXPECT_THAT(finder.found().problem, HasSubstr("cluster.seeds: nobody.invalid: "));
  EXPECT_FALSE(finder.found().complete);
  EXPECT_THAT(finder.found().addresses, ElementsAre(kOne));
}

TEST(DiscoveryTest, TheFileIsReadAgainWhenItChangesAndKeptWhenItBreaks) {
  const std::string path = absl::StrCat(::testing::TempDir(), "/seeds.", getpid());
  const auto write = [&](const std::string& text) {
    std::ofstream(path + ".new") << text;
    std::rename((path + ".new").c_str(), path.c_str());
  };
  unlink(path.c_str());
  Finder finder({.seeds = {}, .seeds_file = path});
  ASSERT_TRUE(finder.Await([](const auto& found) { return !found.problem.empty(); }));
  EXPECT_FALSE(finder.found().complete);
  EXPECT_THAT(finder.found().problem, HasSubstr(path));
  write("127.0.0.1:1\n");
  ASSERT_TRUE(finder.Await([](const auto& found) { return found.complete; }));
  EXPECT_THAT(finder.found().addresses, ElementsAre(kOne));
  EXPECT_EQ(finder.found().problem, "");
  write("127.0.0.1:1\n127.0.0.1:2\n");
  ASSERT_TRUE(finder.Await([](const auto& found) { return found.addresses.size() == 2; }));
  EXPECT_THAT(finder.found().addresses, UnorderedElementsAre(kOne, kTwo));
  for (const char* broken : {"garbage\n", "", "# nobody\n"}) {
    write(broken);
    ASSERT_TRUE(finder.Await([](const auto& found) { return !found.problem.empty(); })) << broken;
    EXPECT_EQ(finder.found().addresses.size(), 2u);
    EXPECT_TRUE(finder.found().complete);
    write("127.0.0.1:1\n127.0.0.1:2\n");
    ASSERT_TRUE(finder.Await([](const auto& found) { return found.problem.empty(); }));
  }
  write("127.0.0.1:2\n");
  EXPECT_TRUE(finder.Await([](const auto& found) { return found.addresses.size() == 1; }));
  unlink(path.c_str());
}

}  // namespace
}  // namespace roost::membership

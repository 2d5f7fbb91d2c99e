// Sessions of the mode `fenced` on real processes that are frozen, killed, and told another time,
// while an outside client keeps a history of what it was answered: the history must be one that a
// single session could have given. Short by default; the long forms are in tests/README.md.
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <future>
#include <iostream>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"
#include "tests/cluster/cluster_fixture.h"
#include "tests/cluster/history.h"
#include "tests/cluster/http_client.h"

namespace roost::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr milliseconds kLease{1'000};
// A takeover, with all that a busy machine adds to it.
constexpr seconds kTakeoverMax{20};
constexpr seconds kWholeMax{120};
constexpr char kFakeTime[] = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

// A number from the environment, for campaigns.
int Setting(const char* name, int standard) {
  const char* text = std::getenv(name);
  int value = standard;
  if (text != nullptr && (!absl::SimpleAtoi(text, &value) || value < 1)) {
    ADD_FAILURE() << name << " must be a number from 1 on, not " << text;
    return standard;
  }
  return value;
}

std::string Config(int copies) {
  return absl::StrCat("store: {fenced_namespaces: [default], fenced_copies: ", copies,
                      ", lease_ms: ", kLease.count(), ", fenced_failures: killed_processes}\n");
}

HistoryLoad::Options LoadOn(Cluster& cluster) {
  HistoryLoad::Options options;
  for (int i = 0; i < cluster.size(); ++i) {
    options.targets.push_back(absl::StrCat("127.0.0.1:", cluster.node(i).api_port()));
  }
  return options;
}

bool WaitForCalls(const HistoryLoad& load, uint64_t more) {
  const uint64_t target = load.answered() + more;
  return Eventually(kWholeMax, [&] { return load.answered() >= target; });
}

// Ends the load and judges it.
HistoryLoad::Report ExpectLinearizable(HistoryLoad* load) {
  HistoryLoad::Report report = load->Finish();
  std::cout << report.ToString() << "\n";
  for (const std::string& violation : report.violations) ADD_FAILURE() << violation;
  EXPECT_EQ(report.too_hard, 0u);
  return report;
}

grpc::Status Put(Node& node, const std::string& id, const std::string& value,
                 milliseconds timeout) {
  roost::v1::PutRequest request;
  request.set_id(id);
  (*request.mutable_set())["v"] = value;
  roost::v1::PutResponse response;
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + timeout);
  return node.sessions()->Put(&context, request, &response);
}

// Its value, or the error.
absl::StatusOr<std::string> Read(Node& node, const std::string& id, milliseconds timeout) {
  roost::v1::GetRequest request;
  request.set_id(id);
  roost::v1::GetResponse response;
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + timeout);
  const grpc::Status status = node.sessions()->Get(&context, request, &response);
  if (status.ok()) return response.session().attributes().at("v").value();
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
}

// A session that this node owns.
std::string MakeSession(Node& node, const std::string& value) {
  static int count = 0;
  roost::v1::CreateRequest request;
  request.set_id(absl::StrCat("made-", ++count));
  (*request.mutable_attributes())["v"] = value;
  roost::v1::CreateResponse response;
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + seconds(10));
  const grpc::Status status = node.sessions()->Create(&context, request, &response);
  EXPECT_TRUE(status.ok()) << status.error_message();
  return request.id();
}

// Until it is `value`: what was tried may have been done later than the try that succeeded.
bool WriteThrough(Node& node, const std::string& id, const std::string& value) {
  return Eventually(kTakeoverMax, [&] { return Put(node, id, value, seconds(5)).ok(); });
}

TEST(FencedTest, WithoutFaultsEveryCallIsDone) {
  Cluster cluster(3, Config(2));
  cluster.StartAll();
  HistoryLoad load(LoadOn(cluster));
  ASSERT_TRUE(WaitForCalls(load, 1'000));
  const HistoryLoad::Report report = ExpectLinearizable(&load);
  EXPECT_EQ(report.unknown, report.contested);
  EXPECT_EQ(report.takeovers, 0u);
}

TEST(FencedTest, AFrozenOwnerThatWakesNeitherWritesNorReads) {
  Cluster cluster(3, Config(2));
  cluster.StartAll();
  HistoryLoad load(LoadOn(cluster));
  ASSERT_TRUE(WaitForCalls(load, 500));
  const int rounds = Setting("ROOST_FENCED_FREEZES", 1);
  for (int round = 0; round < rounds; ++round) {
    Node& owner = cluster.node(round % 3);
    Node& other = cluster.node((round + 1) % 3);
    const std::string id = MakeSession(owner, "before");
    ASSERT_EQ(Read(owner, id, seconds(5)).value_or("?"), "before");
    owner.Freeze();
    // Asked while it can't answer: it finds them in its sockets when it wakes.
    const auto late_read =
        std::async(std::launch::async, [&] { return Read(owner, id, seconds(60)); });
    const auto late_write =
        std::async(std::launch::async, [&] { return Put(owner, id, "late", seconds(60)); });
    EXPECT_TRUE(WriteThrough(other, id, "after")) << "nobody took over";
    owner.Signal(SIGCONT);
    late_write.wait();
    late_read.wait();
    // Either came too late to be done, or went to the owner that there is now.
    const auto now = Read(other, id, seconds(10));
    ASSERT_TRUE(now.ok()) << now.status();
    EXPECT_TRUE(*now == "after" || *now == "late") << *now;
    ASSERT_TRUE(cluster.WaitUntilWhole(kWholeMax)) << round;
    ASSERT_TRUE(WaitForCalls(load, 300));
  }
  const HistoryLoad::Report report = ExpectLinearizable(&load);
  EXPECT_GT(report.takeovers, 0u);
}

TEST(FencedTest, AnAnswerThatTheApplicationGaveMeanwhileIsWithheld) {
  Cluster cluster(3, Config(2));
  cluster.StartAll();
  auto made = Get(cluster.node(0).http_port(), "/new");
  ASSERT_TRUE(made.ok()) << made.status();
  const std::string cookie = CookieOf(*made);
  auto first = Get(cluster.node(0).http_port(), "/token", cookie);
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(first->body.size(), 32u) << first->body;
  ASSERT_EQ(cluster.OwnerOf(cookie, 1), 0);

  auto connection = HttpConnection::Connect(cluster.node(0).http_port());
  ASSERT_TRUE(connection.ok()) << connection.status();
  const int before = cluster.app(0).requests();
  ASSERT_TRUE(
      connection
          ->Send(absl::StrCat("GET /wait HTTP/1.1\r\nHost: t\r\nCookie: ", cookie, "\r\n\r\n"))
          .ok());
  ASSERT_TRUE(Eventually(seconds(10), [&] { return cluster.app(0).requests() > before; }));
  cluster.node(0).Freeze();
  cluster.app(0).Release();
  // Another node serves the visitor, with a higher token.
  std::string second;
  EXPECT_TRUE(Eventually(kTakeoverMax, [&] {
    auto token = Get(cluster.node(1).http_port(), "/token", cookie, seconds(10));
    if (!token.ok() || token->status != 200) return false;
    second = token->body;
    return true;
  }));
  EXPECT_GT(second, first->body);
  cluster.node(0).Signal(SIGCONT);
  auto late = connection->Receive(seconds(30));
  ASSERT_TRUE(late.ok()) << late.status();
  EXPECT_EQ(late->status, 503) << late->body;
  EXPECT_GE(cluster.node(0).Metric("roost_proxy_fenced_refused_total"), 1);
}

// The last one alone may not serve anybody; with three of five all goes on.
TEST(FencedTest, AnyTwoOfFiveMayBeKilledOneAfterTheOther) {
  Cluster cluster(5, Config(4));
  cluster.StartAll();
  const auto calls = static_cast<uint64_t>(Setting("ROOST_FENCED_CALLS", 3'000));
  HistoryLoad load(LoadOn(cluster));
  ASSERT_TRUE(WaitForCalls(load, 500));
  std::minstd_rand random(static_cast<uint32_t>(Setting("ROOST_FENCED_SEED", 1)));
  int kills = 0;
  while (load.answered() < calls && !::testing::Test::HasFailure()) {
    const int first = static_cast<int>(random() % 5);
    const int second = (first + 1 + static_cast<int>(random() % 4)) % 5;
    for (const int victim : {first, second}) {
      const std::string id = MakeSession(cluster.node(victim), "kept");
      cluster.node(victim).Kill();
      ++kills;
      const int asked = 0 != first && 0 != second ? 0 : 1 != first && 1 != second ? 1 : 2;
      EXPECT_TRUE(Eventually(
          kTakeoverMax,
          [&] { return Read(cluster.node(asked), id, seconds(5)).value_or("") == "kept"; }))
          << "session of node " << victim;
      ASSERT_TRUE(WaitForCalls(load, 200));
    }
    for (const int victim : {first, second}) cluster.node(victim).Start();
    ASSERT_TRUE(cluster.WaitUntilWhole(kWholeMax));
    ASSERT_TRUE(WaitForCalls(load, 500));
  }
  std::cout << kills << " kills\n";
  const HistoryLoad::Report report = ExpectLinearizable(&load);
  EXPECT_GT(report.takeovers, 0u);
}

TEST(FencedTest, WithoutAMajorityNothingIsServed) {
  Cluster cluster(3, Config(2));
  cluster.StartAll();
  const std::string id = MakeSession(cluster.node(0), "kept");
  cluster.node(1).Kill();
  cluster.node(2).Kill();
  // Once its leases have lapsed.
  EXPECT_TRUE(Eventually(kTakeoverMax, [&] {
    return absl::IsUnavailable(Read(cluster.node(0), id, seconds(5)).status());
  }));
  EXPECT_FALSE(Put(cluster.node(0), id, "alone", seconds(5)).ok());
  cluster.node(1).Start();
  EXPECT_TRUE(Eventually(
      kTakeoverMax, [&] { return Read(cluster.node(0), id, seconds(5)).value_or("") == "kept"; }));
}

// The times of day of the nodes jump, to and fro and apart: leases go by another clock.
TEST(FencedTest, JumpsOfTheClockChangeNothing) {
  if (access(kFakeTime, R_OK) != 0) GTEST_SKIP() << "libfaketime is not installed";
  Cluster cluster(3, Config(2));
  const auto set = [&](int node, const std::string& offset) {
    const std::string file = cluster.node(node).config().data_dir + ".time";
    std::ofstream(file + ".new") << offset << "\n";
    rename((file + ".new").c_str(), file.c_str());
  };
  for (int i = 0; i < 3; ++i) {
    set(i, "+0");
    cluster.node(i).mutable_config()->program = "sidecar/roostd_libc_malloc";
    cluster.node(i).mutable_config()->environment = {
        absl::StrCat("LD_PRELOAD=", kFakeTime),
        absl::StrCat("FAKETIME_TIMESTAMP_FILE=", cluster.node(i).config().data_dir, ".time"),
        "FAKETIME_NO_CACHE=1", "FAKETIME_DONT_FAKE_MONOTONIC=1"};
  }
  for (int i = 0; i < 3; ++i) cluster.node(i).Start();
  ASSERT_TRUE(cluster.WaitUntilWhole()) << "the cluster did not come together";
  HistoryLoad load(LoadOn(cluster));
  ASSERT_TRUE(WaitForCalls(load, 500));
  // Less than the idle time of a session, which goes by the time of day.
  const char* const jumps[][3] = {
      {"+600", "+0", "+0"}, {"+600", "-600", "+0"}, {"-600", "+600", "+300"}, {"+0", "+0", "+0"}};
  for (const auto& jump : jumps) {
    for (int i = 0; i < 3; ++i) set(i, jump[i]);
    ASSERT_TRUE(WaitForCalls(load, 500));
  }
  const HistoryLoad::Report report = ExpectLinearizable(&load);
  EXPECT_EQ(report.takeovers, 0u);
  EXPECT_EQ(report.unknown, report.contested);
}

}  // namespace
}  // namespace roost::testing

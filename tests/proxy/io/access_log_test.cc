// The access log: what it says of real requests, and what happens when it can't be written.
#include "proxy/io/access_log.h"

#include <sys/stat.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/proxy/io/fixture.h"

namespace roost::proxy {
namespace {

using std::chrono::milliseconds;
using testing::AllOf;
using testing::ContainsRegex;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

std::string Path(absl::string_view name) {
  return absl::StrCat(std::getenv("TEST_TMPDIR"), "/", name);
}

std::vector<std::string> LinesOf(const std::string& path) {
  std::ifstream file(path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

class AccessLogTest : public ProxyFixture {
 protected:
  AccessLogTest() {
    const testing::TestInfo* test = testing::UnitTest::GetInstance()->current_test_info();
    options_.access_log = path_ = Path(test->name());
  }
  // Stopping writes what is left.
  std::vector<std::string> Lines() {
    server_->Stop();
    server_.reset();
    return LinesOf(path_);
  }
  std::string path_;
};

TEST_F(AccessLogTest, EveryRequestIsALineWithoutItsIds) {
  StartProxy(EchoScript);
  store_.mutable_index().SetHeld(Key("SECRET"), kSelf);
  Stream client = Client();
  client.Send(Get("/a;jsessionid=SECRET?SECRET",
                  "Cookie: JSESSIONID=SECRET\r\n"
                  "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n"));
  EXPECT_THAT(client.ReadMessage(), StartsWith("HTTP/1.1 200"));
  client.Send("POST /b HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\n\r\nbody");
  const std::string answer = client.ReadMessage();
  EXPECT_THAT(answer, EndsWith("/b|body"));
  const auto lines = Lines();
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_THAT(lines[0],
              AllOf(StartsWith("{\"time\":\"20"), Not(HasSubstr("SECRET")),
                    HasSubstr("\"client\":\"127.0.0.1\",\"scheme\":\"http\",\"method\":\"GET\","
                              "\"path\":\"/a\",\"trace\":\"0af7651916cd43dd8448eb211c80319c\","
                              "\"status\":200,\"route\":\"local\",\"node\":\"0000000000000001\""),
                    EndsWith("\"end\":\"done\"}")));
  EXPECT_THAT(lines[1], AllOf(HasSubstr("\"method\":\"POST\",\"path\":\"/b\",\"status\":200,"
                                        "\"route\":\"no_session\""),
                              HasSubstr(absl::StrCat("\"bytes_out\":", answer.size(), ","))));
}

TEST_F(AccessLogTest, RefusedForwardedHeldAndAbandonedRequestsSaySo) {
  options_.create_hold = milliseconds(1);
  TestApp peer(EchoScript);
  StartProxy([](Stream& s, int) {
    s.ReadHead();
    s.ReadToEnd();
  });
  SetPeer(peer.address());
  {
    Stream bad = Client();
    bad.Send("SECRET nonsense\r\n\r\n");
    EXPECT_THAT(bad.ReadMessage(), StartsWith("HTTP/1.1 400"));
  }
  store_.HoldResolves(true);
  {
    Stream held = Client();
    held.Send(GetAs("abc"));
    EXPECT_TRUE(Eventually(&Counters::grace_now, 1));
    EXPECT_TRUE(held.Quiet(20));
    store::Ownership owned;
    owned.state = store::Ownership::State::kOwned;
    owned.owner = kPeer;
    store_.ReleaseResolves(owned);
    EXPECT_THAT(held.ReadMessage(), StartsWith("HTTP/1.1 200"));
  }
  {
    Stream gone = Client();
    gone.Send(Get("/gone"));
    EXPECT_TRUE(WaitFor([&] { return app_->accepted() == 1; }));
    gone.Reset();
    EXPECT_TRUE(Eventually(&Counters::client_aborted, 1));
  }
  const auto lines = Lines();
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_THAT(lines[0], AllOf(HasSubstr("\"method\":\"\",\"path\":\"\",\"status\":400"),
                              Not(HasSubstr("SECRET")), Not(HasSubstr("\"bytes_out\":0")),
                              HasSubstr("\"end\":\"refused\"")));
  EXPECT_THAT(lines[1], AllOf(HasSubstr("\"route\":\"forward\",\"node\":\"0000000000000002\""),
                              ContainsRegex("\"held_ms\":[1-9]")));
  EXPECT_THAT(lines[2], AllOf(HasSubstr("\"path\":\"/gone\",\"status\":0"),
                              HasSubstr("\"end\":\"client_gone\"")));
}

TEST_F(AccessLogTest, RenamedFileIsFollowedByANewOne) {
  StartProxy(EchoScript);
  Stream client = Client();
  const auto request = [&](absl::string_view path) {
    client.Send(Get(path));
    EXPECT_THAT(client.ReadMessage(), StartsWith("HTTP/1.1 200"));
  };
  request("/before");
  EXPECT_TRUE(WaitFor([&] { return server_->access_log().written == 1; }));
  ASSERT_EQ(rename(path_.c_str(), (path_ + ".1").c_str()), 0);
  server_->ReopenAccessLog();
  EXPECT_TRUE(WaitFor([&] {
    struct stat ignored;
    return stat(path_.c_str(), &ignored) == 0;
  }));
  request("/after");
  const auto lines = Lines();
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_THAT(lines[0], HasSubstr("/after"));
  EXPECT_EQ(LinesOf(path_ + ".1").size(), 1u);
}

TEST_F(AccessLogTest, FileThatCannotBeOpenedIsAnErrorThatNamesIt) {
  options_.access_log = Path("no/such/folder");
  options_.app = membership::Address::V4(INADDR_LOOPBACK, 1);
  const auto server = ProxyServer::Create(options_, {.store = &store_, .self = kSelf});
  ASSERT_FALSE(server.ok());
  EXPECT_THAT(std::string(server.status().message()),
              AllOf(HasSubstr("proxy.access_log"), HasSubstr("no/such/folder")));
}

TEST(AccessLogFileTest, FullDiskCostsLinesAndIsReportedOnce) {
  std::atomic<int> reports{0};
  auto log = AccessLog::Open("/dev/full", [&](absl::string_view) { ++reports; });
  ASSERT_TRUE(log.ok()) << log.status();
  for (int i = 0; i < 5; ++i) {
    std::string lines = "{}\n{}\n";
    (*log)->Write(&lines, 2);
    EXPECT_EQ(lines, "");
  }
  EXPECT_TRUE(WaitFor([&] { return (*log)->dropped() == 10; }));
  EXPECT_EQ((*log)->written(), 0u);
  EXPECT_EQ(reports, 1);
}

TEST(AccessLogFileTest, WriterThatHangsCostsLinesBeyondTheQueue) {
  // A pipe that nobody reads: writing blocks when it is full.
  const std::string path = Path("pipe");
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  std::fstream reader(path, std::ios::in | std::ios::out);
  auto log = AccessLog::Open(path, nullptr);
  ASSERT_TRUE(log.ok()) << log.status();
  const std::string line = std::string(1'023, 'x') + "\n";
  uint64_t lines = 0;
  while ((*log)->dropped() == 0) {
    std::string chunk;
    for (int i = 0; i < 32; ++i) chunk += line;
    (*log)->Write(&chunk, 32);
    lines += 32;
    ASSERT_LT(lines, 100'000u);
  }
  // The rest comes whole when somebody reads again.
  const uint64_t expected = lines - (*log)->dropped();
  std::thread finish([&] { log->reset(); });
  for (uint64_t i = 0; i < expected; ++i) {
    std::string got;
    std::getline(reader, got);
    ASSERT_EQ(got.size(), line.size() - 1) << i;
  }
  finish.join();
}

}  // namespace
}  // namespace roost::proxy

// Bulk through the kernel's pipes: every byte, in order, whoever is slow or goes.
#include <dirent.h>

#include <atomic>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/proxy/io/fixture.h"

namespace roost::proxy {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

constexpr size_t kBytes = 5'000'017;

// So that a piece that is lost, doubled or misplaced is seen.
std::string Pattern(size_t bytes) {
  std::string text(bytes, '\0');
  uint32_t state = 1;
  for (char& c : text) {
    state = state * 1'664'525 + 1'013'904'223;
    c = static_cast<char>(state >> 24);
  }
  return text;
}

int OpenDescriptors() {
  int count = 0;
  DIR* folder = opendir("/proc/self/fd");
  while (readdir(folder) != nullptr) ++count;
  closedir(folder);
  return count;
}

class SpliceTest : public ProxyFixture {
 protected:
  const std::string body_ = Pattern(kBytes);
};

TEST_F(SpliceTest, BodiesArriveAsTheyWereSentBothWays) {
  StartProxy([this](Stream& s, int) {
    for (;;) {
      if (s.ReadHead().empty()) return;
      EXPECT_TRUE(s.ReadBytes(kBytes) == body_);
      s.Send(Ok(body_));
    }
  });
  Stream client = Client();
  for (int i = 0; i < 3; ++i) {
    client.Send(absl::StrCat("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: ", kBytes, "\r\n\r\n"));
    std::thread sender([&] { client.Send(body_); });
    const std::string answer = client.ReadHead();
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 200"));
    EXPECT_TRUE(client.ReadBytes(kBytes) == body_);
    sender.join();
  }
  EXPECT_TRUE(WaitFor([&] { return Count(&Counters::bytes_spliced) > 3 * kBytes; }));
  EXPECT_EQ(app_->accepted(), 1);
}

TEST_F(SpliceTest, WhatFollowsABodyIsTheNextMessage) {
  StartProxy([this](Stream& s, int) {
    EXPECT_THAT(s.ReadHead(), StartsWith("POST /1"));
    EXPECT_TRUE(s.ReadBytes(kBytes) == body_);
    s.Send(Ok(body_));
    EXPECT_THAT(s.ReadHead(), StartsWith("GET /2"));
    s.Send(Ok("second"));
    s.ReadHead();
  });
  Stream client = Client();
  std::thread sender([&] {
    client.Send(absl::StrCat("POST /1 HTTP/1.1\r\nHost: t\r\nContent-Length: ", kBytes, "\r\n\r\n",
                             body_, Get("/2")));
  });
  EXPECT_THAT(client.ReadHead(), StartsWith("HTTP/1.1 200"));
  EXPECT_TRUE(client.ReadBytes(kBytes) == body_);
  EXPECT_THAT(client.ReadMessage(), HasSubstr("second"));
  sender.join();
}

TEST_F(SpliceTest, TunnelsCarryBulkBothWaysAtOnce) {
  StartProxy([this](Stream& s, int) {
    s.ReadHead();
    s.Send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: ws\r\nConnection: Upgrade\r\n\r\n");
    std::thread sender([&] { s.Send(body_); });
    EXPECT_TRUE(s.ReadBytes(kBytes) == body_);
    sender.join();
    s.Send("end");
  });
  Stream client = Client(16 << 10);
  client.Send(Get("/", "Connection: Upgrade\r\nUpgrade: ws\r\n"));
  EXPECT_THAT(client.ReadHead(), StartsWith("HTTP/1.1 101"));
  std::thread sender([&] { client.Send(body_); });
  EXPECT_TRUE(client.ReadBytes(kBytes) == body_);
  EXPECT_EQ(client.ReadBytes(3), "end");
  sender.join();
  client.HalfClose();
  EXPECT_TRUE(client.AtEnd());
}

TEST_F(SpliceTest, SenderThatGoesInTheMiddleCutsTheReceiverOff) {
  StartProxy([this](Stream& s, int) {
    s.ReadHead();
    s.Send(absl::StrCat("HTTP/1.1 200 OK\r\nContent-Length: ", kBytes + 1, "\r\n\r\n", body_));
  });
  Stream client = Client();
  client.Send(Get());
  EXPECT_THAT(client.ReadHead(), StartsWith("HTTP/1.1 200"));
  EXPECT_LE(client.ReadToEnd().size(), kBytes);
  EXPECT_TRUE(Eventually(&Counters::upstream_aborted, 1));
}

TEST_F(SpliceTest, ReceiversThatGoInTheMiddleLeaveNoDescriptorBehind) {
  StartProxy([this](Stream& s, int) {
    s.ReadHead();
    s.Send(Ok(body_));
    s.ReadToEnd();
  });
  const auto leave = [&] {
    Stream client = Client(4 << 10);
    client.Send(Get());
    EXPECT_THAT(client.ReadHead(), StartsWith("HTTP/1.1 200"));
    client.ReadBytes(200'000);
    client.Reset();
  };
  leave();
  EXPECT_TRUE(Eventually(&Counters::connections_open, 0));
  const int before = OpenDescriptors();
  for (int i = 0; i < 20; ++i) leave();
  EXPECT_TRUE(Eventually(&Counters::connections_open, 0));
  // The application of the test keeps two for each of its connections; the pool some pipes.
  EXPECT_LE(OpenDescriptors(), before + 20 * 2 + 10);
}

TEST_F(SpliceTest, ResponseOfUnknownLengthGoesThroughToHttp10) {
  StartProxy([this](Stream& s, int) {
    s.ReadHead();
    s.Send("HTTP/1.1 200 OK\r\n\r\n" + body_);
  });
  Stream old = Client();
  old.Send("GET / HTTP/1.0\r\n\r\n");
  EXPECT_THAT(old.ReadHead(), StartsWith("HTTP/1.1 200"));
  EXPECT_TRUE(old.ReadToEnd() == body_);
  Stream modern = Client();
  modern.Send(Get());
  EXPECT_THAT(modern.ReadHead(), HasSubstr("Transfer-Encoding: chunked"));
}

}  // namespace
}  // namespace roost::proxy

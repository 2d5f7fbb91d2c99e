#include "sidecar/admin_server.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace roost::sidecar {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

class AdminServerTest : public ::testing::Test {
 protected:
  AdminServerTest() {
    AdminServer::Options options;
    options.listen = *membership::Address::Parse("127.0.0.1:0");
    options.pages["/page"] = [](AdminServer::Deliver deliver) { deliver({.body = "hello\n"}); };
    options.connections_max = 8;
    options.timeout = milliseconds(300);
    server_ = *AdminServer::Create(options);
    server_->Start();
  }

  int Connect() {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(server_->listen_address().port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    fds_.push_back(fd);
    return fd;
  }
  void Send(int fd, const std::string& bytes) {
    send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
  }
  // Everything until the server closes; "(open)" appended if it has not within 5 s.
  std::string ReadToEnd(int fd) {
    std::string text;
    const auto deadline = steady_clock::now() + std::chrono::seconds(5);
    while (steady_clock::now() < deadline) {
      pollfd poller{fd, POLLIN, 0};
      if (poll(&poller, 1, 100) <= 0) continue;
      char buffer[4096];
      const ssize_t got = recv(fd, buffer, sizeof(buffer), 0);
      if (got <= 0) return text;
      text.append(buffer, static_cast<size_t>(got));
    }
    return text + "(open)";
  }
  std::string Ask(const std::string& bytes) {
    const int fd = Connect();
    Send(fd, bytes);
    return ReadToEnd(fd);
  }
  std::string AskFor(const std::string& line, const std::string& host = "localhost") {
    return Ask(absl::StrCat(line, " HTTP/1.1\r\nHost: ", host, "\r\nConnection: close\r\n\r\n"));
  }
  ~AdminServerTest() override {
    for (int fd : fds_) close(fd);
  }

  std::unique_ptr<AdminServer> server_;
  std::vector<int> fds_;
};

TEST_F(AdminServerTest, AnswersGetAndHead) {
  EXPECT_THAT(AskFor("GET /page"), StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(AskFor("GET /page?x=1"), EndsWith("\r\n\r\nhello\n"));
  const std::string head = AskFor("HEAD /page");
  EXPECT_THAT(head, HasSubstr("Content-Length: 6"));
  EXPECT_THAT(head, EndsWith("\r\n\r\n"));
}

TEST_F(AdminServerTest, KeepsAConnectionAlive) {
  const int fd = Connect();
  Send(fd,
       "GET /page HTTP/1.1\r\nHost: 127.0.0.1:7403\r\n\r\n"
       "GET /page HTTP/1.1\r\nHost: [::1]\r\nConnection: close\r\n\r\n");
  const std::string text = ReadToEnd(fd);
  EXPECT_NE(text.find("200 OK"), text.rfind("200 OK")) << text;
}

TEST_F(AdminServerTest, RefusesOtherPathsMethodsAndHosts) {
  EXPECT_THAT(AskFor("GET /"), StartsWith("HTTP/1.1 404"));
  EXPECT_THAT(AskFor("GET http://localhost/page"), StartsWith("HTTP/1.1 404"));
  const std::string post = AskFor("POST /page");
  EXPECT_THAT(post, StartsWith("HTTP/1.1 405"));
  EXPECT_THAT(post, HasSubstr("Allow: GET, HEAD"));
  for (const char* host : {"evil.example", "evil.example:7403", "localhost.evil.example", "",
                           "127.0.0.1.evil.example", "localhost:x", "localhost:"}) {
    EXPECT_THAT(AskFor("GET /page", host), StartsWith("HTTP/1.1 403")) << host;
  }
  EXPECT_THAT(Ask("GET /page HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n"
                  "Connection: close\r\n\r\n"),
              Not(HasSubstr("hello")));
}

TEST_F(AdminServerTest, SurvivesGarbage) {
  EXPECT_THAT(Ask("\x16\x03\x01garbage\r\n\r\n"), StartsWith("HTTP/1.1 400"));
  EXPECT_THAT(Ask(absl::StrCat("GET /page HTTP/1.1\r\nHost: localhost\r\nX: ",
                               std::string(20'000, 'x'), "\r\n\r\n")),
              Not(HasSubstr("hello")));
  EXPECT_THAT(Ask("GET /page HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\nbody"),
              Not(HasSubstr("hello")));
  EXPECT_THAT(AskFor("GET /page"), EndsWith("hello\n"));
}

TEST_F(AdminServerTest, CutsASlowClient) {
  const int fd = Connect();
  Send(fd, "GET /page HTTP/1.1\r\nHost: local");
  EXPECT_EQ(ReadToEnd(fd), "");
}

TEST_F(AdminServerTest, ClosesConnectionsAboveItsLimit) {
  for (int i = 0; i < 8; ++i) Send(Connect(), "GET");
  EXPECT_EQ(AskFor("GET /page"), "");
  // The slow ones are cut in time, and there is room again.
  for (int fd : std::vector<int>(fds_.begin(), fds_.begin() + 8)) EXPECT_EQ(ReadToEnd(fd), "");
  EXPECT_THAT(AskFor("GET /page"), EndsWith("hello\n"));
}

TEST_F(AdminServerTest, APortInUseIsNamed) {
  AdminServer::Options options;
  options.listen = server_->listen_address();
  const auto second = AdminServer::Create(options);
  ASSERT_FALSE(second.ok());
  EXPECT_THAT(std::string(second.status().message()), StartsWith("admin.listen: "));
}

}  // namespace
}  // namespace roost::sidecar

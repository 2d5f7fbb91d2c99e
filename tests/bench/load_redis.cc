// Load on a Redis primary: as many SETs as are to be in flight and one WAIT 1 behind them, which
// answers once a replica has them all; then the next.
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "tests/bench/load.h"

namespace roost::bench {
namespace {

int Connect(const std::string& target) {
  const size_t colon = target.rfind(':');
  sockaddr_in address{};
  address.sin_family = AF_INET;
  int port = 0;
  if (colon == std::string::npos || !absl::SimpleAtoi(target.substr(colon + 1), &port) ||
      inet_pton(AF_INET, target.substr(0, colon).c_str(), &address.sin_addr) != 1) {
    Die("redis: --target must be IP:PORT");
  }
  address.sin_port = htons(static_cast<uint16_t>(port));
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
    Die(absl::StrCat("redis: can't connect: ", strerror(errno)));
  }
  return fd;
}

void SendAll(int fd, const std::string& bytes) {
  size_t sent = 0;
  while (sent < bytes.size()) {
    const ssize_t n = send(fd, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
    if (n <= 0) Die("redis: connection lost");
    sent += static_cast<size_t>(n);
  }
}

// Reads `count` simple replies (one line each); the last one.
std::string ReadLines(int fd, int count) {
  static char buffer[1 << 16];
  std::string line, last;
  while (count > 0) {
    const ssize_t n = recv(fd, buffer, sizeof(buffer), 0);
    if (n <= 0) Die("redis: connection lost");
    for (ssize_t i = 0; i < n; ++i) {
      if (buffer[i] != '\n') {
        line += buffer[i];
        continue;
      }
      if (line[0] == '-') Die("redis: " + line);
      last.swap(line);
      line.clear();
      --count;
    }
  }
  return last;
}

}  // namespace

void RunRedis(const Plan& plan, Result* result) {
  const int fd = Connect(plan.target);
  const std::string value(plan.value_bytes, 'v');
  Walk walk(plan);
  const Clock::time_point end = Clock::now() + std::chrono::duration_cast<Clock::duration>(
                                                   std::chrono::duration<double>(plan.seconds));
  std::string commands;
  while (Clock::now() < end) {
    commands.clear();
    for (int i = 0; i < plan.in_flight; ++i) {
      uint64_t number = 0;
      if (!walk.Next(&number)) break;
      const std::string id = SessionId(number);
      absl::StrAppend(&commands, "*3\r\n$3\r\nSET\r\n$", id.size(), "\r\n", id, "\r\n$",
                      value.size(), "\r\n", value, "\r\n");
    }
    commands += "*3\r\n$4\r\nWAIT\r\n$1\r\n1\r\n$4\r\n5000\r\n";
    const Clock::time_point begin = Clock::now();
    SendAll(fd, commands);
    if (ReadLines(fd, plan.in_flight + 1) != ":1\r") Die("redis: no replica has acknowledged");
    const Clock::time_point now = Clock::now();
    for (int i = 0; i < plan.in_flight; ++i) result->latencies.Add(begin, now);
  }
  close(fd);
}

}  // namespace roost::bench

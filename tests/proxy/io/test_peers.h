// Raw-socket peers for the proxy's tests: a client, and an application that plays a script.
#pragma once

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "membership/address.h"

namespace roost::proxy {

inline constexpr int kDeadlineMs = 10'000;

// A blocking stream with a deadline on every read. Not thread-safe.
class Stream {
 public:
  explicit Stream(int fd) : fd_(fd) {}
  Stream(Stream&& other) noexcept
      : fd_(std::exchange(other.fd_, -1)), read_(std::move(other.read_)) {}
  ~Stream() { Close(); }

  static Stream Connect(const membership::Address& to, int receive_buffer = 0) {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (receive_buffer > 0) {
      setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof(receive_buffer));
    }
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(to.port);
    if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
      close(fd);
      return Stream(-1);
    }
    return Stream(fd);
  }

  bool Send(absl::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      bytes.remove_prefix(static_cast<size_t>(sent));
    }
    return true;
  }
  // Reads more; false at the end, on an error, or when nothing came in time.
  bool Fill(int timeout_ms = kDeadlineMs) {
    pollfd p{fd_, POLLIN, 0};
    if (poll(&p, 1, timeout_ms) != 1) return false;
    char bytes[16 << 10];
    const ssize_t got = recv(fd_, bytes, sizeof(bytes), 0);
    if (got <= 0) return false;
    read_.append(bytes, static_cast<size_t>(got));
    return true;
  }
  // Up to and including `end`; what was left at the end of the stream if that does not come.
  std::string ReadThrough(absl::string_view end) {
    size_t at;
    while ((at = read_.find(end.data(), 0, end.size())) == std::string::npos) {
      if (!Fill()) return std::exchange(read_, {});
    }
    return Take(at + end.size());
  }
  std::string ReadBytes(size_t count) {
    while (read_.size() < count && Fill()) {
    }
    return Take(std::min(count, read_.size()));
  }
  std::string ReadToEnd() {
    while (Fill()) {
    }
    return std::exchange(read_, {});
  }
  std::string ReadHead() { return ReadThrough("\r\n\r\n"); }
  // A head and the body of its Content-Length.
  std::string ReadMessage() {
    std::string head = ReadHead();
    const size_t at = head.find("Content-Length: ");
    size_t length = 0;
    if (at != std::string::npos) {
      const size_t end = head.find("\r\n", at);
      (void)absl::SimpleAtoi(absl::string_view(head).substr(at + 16, end - at - 16), &length);
    }
    return head + ReadBytes(length);
  }
  // The other side has closed and everything was read.
  bool AtEnd() { return read_.empty() && !Fill(); }
  bool Quiet(int ms) { return read_.empty() && !Fill(ms); }
  void HalfClose() { shutdown(fd_, SHUT_WR); }
  void Reset() {
    const linger now{1, 0};
    setsockopt(fd_, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    close(std::exchange(fd_, -1));
  }
  void Close() {
    if (fd_ < 0) return;
    shutdown(fd_, SHUT_RDWR);  // TestApp may hold a copy of the descriptor.
    close(std::exchange(fd_, -1));
  }
  bool open() const { return fd_ >= 0; }

 private:
  std::string Take(size_t count) {
    std::string taken = read_.substr(0, count);
    read_.erase(0, count);
    return taken;
  }
  int fd_;
  std::string read_;
};

// A port that belongs to the test and refuses connections.
class ClosedPort {
 public:
  ClosedPort() : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in local{};
    local.sin_family = AF_INET;
    local.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(local);
    bind(fd_, reinterpret_cast<sockaddr*>(&local), size);
    getsockname(fd_, reinterpret_cast<sockaddr*>(&local), &size);
    address_ = membership::Address::V4(INADDR_LOOPBACK, ntohs(local.sin_port));
  }
  ClosedPort(ClosedPort&& other) noexcept
      : fd_(std::exchange(other.fd_, -1)), address_(other.address_) {}
  ~ClosedPort() {
    if (fd_ >= 0) close(fd_);
  }
  const membership::Address& address() const { return address_; }
  // The bound socket.
  int Take() { return std::exchange(fd_, -1); }

 private:
  int fd_;
  membership::Address address_;
};

// Runs `script` on its own thread for every accepted connection, with its number from 0.
class TestApp {
 public:
  using Script = std::function<void(Stream&, int)>;

  explicit TestApp(Script script, ClosedPort port = ClosedPort())
      : script_(std::move(script)), fd_(port.Take()), address_(port.address()) {
    listen(fd_, 128);
    thread_ = std::thread([this] { Accept(); });
  }
  ~TestApp() {
    shutdown(fd_, SHUT_RDWR);
    thread_.join();
    close(fd_);
    // Scripts end when their peers close; those that wait are cut off.
    for (int fd : fds_) shutdown(fd, SHUT_RDWR);
    for (std::thread& t : scripts_) t.join();
    for (int fd : fds_) close(fd);
  }
  const membership::Address& address() const { return address_; }
  int accepted() const { return accepted_.load(); }

 private:
  void Accept() {
    for (;;) {
      const int fd = accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC);
      if (fd < 0) return;
      const int number = accepted_.fetch_add(1);
      fds_.push_back(dup(fd));
      scripts_.emplace_back([this, fd, number] {
        Stream stream(fd);
        script_(stream, number);
        // The copy in fds_ keeps the descriptor open, so say the end aloud.
        if (stream.open()) shutdown(fd, SHUT_RDWR);
      });
    }
  }
  const Script script_;
  const int fd_;
  const membership::Address address_;
  std::atomic<int> accepted_{0};
  std::vector<int> fds_;              // Of the accepting thread, then of the destructor.
  std::vector<std::thread> scripts_;  // Likewise.
  std::thread thread_;
};

// "200 OK" with a body and more header lines, each with its CRLF.
inline std::string Ok(absl::string_view body, absl::string_view more = "") {
  return absl::StrCat("HTTP/1.1 200 OK\r\nContent-Length: ", body.size(), "\r\n", more, "\r\n",
                      body);
}

inline bool WaitFor(const std::function<bool()>& condition) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(kDeadlineMs);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

}  // namespace roost::proxy

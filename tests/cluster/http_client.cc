#include "tests/cluster/http_client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace roost::testing {
namespace {

using Clock = std::chrono::steady_clock;

absl::Status Errno(absl::string_view what) {
  return absl::UnavailableError(absl::StrCat(what, ": ", std::strerror(errno)));
}

bool WaitFor(int fd, short events, Clock::time_point deadline) {
  while (true) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
    if (left <= 0) return false;
    pollfd p{fd, events, 0};
    const int n = poll(&p, 1, static_cast<int>(left));
    if (n > 0) return true;
    if (n == 0 || errno != EINTR) return false;
  }
}

HttpResponse ParseHead(absl::string_view head) {
  HttpResponse response;
  std::vector<absl::string_view> lines = absl::StrSplit(head, "\r\n");
  std::vector<absl::string_view> status_line = absl::StrSplit(lines[0], absl::MaxSplits(' ', 2));
  if (status_line.size() < 2 || !absl::SimpleAtoi(status_line[1], &response.status))
    return response;
  for (size_t i = 1; i < lines.size(); ++i) {
    std::pair<absl::string_view, absl::string_view> field =
        absl::StrSplit(lines[i], absl::MaxSplits(':', 1));
    response.headers[absl::AsciiStrToLower(field.first)] =
        std::string(absl::StripAsciiWhitespace(field.second));
  }
  return response;
}

}  // namespace

absl::StatusOr<HttpConnection> HttpConnection::Connect(uint16_t port,
                                                       std::chrono::milliseconds timeout) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return Errno("socket");
  HttpConnection connection(fd);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
    if (errno != EINPROGRESS) return Errno("connect");
    if (!WaitFor(fd, POLLOUT, Clock::now() + timeout))
      return absl::DeadlineExceededError("connect");
    int error = 0;
    socklen_t size = sizeof(error);
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) {
      errno = error;
      return Errno("connect");
    }
  }
  return connection;
}

HttpConnection::~HttpConnection() {
  if (fd_ >= 0) close(fd_);
}

HttpConnection::HttpConnection(HttpConnection&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), buffer_(std::move(other.buffer_)) {}

absl::Status HttpConnection::Send(absl::string_view bytes) {
  const auto deadline = Clock::now() + std::chrono::seconds(10);
  while (!bytes.empty()) {
    const ssize_t n = send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n > 0) {
      bytes.remove_prefix(n);
    } else if (errno != EAGAIN || !WaitFor(fd_, POLLOUT, deadline)) {
      return Errno("send");
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<size_t> HttpConnection::Fill(Clock::time_point deadline) {
  char chunk[16384];
  while (true) {
    const ssize_t n = recv(fd_, chunk, sizeof(chunk), 0);
    if (n >= 0) {
      buffer_.append(chunk, n);
      return n;
    }
    if (errno != EAGAIN) return Errno("recv");
    if (!WaitFor(fd_, POLLIN, deadline)) return absl::DeadlineExceededError("no answer in time");
  }
}

absl::StatusOr<HttpResponse> HttpConnection::Receive(std::chrono::milliseconds timeout) {
  const auto deadline = Clock::now() + timeout;
  size_t end;
  while ((end = buffer_.find("\r\n\r\n")) == std::string::npos) {
    auto n = Fill(deadline);
    if (!n.ok()) return n.status();
    if (*n == 0) return absl::UnavailableError("closed before the response's head");
  }
  HttpResponse response = ParseHead(absl::string_view(buffer_).substr(0, end));
  buffer_.erase(0, end + 4);
  if (response.headers["transfer-encoding"] == "chunked") {
    const absl::Status taken = TakeChunks(deadline, &response.body);
    if (!taken.ok()) return taken;
    return response;
  }
  size_t length = 0;
  const auto field = response.headers.find("content-length");
  const bool known = field != response.headers.end() && absl::SimpleAtoi(field->second, &length);
  while (!known || buffer_.size() < length) {
    auto n = Fill(deadline);
    if (!n.ok() && absl::IsDeadlineExceeded(n.status())) return n.status();
    if (n.ok() && *n > 0) continue;
    // A reset is as good a way to say so as a close.
    if (known || !n.ok()) return absl::DataLossError("closed in the middle of the body");
    length = buffer_.size();
    break;
  }
  response.body = buffer_.substr(0, length);
  buffer_.erase(0, length);
  return response;
}

absl::Status HttpConnection::TakeChunks(Clock::time_point deadline, std::string* body) {
  while (true) {
    const size_t line = buffer_.find("\r\n");
    size_t size = 0;
    if (line != std::string::npos) {
      if (!absl::SimpleHexAtoi(buffer_.substr(0, line), &size)) {
        return absl::InternalError("a chunk without a size");
      }
      if (buffer_.size() >= line + size + 4) {
        body->append(buffer_, line + 2, size);
        buffer_.erase(0, line + size + 4);
        if (size == 0) return absl::OkStatus();
        continue;
      }
    }
    auto n = Fill(deadline);
    if (!n.ok() && absl::IsDeadlineExceeded(n.status())) return n.status();
    if (!n.ok() || *n == 0) return absl::DataLossError("closed in the middle of the body");
  }
}

bool HttpConnection::WaitForClose(std::chrono::milliseconds timeout) {
  const auto deadline = Clock::now() + timeout;
  while (true) {
    auto n = Fill(deadline);
    if (!n.ok()) return !absl::IsDeadlineExceeded(n.status());
    if (*n == 0) return true;
  }
}

absl::StatusOr<HttpResponse> Get(uint16_t port, absl::string_view path, absl::string_view cookie,
                                 std::chrono::milliseconds timeout) {
  auto connection = HttpConnection::Connect(port, timeout);
  if (!connection.ok()) return connection.status();
  std::string request =
      absl::StrCat("GET ", path, " HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n");
  if (!cookie.empty()) absl::StrAppend(&request, "Cookie: ", cookie, "\r\n");
  request += "\r\n";
  if (absl::Status sent = connection->Send(request); !sent.ok()) return sent;
  return connection->Receive(timeout);
}

std::string CookieOf(const HttpResponse& response) {
  const auto field = response.headers.find("set-cookie");
  if (field == response.headers.end()) return "";
  return field->second.substr(0, field->second.find(';'));
}

}  // namespace roost::testing

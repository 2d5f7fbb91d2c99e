#include "tests/cluster/tagged_app.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cassert>

#include "absl/random/random.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace roost::testing {
namespace {

constexpr size_t kChunkBytes = 10'000;

bool SendAll(int fd, absl::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n <= 0) return false;
    bytes.remove_prefix(n);
  }
  return true;
}

// Appends what comes; false at the end.
bool ReadSome(int fd, std::string* buffer) {
  char chunk[16'384];
  const ssize_t n = recv(fd, chunk, sizeof(chunk), 0);
  if (n > 0) buffer->append(chunk, n);
  return n > 0;
}

// Value of the field `name` (lower case) in a head; empty if it is not there.
std::string FieldOf(const std::string& head, absl::string_view name) {
  const std::string lower = absl::AsciiStrToLower(head);
  const size_t at = lower.find(absl::StrCat("\r\n", name, ": "));
  if (at == std::string::npos) return "";
  const size_t value = at + name.size() + 4;
  return head.substr(value, head.find("\r\n", value) - value);
}

// Takes a body off `rest`, reading on as needed; false if the connection ended before.
bool TakeBody(int fd, const std::string& head, std::string* rest, std::string* body) {
  size_t size = 0;
  if (FieldOf(head, "transfer-encoding") != "chunked") {
    (void)!absl::SimpleAtoi(FieldOf(head, "content-length"), &size);
    while (rest->size() < size) {
      if (!ReadSome(fd, rest)) return false;
    }
    *body = rest->substr(0, size);
    rest->erase(0, size);
    return true;
  }
  while (true) {
    size_t line;
    while ((line = rest->find("\r\n")) == std::string::npos) {
      if (!ReadSome(fd, rest)) return false;
    }
    const bool fine = absl::SimpleHexAtoi(rest->substr(0, line), &size);
    assert(fine);
    (void)fine;
    while (rest->size() < line + size + 4) {
      if (!ReadSome(fd, rest)) return false;
    }
    body->append(*rest, line + 2, size);
    rest->erase(0, line + size + 4);
    if (size == 0) return true;
  }
}

std::string Chunked(absl::string_view body) {
  std::string out;
  while (!body.empty()) {
    const absl::string_view chunk = body.substr(0, kChunkBytes);
    absl::StrAppend(&out, absl::Hex(chunk.size()), "\r\n", chunk, "\r\n");
    body.remove_prefix(chunk.size());
  }
  return out + "0\r\n\r\n";
}

// Sockets close with a reset, as those of a killed process with unread bytes do.
void ResetAtClose(int fd) {
  const linger reset{1, 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
}

}  // namespace

std::string BodyOf(absl::string_view tag, size_t size) {
  std::string body = absl::StrCat(tag, ";");
  while (body.size() < size) body.append(body, 0, body.size());
  body.resize(size);
  return body;
}

void Ledger::Ran(const std::string& tag) {
  absl::MutexLock lock(&mutex_);
  ++runs_[tag];
}

size_t Ledger::size() const {
  absl::MutexLock lock(&mutex_);
  return runs_.size();
}

std::vector<std::string> Ledger::RanTwice() const {
  absl::MutexLock lock(&mutex_);
  std::vector<std::string> tags;
  for (const auto& [tag, runs] : runs_) {
    if (runs > 1) tags.push_back(tag);
  }
  return tags;
}

TaggedApp::TaggedApp(Ledger* ledger) : ledger_(ledger) { Listen(); }

void TaggedApp::Return() { Listen(); }

void TaggedApp::Listen() {
  listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int on = 1;
  setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port_);
  socklen_t size = sizeof(address);
  const int bound = bind(listener_, reinterpret_cast<sockaddr*>(&address), size);
  const int listening = listen(listener_, 256);
  getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
  assert(bound == 0 && listening == 0);
  (void)bound;
  (void)listening;
  port_ = ntohs(address.sin_port);
  dead_ = false;
  acceptor_ = std::thread([this] { Accept(); });
}

void TaggedApp::Die() {
  if (dead_.exchange(true)) return;
  shutdown(listener_, SHUT_RDWR);
  acceptor_.join();
  close(listener_);
  std::vector<std::thread> threads;
  {
    absl::MutexLock lock(&mutex_);
    for (int fd : open_) {
      ResetAtClose(fd);
      shutdown(fd, SHUT_RDWR);
    }
    threads.swap(threads_);
  }
  for (std::thread& thread : threads) thread.join();
}

void TaggedApp::Accept() {
  while (!dead_) {
    const int fd = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) continue;
    absl::MutexLock lock(&mutex_);
    open_.insert(fd);
    threads_.emplace_back([this, fd] { Serve(fd); });
  }
}

void TaggedApp::Serve(int fd) {
  std::string buffer;
  while (!dead_) {
    const size_t end = buffer.find("\r\n\r\n");
    if (end == std::string::npos) {
      if (!ReadSome(fd, &buffer)) break;
      continue;
    }
    const std::string head = buffer.substr(0, end + 2);
    buffer.erase(0, end + 4);
    if (!Answer(fd, head, &buffer)) break;
  }
  absl::MutexLock lock(&mutex_);
  open_.erase(fd);
  close(fd);
}

bool TaggedApp::Answer(int fd, const std::string& head, std::string* rest) {
  static thread_local absl::BitGen gen;
  const std::string path = head.substr(head.find(' ') + 1, head.find(" HTTP") - head.find(' ') - 1);
  const std::string cookie = FieldOf(head, "cookie");
  const size_t question = path.find('?');
  const size_t slash = path.rfind('/');
  const std::string tag = path.substr(slash + 1, question - slash - 1);
  std::string fields =
      absl::StrCat("HTTP/1.1 200 OK\r\nX-Tag: ", tag, "\r\nX-Session: ", cookie, "\r\n");
  std::string answer;
  if (path == "/login") {
    absl::StrAppendFormat(&fields, "Set-Cookie: JSESSIONID=%016x%016x; Path=/\r\n",
                          absl::Uniform<uint64_t>(gen), absl::Uniform<uint64_t>(gen));
  } else if (absl::StartsWith(path, "/once/")) {
    ledger_->Ran(tag);
    std::string body;
    if (!TakeBody(fd, head, rest, &body)) return false;
    if (body != BodyOf(tag, body.size())) ledger_->Mixed();
    answer = tag;
  } else {
    size_t size = 0;
    (void)!absl::SimpleAtoi(path.substr(question + 1), &size);
    answer = BodyOf(tag, size);
  }
  // Some take their time, so that there is always something in flight.
  if (absl::Bernoulli(gen, 0.3)) usleep(absl::Uniform(gen, 1'000, 20'000));
  if (answer.size() % 2 == 1) {
    return SendAll(fd, absl::StrCat(fields, "Transfer-Encoding: chunked\r\n\r\n", Chunked(answer)));
  }
  return SendAll(fd, absl::StrCat(fields, "Content-Length: ", answer.size(), "\r\n\r\n", answer));
}

}  // namespace roost::testing

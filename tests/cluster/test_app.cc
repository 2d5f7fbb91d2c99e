#include "tests/cluster/test_app.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cassert>
#include <utility>

#include "absl/random/random.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "grpcpp/grpcpp.h"

namespace roost::testing {
namespace {

constexpr char kCookie[] = "JSESSIONID";

std::string NewId() {
  static thread_local absl::BitGen gen;
  return absl::StrFormat("%016x%016x", absl::Uniform<uint64_t>(gen), absl::Uniform<uint64_t>(gen));
}

// Value of the session cookie in a request head; empty if there is none.
std::string SessionIdOf(const std::string& head) {
  const std::string name = absl::StrCat(kCookie, "=");
  const size_t start = head.find(name);
  if (start == std::string::npos) return "";
  const size_t value = start + name.size();
  return head.substr(value, head.find_first_of(";\r", value) - value);
}

// Value of a field; empty if there is none.
std::string FieldOf(const std::string& head, const std::string& name) {
  const std::string line = absl::StrCat("\r\n", name, ": ");
  const size_t start = head.find(line);
  if (start == std::string::npos) return "";
  const size_t value = start + line.size();
  return head.substr(value, head.find('\r', value) - value);
}

void Deadline(grpc::ClientContext* context) {
  context->set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(4));
}

bool SendAll(int fd, const std::string& bytes) {
  size_t sent = 0;
  while (sent < bytes.size()) {
    const ssize_t n = send(fd, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
    if (n <= 0) return false;
    sent += n;
  }
  return true;
}

}  // namespace

TestApp::TestApp(std::string name, uint16_t api_port)
    : name_(std::move(name)),
      sessions_(roost::v1::Sessions::NewStub(grpc::CreateChannel(
          absl::StrCat("127.0.0.1:", api_port), grpc::InsecureChannelCredentials()))) {
  listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  assert(listener_ >= 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  const int bound = bind(listener_, reinterpret_cast<sockaddr*>(&address), size);
  const int listening = listen(listener_, 128);
  getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
  assert(bound == 0 && listening == 0);
  (void)bound;
  (void)listening;
  port_ = ntohs(address.sin_port);
  acceptor_ = std::thread([this] { Accept(); });
}

TestApp::~TestApp() { Stop(); }

void TestApp::Stop() {
  if (stopping_.exchange(true)) return;
  Release();
  shutdown(listener_, SHUT_RDWR);
  acceptor_.join();
  close(listener_);
  std::vector<std::thread> threads;
  {
    absl::MutexLock lock(&mutex_);
    for (int fd : open_) shutdown(fd, SHUT_RDWR);
    threads.swap(threads_);
  }
  for (std::thread& thread : threads) thread.join();
}

void TestApp::Accept() {
  while (!stopping_) {
    const int fd = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) {
      if (stopping_) return;
      continue;
    }
    absl::MutexLock lock(&mutex_);
    open_.insert(fd);
    threads_.emplace_back([this, fd] { Serve(fd); });
  }
}

void TestApp::Serve(int fd) {
  std::string buffer;
  char chunk[4096];
  while (!stopping_) {
    const size_t end = buffer.find("\r\n\r\n");
    if (end == std::string::npos) {
      const ssize_t n = recv(fd, chunk, sizeof(chunk), 0);
      if (n <= 0) break;
      buffer.append(chunk, n);
      continue;
    }
    const std::string head = buffer.substr(0, end + 2);
    buffer.erase(0, end + 4);
    ++requests_;
    const size_t start = head.find(' ') + 1;
    const std::string path = head.substr(start, head.find(' ', start) - start);
    if (path == "/garbage") {
      SendAll(fd, "SPAM SPAM SPAM\r\n\r\n");
      break;
    }
    if (path == "/half") {
      SendAll(fd, absl::StrCat("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\nX-Node: ", name_,
                               "\r\n\r\n", std::string(500'000, 'x')));
      (void)!recv(fd, chunk, 1, 0);  // Until the proxy or Stop cuts the connection.
      break;
    }
    if (path == "/wait") {
      absl::MutexLock lock(&mutex_);
      const auto released = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
        return released_ || stopping_;
      };
      mutex_.Await(absl::Condition(&released));
    }
    const Reply reply = path == "/token" ? Reply{200, FieldOf(head, "X-Roost-Fencing-Token"), ""}
                                         : Handle(path, SessionIdOf(head));
    std::string cookie;
    if (!reply.set_cookie.empty()) {
      cookie =
          absl::StrCat("Set-Cookie: ", kCookie, "=", reply.set_cookie, "; Path=/; HttpOnly\r\n");
    }
    if (!SendAll(
            fd, absl::StrCat("HTTP/1.1 ", reply.status, " X\r\nContent-Length: ", reply.body.size(),
                             "\r\nX-Node: ", name_, "\r\n", cookie, "\r\n", reply.body))) {
      break;
    }
  }
  absl::MutexLock lock(&mutex_);
  open_.erase(fd);
  close(fd);
}

TestApp::Reply TestApp::Handle(const std::string& path, const std::string& session_id) {
  if (path == "/new") {
    roost::v1::CreateRequest request;
    request.set_id(NewId());
    (*request.mutable_attributes())["cart"] = "";
    roost::v1::CreateResponse response;
    grpc::ClientContext context;
    Deadline(&context);
    const grpc::Status status = sessions_->Create(&context, request, &response);
    if (!status.ok()) return {503, status.error_message(), ""};
    return {200, "", request.id()};
  }
  if (absl::StartsWith(path, "/add/")) return Add(path.substr(5), session_id);
  if (path == "/cart") {
    roost::v1::GetResponse response;
    const grpc::Status status = Read(session_id, &response);
    if (!status.ok())
      return {status.error_code() == grpc::NOT_FOUND ? 404 : 503, status.error_message(), ""};
    return {200, response.session().attributes().at("cart").value(), ""};
  }
  if (path == "/logout") {
    roost::v1::DeleteRequest request;
    request.set_id(session_id);
    roost::v1::DeleteResponse response;
    grpc::ClientContext context;
    Deadline(&context);
    const grpc::Status status = sessions_->Delete(&context, request, &response);
    return {status.ok() ? 200 : 503, status.error_message(), ""};
  }
  if (path == "/wait") return {200, "waited", ""};
  absl::MutexLock lock(&mutex_);
  if (path == "/login") {
    const std::string id = NewId();
    remembered_.insert(id);
    return {200, "", id};
  }
  if (path == "/whoami") return {200, remembered_.contains(session_id) ? "here" : "stranger", ""};
  return {404, "no such page", ""};
}

grpc::Status TestApp::Read(const std::string& session_id, roost::v1::GetResponse* response) {
  roost::v1::GetRequest request;
  request.set_id(session_id);
  grpc::Status status;
  // The first call after the node was restarted still meets the connection to its dead process.
  for (int attempt = 0; attempt < 2; ++attempt) {
    grpc::ClientContext context;
    Deadline(&context);
    context.set_wait_for_ready(true);
    status = sessions_->Get(&context, request, response);
    if (status.error_code() != grpc::UNAVAILABLE) break;
  }
  return status;
}

TestApp::Reply TestApp::Add(const std::string& item, const std::string& session_id) {
  for (int attempt = 0; attempt < 10; ++attempt) {
    roost::v1::GetResponse got;
    grpc::Status status = Read(session_id, &got);
    if (!status.ok())
      return {status.error_code() == grpc::NOT_FOUND ? 404 : 503, status.error_message(), ""};
    std::string cart = got.session().attributes().at("cart").value();
    absl::StrAppend(&cart, cart.empty() ? "" : ",", item);
    roost::v1::PutRequest put;
    put.set_id(session_id);
    put.set_expected_version(got.session().version());
    (*put.mutable_set())["cart"] = cart;
    roost::v1::PutResponse response;
    grpc::ClientContext put_context;
    Deadline(&put_context);
    status = sessions_->Put(&put_context, put, &response);
    if (status.ok()) return {200, cart, ""};
    if (status.error_code() != grpc::ABORTED) return {503, status.error_message(), ""};
  }
  return {503, "ten conflicting writes", ""};
}

}  // namespace roost::testing

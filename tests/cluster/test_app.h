// A small web application for tests, one per node, on an ephemeral loopback port. Thread per
// connection.
//
//   GET /new           makes a session through the node's API and sets its cookie
//   GET /add/ITEM      appends ITEM to the session's cart; the body is the cart
//   GET /cart          the cart, items separated by commas; 404 without session
//   GET /logout        deletes the session
//   GET /login         sets a cookie and keeps the session only in this application's memory
//   GET /whoami        "here" if this application remembers that session, else "stranger"
//   GET /half          promises 1,000,000 bytes, sends half, and waits
//   GET /garbage       answers something that is not HTTP
//   GET /token         the request's X-Roost-Fencing-Token
//   GET /wait          "waited", once the test has called Release
// Every answer has X-Node: the application's name.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "proto/sessions.grpc.pb.h"

namespace roost::testing {

class TestApp {
 public:
  // `api_port` is the node's gRPC port; it need not listen yet.
  TestApp(std::string name, uint16_t api_port);
  // Stops and joins everything.
  ~TestApp();

  uint16_t port() const { return port_; }
  // Connections are refused from now on, and open ones cut: the application has died.
  void Stop();
  int requests() const { return requests_; }
  // Lets /wait answer, now and from now on.
  void Release() {
    absl::MutexLock lock(&mutex_);
    released_ = true;
  }

 private:
  struct Reply {
    int status = 200;
    std::string body;
    std::string set_cookie;
  };

  void Accept();
  void Serve(int fd);
  Reply Handle(const std::string& path, const std::string& session_id);
  grpc::Status Read(const std::string& session_id, roost::v1::GetResponse* response);
  Reply Add(const std::string& item, const std::string& session_id);

  const std::string name_;
  uint16_t port_ = 0;
  int listener_ = -1;
  std::atomic<bool> stopping_{false};
  std::atomic<int> requests_{0};
  std::unique_ptr<roost::v1::Sessions::Stub> sessions_;
  absl::Mutex mutex_;
  bool released_ ABSL_GUARDED_BY(mutex_) = false;
  std::set<int> open_ ABSL_GUARDED_BY(mutex_);
  std::set<std::string> remembered_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::thread> threads_ ABSL_GUARDED_BY(mutex_);
  std::thread acceptor_;
};

}  // namespace roost::testing

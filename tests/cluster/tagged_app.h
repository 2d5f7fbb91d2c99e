// An application that says in each answer which request it answers, and keeps account of what it
// was made to run. For tests that let things fail: it dies and comes back on the same port. Thread
// per connection.
//
//   GET /login                  sets a session cookie
//   GET /page/TAG?SIZE          SIZE bytes made of TAG
//   POST /once/TAG              runs TAG: counted when the head is read; the body must be made of
//   TAG
// Every answer has X-Tag: TAG, and X-Session: the value of the request's session cookie. Odd sizes
// are answered in chunks.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"

namespace roost::testing {

// `size` bytes that no other tag gives.
std::string BodyOf(absl::string_view tag, size_t size);

// What all applications ran. Thread-safe.
class Ledger {
 public:
  void Ran(const std::string& tag);
  // A request whose body was not its own.
  void Mixed() { ++mixed_; }

  int mixed() const { return mixed_; }
  size_t size() const;
  std::vector<std::string> RanTwice() const;

 private:
  mutable absl::Mutex mutex_;
  std::map<std::string, int> runs_ ABSL_GUARDED_BY(mutex_);
  std::atomic<int> mixed_{0};
};

class TaggedApp {
 public:
  explicit TaggedApp(Ledger* ledger);
  ~TaggedApp() { Die(); }

  uint16_t port() const { return port_; }
  // Open connections are reset, new ones refused, as when the process is killed.
  void Die();
  // REQUIRES: Die() was called.
  void Return();

 private:
  void Listen();
  void Accept();
  void Serve(int fd);
  // False: the connection is over.
  bool Answer(int fd, const std::string& head, std::string* rest);

  Ledger* const ledger_;
  uint16_t port_ = 0;
  int listener_ = -1;
  std::atomic<bool> dead_{true};
  absl::Mutex mutex_;
  std::set<int> open_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::thread> threads_ ABSL_GUARDED_BY(mutex_);
  std::thread acceptor_;
};

}  // namespace roost::testing

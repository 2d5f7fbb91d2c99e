// HistoryLoad calls the sessions API of several nodes from several threads while a test does things
// to them, keeps what was asked and answered and when, and says at the end whether all of it can
// have happened to sessions that are called one at a time (tests/sim/linearizability.h).
//
// Every session is called by all threads, through all nodes. A call that failed is kept as one that
// may have been done, unless the node itself answered that it was not.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "proto/sessions.grpc.pb.h"
#include "tests/sim/linearizability.h"

namespace roost::testing {

class HistoryLoad {
 public:
  struct Options {
    std::vector<std::string> targets;  // Of gRPC, one per node.
    std::string name_space = "default";
    int threads = 8;
    // So many at once; after `calls_per_session` calls another takes a session's place. Enough that
    // each node owns some: where nodes fail, takeovers are to be seen.
    int sessions = 24;
    int calls_per_session = 300;
    // Longer than a node is frozen, so that what it answers when it wakes is heard.
    std::chrono::milliseconds call_timeout{15'000};
  };
  struct Report {
    uint64_t calls = 0;
    uint64_t done = 0;     // Of these; answers that say "no such session" among them.
    uint64_t refused = 0;  // Certainly not done, also reads that failed.
    uint64_t unknown = 0;
    // Of the unknown: the session was made on several nodes at once, and another one has it.
    uint64_t contested = 0;
    uint64_t sessions = 0;
    uint64_t deleted = 0;
    // Changes of the node that gave a session its epoch, between answers: takeovers that were seen.
    uint64_t takeovers = 0;
    uint64_t too_hard = 0;
    // Sessions whose histories can't have happened, and answers that no call may get.
    std::vector<std::string> violations;
    std::string ToString() const;
  };

  explicit HistoryLoad(Options options);
  ~HistoryLoad();
  HistoryLoad(const HistoryLoad&) = delete;

  // Calls whose outcome was told, so far.
  uint64_t answered() const { return answered_.load(); }
  // Ends the load and judges it.
  Report Finish();

 private:
  struct Heard {
    sim::Call call;
    bool contested = false;
    uint64_t epoch_n = 0;  // Of the answer; 0: it has none.
    std::string epoch_node;
  };
  struct Session {
    std::string id;
    std::atomic<int> calls{0};
    std::atomic<uint64_t> last_version{0};
    absl::Mutex mutex;
    std::vector<Heard> history ABSL_GUARDED_BY(mutex);
  };
  using SessionPtr = std::shared_ptr<Session>;
  class Worker;

  void Stop();
  SessionPtr Pick(uint64_t random);
  int64_t Now() const;
  void Judge(Session* session, Report* report);

  const Options options_;
  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  std::atomic<bool> stop_{false};
  std::atomic<uint64_t> answered_{0};
  std::atomic<int64_t> next_value_{0};
  absl::Mutex mutex_;
  int made_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<SessionPtr> current_ ABSL_GUARDED_BY(mutex_);
  std::vector<SessionPtr> ended_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::string> surprises_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::thread> threads_;
};

}  // namespace roost::testing

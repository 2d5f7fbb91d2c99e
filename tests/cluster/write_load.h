// WriteLoad keeps writing to sessions through the API of all nodes, in a journal of its own, while
// a test ends and starts them; afterwards it asks for everything that was acknowledged.
//
// A call that fails is repeated at another node, at most kTries times with a pause of kPause: what
// an application beside Roost is told to do. Every session is written by one thread, with numbers
// that only grow, so that what must be found is known.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "tests/cluster/cluster_fixture.h"

namespace roost::testing {

class WriteLoad {
 public:
  static constexpr int kTries = 40;
  static constexpr std::chrono::milliseconds kPause{100};

  struct Report {
    uint64_t writes = 0;   // Acknowledged: Puts and Deletes.
    uint64_t repeats = 0;  // Tries beyond the first.
    uint64_t failed = 0;   // Calls that all tries did not help.
    uint64_t sessions = 0;
    uint64_t deleted = 0;
    // Of the end: sessions whose last acknowledged write is not there, and deleted ones that are.
    uint64_t lost = 0;
    uint64_t resurrected = 0;
    double writes_per_s = 0;
  };

  // `writes_per_s` of all threads together.
  WriteLoad(Cluster* cluster, int threads, int sessions_per_thread, double writes_per_s);
  ~WriteLoad();
  WriteLoad(const WriteLoad&) = delete;

  // Ends the load, then reads every session back through every node that runs.
  Report Finish();
  uint64_t writes() const { return writes_.load(); }

 private:
  struct Session {
    std::string id;
    uint64_t acknowledged = 0;
    uint64_t tried = 0;
  };
  struct Writer {
    std::vector<Session> sessions;
    std::vector<std::string> deleted;
    std::vector<std::unique_ptr<roost::v1::Sessions::Stub>> stubs;
    std::thread thread;
  };

  void Run(int index, double writes_per_s);
  bool Put(Writer* writer, Session* session, uint64_t turn);
  bool Delete(Writer* writer, Session* session, uint64_t turn);
  template <typename Call>
  bool Try(Writer* writer, uint64_t turn, Call call);
  // By attribute.
  using Values = std::map<std::string, uint64_t>;
  // What the node has of the session, nothing if it was not to be had; empty: there is none.
  static std::optional<Values> Read(roost::v1::Sessions::Stub* stub, const std::string& id);
  static void Explain(const Writer& writer, const std::string& id);
  static bool HasAll(const Session& session, const std::optional<Values>& values);

  Cluster* const cluster_;
  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  std::atomic<bool> stop_{false};
  std::atomic<uint64_t> writes_{0};
  std::atomic<uint64_t> repeats_{0};
  std::atomic<uint64_t> failed_{0};
  std::vector<Writer> writers_;
};

}  // namespace roost::testing

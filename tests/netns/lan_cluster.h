// roostd processes on a VirtualLan, one per host, and what each of them believes, as it streams it.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "grpcpp/client_context.h"
#include "proto/cluster.grpc.pb.h"
#include "proto/sessions.grpc.pb.h"
#include "tests/netns/virtual_lan.h"

namespace roost::testing {

using Clock = std::chrono::steady_clock;

// One roostd. Watches it from Start to Kill.
class LanNode {
 public:
  // `extra`: more sections of the configuration.
  LanNode(int number, VirtualHost* host, std::vector<std::string> seeds, const std::string& folder,
          const std::string& extra);
  // Kills the process if it runs.
  ~LanNode();
  LanNode(const LanNode&) = delete;

  // Listens on the host's present address.
  void Start();
  void Signal(int signal);
  // SIGKILL, and waits.
  void Kill();
  // The same process since Start.
  bool Running() const;

  const std::string& name() const { return name_; }
  // Of gRPC: its session API, reached from any namespace.
  std::string target() const;
  // As this node sees them now.
  std::map<std::string, roost::v1::Member> Members() const;
  // Names of those alive or suspect.
  std::set<std::string> Live() const;
  // What it last said about its member list.
  roost::v1::MembersResponse List() const;
  // A session made at this node, acknowledged by itself alone.
  grpc::Status Create(const std::string& id);
  // When this node first called the member dead, at `since` or later.
  std::optional<Clock::time_point> DeathOf(const std::string& name, Clock::time_point since) const;
  // A counter of its metrics page.
  int Counter(absl::string_view series) const;
  std::string Log() const;

 private:
  void WriteConfig() const;
  void Watch(grpc::ClientContext* context);
  void Take(const roost::v1::MembersResponse& response);

  const std::string name_;
  VirtualHost* const host_;
  const std::vector<std::string> seeds_;
  const std::string folder_;
  const std::string extra_;
  pid_t pid_ = -1;
  std::atomic<bool> stopping_{false};
  std::thread watcher_;
  mutable absl::Mutex mutex_;
  grpc::ClientContext* call_ ABSL_GUARDED_BY(mutex_) = nullptr;
  roost::v1::MembersResponse latest_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::pair<Clock::time_point, std::string>> deaths_ ABSL_GUARDED_BY(mutex_);
};

class LanCluster {
 public:
  explicit LanCluster(int nodes, const std::string& extra = "");
  ~LanCluster();

  // Starts all and waits until each sees all of them.
  void StartAll();
  // Each of `group` sees exactly its members as live.
  bool Agree(const std::vector<int>& group) const;
  bool WaitUntilAgreed(const std::vector<int>& group, std::chrono::milliseconds timeout) const;
  // Until all but `victim` have called it dead; the time of the last of them after `since`.
  std::optional<std::chrono::milliseconds> WaitUntilKnownDead(
      int victim, Clock::time_point since, std::chrono::milliseconds timeout) const;
  // Of a counter, over all nodes. Views come and go between two looks at them; this misses nothing.
  int Sum(absl::string_view series) const;

  VirtualLan& lan() { return lan_; }
  LanNode& node(int i) { return *nodes_[i]; }
  std::vector<int> Everyone() const;

 private:
  std::string folder_;
  VirtualLan lan_;
  std::vector<std::unique_ptr<LanNode>> nodes_;
};

}  // namespace roost::testing

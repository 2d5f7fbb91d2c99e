// Real roostd processes on loopback, each with a TestApp beside it.
//
// Ports are free ones found at start; data lies under the test's own temporary directory and
// survives Restart. Whatever a test does, its processes end with it: by pid in the destructor, and
// by the parent-death signal if the test itself is killed.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "proto/cluster.grpc.pb.h"
#include "proto/sessions.grpc.pb.h"
#include "tests/cluster/test_app.h"

namespace roost::testing {

// A port of 127.0.0.1 that nothing listened on a moment ago, for both TCP and UDP.
uint16_t FreePort();

// Polls `condition` every few milliseconds; false if it did not become true within `timeout`.
bool Eventually(std::chrono::milliseconds timeout, const std::function<bool()>& condition);

// Runs a program of this repository (e.g. "sidecar/roostctl") to its end.
struct Finished {
  int exit_code = -1;  // -1: killed, or not ended in time.
  std::string output;  // Standard output and error.
};
Finished RunProgram(const std::string& program, const std::vector<std::string>& arguments,
                    std::chrono::milliseconds timeout = std::chrono::seconds(20));

// One roostd process.
class Node {
 public:
  struct Config {
    std::string name;
    std::string data_dir;
    uint16_t gossip_port = 0;
    std::vector<uint16_t> seed_ports;
    uint16_t app_port = 0;
    // YAML appended to the file: whole sections other than node, cluster, api and admin.
    std::string extra;
    // "NAME=VALUE", besides the test's own.
    std::vector<std::string> environment;
    // In the runfiles.
    std::string program = "sidecar/roostd";
  };

  explicit Node(Config config);
  // Kills the process if it runs.
  ~Node();
  Node(const Node&) = delete;

  void Start();
  // Sends `signal`; the process is not waited for.
  void Signal(int signal);
  // SIGSTOP, and waits until no thread of it runs.
  void Freeze();
  // SIGKILL, and waits.
  void Kill();
  // Exit code, or nothing if it does not end in time (it goes on).
  std::optional<int> WaitForExit(std::chrono::milliseconds timeout);
  bool running() const { return pid_ > 0; }

  bool Ready() const;
  // Members that this node counts as alive; -1 if it does not answer.
  int AliveMembers() const;
  std::string Metrics() const;
  // Value of one metric line, e.g. `roost_sessions{role="owned"}`; -1 if it is not there.
  double Metric(absl::string_view series) const;
  // Everything that the process wrote to standard error so far.
  std::string Log() const;

  const Config& config() const { return config_; }
  Config* mutable_config() { return &config_; }
  uint16_t http_port() const { return http_port_; }
  uint16_t forward_port() const { return forward_port_; }
  uint16_t api_port() const { return api_port_; }
  uint16_t admin_port() const { return admin_port_; }
  std::string config_file() const { return config_.data_dir + ".yaml"; }
  roost::v1::Sessions::Stub* sessions() { return sessions_.get(); }

 private:
  void WriteConfig() const;

  Config config_;
  uint16_t http_port_;
  uint16_t forward_port_;
  uint16_t api_port_;
  uint16_t admin_port_;
  pid_t pid_ = -1;
  std::unique_ptr<roost::v1::Sessions::Stub> sessions_;
};

// Several nodes of one cluster.
class Cluster {
 public:
  explicit Cluster(int nodes, std::string extra_config = "");

  // Starts all and waits until each is ready and sees all of them.
  void StartAll();
  bool WaitUntilWhole(std::chrono::milliseconds timeout = std::chrono::seconds(15));
  Node& node(int i) { return *nodes_[i]; }
  TestApp& app(int i) { return *apps_[i]; }
  int size() const { return static_cast<int>(nodes_.size()); }
  // Index of the running node that owns the cookie's session, by asking node `asked`; -1 if
  // unknown.
  int OwnerOf(const std::string& cookie, int asked);

 private:
  std::vector<std::unique_ptr<TestApp>> apps_;
  std::vector<std::unique_ptr<Node>> nodes_;
};

}  // namespace roost::testing

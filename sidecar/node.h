// Node builds and wires the four parts of one roostd, and takes them down again. The only place
// that knows them all.
//
// Parts are made from the store outwards (table, store, peers' server, proxy, gossip, API, admin),
// so that every port is known before it is told to others, and stopped in reverse.
//
// Owner: main. Thread: main's, unless noted.
#pragma once

#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/config.pb.h"
#include "sidecar/log.h"

namespace roost::sidecar {

class Node {
 public:
  struct Dependencies {
    // Outlives the node.
    Logger* log = nullptr;
    // Any thread: the node can't go on and must be stopped; at least once.
    std::function<void(absl::Status)> on_fatal;
  };

  // Opens the data directory and binds every port; nothing runs yet. Errors name the field.
  // REQUIRES: `config` was loaded without errors.
  static absl::StatusOr<std::unique_ptr<Node>> Create(const config::v1::Config& config,
                                                      Dependencies dependencies);
  // Stops.
  ~Node();
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  // Reads the sessions from disk, joins the cluster, takes traffic.
  absl::Status Start();

  // Hands over the sessions, for at most 30 s, and leaves the cluster. Takes traffic meanwhile.
  // Any thread, once; Stop comes after it has returned.
  void Drain();

  // Begins new files where logs are files, which were renamed.
  void ReopenLogs();

  // Finishes what is under way, within seconds, and stops everything. Idempotent.
  void Stop();

 private:
  struct Parts;
  explicit Node(std::unique_ptr<Parts> parts);

  std::unique_ptr<Parts> parts_;
};

}  // namespace roost::sidecar

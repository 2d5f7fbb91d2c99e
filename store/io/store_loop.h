// StoreLoop is the shell around Replica, and the SessionStore that the rest of the node uses.
//
// One thread takes inputs off a queue, passes them to the core, and carries out the effects:
// batches to the disk, messages to the peers' streams, answers to the callers, changes to the
// ownership index. It also forwards calls to their owners: once per attempt, and never again where
// a write may have been done (that outcome is reported as unknown).
//
// Threads: public methods from any, unless noted. Callbacks run on the loop (or, where a call is
// refused without being queued, on the caller's thread) and must only post.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "membership/view.h"
#include "store/io/rocks_table.h"
#include "store/listing.h"
#include "store/observer.h"
#include "store/options.h"
#include "store/session_store.h"

namespace grpc {
class ChannelCredentials;
class ServerBuilder;
}  // namespace grpc

namespace roost::store {

class StoreLoop : public SessionStore {
 public:
  struct Dependencies {
    // Open; outlives the loop.
    RocksTable* table = nullptr;
    // cluster.name: streams of other clusters are refused.
    std::string cluster;
    // Of this node towards its peers.
    std::shared_ptr<grpc::ChannelCredentials> peer_credentials;
    // On the loop: the peer's host refused a connection, so its process is probably gone.
    std::function<void(membership::NodeId)> on_peer_refused;
    // On the loop: the disk's room at first, and whenever it changes enough to matter.
    std::function<void(DiskSpace)> on_disk_space;
    // On the loop: what happened to sessions that this node owns, in order. Must not block.
    std::function<void(const std::vector<SessionEvent>&)> on_events;
    // On the loop, at most once: the disk failed, nothing is acknowledged any more; stop the node.
    std::function<void(absl::Status)> on_fatal;
  };
  static absl::StatusOr<std::unique_ptr<StoreLoop>> Create(const Options& options,
                                                           Dependencies dependencies);
  ~StoreLoop() override;

  // The Peer service, with the channel arguments that its clients count on. Before Start and before
  // the server is built; the server must be gone before this object is.
  void RegisterServices(grpc::ServerBuilder* builder);

  // Reads what the disk has (the caller waits), then starts the threads. Once.
  absl::Status Start();

  void SetView(membership::ViewPtr view);

  // RESOURCE_EXHAUSTED beyond Options::pending_max calls under way, or when the disk is far behind.
  void Execute(Operation operation, ResultCallback done) override;
  void ExecuteAll(std::shared_ptr<CallBatch> batch) override;
  void Resolve(SessionKey key, OwnershipCallback done) override;
  void List(ListQuery query, ListCallback done) override;
  void Touch(std::vector<SessionKey> keys) override;
  const OwnershipIndex& index() const override;

  // False until every session that this node believes to own has been validated after the start.
  bool recovered() const;
  // Not called any more once the loop has stopped.
  void Stats(std::function<void(StoreStats)> done);
  // As Stats.
  void Risk(RiskQuery query, std::function<void(StopRisk)> done);
  // Everything that this node holds.
  void ListHeld(std::optional<SessionKey> after, bool owned_only, size_t limit,
                std::function<void(std::vector<ListEntry>)> done);

  // Hands the owned sessions to their copies; `done` once nothing is left to hand over.
  void Drain(std::function<void()> done);

  // Idempotent. Ends the streams, answers what is waiting, flushes the disk. Writes under way are
  // answered DEADLINE_EXCEEDED: their outcome is unknown.
  void Stop();

  const Counters& counters() const;

 private:
  class Loop;
  explicit StoreLoop(std::unique_ptr<Loop> loop);

  std::unique_ptr<Loop> loop_;
};

}  // namespace roost::store

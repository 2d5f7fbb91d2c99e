#include "store/io/store_loop.h"

#include <algorithm>
#include <atomic>
#include <cassert>
#include <thread>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/synchronization/notification.h"
#include "grpcpp/server_builder.h"
#include "store/core/gather.h"
#include "store/core/index_change.h"
#include "store/core/replica.h"
#include "store/io/call_table.h"
#include "store/io/disk_pool.h"
#include "store/io/input_queue.h"
#include "store/io/peer_client.h"
#include "store/io/read_clocks.h"
#include "store/io/replication_service.h"
#include "store/io/running_batches.h"

namespace roost::store {

using membership::NodeId;
using membership::SteadyTime;
using std::chrono::milliseconds;

namespace {

// Effects wait for at most so many inputs before they are carried out.
constexpr size_t kInputsPerFlush = 64;
// The core's own answer comes before the shell gives up.
constexpr milliseconds kGiveUpSlack{50};
constexpr milliseconds kRetryPauseMin{5};
constexpr milliseconds kRetryPauseMax{100};

}  // namespace

class StoreLoop::Loop {
 public:
  Loop(const Options& options, Dependencies dependencies)
      : options_(options),
        dependencies_(std::move(dependencies)),
        self_(dependencies_.table->identity()),
        replica_(options, self_.id, &counters_),
        disk_(dependencies_.table, options, DiskCallbacks()),
        peers_(dependencies_.cluster, self_, dependencies_.peer_credentials, PostToThis(),
               RunOnThis(), PeerEvents()),
        service_(dependencies_.cluster, self_, PostToThis(), RunOnThis(), ServiceEvents()) {}

  ~Loop() { Stop(); }

  absl::Status Start() {
    absl::StatusOr<Recovered> recovered = dependencies_.table->Recover();
    if (!recovered.ok()) return recovered.status();
    counters_.corrupt_records += dependencies_.table->corrupt_records();
    disk_.Start();
    started_.store(true);
    thread_ = std::thread([this, found = *std::move(recovered)]() mutable {
      replica_.Recover(ReadClocks(), std::move(found), &effects_);
      CarryOut();
      effects_ = {};  // Had room for every session.
      Run();
    });
    return absl::OkStatus();
  }

  void Post(InputQueue::Input input) { queue_.Post(input); }

  void Execute(Operation operation, bool remote, std::function<void(OperationResult)> done) {
    if (absl::Status room = Admit(1, IsWrite(operation)); !room.ok()) {
      return done(Failure(std::move(room)));
    }
    const bool learn = std::holds_alternative<LearnOp>(operation);
    InputQueue::Input input = [this, remote, operation = std::move(operation),
                               done = std::move(done)]() mutable {
      if (ended_.load()) {
        Leave();
        return done(Failure(absl::UnavailableError("the node is stopping")));
      }
      Begin(ReadClocks(), std::move(operation), remote, std::move(done));
    };
    // Only the proxy learns, whose threads have connections to serve.
    if (!(learn ? queue_.Post(input) : PostAndRun(input))) input();
  }

  void ExecuteAll(std::shared_ptr<CallBatch> batch) {
    const auto count = static_cast<uint32_t>(batch->operations.size());
    const bool writes = absl::c_any_of(batch->operations, IsWrite);
    if (absl::Status room = Admit(static_cast<int>(count), writes); !room.ok()) {
      return Refuse(*batch, count, room);
    }
    InputQueue::Input input = [this, count, batch = std::move(batch)]() mutable {
      if (ended_.load()) {
        outstanding_ -= static_cast<int>(count);
        return Refuse(*batch, count, absl::UnavailableError("the node is stopping"));
      }
      std::vector<Operation> operations = std::move(batch->operations);
      const RunningBatches::Place running = batches_.Add(std::move(batch), count);
      const Now now = ReadClocks();
      for (uint32_t i = 0; i < count; ++i) {
        Begin(now, std::move(operations[i]), false, [this, running, i](OperationResult result) {
          batches_.Done(running, i, std::move(result));
        });
      }
    };
    if (!PostAndRun(input)) input();
  }

  void Resolve(SessionKey key, OwnershipCallback done) {
    if (!Admit(1, false).ok()) return done(Ownership::CannotTell());
    PostOrRun([this, key, done = std::move(done)]() mutable {
      if (ended_.load()) {
        Leave();
        return done(Ownership::CannotTell());
      }
      const uint64_t id = ++last_id_;
      lookups_.emplace(id, std::move(done));
      replica_.Resolve(ReadClocks(), id, key, &effects_);
      CarryOut();
    });
  }

  // Every member answers for what it owns; one of them is this node.
  void List(ListQuery query, ListCallback done) {
    PostOrRun([this, query, done = std::move(done)]() mutable {
      std::vector<NodeId> members = {self_.id};
      // After the end nobody else is asked: their answers would find no loop.
      if (query.cluster && view_ != nullptr && !ended_.load()) {
        for (const membership::Member& member : view_->members()) {
          if (member.live() && member.id != self_.id) members.push_back(member.id);
        }
      }
      auto gather = std::make_shared<Gather>(members, query.limit);
      const auto add = [gather, done = std::move(done)](NodeId member,
                                                        const OperationResult& result) {
        gather->Add(member, result);
        if (gather->done()) done(gather->Take());
      };
      const ListOp op{.key = query.after.value_or(SessionKey{}),
                      .first = !query.after.has_value(),
                      .principal = query.principal,
                      .limit = static_cast<uint32_t>(query.limit)};
      for (const NodeId member : members) {
        if (member == self_.id) {
          Execute(op, false, [add, member](const OperationResult& result) { add(member, result); });
        } else {
          peers_.Forward(member, op, options_.ack_timeout, [add, member](ForwardOutcome outcome) {
            const bool answered = outcome.kind == ForwardOutcome::Kind::kAnswered;
            add(member, answered ? outcome.result : Failure(absl::UnavailableError("no answer")));
          });
        }
      }
    });
  }

  // Accesses are hints: some are dropped when the loop is far behind.
  void Touch(std::vector<SessionKey> keys) {
    if (touches_.load() >= options_.pending_max) return;
    ++touches_;
    Post([this, keys = std::move(keys)] {
      --touches_;
      replica_.Touch(ReadClocks(), keys, &effects_);
      CarryOut();
    });
  }

  void SetView(membership::ViewPtr view) {
    Post([this, view = std::move(view)] {
      const Now now = ReadClocks();
      peers_.SetView(now.steady, *view);
      view_ = view;
      replica_.OnView(now, view, &effects_);
      CarryOut();
    });
  }

  void Drain(std::function<void()> done) {
    PostOrRun([this, done = std::move(done)]() mutable {
      if (ended_.load()) return done();
      drain_waiters_.push_back(std::move(done));
      replica_.Drain(ReadClocks(), &effects_);
      CarryOut();
    });
  }

  void Stop() {
    if (stopped_.exchange(true)) return;
    if (thread_.joinable()) {
      absl::Notification closed;
      Post([this, &closed] {
        peers_.Close();
        closed.Notify();
      });
      closed.WaitForNotification();
    }
    service_.Close();
    // The loop still runs, so that what gRPC lets go of finds it.
    peers_.AwaitClosed();
    service_.AwaitClosed();
    ended_.store(true);
    queue_.Stop();
    if (thread_.joinable()) thread_.join();
    disk_.Stop();
    AnswerAll();
  }

  Replica& replica() { return replica_; }
  ReplicationService& service() { return service_; }
  const OwnershipIndex& index() const { return index_; }
  const Counters& counters() const { return counters_; }
  bool recovered() const { return recovered_.load(std::memory_order_acquire); }

 private:
  Now ReadClocks() { return sleep_.Look(store::ReadClocks(), &replica_, &effects_); }
  PostFunction PostToThis() {
    return [this](InputQueue::Input input) { Post(std::move(input)); };
  }
  PostFunction RunOnThis() {
    return [this](InputQueue::Input input) { PostAndRun(input); };
  }

  DiskPool::Callbacks DiskCallbacks() {
    return {.on_persisted =
                [this](uint64_t ticket, bool here) {
                  InputQueue::Input input = [this, ticket] {
                    replica_.OnPersisted(ReadClocks(), ticket, &effects_);
                    CarryOut();
                  };
                  PostAndRun(input, /*hard=*/!here);
                },
            .on_loaded =
                [this](const store::Load& load, SessionPtr session, bool corrupt) {
                  InputQueue::Input input = [this, ticket = load.ticket, corrupt,
                                             session = std::move(session)]() mutable {
                    if (corrupt) ++counters_.corrupt_records;
                    replica_.OnLoaded(ReadClocks(), ticket, std::move(session), &effects_);
                    CarryOut();
                  };
                  PostAndRun(input, /*hard=*/load.ahead);
                },
            .on_scanned =
                [this](uint64_t ticket, std::vector<SessionKey> keys, bool more) {
                  Post([this, ticket, more, keys = std::move(keys)] {
                    replica_.OnScanned(ReadClocks(), ticket, keys, more, &effects_);
                    CarryOut();
                  });
                },
            .on_space =
                [this](DiskSpace space) {
                  Post([this, space] {
                    replica_.OnDiskSpace(space);
                    if (dependencies_.on_disk_space) dependencies_.on_disk_space(space);
                  });
                },
            .on_error =
                [this](absl::Status status) {
                  Post([this, status = std::move(status)] {
                    ++counters_.disk_errors;
                    if (dependencies_.on_fatal) dependencies_.on_fatal(status);
                  });
                }};
  }

  PeerClient::Events PeerEvents() {
    return {.on_up =
                [this](NodeId peer, uint64_t last_sequence, bool deltas) {
                  replica_.OnStreamUp(ReadClocks(), peer, last_sequence, deltas, &effects_);
                  CarryOut();
                },
            .on_down =
                [this](NodeId peer) {
                  replica_.OnStreamDown(ReadClocks(), peer, &effects_);
                  CarryOut();
                },
            .on_messages =
                [this](NodeId peer, std::vector<ToSender> messages) {
                  for (ToSender& message : messages) {
                    replica_.OnToSender(ReadClocks(), peer, std::move(message), &effects_);
                    CarryOut();
                  }
                },
            .on_refused =
                [this](NodeId peer) {
                  if (dependencies_.on_peer_refused) dependencies_.on_peer_refused(peer);
                },
            .on_malformed = [this] { ++counters_.malformed_messages; }};
  }

  ReplicationService::Events ServiceEvents() {
    return {.applied_sequence = [this](NodeId peer) { return replica_.AppliedSequence(peer); },
            .on_messages =
                [this](NodeId peer, std::vector<ToReceiver> messages) {
                  for (ToReceiver& message : messages) {
                    replica_.OnToReceiver(ReadClocks(), peer, std::move(message), &effects_);
                    CarryOut();
                  }
                },
            .on_malformed = [this] { ++counters_.malformed_messages; },
            .execute =
                [this](Operation operation, std::function<void(OperationResult)> done) {
                  Execute(std::move(operation), true, std::move(done));
                }};
  }

  // For inputs that owe an answer: after the end they run here, and answer at once.
  void PostOrRun(InputQueue::Input input) {
    if (!queue_.Post(input)) input();
  }

  void Begin(Now now, Operation operation, bool remote, std::function<void(OperationResult)> done) {
    const uint64_t id = ++last_id_;
    calls_.Add(id, Call{.operation = nullptr,
                        .key = KeyOf(operation),
                        .write = IsWrite(operation),
                        .done = std::move(done),
                        .remote = remote});
    replica_.Execute(now, id, std::move(operation), remote, &effects_);
    CarryOut();
  }

  // Takes `count` of pending_max places, each given back by Leave.
  absl::Status Admit(int count, bool write) {
    if (!started_.load()) return absl::UnavailableError("the node is starting");
    if (stopped_.load()) return absl::UnavailableError("the node is stopping");
    if (write && disk_.saturated())
      return absl::ResourceExhaustedError("store: the disk is far behind");
    if (outstanding_.fetch_add(count) + count <= options_.pending_max) return absl::OkStatus();
    outstanding_ -= count;
    return absl::ResourceExhaustedError("store: more than store.pending_max calls under way");
  }
  void Leave() { --outstanding_; }

  void Run() {
    EndTurn();
    for (std::vector<InputQueue::Input> batch; queue_.Take(&batch);) RunTurn(&batch);
  }

  void RunTurn(std::vector<InputQueue::Input>* batch) {
    size_t count = 0;
    for (InputQueue::Input& input : *batch) {
      input();
      if (++count % kInputsPerFlush == 0) Flush();
    }
    batch->clear();
    RunTimers();
    EndTurn();
  }

  // What it has to write, to the disk and to peers, is written once others can have their turn.
  void EndTurn() {
    Flush();
    const bool writes = std::exchange(writes_here_, false);
    const StreamWriters writers = std::exchange(writers_, {});
    queue_.Leave(WaitUntil(NextDeadline()));
    for (const auto& stream : writers) stream->Write();
    if (writes) disk_.WriteHere();
  }

  // As Post, but runs what waits here if nobody is at it: waking the loop's thread costs more. Not
  // on a thread that works hard: all would wait for its turn while the kernel lets it wait.
  bool PostAndRun(InputQueue::Input& input, bool hard = false) {
    std::vector<InputQueue::Input> batch;
    if (!queue_.Post(input, hard ? nullptr : &batch)) return false;
    if (!batch.empty()) RunTurn(&batch);
    return true;
  }

  SteadyTime NextDeadline() const {
    return std::min(
        {replica_.NextDeadline(), peers_.NextDeadline(), calls_.NextDeadline(), sleep_.next()});
  }

  void RunTimers() {
    const Now now = ReadClocks();
    if (replica_.NextDeadline() <= now.steady) {
      replica_.OnDeadline(now, &effects_);
      CarryOut();
    }
    if (peers_.NextDeadline() <= now.steady) peers_.OnDeadline(now.steady);
    uint64_t id = 0;
    CallTable::Timer timer;
    while (calls_.PopDue(now.steady, &id, &timer)) {
      Call* const call = calls_.Find(id);
      if (call == nullptr) continue;
      if (timer == CallTable::Timer::kGiveUp) {
        Finish(id, NoAnswer(*call));
      } else {
        replica_.Execute(now, id, std::move(*call->operation), false, &effects_);
        CarryOut();
      }
    }
  }

  // Answers go out now; the rest is gathered until Flush, which keeps its order.
  void CarryOut() {
    for (const IndexChange& change : effects_.index_changes) Apply(change, &index_);
    if (effects_.persist.has_value()) persists_.push_back(*std::move(effects_.persist));
    for (Send& send : effects_.sends) {
      if (auto* to_receiver = std::get_if<ToReceiver>(&send.message)) {
        peers_.Send(send.to, std::move(*to_receiver));
      } else {
        service_.Send(send.to, std::get<ToSender>(std::move(send.message)));
      }
    }
    loads_.insert(loads_.end(), effects_.loads.begin(), effects_.loads.end());
    scans_.insert(scans_.end(), effects_.scans.begin(), effects_.scans.end());
    if (!effects_.events.empty() && dependencies_.on_events)
      dependencies_.on_events(effects_.events);
    for (Reply& reply : effects_.replies) OnReply(std::move(reply));
    for (OwnershipReply& reply : effects_.ownership_replies) OnOwnership(std::move(reply));
    effects_.Clear();
  }

  void Flush() {
    replica_.Flush(ReadClocks(), &effects_);
    CarryOut();
    writes_here_ |= disk_.Persist(&persists_);
    peers_.Flush(&writers_);
    service_.Flush(&writers_);
    for (const store::Load& load : std::exchange(loads_, {})) disk_.Load(load);
    for (const store::Scan& scan : std::exchange(scans_, {})) disk_.Scan(scan);
    batches_.Flush();
    if (replica_.recovered()) recovered_.store(true, std::memory_order_release);
    if (drain_waiters_.empty() || !replica_.drained()) return;
    for (const auto& done : std::exchange(drain_waiters_, {})) done();
  }

  void OnReply(Reply reply) {
    Call* const call = calls_.Find(reply.operation_id);
    if (call == nullptr) return;  // Given up already.
    const bool elsewhere = absl::IsUnavailable(reply.result.status) && reply.result.owner &&
                           reply.result.owner != self_.id;
    if (!elsewhere || call->remote || reply.operation == nullptr) {
      return Finish(reply.operation_id, std::move(reply.result));
    }
    call->operation = std::move(reply.operation);
    call->key = KeyOf(*call->operation);  // Rotated meanwhile, perhaps.
    Forward(reply.operation_id, call, reply.result.owner);
  }

  void Forward(uint64_t id, Call* call, NodeId owner) {
    const SteadyTime now = ReadSteady();
    if (call->forwards++ == 0) {
      call->deadline = now + options_.ack_timeout + WaitOf(*call->operation);
      calls_.SetTimer(call->deadline + kGiveUpSlack, id, CallTable::Timer::kGiveUp);
    }
    if (now >= call->deadline) {
      return Finish(id, Failure(absl::UnavailableError("the owner can't be reached")));
    }
    ++counters_.forwarded;
    peers_.Forward(owner, *call->operation, call->deadline - now,
                   [this, id](ForwardOutcome outcome) { OnForwarded(id, std::move(outcome)); });
  }

  void OnForwarded(uint64_t id, ForwardOutcome outcome) {
    Call* const call = calls_.Find(id);
    if (call == nullptr) return;
    const bool answered = outcome.kind == ForwardOutcome::Kind::kAnswered;
    if (answered && !absl::IsUnavailable(outcome.result.status)) {
      return Finish(id, std::move(outcome.result));
    }
    if (outcome.kind == ForwardOutcome::Kind::kUnknown && call->write) {
      // Never repeated: it may have been done.
      return Finish(id, NoAnswer(*call));
    }
    const Now now = ReadClocks();
    if (answered && outcome.result.moved_to != SessionKey{}) {
      call->key = outcome.result.moved_to;
      SetKey(call->key, call->operation.get());
    }
    const SessionKey key = call->key;
    const milliseconds pause =
        std::min(kRetryPauseMin * (1 << std::min(call->forwards, 5)), kRetryPauseMax);
    if (now.steady + pause >= call->deadline) {
      Finish(id, Failure(absl::UnavailableError("the owner can't be reached")));
    } else {
      calls_.SetTimer(now.steady + pause, id, CallTable::Timer::kRetry);
    }
    replica_.OnForwardRefused(now, key, &effects_);
    CarryOut();
  }

  void Finish(uint64_t id, OperationResult result) {
    const Call call = calls_.Remove(id);
    Leave();
    call.done(std::move(result));
  }

  void OnOwnership(OwnershipReply reply) {
    const auto it = lookups_.find(reply.operation_id);
    assert(it != lookups_.end());
    const OwnershipCallback done = std::move(lookups_.extract(it).mapped());
    Leave();
    done(std::move(reply.ownership));
  }

  // After the loop has ended, and with it the queue, which is emptied first.
  void AnswerAll() {
    for (const uint64_t id : calls_.Ids()) {
      Finish(id, NoAnswer(*calls_.Find(id)));
    }
    batches_.Flush();
    for (auto& [id, done] : std::exchange(lookups_, {})) done(Ownership::CannotTell());
    for (const auto& done : std::exchange(drain_waiters_, {})) done();
  }

  const Options options_;
  const Dependencies dependencies_;
  const Identity self_;
  Counters counters_;
  OwnershipIndex index_;
  Replica replica_;
  SleepWatch sleep_;
  InputQueue queue_;
  DiskPool disk_;
  PeerClient peers_;
  ReplicationService service_;
  std::thread thread_;

  std::atomic<bool> started_{false};
  std::atomic<bool> stopped_{false};
  // The streams are gone and the queue is about to stop.
  std::atomic<bool> ended_{false};
  std::atomic<bool> recovered_{false};
  std::atomic<int> outstanding_{0};
  std::atomic<int> touches_{0};

  // The loop's own.
  Effects effects_;
  std::vector<store::Persist> persists_;
  bool writes_here_ = false;  // This turn has the disk's.
  StreamWriters writers_;
  std::vector<store::Load> loads_;
  std::vector<store::Scan> scans_;
  membership::ViewPtr view_;
  CallTable calls_;
  absl::flat_hash_map<uint64_t, OwnershipCallback> lookups_;
  std::vector<std::function<void()>> drain_waiters_;
  RunningBatches batches_;
  uint64_t last_id_ = 0;
};

StoreLoop::StoreLoop(std::unique_ptr<Loop> loop) : loop_(std::move(loop)) {}
StoreLoop::~StoreLoop() = default;

absl::StatusOr<std::unique_ptr<StoreLoop>> StoreLoop::Create(const Options& options,
                                                             Dependencies dependencies) {
  if (absl::Status valid = options.Validate(); !valid.ok()) return valid;
  assert(dependencies.table != nullptr && dependencies.peer_credentials != nullptr);
  return std::unique_ptr<StoreLoop>(
      new StoreLoop(std::make_unique<Loop>(options, std::move(dependencies))));
}

void StoreLoop::RegisterServices(grpc::ServerBuilder* builder) {
  loop_->service().RegisterOn(builder);
}

absl::Status StoreLoop::Start() { return loop_->Start(); }
void StoreLoop::SetView(membership::ViewPtr view) { loop_->SetView(std::move(view)); }

void StoreLoop::Execute(Operation operation, ResultCallback done) {
  loop_->Execute(std::move(operation), false, std::move(done));
}

void StoreLoop::ExecuteAll(std::shared_ptr<CallBatch> all) { loop_->ExecuteAll(std::move(all)); }
void StoreLoop::Resolve(SessionKey key, OwnershipCallback f) { loop_->Resolve(key, std::move(f)); }
void StoreLoop::Touch(std::vector<SessionKey> keys) { loop_->Touch(std::move(keys)); }
const OwnershipIndex& StoreLoop::index() const { return loop_->index(); }
bool StoreLoop::recovered() const { return loop_->recovered(); }

void StoreLoop::Stats(std::function<void(StoreStats)> done) {
  loop_->Post([loop = loop_.get(), done = std::move(done)] { done(loop->replica().Stats()); });
}

void StoreLoop::Risk(RiskQuery query, std::function<void(StopRisk)> done) {
  loop_->Post([loop = loop_.get(), query = std::move(query), done = std::move(done)] {
    done(loop->replica().Risk(ReadClocks(), query));
  });
}

void StoreLoop::List(ListQuery query, ListCallback done) { loop_->List(query, std::move(done)); }

void StoreLoop::ListHeld(std::optional<SessionKey> after, ListOf which, size_t limit,
                         std::function<void(std::vector<ListEntry>)> done) {
  loop_->Post([loop = loop_.get(), after, which, limit, done = std::move(done)] {
    done(loop->replica().List(ReadClocks(), after.has_value() ? &*after : nullptr, which, limit));
  });
}

void StoreLoop::Drain(std::function<void()> done) { loop_->Drain(std::move(done)); }
void StoreLoop::Stop() { loop_->Stop(); }
const Counters& StoreLoop::counters() const { return loop_->counters(); }

}  // namespace roost::store

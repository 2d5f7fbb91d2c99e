// A GossipLoop on loopback whose views are awaited.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "membership/io/gossip_loop.h"

namespace roost::membership::testing {

inline constexpr absl::Duration kPatience = absl::Seconds(15);

// A node whose views are awaited, not polled.
class Node {
 public:
  Node(uint64_t id, uint64_t boot_epoch, std::vector<std::string> seeds, uint16_t port = 0,
       std::string name = "")
      : Node(MakeOptions(id, boot_epoch, std::move(name)), Address::V4(0x7f000001, port),
             std::move(seeds), {}) {}

  // on_fatal is the node's own.
  Node(Options options, Address listen, std::vector<std::string> seeds,
       GossipLoop::Dependencies dependencies) {
    dependencies.on_fatal = [this](absl::Status status) {
      absl::MutexLock lock(&mutex_);
      fatal_ = std::move(status);
    };
    dependencies.on_events = [this](const std::vector<Event>& events) {
      absl::MutexLock lock(&mutex_);
      events_.insert(events_.end(), events.begin(), events.end());
    };
    options.advertise = listen.WithPort(0);
    auto created = GossipLoop::Create(options, listen, std::move(seeds), std::move(dependencies));
    EXPECT_TRUE(created.ok()) << created.status();
    loop_ = *std::move(created);
    loop_->Subscribe([this](ViewPtr view) {
      absl::MutexLock lock(&mutex_);
      view_ = std::move(view);
    });
    loop_->Start();
  }

  template <typename Predicate>
  bool Await(Predicate predicate) {
    absl::MutexLock lock(&mutex_);
    const auto holds = [&] { return view_ != nullptr && predicate(*view_); };
    return mutex_.AwaitWithTimeout(absl::Condition(&holds), kPatience);
  }
  bool AwaitLive(size_t count) {
    return Await([count](const View& view) { return view.live_count() == count; });
  }
  // One list of `count` places with a coordinator.
  bool AwaitList(size_t count, uint64_t* lineage = nullptr) {
    return Await([count, lineage](const View& view) {
      if (lineage != nullptr) *lineage = view.list().lineage;
      size_t listed = 0;
      for (const Member& member : view.members()) {
        listed += member.live() && member.join_seq != 0 ? 1 : 0;
      }
      return view.list().lineage != 0 && listed == count && view.list().coordinator;
    });
  }
  size_t CountEvents(EventKind kind) {
    absl::MutexLock lock(&mutex_);
    return static_cast<size_t>(std::count_if(events_.begin(), events_.end(),
                                             [kind](const Event& e) { return e.kind == kind; }));
  }
  bool AwaitState(uint64_t id, MemberState state) {
    return Await([id, state](const View& view) {
      const Member* member = view.Find(NodeId{id});
      return member != nullptr && member->state == state;
    });
  }
  absl::Status AwaitFatal() {
    absl::MutexLock lock(&mutex_);
    const auto holds = [&] { return !fatal_.ok(); };
    mutex_.AwaitWithTimeout(absl::Condition(&holds), kPatience);
    return fatal_;
  }

  static Options MakeOptions(uint64_t id, uint64_t boot_epoch = 1, std::string name = "") {
    Options options;
    options.cluster = "test";
    options.name = name.empty() ? absl::StrCat("n", id) : std::move(name);
    options.id = NodeId{id};
    options.boot_epoch = boot_epoch;
    return options;
  }

  std::string seed() const { return loop_->view()->Find(loop_->view()->self())->gossip.ToString(); }
  GossipLoop& loop() { return *loop_; }

 private:
  absl::Mutex mutex_;
  ViewPtr view_;
  std::vector<Event> events_;
  absl::Status fatal_;
  std::unique_ptr<GossipLoop> loop_;  // Last: its thread uses the rest.
};

// Polls `condition` until it holds or patience ends.
template <typename Condition>
bool Eventually(Condition condition) {
  const absl::Time deadline = absl::Now() + kPatience;
  while (!condition()) {
    if (absl::Now() > deadline) return false;
    absl::SleepFor(absl::Milliseconds(5));
  }
  return true;
}

}  // namespace roost::membership::testing

#include "store/io/input_queue.h"

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace roost::store {
namespace {

// A loop that only counts: its own thread, and others that take turns.
class CountingLoop {
 public:
  CountingLoop() : thread_([this] { Run(); }) {}
  ~CountingLoop() {
    queue_.Stop();
    thread_.join();
  }

  void Post(bool here) {
    InputQueue::Input input = [this] { ++ran_; };
    std::vector<InputQueue::Input> batch;
    ASSERT_TRUE(queue_.Post(input, here ? &batch : nullptr));
    if (batch.empty()) return;
    Turn(&batch);
    queue_.Leave(deadline_.load());
  }
  // For the turns to come.
  void SetDeadline(membership::SteadyTime deadline) { deadline_.store(deadline); }
  int ran() const { return ran_.load(); }
  int idle_turns() const { return idle_turns_.load(); }
  int overlaps() const { return overlaps_.load(); }

 private:
  void Run() {
    std::vector<InputQueue::Input> batch;
    queue_.Leave(deadline_.load());
    while (queue_.Take(&batch)) {
      if (batch.empty()) {
        deadline_.store(membership::kNever);
        ++idle_turns_;
      }
      Turn(&batch);
      queue_.Leave(deadline_.load());
    }
  }
  void Turn(std::vector<InputQueue::Input>* batch) {
    if (inside_.exchange(true)) ++overlaps_;
    for (InputQueue::Input& input : *batch) input();
    batch->clear();
    inside_.store(false);
  }

  InputQueue queue_;
  std::atomic<bool> inside_{false};
  std::atomic<int> ran_{0};
  std::atomic<int> idle_turns_{0};
  std::atomic<int> overlaps_{0};
  std::atomic<membership::SteadyTime> deadline_{membership::kNever};
  std::thread thread_;
};

template <typename Condition>
bool Eventually(Condition condition) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::yield();
  }
  return true;
}

TEST(InputQueueTest, EveryInputRunsOnceAndNeverTwoAtATime) {
  constexpr int kEach = 20'000;
  CountingLoop loop;
  std::vector<std::thread> posters;
  for (int t = 0; t < 4; ++t) {
    posters.emplace_back([&, t] {
      for (int i = 0; i < kEach; ++i) loop.Post(/*here=*/(i + t) % 3 != 0);
    });
  }
  for (std::thread& poster : posters) poster.join();
  EXPECT_TRUE(Eventually([&] { return loop.ran() == 4 * kEach; })) << loop.ran();
  EXPECT_EQ(loop.overlaps(), 0);
}

TEST(InputQueueTest, DeadlineOfAnotherThreadsTurnWakesTheLoop) {
  CountingLoop loop;
  for (int i = 0; i < 50; ++i) {
    const int before = loop.idle_turns();
    loop.SetDeadline(std::chrono::steady_clock::now() + std::chrono::milliseconds(1));
    loop.Post(/*here=*/true);
    ASSERT_TRUE(Eventually([&] { return loop.idle_turns() > before; })) << i;
  }
}

TEST(InputQueueTest, DeadlineThatWasPutOffDoesNotWakeTheLoop) {
  using std::chrono::milliseconds;
  const auto now = [] { return std::chrono::steady_clock::now(); };
  CountingLoop loop;
  int in_time = 0;
  for (int i = 0; i < 30; ++i) {
    const int before = loop.idle_turns();
    const auto soon = now() + milliseconds(5);
    loop.SetDeadline(soon);
    loop.Post(/*here=*/true);
    loop.SetDeadline(soon + std::chrono::hours(1));
    loop.Post(/*here=*/true);
    // Else it may have come before it was put off.
    const bool put_off = now() < soon;
    while (now() < soon + milliseconds(3)) std::this_thread::yield();
    if (!put_off) continue;
    EXPECT_EQ(loop.idle_turns(), before) << i;
    ++in_time;
  }
  EXPECT_GT(in_time, 0);
}

TEST(InputQueueTest, TakesNothingOnceItIsStopped) {
  InputQueue queue;
  queue.Stop();
  bool ran = false;
  InputQueue::Input input = [&] { ran = true; };
  EXPECT_FALSE(queue.Post(input));
  input();
  EXPECT_TRUE(ran) << "left to the caller";
}

}  // namespace
}  // namespace roost::store

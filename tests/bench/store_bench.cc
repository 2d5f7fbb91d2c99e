// Puts acknowledged by one copy, between two store loops in this process over loopback gRPC:
// puts/s, latency and CPU per put (both nodes and the caller together) with 1, 32 and 512 in
// flight.
//
//   store_bench [--dir=DIR] [--seconds=N] [--sessions=N] [--value_bytes=N] [--in_flight=N]
//
// DIR should lie in memory (/dev/shm, the default), as in the measurement of Redis that the figures
// are compared with.
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/synchronization/notification.h"
#include "grpcpp/server.h"
#include "grpcpp/server_builder.h"
#include "store/io/store_loop.h"

namespace roost::store {
namespace {

using Clock = std::chrono::steady_clock;

struct Flags {
  std::string dir = "/dev/shm";
  int seconds = 3;
  int sessions = 10'000;
  int value_bytes = 100;
  // 0: 1, 32 and 512.
  int in_flight = 0;
};

class Node {
 public:
  explicit Node(const std::string& dir) {
    Options options;
    options.pending_max = 100'000;
    auto table = RocksTable::Open(dir, "bench", options);
    if (!table.ok()) Die(table.status());
    table_ = *std::move(table);
    StoreLoop::Dependencies dependencies;
    dependencies.table = table_.get();
    dependencies.cluster = "bench";
    dependencies.peer_credentials = grpc::InsecureChannelCredentials();
    auto loop = StoreLoop::Create(options, std::move(dependencies));
    if (!loop.ok()) Die(loop.status());
    loop_ = *std::move(loop);
    grpc::ServerBuilder builder;
    loop_->RegisterServices(&builder);
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
    server_ = builder.BuildAndStart();
    if (absl::Status started = loop_->Start(); !started.ok()) Die(started);
  }
  ~Node() {
    loop_->Stop();
    server_->Shutdown(std::chrono::system_clock::now());
  }

  membership::Member member() const {
    membership::Member member;
    member.id = table_->identity().id;
    member.boot_epoch = table_->identity().boot_epoch;
    member.name = member.id.ToString();
    member.gossip = membership::Address::V4(0x7f000001, 1);
    member.peer_port = static_cast<uint16_t>(port_);
    return member;
  }
  StoreLoop& loop() { return *loop_; }

  [[noreturn]] static void Die(const absl::Status& status) {
    std::fprintf(stderr, "%s\n", status.ToString().c_str());
    std::exit(1);
  }

 private:
  std::unique_ptr<RocksTable> table_;
  std::unique_ptr<StoreLoop> loop_;
  std::unique_ptr<grpc::Server> server_;
  int port_ = 0;
};

double CpuSeconds() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) { return t.tv_sec + t.tv_usec * 1e-6; };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

SessionKey KeyAt(uint64_t n) { return {(n + 1) * 0x9e3779b97f4a7c15, n}; }

// Keeps `in_flight` puts under way until the time is up. Answers come on the loop, which is also
// where the next put is handed over, so nothing here is shared but the end.
class Load {
 public:
  Load(StoreLoop* loop, const Flags& flags, int in_flight)
      : loop_(loop), flags_(flags), value_(flags.value_bytes, 'v'), under_way_(in_flight) {}

  void Run() {
    const double cpu = CpuSeconds();
    const Clock::time_point begin = Clock::now();
    end_ = begin + std::chrono::seconds(flags_.seconds);
    latencies_us_.reserve(1 << 20);
    const int in_flight = under_way_;
    for (int i = 0; i < in_flight; ++i) Next();
    done_.WaitForNotification();
    const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    Print(in_flight, seconds, CpuSeconds() - cpu);
  }

 private:
  void Next() {
    PutOp put;
    put.key = KeyAt(next_++ % flags_.sessions);
    put.set["cart"].value = value_;
    put.ack = Ack::kOne;
    put.create = true;
    const Clock::time_point begin = Clock::now();
    loop_->Execute(std::move(put), [this, begin](OperationResult result) {
      if (!result.status.ok() || result.receipt.copies != 2) Node::Die(result.status);
      const Clock::time_point now = Clock::now();
      latencies_us_.push_back(std::chrono::duration<float, std::micro>(now - begin).count());
      if (now < end_) return Next();
      if (--under_way_ == 0) done_.Notify();
    });
  }

  void Print(int in_flight, double seconds, double cpu) {
    std::sort(latencies_us_.begin(), latencies_us_.end());
    const size_t count = latencies_us_.size();
    std::printf("in flight %4d: %8.0f puts/s, p50 %7.0f us, p99 %7.0f us, CPU %5.1f us/put\n",
                in_flight, count / seconds, latencies_us_[count / 2],
                latencies_us_[count * 99 / 100], cpu / count * 1e6);
    std::fflush(stdout);
  }

  StoreLoop* const loop_;
  const Flags flags_;
  const std::string value_;
  std::atomic<int> under_way_;
  std::atomic<uint64_t> next_{0};
  Clock::time_point end_;
  std::vector<float> latencies_us_;
  absl::Notification done_;
};

int Main(const Flags& flags) {
  std::string dir = absl::StrCat(flags.dir, "/store_bench_XXXXXX");
  if (mkdtemp(dir.data()) == nullptr) Node::Die(absl::InternalError("--dir can't be written"));
  {
    Node a(dir + "/a");
    Node b(dir + "/b");
    const std::vector<membership::Member> members = {a.member(), b.member()};
    for (Node* node : {&a, &b}) {
      node->loop().SetView(std::make_shared<const membership::View>(
          1, node->member().id, members, membership::ListSummary{1, 1, 0, members[0].id}));
    }
    // Makes the sessions, and the first rounds of which nobody wants figures.
    Load(&a.loop(), {.dir = "", .seconds = 1, .sessions = flags.sessions, .value_bytes = 1}, 32)
        .Run();
    std::printf("(that was the warm-up)\n");
    const std::vector<int> all = {1, 32, 512};
    const std::vector<int> one = {flags.in_flight};
    for (const int in_flight : flags.in_flight == 0 ? all : one) {
      Load(&a.loop(), flags, in_flight).Run();
    }
  }
  std::filesystem::remove_all(dir);
  return 0;
}

bool Parse(absl::string_view argument, Flags* flags) {
  const std::pair<absl::string_view, absl::string_view> pair =
      absl::StrSplit(argument, absl::MaxSplits('=', 1));
  if (pair.first == "--dir") {
    flags->dir = std::string(pair.second);
    return true;
  }
  for (const auto& [name, value] : std::initializer_list<std::pair<absl::string_view, int*>>{
           {"--seconds", &flags->seconds},
           {"--sessions", &flags->sessions},
           {"--value_bytes", &flags->value_bytes},
           {"--in_flight", &flags->in_flight}}) {
    if (pair.first == name) return absl::SimpleAtoi(pair.second, value) && *value >= 0;
  }
  return false;
}

}  // namespace
}  // namespace roost::store

int main(int argc, char** argv) {
  roost::store::Flags flags;
  for (int i = 1; i < argc; ++i) {
    if (roost::store::Parse(argv[i], &flags)) continue;
    std::fprintf(stderr, "unknown or bad argument: %s\n", argv[i]);
    return 2;
  }
  return roost::store::Main(flags);
}

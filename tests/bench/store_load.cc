// One load on a node, an echo server or a Redis, for deploy/bench.sh store and join: prints one
// line of JSON.
//
//   store_load KIND --target=T [--call=C] [--ack=A] [--sessions=N] [--value_bytes=N]
//              [--in_flight=N] [--seconds=S] [--rate=N] [--fill]
//              [--namespace=N] [--through_failures]
#include <sys/resource.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "tests/bench/load.h"

namespace roost::bench {

double Latencies::At(double part) {
  if (us_.empty()) return 0;
  const auto at = us_.begin() + static_cast<ptrdiff_t>(part * static_cast<double>(us_.size() - 1));
  std::nth_element(us_.begin(), at, us_.end());
  return *at;
}

std::string SessionId(uint64_t number) { return absl::StrFormat("bench-%010d", number); }

void Die(const std::string& why) {
  std::fprintf(stderr, "store_load: %s\n", why.c_str());
  std::_Exit(1);
}

namespace {

double CpuSeconds() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) { return t.tv_sec + t.tv_usec * 1e-6; };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

bool Parse(absl::string_view argument, Plan* plan) {
  const std::pair<absl::string_view, absl::string_view> pair =
      absl::StrSplit(argument, absl::MaxSplits('=', 1));
  const auto& [name, value] = pair;
  if (name == "--fill") return plan->fill = true;
  if (name == "--through_failures") return plan->through_failures = true;
  for (const auto& [field, text] :
       {std::pair("--target", &plan->target), std::pair("--call", &plan->call),
        std::pair("--ack", &plan->ack), std::pair("--namespace", &plan->name_space)}) {
    if (name == field) *text = std::string(value);
    if (name == field) return !value.empty();
  }
  if (name == "--sessions") return absl::SimpleAtoi(value, &plan->sessions) && plan->sessions > 0;
  if (name == "--value_bytes") {
    return absl::SimpleAtoi(value, &plan->value_bytes) && plan->value_bytes >= 0;
  }
  if (name == "--in_flight") {
    return absl::SimpleAtoi(value, &plan->in_flight) && plan->in_flight > 0;
  }
  if (name == "--seconds") return absl::SimpleAtod(value, &plan->seconds) && plan->seconds > 0;
  if (name == "--rate") return absl::SimpleAtod(value, &plan->rate) && plan->rate > 0;
  return false;
}

int Main(const Plan& plan) {
  Result result;
  const double cpu = CpuSeconds();
  const Clock::time_point begin = Clock::now();
  if (plan.kind == "unary") {
    RunUnary(plan, &result);
  } else if (plan.kind == "paced" && plan.rate > 0) {
    RunPaced(plan, &result);
  } else if (plan.kind == "stream") {
    RunStream(plan, &result);
  } else if (plan.kind == "redis") {
    RunRedis(plan, &result);
  } else {
    Die("KIND must be unary, paced (with --rate), stream or redis");
  }
  const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  const size_t count = result.latencies.size();
  if (count == 0) Die("nothing was answered");
  std::printf(
      "{\"operations\": %zu, \"per_s\": %.0f, \"p50_us\": %.1f, \"p99_us\": %.1f, \"max_us\": "
      "%.1f, "
      "\"client_cpu_us\": %.2f, \"gap_ms\": %.1f}\n",
      count, static_cast<double>(count) / seconds, result.latencies.At(0.5),
      result.latencies.At(0.99), result.latencies.At(1),
      (CpuSeconds() - cpu) / static_cast<double>(count) * 1e6, result.gap_ms);
  std::fflush(stdout);
  std::_Exit(0);  // Without gRPC's end, see Connect.
}

}  // namespace
}  // namespace roost::bench

int main(int argc, char** argv) {
  roost::bench::Plan plan;
  if (argc > 1) plan.kind = argv[1];
  for (int i = 2; i < argc; ++i) {
    if (!roost::bench::Parse(argv[i], &plan)) {
      roost::bench::Die(std::string("unknown or bad argument: ") + argv[i]);
    }
  }
  return roost::bench::Main(plan);
}

// gossip_node is a member of a cluster and nothing else: the production GossipLoop with its default
// timing, as roostd runs it, printing a line per change of a member as this node sees it:
// CLOCK_MONOTONIC in ns, the state, the name. It lives until its standard input ends.
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "membership/io/gossip_loop.h"
#include "membership/view.h"

namespace roost::membership {
namespace {

constexpr char kHelp[] =
    "gossip_node --name NAME --listen IP:PORT [--seeds IP:PORT,...] [--epoch N]\n"
    "Epoch: raised by the caller at every start of a name.\n";

struct Flags {
  std::string name;
  Address listen;
  std::vector<std::string> seeds;
  uint64_t epoch = 1;
};

bool ParseFlags(int argc, char** argv, Flags* flags) {
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string flag = argv[i];
    const std::string value = argv[i + 1];
    if (flag == "--name") {
      flags->name = value;
    } else if (flag == "--listen") {
      flags->listen = Address::Parse(value).value_or(Address{});
    } else if (flag == "--seeds") {
      flags->seeds = absl::StrSplit(value, ',', absl::SkipEmpty());
    } else if (flag != "--epoch" || !absl::SimpleAtoi(value, &flags->epoch)) {
      return false;
    }
  }
  return argc % 2 == 1 && !flags->name.empty() && flags->listen.port != 0;
}

// Prints what is different from the view before. Gossip thread.
class Printer {
 public:
  void operator()(const ViewPtr& view) {
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    for (const Member& member : view->members()) {
      auto [it, added] = states_.try_emplace(member.id, member.state);
      if (!added && it->second == member.state) continue;
      it->second = member.state;
      std::printf("%lld %s %s\n", static_cast<long long>(std::chrono::nanoseconds(now).count()),
                  std::string(MemberStateName(member.state)).c_str(), member.name.c_str());
    }
    std::fflush(stdout);
  }

 private:
  std::map<NodeId, MemberState> states_;
};

int Main(int argc, char** argv) {
  Flags flags;
  if (!ParseFlags(argc, argv, &flags)) {
    std::fputs(kHelp, stderr);
    return 2;
  }
  Options options;
  options.cluster = "bench";
  options.name = flags.name;
  // The same at every start, as if read from a data directory.
  options.id = NodeId{std::hash<std::string_view>()(flags.name)};
  options.boot_epoch = flags.epoch;
  options.advertise = flags.listen;
  auto loop =
      GossipLoop::Create(options, flags.listen, flags.seeds, {.on_fatal = [](absl::Status status) {
                           std::fprintf(stderr, "%s\n", status.ToString().c_str());
                           std::_Exit(1);
                         }});
  if (!loop.ok()) {
    std::fprintf(stderr, "gossip_node: %s\n", loop.status().ToString().c_str());
    return 1;
  }
  (*loop)->Subscribe([printer = std::make_shared<Printer>()](ViewPtr view) { (*printer)(view); });
  (*loop)->Start();
  char ignored[64];
  while (read(STDIN_FILENO, ignored, sizeof(ignored)) > 0) continue;
  return 0;
}

}  // namespace
}  // namespace roost::membership

int main(int argc, char** argv) { return roost::membership::Main(argc, argv); }

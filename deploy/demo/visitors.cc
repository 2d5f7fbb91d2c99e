// Plays many visitors against the shop and says what became of their carts.
//
// Where a request landed is taken from the balancer's log, who owned the session from the shop's
// answer, so neither figure rests on Roost's own counters. Only the number of requests held in the
// grace buffer does.
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <memory>
#include <sstream>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "deploy/demo/visitor.h"

namespace roost::demo {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using std::chrono::steady_clock;

struct Flags {
  std::string server;
  std::string admin;
  std::string landings;
  std::string events;
  std::string json;
  int visitors = 300;
  int seconds = 30;
};

// Grows with the requests held by one node, across its restarts.
struct GraceCount {
  tcp::endpoint admin;
  bool known = false;
  uint64_t last = 0;
};

struct Stage {
  asio::io_context context{1};
  Evidence evidence;
  steady_clock::time_point start = steady_clock::now();
  steady_clock::time_point end;
  int visitors_left = 0;
};

asio::awaitable<void> Play(Stage* stage, std::unique_ptr<Visitor> visitor) {
  co_await visitor->Run(stage->end);
  if (--stage->visitors_left == 0) stage->context.stop();
}

asio::awaitable<void> PrintProgress(Stage* stage) {
  asio::steady_timer timer(stage->context);
  uint64_t before = 0;
  for (;;) {
    timer.expires_after(std::chrono::seconds(2));
    co_await timer.async_wait(asio::use_awaitable);
    const Report& report = stage->evidence.report;
    uint64_t failed = 0;
    for (const auto& [reason, count] : report.failed) failed += count;
    const auto seconds =
        std::chrono::duration_cast<std::chrono::seconds>(steady_clock::now() - stage->start);
    std::cout << absl::StrFormat(
                     "%4d s  %7d requests (%d/s), %d carts wrong, %d lost, %d requests failed\n",
                     seconds.count(), report.requests, (report.requests - before) / 2,
                     report.wrong_carts, report.lost_carts, failed)
              << std::flush;
    before = report.requests;
  }
}

void AddHeld(absl::string_view metrics, GraceCount* count, Report* report) {
  constexpr absl::string_view kName = "roost_grace_requests_total{outcome=\"held\"} ";
  const size_t at = metrics.find(kName);
  if (at == absl::string_view::npos) return;
  absl::string_view text = metrics.substr(at + kName.size());
  double value = 0;
  if (!absl::SimpleAtod(text.substr(0, text.find('\n')), &value)) return;
  const uint64_t now = static_cast<uint64_t>(value);
  // A counter that fell belongs to a restarted process and began at 0.
  if (count->known) report->held_in_grace += now >= count->last ? now - count->last : now;
  count->known = true;
  count->last = now;
}

asio::awaitable<void> WatchGrace(Stage* stage, GraceCount count) {
  HttpClient client(stage->context.get_executor(), count.admin);
  asio::steady_timer timer(stage->context);
  for (;;) {
    const Answer answer = co_await client.Send(boost::beast::http::verb::get, "/metrics", "");
    if (answer.status == 200) AddHeld(answer.body, &count, &stage->evidence.report);
    timer.expires_after(std::chrono::milliseconds(500));
    co_await timer.async_wait(asio::use_awaitable);
  }
}

// The balancer logs "PORT SERVER" for every connection, in order; a port may be used again later.
void CountLandings(const std::string& file, Evidence* evidence) {
  std::map<uint16_t, std::vector<std::string>> servers;
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line);
    uint32_t port = 0;
    std::string server;
    if (words >> port >> server && port <= 65'535) servers[port].push_back(server);
  }
  std::map<uint16_t, std::vector<const Connection*>> connections;
  for (const Connection& c : evidence->connections) connections[c.local_port].push_back(&c);
  for (const auto& [port, made] : connections) {
    const std::vector<std::string>& landed = servers[port];
    if (landed.size() != made.size()) continue;  // Someone else used the port too.
    for (size_t i = 0; i < made.size(); ++i) {
      for (const auto& [owner, count] : made[i]->answers_by_owner) {
        evidence->report.landed_known += count;
        if (owner != landed[i]) evidence->report.landed_elsewhere += count;
      }
    }
  }
}

// One kill: from it, each visitor's time to the next good answer.
void CountRecovery(const std::string& node, WallTime killed, Evidence* evidence) {
  Report& report = evidence->report;
  for (const std::vector<GoodAnswer>& answers : evidence->good) {
    std::string owner;
    const GoodAnswer* next = nullptr;
    for (const GoodAnswer& answer : answers) {
      if (answer.at > killed) {
        next = &answer;
        break;
      }
      if (!answer.owner.empty()) owner = answer.owner;
    }
    if (next == nullptr) {
      ++report.never_good_again;
      continue;
    }
    const double ms = std::chrono::duration<double, std::milli>(next->at - killed).count();
    report.kill_to_good_all_ms.push_back(ms);
    if (owner == node) report.kill_to_good_ms.push_back(ms);
  }
}

// Lines "kill NODE NANOSECONDS_SINCE_1970", as demo.sh writes them.
void CountRecoveries(const std::string& file, Evidence* evidence) {
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line);
    std::string what, node;
    int64_t at = 0;
    if (words >> what >> node >> at && what == "kill") {
      CountRecovery(node, WallTime(std::chrono::nanoseconds(at)), evidence);
    }
  }
}

tcp::endpoint ParseEndpoint(const std::string& text) {
  const size_t colon = text.rfind(':');
  int port = 0;
  boost::system::error_code error;
  const auto host = asio::ip::make_address(text.substr(0, colon), error);
  if (colon == std::string::npos || error || !absl::SimpleAtoi(text.substr(colon + 1), &port) ||
      port < 1 || port > 65'535) {
    throw std::invalid_argument(absl::StrCat("'", text, "' is not IP:PORT"));
  }
  return {host, static_cast<uint16_t>(port)};
}

void PlayAll(const Flags& flags, Stage* stage) {
  Report& report = stage->evidence.report;
  report.visitors = flags.visitors;
  stage->visitors_left = flags.visitors;
  stage->evidence.good.resize(flags.visitors);
  stage->end = stage->start + std::chrono::seconds(flags.seconds);
  const tcp::endpoint server = ParseEndpoint(flags.server);
  const auto executor = stage->context.get_executor();
  for (int i = 0; i < flags.visitors; ++i) {
    asio::co_spawn(stage->context,
                   Play(stage, std::make_unique<Visitor>(i, executor, server, &stage->evidence)),
                   asio::detached);
  }
  for (absl::string_view admin : absl::StrSplit(flags.admin, ',', absl::SkipEmpty())) {
    ++report.nodes;
    asio::co_spawn(stage->context, WatchGrace(stage, GraceCount{ParseEndpoint(std::string(admin))}),
                   asio::detached);
  }
  asio::co_spawn(stage->context, PrintProgress(stage), asio::detached);
  stage->context.run();
  report.seconds = std::chrono::duration<double>(steady_clock::now() - stage->start).count();
}

int Run(const Flags& flags) {
  Stage stage;
  PlayAll(flags, &stage);
  CountLandings(flags.landings, &stage.evidence);
  CountRecoveries(flags.events, &stage.evidence);
  const Report& report = stage.evidence.report;
  std::cout << Table(report) << std::flush;
  if (!flags.json.empty() && !(std::ofstream(flags.json) << Json(report) << std::flush)) {
    std::cerr << "visitors: can't write " << flags.json << "\n";
    return 1;
  }
  const bool sound = report.wrong_carts == 0 && report.lost_carts == 0 && report.carts_checked > 0;
  return sound ? 0 : 3;
}

void PrintHelp() {
  std::cout << "usage: visitors --server IP:PORT [options]\n\n"
               "Plays visitors of the sample shop and checks every cart they see.\n"
               "  --server IP:PORT     the balancer\n"
               "  --visitors N         how many (default 300)\n"
               "  --seconds N          for how long (default 30)\n"
               "  --admin IP:PORT,...  the sidecars' admin ports, to count held requests\n"
               "  --landings FILE      the balancer's log, lines \"CLIENT_PORT NODE\"\n"
               "  --events FILE        lines \"kill NODE NANOSECONDS\", read at the end\n"
               "  --json FILE          write the figures there\n\n"
               "Exits 3 if a cart was wrong or lost, or none was checked.\n";
}

// -1: go on; else the exit code.
int ParseFlags(int argc, char** argv, Flags* flags) {
  const std::map<std::string, std::string*> texts = {{"--server", &flags->server},
                                                     {"--admin", &flags->admin},
                                                     {"--landings", &flags->landings},
                                                     {"--events", &flags->events},
                                                     {"--json", &flags->json}};
  const std::map<std::string, int*> numbers = {{"--visitors", &flags->visitors},
                                               {"--seconds", &flags->seconds}};
  for (int i = 1; i < argc; i += 2) {
    const std::string flag = argv[i];
    if (flag == "--help" || flag == "-h") {
      PrintHelp();
      return 0;
    }
    const auto text = texts.find(flag);
    const auto number = numbers.find(flag);
    const bool last = i + 1 == argc;
    if (!last && text != texts.end()) {
      *text->second = argv[i + 1];
    } else if (last || number == numbers.end() || !absl::SimpleAtoi(argv[i + 1], number->second) ||
               *number->second < 1 || *number->second > 100'000) {
      std::cerr << "visitors: bad option or value: " << flag << " (see --help)\n";
      return 2;
    }
  }
  return -1;
}

}  // namespace
}  // namespace roost::demo

int main(int argc, char** argv) {
  roost::demo::Flags flags;
  if (const int code = roost::demo::ParseFlags(argc, argv, &flags); code >= 0) return code;
  try {
    return roost::demo::Run(flags);
  } catch (const std::exception& error) {
    std::cerr << "visitors: " << error.what() << "\n";
    return 1;
  }
}

// Requests that bear a tag each, through real nodes that are killed and frozen, applications that
// die, and clients that give up, read slowly or pipeline. Failing is allowed; what is not: an
// answer to somebody else's request, a body that reached another request, a POST that ran twice.
//
// ROOST_CHAOS_REQUESTS: how many (default 4,000; the long form has 100,000). ROOST_CHAOS_SEED: of
// the visitors' and the chaos' dice.
#include <signal.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "gtest/gtest.h"
#include "tests/cluster/cluster_fixture.h"
#include "tests/cluster/http_client.h"
#include "tests/cluster/tagged_app.h"

namespace roost::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Random = std::mt19937_64;

constexpr int kNodes = 3;
constexpr int kVisitors = 16;
constexpr int kRequestsPerEvent = 400;
constexpr size_t kSlowBytes = 4 << 20;
constexpr seconds kPatience{10};

int64_t FromEnvironment(const char* name, int64_t otherwise) {
  const char* text = std::getenv(name);
  int64_t value = otherwise;
  if (text != nullptr && (!absl::SimpleAtoi(text, &value) || value < 1)) {
    ADD_FAILURE() << name << " is not a positive number";
  }
  return value;
}

// With keys, peers prove themselves to each other on every new connection.
std::string NewKeysFile() {
  const Finished made = RunProgram("sidecar/roostctl", {"keys", "generate"});
  EXPECT_EQ(made.exit_code, 0) << made.output;
  const std::string path = absl::StrCat(std::getenv("TEST_TMPDIR"), "/chaos.keys");
  std::ofstream(path) << made.output;
  EXPECT_EQ(chmod(path.c_str(), 0600), 0);
  return path;
}

// What came of the requests, by kind. Thread-safe.
class Outcomes {
 public:
  void Count(const std::string& what, int n = 1) {
    absl::MutexLock lock(&mutex_);
    counts_[what] += n;
  }
  void Wrong(const std::string& what) {
    Count("WRONG: " + what);
    ++wrong_;
  }
  int wrong() const { return wrong_; }
  int count(const std::string& what) const {
    absl::MutexLock lock(&mutex_);
    const auto found = counts_.find(what);
    return found == counts_.end() ? 0 : found->second;
  }
  void Print() const {
    absl::MutexLock lock(&mutex_);
    for (const auto& [what, n] : counts_) std::printf("  %-90s %8d\n", what.c_str(), n);
  }

 private:
  mutable absl::Mutex mutex_;
  std::map<std::string, int> counts_ ABSL_GUARDED_BY(mutex_);
  std::atomic<int> wrong_{0};
};

// The nodes and applications, and which nodes a balancer would send to.
struct Stage {
  Stage()
      : cluster(
            kNodes,
            absl::StrCat(
                "  response_timeout_ms: 4s\nmembership:\n  preset: local\nsecurity:\n  keys_file: ",
                NewKeysFile(), "\n")) {
    for (int i = 0; i < kNodes; ++i) {
      apps.push_back(std::make_unique<TaggedApp>(&ledger));
      cluster.node(i).mutable_config()->app_port = apps.back()->port();
      up[i] = true;
    }
  }

  Ledger ledger;
  Outcomes outcomes;
  std::vector<std::unique_ptr<TaggedApp>> apps;
  Cluster cluster;
  std::array<std::atomic<bool>, kNodes> up;
  std::atomic<int64_t> left{0};
  std::atomic<int64_t> done{0};
};

// One client with one session. Every connection goes to a random node.
class Visitor {
 public:
  Visitor(int index, uint64_t seed, Stage* stage) : index_(index), random_(seed), stage_(stage) {}

  void Run() {
    while (stage_->left-- > 0) {
      if (cookie_.empty() || Dice(200)) LogIn();
      if (connection_ == nullptr || Dice(8)) Connect();
      if (connection_ != nullptr) One();
      ++stage_->done;
    }
  }

 private:
  struct Sent {
    std::string tag;
    size_t size = 0;
  };

  bool Dice(int sides) { return random_() % sides == 0; }
  std::string NewTag() { return absl::StrCat("v", index_, "-", ++tags_); }

  void Connect() {
    connection_ = nullptr;
    const int node = random_() % kNodes;
    if (!stage_->up[node]) return stage_->outcomes.Count("landed on a node that is down");
    auto made = HttpConnection::Connect(stage_->cluster.node(node).http_port(), seconds(2));
    if (!made.ok()) return stage_->outcomes.Count("could not connect");
    connection_ = std::make_unique<HttpConnection>(*std::move(made));
  }

  void LogIn() {
    cookie_.clear();
    Connect();
    if (connection_ == nullptr || !connection_->Send("GET /login HTTP/1.1\r\nHost: a\r\n\r\n").ok())
      return;
    auto response = connection_->Receive(kPatience);
    if (response.ok() && response->status == 200) cookie_ = CookieOf(*response);
    if (cookie_.empty()) connection_ = nullptr;
  }

  std::string Page(const Sent& sent) const {
    return absl::StrCat("GET /page/", sent.tag, "?", sent.size,
                        " HTTP/1.1\r\nHost: a\r\nCookie: ", cookie_, "\r\n\r\n");
  }

  std::string Post(const Sent& sent) {
    const std::string body = BodyOf(sent.tag, sent.size);
    const std::string head =
        absl::StrCat("POST /once/", sent.tag, " HTTP/1.1\r\nHost: a\r\nCookie: ", cookie_, "\r\n");
    if (Dice(2)) return absl::StrCat(head, "Content-Length: ", body.size(), "\r\n\r\n", body);
    return absl::StrCat(head, "Transfer-Encoding: chunked\r\n\r\n", absl::Hex(body.size()), "\r\n",
                        body, "\r\n0\r\n\r\n");
  }

  void One() {
    const int dice = random_() % 100;
    const size_t size = 1 + random_() % 3'000;
    const Sent sent{NewTag(), Dice(10) ? size * 100 : size};
    if (dice < 55) return Ask("GET", Page(sent), {sent});
    if (dice < 57) return Slowly();
    if (dice < 65) return Pipeline();
    const std::string request = Post(sent);
    if (dice < 92) return Ask("POST", request, {{sent.tag, 0}});
    // Gives up: before all is sent, or with the answer under way.
    stage_->outcomes.Count("given up by the client");
    const size_t cut = Dice(2) ? request.size() : random_() % request.size();
    connection_->Send(absl::string_view(request).substr(0, cut)).IgnoreError();
    connection_ = nullptr;
  }

  void Pipeline() {
    std::vector<Sent> sent;
    std::string requests;
    for (int i = 0; i < 3; ++i) {
      sent.push_back({NewTag(), 1 + random_() % 2'000});
      requests += Page(sent.back());
    }
    Ask("GET pipelined", requests, sent);
  }

  // Leaves the answer in the sockets' buffers, which it is too large for, until others have been
  // served.
  void Slowly() {
    const Sent sent{NewTag(), kSlowBytes};
    if (!connection_->Send(Page(sent)).ok()) return Cut("GET slow");
    const int64_t done = stage_->done;
    Eventually(milliseconds(500), [&] { return stage_->done > done + 30; });
    Take("GET slow", sent);
  }

  void Ask(const std::string& kind, const std::string& request, const std::vector<Sent>& sent) {
    if (!connection_->Send(request).ok()) return Cut(kind);
    for (const Sent& one : sent) {
      if (!Take(kind, one)) return;
    }
  }

  // One answer: is it the right one? False: the connection is of no more use.
  bool Take(const std::string& kind, const Sent& sent) {
    auto response = connection_->Receive(kPatience);
    if (!response.ok()) {
      Cut(absl::StrCat(kind, absl::IsDeadlineExceeded(response.status()) ? " (no answer)" : ""));
      return false;
    }
    auto& fields = response->headers;
    if (response->status != 200) {
      // From the proxy itself: bears no tag, and closes unless it says otherwise.
      // The second line of its text is the reason.
      const absl::string_view text = absl::StripAsciiWhitespace(response->body);
      const absl::string_view why = text.substr(text.find('\n') + 1);
      stage_->outcomes.Count(
          absl::StrCat(kind, ": ", response->status, " ", why.substr(0, why.find('.'))));
      if (fields.contains("x-tag")) stage_->outcomes.Wrong("a refusal with a tag");
      connection_ = nullptr;
      return false;
    }
    stage_->outcomes.Count(kind + ": answered");
    if (fields["x-tag"] != sent.tag) stage_->outcomes.Wrong("answer to another request");
    if (fields["x-session"] != cookie_) stage_->outcomes.Wrong("request with another session");
    const std::string body = sent.size == 0 ? sent.tag : BodyOf(sent.tag, sent.size);
    if (response->body != body) stage_->outcomes.Wrong("body of another request");
    if (fields["connection"] == "close") connection_ = nullptr;
    return connection_ != nullptr;
  }

  void Cut(const std::string& kind) {
    stage_->outcomes.Count(kind + ": cut");
    connection_ = nullptr;
  }

  const int index_;
  Random random_;
  Stage* const stage_;
  std::unique_ptr<HttpConnection> connection_;
  std::string cookie_;
  int64_t tags_ = 0;
};

// Hurts one node or application after the other, each time so many requests have been made.
class Chaos {
 public:
  Chaos(uint64_t seed, Stage* stage) : random_(seed), stage_(stage) {}

  void Run(int64_t requests) {
    for (int64_t next = kRequestsPerEvent / 2; next < requests; next += kRequestsPerEvent) {
      AwaitDone(std::min(next, requests));
      const int node = random_() % kNodes;
      switch (events_++ % 3) {
        case 0:
          Kill(node);
          break;
        case 1:
          Freeze(node);
          break;
        default:
          KillApplication(node);
      }
    }
  }

 private:
  void AwaitDone(int64_t requests) {
    EXPECT_TRUE(Eventually(seconds(120), [&] { return stage_->done >= requests; }))
        << "the visitors stand still";
  }

  void Kill(int node) {
    stage_->outcomes.Count("event: node killed");
    stage_->cluster.node(node).Kill();
    stage_->up[node] = false;
    AwaitDone(stage_->done + kRequestsPerEvent / 4);
    stage_->cluster.node(node).Start();
    EXPECT_TRUE(stage_->cluster.WaitUntilWhole(seconds(60)));
    stage_->up[node] = true;
  }

  // The balancer does not know: who lands there waits.
  void Freeze(int node) {
    stage_->outcomes.Count("event: node frozen");
    stage_->cluster.node(node).Freeze();
    const int64_t until = stage_->done + kRequestsPerEvent / 4;
    Eventually(milliseconds(1'000 + random_() % 3'000), [&] { return stage_->done >= until; });
    stage_->cluster.node(node).Signal(SIGCONT);
    EXPECT_TRUE(stage_->cluster.WaitUntilWhole(seconds(60)));
  }

  void KillApplication(int node) {
    stage_->outcomes.Count("event: application killed");
    stage_->apps[node]->Die();
    AwaitDone(stage_->done + kRequestsPerEvent / 8);
    stage_->apps[node]->Return();
  }

  Random random_;
  Stage* const stage_;
  int events_ = 0;
};

TEST(ChaosTest, NoAnswerGoesToAnotherRequestAndNoPostRunsTwice) {
  const int64_t requests = FromEnvironment("ROOST_CHAOS_REQUESTS", 4'000);
  const int64_t seed = FromEnvironment("ROOST_CHAOS_SEED", 1);
  Stage stage;
  stage.cluster.StartAll();
  stage.left = requests;
  std::vector<std::thread> visitors;
  for (int i = 0; i < kVisitors; ++i) {
    visitors.emplace_back([&stage, i, seed] { Visitor(i, seed * 1'000 + i, &stage).Run(); });
  }
  Chaos(seed, &stage).Run(requests);
  for (std::thread& visitor : visitors) visitor.join();
  // Whatever still lies in a node that was frozen has reached its application before the account is
  // closed.
  for (auto& app : stage.apps) app->Die();

  std::printf("%ld requests, seed %ld\n", static_cast<long>(requests), static_cast<long>(seed));
  stage.outcomes.Print();
  std::printf("  %-90s %8zu\n", "POSTs run", stage.ledger.size());
  EXPECT_EQ(stage.outcomes.wrong(), 0);
  EXPECT_EQ(stage.ledger.mixed(), 0) << "requests with another request's body";
  EXPECT_TRUE(stage.ledger.RanTwice().empty()) << stage.ledger.RanTwice().front();
  // A run in which nothing worked, or nothing failed, shows nothing.
  EXPECT_GT(stage.outcomes.count("GET: answered"), requests / 5);
  EXPECT_GT(stage.outcomes.count("POST: answered"), requests / 20);
  EXPECT_GT(stage.outcomes.count("GET pipelined: answered"), 0);
  EXPECT_GT(stage.outcomes.count("GET slow: answered"), 0);
  for (const char* event : {"node killed", "node frozen", "application killed"}) {
    EXPECT_GT(stage.outcomes.count(absl::StrCat("event: ", event)), 0) << event;
  }
}

}  // namespace
}  // namespace roost::testing

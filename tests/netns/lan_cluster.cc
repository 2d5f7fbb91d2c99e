#include "tests/netns/lan_cluster.h"

#include <signal.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <sstream>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"
#include "tests/cluster/cluster_fixture.h"
#include "tests/cluster/http_client.h"

namespace roost::testing {
namespace {

// The same on every host: each has them for itself.
constexpr int kClusterPort = 7400;
constexpr int kAdminPort = 7403;

// A file-system socket is reached from any network namespace.
std::string SocketOf(const std::string& folder, const std::string& name) {
  return absl::StrCat(folder, "/", name, ".sock");
}

std::string NewFolder() {
  // Not the test's own temporary directory: a socket's path may have 107 characters only.
  std::string pattern = "/tmp/roost-netns.XXXXXX";
  EXPECT_NE(mkdtemp(pattern.data()), nullptr);
  return pattern;
}

bool IsLive(const roost::v1::Member& member) {
  return member.state() == roost::v1::MEMBER_STATE_ALIVE ||
         member.state() == roost::v1::MEMBER_STATE_SUSPECT;
}

}  // namespace

LanNode::LanNode(int number, VirtualHost* host, std::vector<std::string> seeds,
                 const std::string& folder, const std::string& extra)
    : name_(absl::StrCat("n", number)),
      host_(host),
      seeds_(std::move(seeds)),
      folder_(folder),
      extra_(extra) {}

LanNode::~LanNode() {
  if (pid_ > 0) Kill();
  if (::testing::Test::HasFailure()) {
    fprintf(stderr, "--- log of %s\n%s\n", name_.c_str(), Log().c_str());
  }
}

void LanNode::WriteConfig() const {
  std::ofstream(absl::StrCat(folder_, "/", name_, ".yaml"))
      << "node: {name: " << name_ << ", data_dir: " << folder_ << "/" << name_ << "}\n"
      << "cluster:\n  name: netns\n  listen: \"" << host_->ip() << ":" << kClusterPort
      << "\"\n  forward_listen: \"" << host_->ip() << ":7401\"\n  seeds: ["
      << absl::StrJoin(seeds_, ", ") << "]\n"
      << "proxy: {listen: \"127.0.0.1:8000\", app: \"127.0.0.1:8080\", threads: 1}\n"
      << "api: {listen: \"127.0.0.1:7402\", socket: " << SocketOf(folder_, name_) << "}\n"
      << "admin: {listen: \"127.0.0.1:" << kAdminPort << "\"}\n"
      << "security: {insecure: true}\n"
      << extra_;
}

void LanNode::Start() {
  ASSERT_LT(pid_, 0);
  WriteConfig();
  pid_ = host_->Spawn({"sidecar/roostd", "--config", absl::StrCat(folder_, "/", name_, ".yaml")},
                      absl::StrCat(folder_, "/", name_, ".log"));
  ASSERT_GT(pid_, 0);
  stopping_ = false;
  watcher_ = std::thread([this] {
    while (!stopping_) {
      grpc::ClientContext context;
      Watch(&context);
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  });
}

void LanNode::Watch(grpc::ClientContext* context) {
  {
    absl::MutexLock lock(&mutex_);
    if (stopping_) return;
    call_ = context;
  }
  auto stub = roost::v1::Cluster::NewStub(
      grpc::CreateChannel(target(), grpc::InsecureChannelCredentials()));
  auto reader = stub->Watch(context, {});
  roost::v1::MembersResponse response;
  while (reader->Read(&response)) Take(response);
  reader->Finish();
  absl::MutexLock lock(&mutex_);
  call_ = nullptr;
}

void LanNode::Take(const roost::v1::MembersResponse& response) {
  const auto now = Clock::now();
  absl::MutexLock lock(&mutex_);
  for (const auto& member : response.members()) {
    if (member.state() != roost::v1::MEMBER_STATE_DEAD) continue;
    const bool known = std::any_of(
        latest_.members().begin(), latest_.members().end(), [&member](const auto& before) {
          return before.id() == member.id() && before.state() == roost::v1::MEMBER_STATE_DEAD;
        });
    if (!known) deaths_.emplace_back(now, member.name());
  }
  latest_ = response;
}

void LanNode::Signal(int signal) {
  ASSERT_GT(pid_, 0);
  kill(pid_, signal);
}

void LanNode::Kill() {
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
  pid_ = -1;
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
    if (call_ != nullptr) call_->TryCancel();
  }
  watcher_.join();
  absl::MutexLock lock(&mutex_);
  latest_.Clear();
}

bool LanNode::Running() const { return pid_ > 0 && waitpid(pid_, nullptr, WNOHANG) == 0; }

std::map<std::string, roost::v1::Member> LanNode::Members() const {
  absl::MutexLock lock(&mutex_);
  std::map<std::string, roost::v1::Member> members;
  for (const auto& member : latest_.members()) members[member.name()] = member;
  return members;
}

std::set<std::string> LanNode::Live() const {
  absl::MutexLock lock(&mutex_);
  std::set<std::string> names;
  for (const auto& member : latest_.members()) {
    if (IsLive(member)) names.insert(member.name());
  }
  return names;
}

roost::v1::MembersResponse LanNode::List() const {
  absl::MutexLock lock(&mutex_);
  return latest_;
}

std::string LanNode::target() const { return absl::StrCat("unix:", SocketOf(folder_, name_)); }

grpc::Status LanNode::Create(const std::string& id) {
  const auto stub = roost::v1::Sessions::NewStub(
      grpc::CreateChannel(target(), grpc::InsecureChannelCredentials()));
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(10));
  roost::v1::CreateRequest request;
  request.set_id(id);
  request.set_ack(roost::v1::ACK_LOCAL);
  roost::v1::CreateResponse response;
  return stub->Create(&context, request, &response);
}

std::optional<Clock::time_point> LanNode::DeathOf(const std::string& name,
                                                  Clock::time_point since) const {
  absl::MutexLock lock(&mutex_);
  for (const auto& [when, who] : deaths_) {
    if (who == name && when >= since) return when;
  }
  return std::nullopt;
}

int LanNode::Counter(absl::string_view series) const {
  int value = -1;
  host_->Visit([&] {
    const auto page = Get(kAdminPort, "/metrics");
    if (!page.ok()) return;
    for (absl::string_view line : absl::StrSplit(page->body, '\n')) {
      if (!absl::ConsumePrefix(&line, series) || !absl::ConsumePrefix(&line, " ")) continue;
      EXPECT_TRUE(absl::SimpleAtoi(line, &value)) << line;
    }
  });
  EXPECT_GE(value, 0) << name_ << " has no counter " << series;
  return value;
}

std::string LanNode::Log() const {
  std::ifstream file(absl::StrCat(folder_, "/", name_, ".log"));
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

LanCluster::LanCluster(int nodes, const std::string& extra) : folder_(NewFolder()), lan_(nodes) {
  std::vector<std::string> seeds;
  for (int i = 0; i < nodes; ++i) {
    seeds.push_back(absl::StrCat("\"", lan_.host(i).ip(), ":", kClusterPort, "\""));
  }
  for (int i = 0; i < nodes; ++i) {
    nodes_.push_back(std::make_unique<LanNode>(i, &lan_.host(i), seeds, folder_, extra));
  }
}

LanCluster::~LanCluster() {
  nodes_.clear();
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

std::vector<int> LanCluster::Everyone() const {
  std::vector<int> all(nodes_.size());
  std::iota(all.begin(), all.end(), 0);
  return all;
}

void LanCluster::StartAll() {
  for (auto& node : nodes_) node->Start();
  ASSERT_TRUE(WaitUntilAgreed(Everyone(), std::chrono::seconds(20)))
      << "the cluster did not come together";
}

bool LanCluster::Agree(const std::vector<int>& group) const {
  std::set<std::string> names;
  for (int i : group) names.insert(nodes_[i]->name());
  return std::all_of(group.begin(), group.end(), [&](int i) { return nodes_[i]->Live() == names; });
}

bool LanCluster::WaitUntilAgreed(const std::vector<int>& group,
                                 std::chrono::milliseconds timeout) const {
  return Eventually(timeout, [&] { return Agree(group); });
}

std::optional<std::chrono::milliseconds> LanCluster::WaitUntilKnownDead(
    int victim, Clock::time_point since, std::chrono::milliseconds timeout) const {
  Clock::time_point last = since;
  const bool known = Eventually(timeout, [&] {
    for (int i : Everyone()) {
      if (i == victim) continue;
      const auto death = nodes_[i]->DeathOf(nodes_[victim]->name(), since);
      if (!death) return false;
      last = std::max(last, *death);
    }
    return true;
  });
  if (!known) return std::nullopt;
  return std::chrono::duration_cast<std::chrono::milliseconds>(last - since);
}

int LanCluster::Sum(absl::string_view series) const {
  int sum = 0;
  for (const auto& node : nodes_) sum += node->Counter(series);
  return sum;
}

}  // namespace roost::testing

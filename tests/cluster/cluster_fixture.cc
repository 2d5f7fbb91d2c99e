#include "tests/cluster/cluster_fixture.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <set>
#include <sstream>
#include <thread>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"
#include "tests/cluster/http_client.h"

namespace roost::testing {
namespace {

using Clock = std::chrono::steady_clock;

std::string TempDir() {
  static const std::string dir = [] {
    const char* base = std::getenv("TEST_TMPDIR");
    std::string pattern = absl::StrCat(base != nullptr ? base : "/tmp", "/cluster.XXXXXX");
    return std::string(mkdtemp(pattern.data()));
  }();
  return dir;
}

std::string ReadFile(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

bool CanBind(int type, uint16_t port) {
  const int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  const bool ok = bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
  close(fd);
  return ok;
}

// Starts `program` with standard output and error appended to `log`.
pid_t Spawn(const std::string& program, const std::vector<std::string>& arguments,
            const std::string& log, std::vector<std::string> environment = {}) {
  std::vector<std::string> words = {program};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  std::vector<char*> all;
  for (char** variable = environ; *variable != nullptr; ++variable) all.push_back(*variable);
  for (std::string& variable : environment) all.push_back(variable.data());
  all.push_back(nullptr);
  const int out = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid != 0) {
    close(out);
    return pid;
  }
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(127);
  dup2(out, STDOUT_FILENO);
  dup2(out, STDERR_FILENO);
  execve(argv[0], argv.data(), all.data());
  _exit(127);
}

// Exit code, -1 if a signal ended it; nothing if it still runs after `timeout`.
std::optional<int> Wait(pid_t pid, std::chrono::milliseconds timeout) {
  int status = 0;
  const bool ended = Eventually(timeout, [&] { return waitpid(pid, &status, WNOHANG) == pid; });
  if (!ended) return std::nullopt;
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

}  // namespace

uint16_t FreePort() {
  // Below the ephemeral range, so that no outgoing connection takes the port meanwhile; by pid, so
  // that tests at the same time hardly ever try the same ones.
  static uint16_t next = 10'000 + getpid() * 131 % 20'000;
  while (true) {
    next = next >= 32'000 ? 10'000 : next + 1;
    if (CanBind(SOCK_STREAM, next) && CanBind(SOCK_DGRAM, next)) return next;
  }
}

bool Eventually(std::chrono::milliseconds timeout, const std::function<bool()>& condition) {
  const auto deadline = Clock::now() + timeout;
  while (!condition()) {
    if (Clock::now() >= deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return true;
}

Finished RunProgram(const std::string& program, const std::vector<std::string>& arguments,
                    std::chrono::milliseconds timeout) {
  static int count = 0;
  const std::string log = absl::StrCat(TempDir(), "/run", ++count, ".log");
  const pid_t pid = Spawn(program, arguments, log);
  std::optional<int> code = Wait(pid, timeout);
  if (!code) {
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
  }
  return {code.value_or(-1), ReadFile(log)};
}

Node::Node(Config config)
    : config_(std::move(config)),
      http_port_(FreePort()),
      forward_port_(FreePort()),
      api_port_(FreePort()),
      admin_port_(FreePort()),
      sessions_(roost::v1::Sessions::NewStub(grpc::CreateChannel(
          absl::StrCat("127.0.0.1:", api_port_), grpc::InsecureChannelCredentials()))) {
  if (config_.data_dir.empty()) config_.data_dir = absl::StrCat(TempDir(), "/", config_.name);
}

Node::~Node() {
  if (running()) Kill();
  if (::testing::Test::HasFailure()) {
    fprintf(stderr, "--- log of %s\n%s\n", config_.name.c_str(), Log().c_str());
  }
}

void Node::WriteConfig() const {
  std::vector<std::string> seeds;
  for (uint16_t port : config_.seed_ports)
    seeds.push_back(absl::StrCat("\"127.0.0.1:", port, "\""));
  std::ofstream(config_file()) << "node:\n  name: " << config_.name
                               << "\n  data_dir: " << config_.data_dir
                               << "\ncluster:\n  name: test\n  listen: \"127.0.0.1:"
                               << config_.gossip_port
                               << "\"\n  forward_listen: \"127.0.0.1:" << forward_port_
                               << "\"\n  seeds: [" << absl::StrJoin(seeds, ", ")
                               << "]\napi:\n  listen: \"127.0.0.1:" << api_port_
                               << "\"\n  socket: \"\"\nadmin:\n  listen: \"127.0.0.1:"
                               << admin_port_
                               << "\"\nproxy:\n  threads: 1\n  listen: \"127.0.0.1:" << http_port_
                               << "\"\n  app: \"127.0.0.1:" << config_.app_port << "\"\n"
                               << config_.extra;
}

void Node::Start() {
  ASSERT_FALSE(running());
  WriteConfig();
  pid_ = Spawn(config_.program, {"--config", config_file()}, config_.data_dir + ".log",
               config_.environment);
  ASSERT_GT(pid_, 0);
}

void Node::Signal(int signal) {
  ASSERT_TRUE(running());
  kill(pid_, signal);
}

void Node::Freeze() {
  Signal(SIGSTOP);
  int status = 0;
  ASSERT_EQ(waitpid(pid_, &status, WUNTRACED), pid_);
  ASSERT_TRUE(WIFSTOPPED(status));
}

void Node::Kill() {
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

std::optional<int> Node::WaitForExit(std::chrono::milliseconds timeout) {
  std::optional<int> code = Wait(pid_, timeout);
  if (code) pid_ = -1;
  return code;
}

bool Node::Ready() const {
  auto response = Get(admin_port_, "/readyz", "", std::chrono::seconds(2));
  return response.ok() && response->status == 200;
}

std::string Node::Metrics() const {
  auto response = Get(admin_port_, "/metrics", "", std::chrono::seconds(2));
  return response.ok() ? response->body : "";
}

double Node::Metric(absl::string_view series) const {
  for (absl::string_view line : absl::StrSplit(Metrics(), '\n')) {
    const size_t space = line.rfind(' ');
    double value;
    if (space != absl::string_view::npos && line.substr(0, space) == series &&
        absl::SimpleAtod(line.substr(space + 1), &value)) {
      return value;
    }
  }
  return -1;
}

int Node::AliveMembers() const {
  return static_cast<int>(Metric("roost_members{state=\"alive\"}"));
}

std::string Node::Log() const { return ReadFile(config_.data_dir + ".log"); }

Cluster::Cluster(int nodes, std::string extra_config) {
  std::vector<uint16_t> ports;
  for (int i = 0; i < nodes; ++i) ports.push_back(FreePort());
  static int clusters = 0;
  ++clusters;
  for (int i = 0; i < nodes; ++i) {
    Node::Config config;
    config.name = absl::StrCat("n", i);
    config.data_dir = absl::StrCat(TempDir(), "/c", clusters, "-n", i);
    config.gossip_port = ports[i];
    config.seed_ports = ports;
    config.extra = extra_config;
    nodes_.push_back(std::make_unique<Node>(std::move(config)));
    apps_.push_back(std::make_unique<TestApp>(absl::StrCat("n", i), nodes_.back()->api_port()));
    nodes_.back()->mutable_config()->app_port = apps_.back()->port();
  }
}

void Cluster::StartAll() {
  for (auto& node : nodes_) node->Start();
  ASSERT_TRUE(WaitUntilWhole()) << "the cluster did not come together";
}

bool Cluster::WaitUntilWhole(std::chrono::milliseconds timeout) {
  return Eventually(timeout, [&] {
    for (auto& node : nodes_) {
      if (!node->Ready() || node->AliveMembers() != size()) return false;
    }
    return true;
  });
}

int Cluster::OwnerOf(const std::string& cookie, int asked) {
  roost::v1::ResolveRequest request;
  request.set_id(cookie.substr(cookie.find('=') + 1));
  roost::v1::ResolveResponse response;
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(3));
  if (!node(asked).sessions()->Resolve(&context, request, &response).ok()) return -1;
  for (int i = 0; i < size(); ++i) {
    if (node(i).config().name == response.owner()) return i;
  }
  return -1;
}

}  // namespace roost::testing

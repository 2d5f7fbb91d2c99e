#include "tests/netns/virtual_lan.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <thread>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gtest/gtest.h"

namespace roost::testing {
namespace {

constexpr char kPath[] = "/usr/sbin:/usr/bin:/sbin:/bin";

// In the child of a fork, other threads may have held locks: nothing here may allocate.
pid_t ForkExec(const std::vector<std::string>& command, int net, int output) {
  std::vector<char*> argv;
  for (const std::string& word : command) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid != 0) return pid;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent || (net >= 0 && setns(net, CLONE_NEWNET) != 0)) _exit(126);
  if (output >= 0) {
    dup2(output, STDOUT_FILENO);
    dup2(output, STDERR_FILENO);
  }
  execvp(argv[0], argv.data());
  _exit(127);
}

struct Result {
  int exit_code = -1;
  std::string output;  // Standard output and error.
};

Result RunCommand(const std::string& command, int net) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return {};
  const pid_t pid = ForkExec(absl::StrSplit(command, ' '), net, ends[1]);
  close(ends[1]);
  Result result;
  char buffer[4096];
  for (ssize_t n = 0; (n = read(ends[0], buffer, sizeof(buffer))) > 0;) {
    result.output.append(buffer, static_cast<size_t>(n));
  }
  close(ends[0]);
  int status = 0;
  if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status)) return result;
  result.exit_code = WEXITSTATUS(status);
  return result;
}

std::string MustRun(const std::string& command, int net = -1) {
  Result result = RunCommand(command, net);
  EXPECT_EQ(result.exit_code, 0) << command << ": " << result.output;
  return std::move(result.output);
}

bool InPath(const std::string& program) {
  for (absl::string_view folder : absl::StrSplit(kPath, ':')) {
    if (access(absl::StrCat(folder, "/", program).c_str(), X_OK) == 0) return true;
  }
  return false;
}

// Becomes root of a user namespace: enough to own network namespaces.
bool EnterOwnUsers() {
  const uid_t uid = getuid();
  const gid_t gid = getgid();
  if (unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) return false;
  std::ofstream("/proc/self/setgroups") << "deny";
  std::ofstream("/proc/self/uid_map") << "0 " << uid << " 1";
  std::ofstream("/proc/self/gid_map") << "0 " << gid << " 1";
  return true;
}

std::string TryToEnter() {
  for (const char* program : {"ip", "nft"}) {
    if (!InPath(program))
      return absl::StrCat(program, " is not installed (deploy/install.sh test)");
  }
  setenv("PATH", kPath, 1);
  if (unshare(CLONE_NEWNET) != 0 && !EnterOwnUsers()) {
    return absl::StrCat("no right to make network namespaces: ", std::strerror(errno));
  }
  // What the tests need, tried on the namespace that is empty still.
  for (const char* command :
       {"ip link set lo up", "ip link add probe type bridge", "ip link del probe",
        "ip link add probe type veth peer name other", "ip link del probe",
        "nft add table inet probe",
        "nft add chain inet probe in { type filter hook input priority 0; }",
        "nft add rule inet probe in numgen random mod 100 < 20 drop",
        "nft add rule inet probe in meta l4proto udp reject with icmpx type port-unreachable",
        "nft add rule inet probe in meta l4proto tcp reject with tcp reset",
        "nft delete table inet probe"}) {
    if (const Result result = RunCommand(command, -1); result.exit_code != 0) {
      return absl::StrCat("this system refuses \"", command, "\": ", result.output);
    }
  }
  return "";
}

}  // namespace

std::string EnterOwnNetwork() {
  static const std::string reason = TryToEnter();
  return reason;
}

VirtualHost::VirtualHost(int number, const std::string& bridge)
    : ip_(absl::StrCat("10.77.0.", number + 1)), plug_(absl::StrCat(bridge, "p", number)) {
  int ready[2];
  EXPECT_EQ(pipe2(ready, O_CLOEXEC), 0);
  const pid_t parent = getpid();
  holder_ = fork();
  if (holder_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent || unshare(CLONE_NEWNET) != 0 || write(ready[1], "", 1) != 1) _exit(1);
    while (true) pause();
  }
  close(ready[1]);
  char byte;
  EXPECT_EQ(read(ready[0], &byte, 1), 1) << "no network namespace for host " << number;
  close(ready[0]);
  net_ = open(absl::StrCat("/proc/", holder_, "/ns/net").c_str(), O_RDONLY | O_CLOEXEC);
  EXPECT_GE(net_, 0);
  MustRun(absl::StrCat("ip link add ", plug_, " type veth peer name eth0 netns ", holder_));
  MustRun(absl::StrCat("ip link set ", plug_, " master ", bridge, " up"));
  RunHere("ip link set lo up");
  RunHere(absl::StrCat("ip addr add ", ip_, "/24 dev eth0"));
  RunHere("ip link set eth0 up");
  RunHere("nft add table inet faults");
  RunHere("nft add chain inet faults in { type filter hook input priority 0; }");
}

VirtualHost::~VirtualHost() {
  MustRun(absl::StrCat("ip link del ", plug_));
  close(net_);
  kill(holder_, SIGKILL);
  waitpid(holder_, nullptr, 0);
}

void VirtualHost::RunHere(const std::string& command) const { MustRun(command, net_); }

void VirtualHost::Filter(const std::string& rule) const {
  RunHere(absl::StrCat("nft add rule inet faults in ", rule));
}

void VirtualHost::ChangeIp(const std::string& ip) {
  RunHere(absl::StrCat("ip addr del ", ip_, "/24 dev eth0"));
  ip_ = ip;
  RunHere(absl::StrCat("ip addr add ", ip_, "/24 dev eth0"));
}

void VirtualHost::SetPlugged(bool plugged) {
  MustRun(absl::StrCat("ip link set ", plug_, plugged ? " up" : " down"));
}

void VirtualHost::DropFrom(const VirtualHost& sender) {
  Filter(absl::StrCat("ip saddr ", sender.ip(), " counter drop"));
}

void VirtualHost::DropPercent(int percent) {
  Filter(absl::StrCat("iifname eth0 numgen random mod 100 < ", percent, " counter drop"));
}

void VirtualHost::RejectFrom(const VirtualHost& sender) {
  const std::string from = absl::StrCat("ip saddr ", sender.ip(), " meta l4proto ");
  Filter(from + "udp counter reject with icmp type port-unreachable");
  Filter(from + "tcp counter reject with tcp reset");
}

void VirtualHost::PassAll() { RunHere("nft flush chain inet faults in"); }

int64_t VirtualHost::FilteredPackets() const {
  // "... counter packets 12 bytes 3456 drop"
  const std::string rules = MustRun("nft list chain inet faults in", net_);
  const std::vector<absl::string_view> words =
      absl::StrSplit(rules, absl::ByAnyChar(" \n"), absl::SkipEmpty());
  int64_t sum = 0;
  for (size_t i = 1; i < words.size(); ++i) {
    int64_t packets = 0;
    if (words[i - 1] == "packets" && absl::SimpleAtoi(words[i], &packets)) sum += packets;
  }
  return sum;
}

pid_t VirtualHost::Spawn(const std::vector<std::string>& command, const std::string& log) const {
  const int output = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  const pid_t pid = ForkExec(command, net_, output);
  close(output);
  return pid;
}

void VirtualHost::Visit(const std::function<void()>& action) const {
  std::thread([&] {
    EXPECT_EQ(setns(net_, CLONE_NEWNET), 0) << std::strerror(errno);
    action();
  }).join();
}

VirtualLan::VirtualLan(int hosts) {
  static int lans = 0;
  bridge_ = absl::StrCat("lan", ++lans);
  MustRun(absl::StrCat("ip link add ", bridge_, " type bridge"));
  MustRun(absl::StrCat("ip link set ", bridge_, " up"));
  for (int i = 0; i < hosts; ++i) hosts_.push_back(std::make_unique<VirtualHost>(i, bridge_));
}

VirtualLan::~VirtualLan() {
  hosts_.clear();
  MustRun(absl::StrCat("ip link del ", bridge_));
}

}  // namespace roost::testing

// roostd: see `roostd --help`.
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cassert>
#include <cstdio>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "sidecar/config_loader.h"
#include "sidecar/grpc_log.h"
#include "sidecar/log.h"
#include "sidecar/node.h"
#include "sidecar/options.h"
#include "sidecar/version.h"

namespace roost::sidecar {
namespace {

constexpr int kFailed = 1;
constexpr int kBadConfig = 2;

constexpr char kHelp[] =
    "roostd: a Roost node; runs beside one instance of a web application\n\n"
    "  roostd --config FILE         run with this configuration (YAML, see proto/config.proto)\n"
    "  roostd --check FILE          list what is wrong in it, and in the files that it names\n"
    "  roostd --print-config FILE   print it with every default filled in\n"
    "  roostd --version\n\n"
    "ROOST_* variables override the file, e.g. ROOST_NODE_NAME=web-1. SIGTERM hands the sessions\n"
    "over, leaves and exits with 0; a second one exits at once. SIGHUP reads log.level again.\n"
    "Exit code: 0 drained, 1 could not start or had to stop, 2 bad configuration or usage.\n";

// What main waits for: signals, and what the node's threads have to say.
class Wakeups {
 public:
  // Blocks the signals, so that every thread that is started later has them blocked too.
  Wakeups() {
    sigset_t signals;
    sigemptyset(&signals);
    for (int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals, signal);
    const int blocked = pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    signal_fd_ = signalfd(-1, &signals, SFD_CLOEXEC);
    event_fd_ = eventfd(0, EFD_CLOEXEC);
    assert(blocked == 0 && signal_fd_ >= 0 && event_fd_ >= 0);
    (void)blocked;
    signal(SIGPIPE, SIG_IGN);
  }
  ~Wakeups() {
    close(signal_fd_);
    close(event_fd_);
  }

  // Any thread.
  void Fail(absl::Status status) {
    {
      absl::MutexLock lock(&mutex_);
      failure_.Update(status);
    }
    Wake();
  }
  void FinishDrain() {
    {
      absl::MutexLock lock(&mutex_);
      drained_ = true;
    }
    Wake();
  }

  absl::Status failure() {
    absl::MutexLock lock(&mutex_);
    return failure_;
  }
  bool drained() {
    absl::MutexLock lock(&mutex_);
    return drained_;
  }

  // The signal that came, or 0 for a wake-up by a thread.
  int Wait() {
    while (true) {
      pollfd fds[] = {{signal_fd_, POLLIN, 0}, {event_fd_, POLLIN, 0}};
      if (poll(fds, 2, -1) < 0) continue;  // EINTR
      if (fds[1].revents != 0) {
        uint64_t count;
        if (read(event_fd_, &count, sizeof(count)) == sizeof(count)) return 0;
      }
      if (fds[0].revents != 0) {
        signalfd_siginfo info;
        if (read(signal_fd_, &info, sizeof(info)) == sizeof(info)) {
          return static_cast<int>(info.ssi_signo);
        }
      }
    }
  }

 private:
  void Wake() {
    const uint64_t one = 1;
    const ssize_t written = write(event_fd_, &one, sizeof(one));
    assert(written == sizeof(one));
    (void)written;
  }

  int signal_fd_ = -1;
  int event_fd_ = -1;
  absl::Mutex mutex_;
  absl::Status failure_ ABSL_GUARDED_BY(mutex_);
  bool drained_ ABSL_GUARDED_BY(mutex_) = false;
};

// The configuration, or nothing after every error was printed.
std::optional<config::v1::Config> Load(const std::string& file) {
  LoadedConfig loaded = LoadConfigFile(file, ProcessEnvironment());
  if (loaded.errors.empty()) {
    const absl::Status status = CheckOptions(loaded.config);
    if (!status.ok()) loaded.errors.push_back({file, "", std::string(status.message())});
  }
  for (const ConfigError& error : loaded.errors) {
    fprintf(stderr, "%s\n", error.ToString().c_str());
  }
  if (!loaded.errors.empty()) return std::nullopt;
  return std::move(loaded.config);
}

LogLevel ToLogLevel(config::v1::LogLevel level) {
  assert(level != config::v1::LOG_LEVEL_UNSPECIFIED);
  return static_cast<LogLevel>(level);
}

void Reload(const std::string& file, config::v1::Config* running, Logger* log) {
  LoadedConfig loaded = LoadConfigFile(file, ProcessEnvironment());
  for (const ConfigError& error : loaded.errors) {
    log->Error("configuration not reloaded", {{"error", error.ToString()}});
  }
  if (!loaded.errors.empty()) return;
  *running->mutable_log() = loaded.config.log();
  log->SetLevel(ToLogLevel(running->log().level()));
  const bool same = running->SerializeAsString() == loaded.config.SerializeAsString();
  log->Info("configuration reloaded",
            {{"needs_restart", same ? "nothing" : "fields other than log.level have changed"}});
}

// The node, from its start to the exit code.
int RunNode(const std::string& file, config::v1::Config config, Logger* log, Wakeups* wakeups) {
  const auto fail = [log](const absl::Status& status) {
    log->Error("node stopped", {{"reason", status.message()}});
    return kFailed;
  };
  auto node = Node::Create(config, {.log = log, .on_fatal = [wakeups](absl::Status status) {
                                      wakeups->Fail(std::move(status));
                                    }});
  if (!node.ok()) return fail(node.status());
  if (absl::Status status = (*node)->Start(); !status.ok()) return fail(status);
  std::thread drain;
  int exit_code = 0;
  while (true) {
    const int signal = wakeups->Wait();
    if (const absl::Status failure = wakeups->failure(); !failure.ok()) {
      exit_code = fail(failure);
      break;
    }
    if (wakeups->drained()) break;
    if (signal == SIGHUP) {
      Reload(file, &config, log);
      (*node)->ReopenLogs();
    } else if (signal != 0 && drain.joinable()) {
      log->Warn("second signal: exiting at once");
      _exit(kFailed);
    } else if (signal != 0) {
      drain = std::thread([&node, wakeups] {
        (*node)->Drain();
        wakeups->FinishDrain();
      });
    }
  }
  if (drain.joinable()) drain.join();
  (*node)->Stop();
  if (exit_code == 0) log->Info("node stopped", {{"reason", "drained"}});
  return exit_code;
}

int Run(const std::string& file) {
  const auto config = Load(file);
  if (!config) return kBadConfig;
  umask(0077);  // Sessions and the API's socket are nobody else's business.
  Wakeups wakeups;
  SilenceLibraryLogs();
  const std::unique_ptr<Logger> log = Logger::ToStandardError(ToLogLevel(config->log().level()));
  return RunNode(file, *config, log.get(), &wakeups);
}

int Check(const std::string& file) {
  const auto config = Load(file);
  if (!config) return kBadConfig;
  if (absl::Status status = CheckFiles(*config); !status.ok()) {
    fprintf(stderr, "%s: %s\n", file.c_str(), std::string(status.message()).c_str());
    return kBadConfig;
  }
  printf("%s: no errors\n", file.c_str());
  return 0;
}

int PrintConfig(const std::string& file) {
  const auto config = Load(file);
  if (!config) return kBadConfig;
  fputs(ConfigToYaml(*config).c_str(), stdout);
  return 0;
}

int Main(const std::vector<std::string>& words) {
  if (words.size() == 1 && (words[0] == "--help" || words[0] == "-h")) {
    fputs(kHelp, stdout);
    return 0;
  }
  if (words.size() == 1 && words[0] == "--version") {
    printf("roostd %s\n", kVersion);
    return 0;
  }
  if (words.size() == 2 && words[0] == "--config") return Run(words[1]);
  if (words.size() == 2 && words[0] == "--check") return Check(words[1]);
  if (words.size() == 2 && words[0] == "--print-config") return PrintConfig(words[1]);
  fputs(kHelp, stderr);
  return kBadConfig;
}

}  // namespace
}  // namespace roost::sidecar

int main(int argc, char** argv) {
  // Debian's Abseil looks for lock cycles at every lock; that is for tests.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  return roost::sidecar::Main(std::vector<std::string>(argv + 1, argv + argc));
}

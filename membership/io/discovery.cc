#include "membership/io/discovery.h"

#include <fcntl.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "membership/io/dns_srv.h"
#include "membership/io/gossip_socket.h"

namespace roost::membership {
namespace {

constexpr absl::Duration kAskInterval = absl::Seconds(15);
// While a name does not resolve.
constexpr absl::Duration kRetryInterval = absl::Seconds(2);
constexpr absl::Duration kFileInterval = absl::Seconds(1);
// Addresses of one name.
constexpr size_t kAddressesMax = 64;

// One seed and what it stood for last.
struct Source {
  Seed seed;
  std::vector<Address> addresses = {};
  bool answered = false;
  std::string problem = {};
  absl::Time due = absl::InfinitePast();
};

absl::StatusOr<std::vector<Address>> LookUpHost(const Seed& seed) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_DGRAM;
  addrinfo* list = nullptr;
  const int error = getaddrinfo(seed.host.c_str(), absl::StrCat(seed.port).c_str(), &hints, &list);
  if (error != 0) return absl::UnavailableError(gai_strerror(error));
  std::vector<Address> found;
  for (const addrinfo* i = list; i != nullptr; i = i->ai_next) {
    const auto address = GossipSocket::FromSocketAddress(i->ai_addr, i->ai_addrlen);
    if (address && found.size() < kAddressesMax) found.push_back(*address);
  }
  freeaddrinfo(list);
  return found;
}

absl::StatusOr<std::vector<Address>> LookUp(const Seed& seed) {
  if (seed.kind == Seed::Kind::kHost) return LookUpHost(seed);
  const absl::StatusOr<std::vector<Seed>> hosts = LookUpSrv(seed.host);
  if (!hosts.ok()) return hosts.status();
  std::vector<Address> found;
  absl::Status status = absl::UnavailableError("no SRV record");
  for (const Seed& host : *hosts) {
    const auto addresses = LookUpHost(host);
    if (!addresses.ok()) {
      status = addresses.status();
      continue;
    }
    found.insert(found.end(), addresses->begin(), addresses->end());
  }
  if (found.empty()) return status;
  return found;
}

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return absl::UnavailableError(std::strerror(errno));
  // One byte more than allowed tells that there is more.
  std::string text(kSeedsFileBytesMax + 1, '\0');
  size_t size = 0;
  ssize_t bytes = 1;
  while (bytes > 0 && size < text.size()) {
    bytes = read(fd, text.data() + size, text.size() - size);
    if (bytes > 0) size += static_cast<size_t>(bytes);
  }
  const int error = errno;
  close(fd);
  if (bytes < 0) return absl::UnavailableError(std::strerror(error));
  text.resize(size);
  return text;
}

}  // namespace

class Discovery::Loop : public std::enable_shared_from_this<Discovery::Loop> {
 public:
  Loop(Sources sources, std::function<void(Found)> on_found)
      : ipv4_(sources.ipv4),
        ipv6_(sources.ipv6),
        file_(std::move(sources.seeds_file)),
        on_found_(std::move(on_found)) {
    for (Seed& seed : sources.seeds) configured_.push_back({std::move(seed)});
  }

  void Start() {
    std::thread([self = shared_from_this()] { self->Run(); }).detach();
  }

  void Stop() {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }

 private:
  void Run() {
    do {
      if (!file_.empty()) ReadSeedsFile();
      for (Source& source : configured_) Ask("cluster.seeds", &source);
      for (Source& source : listed_) Ask("cluster.seeds_file", &source);
      Tell();
    } while (!SleepUntil(NextDue()));
  }

  // True if it is to stop.
  bool SleepUntil(absl::Time due) {
    absl::MutexLock lock(&mutex_);
    return mutex_.AwaitWithDeadline(absl::Condition(&stopping_), due);
  }
  bool stopping() {
    absl::MutexLock lock(&mutex_);
    return stopping_;
  }

  absl::Time NextDue() const {
    absl::Time next = file_.empty() ? absl::InfiniteFuture() : absl::Now() + kFileInterval;
    for (const Source& source : configured_) next = std::min(next, source.due);
    for (const Source& source : listed_) next = std::min(next, source.due);
    return next;
  }

  void ReadSeedsFile() {
    const absl::StatusOr<std::string> text = ReadFile(file_);
    if (!text.ok()) return FileFails(text.status());
    if (*text == file_text_ && file_problem_.empty()) return;
    const absl::StatusOr<std::vector<Seed>> seeds = ParseSeedsFile(*text);
    if (!seeds.ok()) return FileFails(seeds.status());
    // An empty list is more likely a mistake than a wish to be alone.
    if (seeds->empty()) return FileFails(absl::UnavailableError("lists nobody"));
    file_text_ = *text;
    file_problem_.clear();
    file_answered_ = true;
    std::vector<Source> next;
    for (const Seed& seed : *seeds) {
      const auto same = std::find_if(listed_.begin(), listed_.end(),
                                     [&](const Source& source) { return source.seed == seed; });
      next.push_back(same == listed_.end() ? Source{seed} : *same);
    }
    listed_ = std::move(next);
  }

  // What it said before stays in force.
  void FileFails(const absl::Status& status) {
    file_problem_ = absl::StrCat("cluster.seeds_file: ", file_, ": ", status.message());
  }

  void Ask(absl::string_view field, Source* source) {
    if (source->due > absl::Now() || stopping()) return;
    absl::StatusOr<std::vector<Address>> found = LookUp(source->seed);
    if (found.ok()) {
      std::erase_if(*found, [this](const Address& a) { return a.IsV4() ? !ipv4_ : !ipv6_; });
      if (found->empty()) found = absl::UnavailableError("no address that gossip can reach");
    }
    source->due = absl::Now() + (found.ok() ? kAskInterval : kRetryInterval);
    if (found.ok()) {
      source->addresses = *std::move(found);
      source->answered = true;
      source->problem.clear();
    } else {
      source->problem =
          absl::StrCat(field, ": ", source->seed.host, ": ", found.status().message());
    }
  }

  void Tell() {
    Found found;
    found.complete = file_.empty() || file_answered_;
    found.problem = file_problem_;
    for (const auto* sources : {&configured_, &listed_}) {
      for (const Source& source : *sources) {
        for (const Address& address : source.addresses) {
          if (found.addresses.size() < kSeedsMax) found.addresses.push_back(address);
        }
        found.complete = found.complete && source.answered;
        if (found.problem.empty()) found.problem = source.problem;
      }
    }
    if (told_ == found) return;
    told_ = found;
    // Under the lock, so that nobody is told after Stop.
    absl::MutexLock lock(&mutex_);
    if (!stopping_) on_found_(std::move(found));
  }

  const bool ipv4_;
  const bool ipv6_;
  const std::string file_;
  const std::function<void(Found)> on_found_;
  // Of the thread.
  std::vector<Source> configured_;
  std::vector<Source> listed_;  // In the file.
  std::string file_text_;
  std::string file_problem_;
  bool file_answered_ = false;
  std::optional<Found> told_;

  absl::Mutex mutex_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
};

Discovery::Discovery(Sources sources, std::function<void(Found)> on_found)
    : loop_(std::make_shared<Loop>(std::move(sources), std::move(on_found))) {}
Discovery::~Discovery() { Stop(); }
void Discovery::Start() { loop_->Start(); }
void Discovery::Stop() { loop_->Stop(); }

}  // namespace roost::membership

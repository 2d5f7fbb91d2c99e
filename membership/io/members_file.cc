#include "membership/io/members_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <thread>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"

namespace roost::membership {
namespace {

constexpr absl::string_view kFormat = "roost-members 1";
// A cluster that changes all the time is written now and then.
constexpr absl::Duration kWritePause = absl::Seconds(1);
constexpr absl::string_view kChecksum = "checksum ";

uint64_t Checksum(absl::string_view text) {
  uint64_t hash = 0xcbf29ce484222325u;  // FNV-1a
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return hash;
}

absl::Status Damaged(absl::string_view what) {
  return absl::DataLossError(absl::StrCat("is damaged or of a later version (", what, ")"));
}

absl::Status Failed(const std::string& path, absl::string_view what) {
  return absl::UnavailableError(absl::StrCat(path, ": can't ", what, ": ", std::strerror(errno)));
}

absl::StatusOr<std::string> Read(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) {
    return errno == ENOENT ? absl::NotFoundError("none yet") : Failed(path, "open it");
  }
  std::string text(kMembersFileBytesMax + 1, '\0');
  size_t size = 0;
  ssize_t bytes = 1;
  while (bytes > 0 && size < text.size()) {
    bytes = read(fd, text.data() + size, text.size() - size);
    if (bytes > 0) size += static_cast<size_t>(bytes);
  }
  const absl::Status status = bytes < 0 ? Failed(path, "read it") : absl::OkStatus();
  close(fd);
  if (!status.ok()) return status;
  text.resize(size);
  return text;
}

absl::Status Write(const std::string& path, absl::string_view text) {
  const std::string temporary = path + ".new";
  const int fd =
      open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return Failed(temporary, "write it");
  while (!text.empty()) {
    const ssize_t written = write(fd, text.data(), text.size());
    if (written <= 0) break;
    text.remove_prefix(static_cast<size_t>(written));
  }
  const bool complete = text.empty() && fsync(fd) == 0;
  const absl::Status failed = complete ? absl::OkStatus() : Failed(temporary, "write it");
  close(fd);
  if (!complete) return failed;
  return rename(temporary.c_str(), path.c_str()) == 0 ? absl::OkStatus()
                                                      : Failed(path, "replace it");
}

}  // namespace

std::string MembersFileText(absl::string_view cluster,
                            const std::vector<RememberedMember>& members) {
  std::string text = absl::StrCat(kFormat, "\ncluster ", cluster, "\n");
  for (size_t i = 0; i < members.size() && i < kRememberedMax; ++i) {
    absl::StrAppend(&text, "member ", members[i].gossip.ToString(), " ", members[i].starts_missed,
                    "\n");
  }
  return WithChecksum(std::move(text));
}

std::string WithChecksum(std::string body) {
  const std::string checksum = absl::StrFormat("%016x", Checksum(body));
  return absl::StrCat(body, kChecksum, checksum, "\n");
}

absl::StatusOr<std::vector<RememberedMember>> ParseMembersFile(absl::string_view text,
                                                               absl::string_view cluster) {
  if (text.size() > kMembersFileBytesMax) return Damaged("too large");
  const size_t end = text.rfind(kChecksum);
  if (end == absl::string_view::npos) return Damaged("no checksum");
  const absl::string_view body = text.substr(0, end);
  if (text.substr(end) != absl::StrCat(kChecksum, absl::StrFormat("%016x\n", Checksum(body)))) {
    return Damaged("the checksum does not fit");
  }
  std::vector<absl::string_view> lines = absl::StrSplit(body, '\n');
  if (lines.size() < 3 || lines[0] != kFormat || !lines.back().empty()) return Damaged("format");
  if (lines[1] != absl::StrCat("cluster ", cluster)) {
    return absl::FailedPreconditionError("belongs to another cluster.name");
  }
  std::vector<RememberedMember> members;
  for (size_t i = 2; i + 1 < lines.size(); ++i) {
    const std::vector<absl::string_view> words = absl::StrSplit(lines[i], ' ');
    RememberedMember member;
    if (words.size() != 3 || words[0] != "member" || members.size() == kRememberedMax ||
        !absl::SimpleAtoi(words[2], &member.starts_missed) || member.starts_missed < 0) {
      return Damaged("a member");
    }
    const auto address = Address::Parse(words[1]);
    if (!address || address->port == 0 || address->IsWildcard()) return Damaged("an address");
    member.gossip = *address;
    members.push_back(member);
  }
  return members;
}

// The newest text that is not on disk yet, and the thread that puts it there.
struct MembersFile::Writer {
  explicit Writer(const std::string& path) : thread([this, path] { Run(path); }) {}
  ~Writer() {
    {
      absl::MutexLock lock(&mutex);
      stopping = true;
    }
    thread.join();
  }

  void Run(const std::string& path) {
    absl::MutexLock lock(&mutex);
    while (true) {
      const auto woken = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
        return text.has_value() || stopping;
      };
      mutex.Await(absl::Condition(&woken));
      if (!text) return;
      const std::string next = *std::exchange(text, std::nullopt);
      mutex.Unlock();
      absl::Status outcome = Write(path, next);
      mutex.Lock();
      status = std::move(outcome);
      mutex.AwaitWithTimeout(absl::Condition(&stopping), kWritePause);
    }
  }

  absl::Mutex mutex;
  std::optional<std::string> text ABSL_GUARDED_BY(mutex);
  absl::Status status ABSL_GUARDED_BY(mutex);
  bool stopping ABSL_GUARDED_BY(mutex) = false;
  std::thread thread;
};

MembersFile::MembersFile(std::string path, std::string cluster, absl::Status* problem)
    : path_(std::move(path)), cluster_(std::move(cluster)) {
  const absl::StatusOr<std::string> text = Read(path_);
  absl::StatusOr<std::vector<RememberedMember>> members =
      text.ok() ? ParseMembersFile(*text, cluster_) : text.status();
  if (members.ok()) {
    for (const RememberedMember& member : *members) {
      if (member.starts_missed >= RememberedMember::kStartsMax) continue;
      missed_[member.gossip] = member.starts_missed + 1;
      addresses_.push_back(member.gossip);
    }
  } else if (!absl::IsNotFound(members.status())) {
    *problem = absl::Status(members.status().code(),
                            absl::StrCat(path_, ": ", members.status().message()));
  }
  writer_ = std::make_unique<Writer>(path_);
}

MembersFile::~MembersFile() = default;

void MembersFile::Remember(const View& view) {
  for (const Member& member : view.members()) {
    if (member.id == view.self()) continue;
    if (member.live()) missed_[member.gossip] = 0;
    if (member.state == MemberState::kLeft) missed_.erase(member.gossip);
  }
  std::vector<RememberedMember> members;
  for (const auto& [address, missed] : missed_) members.push_back({address, missed});
  std::stable_sort(members.begin(), members.end(),
                   [](const auto& a, const auto& b) { return a.starts_missed < b.starts_missed; });
  if (members.size() > kRememberedMax) {
    members.resize(kRememberedMax);
    // In a large cluster the map must not grow with everyone who ever lived.
    missed_.clear();
    for (const RememberedMember& member : members) missed_[member.gossip] = member.starts_missed;
  }
  std::string text = MembersFileText(cluster_, members);
  if (text == last_text_) return;
  last_text_ = text;
  absl::MutexLock lock(&writer_->mutex);
  writer_->text = std::move(text);
}

absl::Status MembersFile::written() const {
  absl::MutexLock lock(&writer_->mutex);
  return writer_->status;
}

}  // namespace roost::membership

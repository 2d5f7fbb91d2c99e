// MembersFile remembers on disk where members were last, so that a cluster that was stopped as a
// whole finds itself again even where discovery finds nobody.
//
// A text file, replaced as a whole: a line with format and version, the cluster, a line per member,
// a checksum. One that can't be read counts as none. Nothing but where to look: who is found there
// still has to say who it is.
//
// Remember is for one thread and does not block; a thread of its own writes. Owner: Node.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "membership/address.h"
#include "membership/view.h"

namespace roost::membership {

struct RememberedMember {
  Address gossip;
  // Starts of this node since it was last met. Forgotten beyond kStartsMax.
  int starts_missed = 0;

  static constexpr int kStartsMax = 10;
  friend bool operator==(const RememberedMember&, const RememberedMember&) = default;
};

// Beyond, those missed for longest are left out.
inline constexpr size_t kRememberedMax = 256;
inline constexpr size_t kMembersFileBytesMax = 32 * 1'024;

std::string MembersFileText(absl::string_view cluster,
                            const std::vector<RememberedMember>& members);
// `body` and the line that protects it.
std::string WithChecksum(std::string body);
// DATA_LOSS if it is damaged or of a later format, FAILED_PRECONDITION if it is another cluster's.
absl::StatusOr<std::vector<RememberedMember>> ParseMembersFile(absl::string_view text,
                                                               absl::string_view cluster);

class MembersFile {
 public:
  // Reads `path`; `*problem` says why it was ignored, if it was.
  MembersFile(std::string path, std::string cluster, absl::Status* problem);
  // Writes what is left to write.
  ~MembersFile();
  MembersFile(const MembersFile&) = delete;
  MembersFile& operator=(const MembersFile&) = delete;

  // As read, those met most recently first.
  const std::vector<Address>& addresses() const { return addresses_; }
  void Remember(const View& view);
  // Why the last write failed; OK if it did not.
  absl::Status written() const;

 private:
  struct Writer;

  const std::string path_;
  const std::string cluster_;
  std::vector<Address> addresses_;
  std::map<Address, int> missed_;  // By address: RememberedMember::starts_missed.
  std::string last_text_;
  std::unique_ptr<Writer> writer_;
};

}  // namespace roost::membership

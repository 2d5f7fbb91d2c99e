#include "membership/io/secret_file.h"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace roost::membership {
namespace {

absl::Status CheckMode(const std::string& about, const struct stat& status) {
  if (!S_ISREG(status.st_mode)) {
    return absl::FailedPreconditionError(absl::StrCat(about, " is no regular file"));
  }
  if (status.st_uid != geteuid() && status.st_uid != 0) {
    return absl::FailedPreconditionError(
        absl::StrCat(about, " belongs to another user, who could read and change it"));
  }
  if ((status.st_mode & 077) != 0) {
    return absl::FailedPreconditionError(
        absl::StrCat(about, " has mode ", absl::StrFormat("%04o", status.st_mode & 07777),
                     ", which lets others at the secret: chmod 600 it"));
  }
  return absl::OkStatus();
}

absl::Status Failed(const std::string& about, absl::string_view what) {
  return absl::UnavailableError(absl::StrCat(about, ": can't ", what, ": ", std::strerror(errno)));
}

absl::StatusOr<std::string> Read(int fd, const std::string& about, size_t bytes_max) {
  struct stat status = {};
  if (fstat(fd, &status) != 0) return Failed(about, "look at it");
  if (absl::Status mode = CheckMode(about, status); !mode.ok()) return mode;
  std::string text(bytes_max + 1, '\0');
  size_t size = 0;
  while (size < text.size()) {
    const ssize_t bytes = read(fd, text.data() + size, text.size() - size);
    if (bytes < 0 && errno == EINTR) continue;
    if (bytes < 0) {
      OPENSSL_cleanse(text.data(), text.size());
      return Failed(about, "read it");
    }
    if (bytes == 0) break;
    size += static_cast<size_t>(bytes);
  }
  text.resize(size);
  return text;
}

}  // namespace

absl::StatusOr<std::string> ReadSecretFile(absl::string_view field, const std::string& path,
                                           size_t bytes_max) {
  const std::string about = absl::StrCat(field, ": ", path);
  // Not blocking: a pipe must not hold the node up before it is seen to be none of ours.
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return Failed(about, "open it");
  absl::StatusOr<std::string> text = Read(fd, about, bytes_max);
  close(fd);
  return text;
}

}  // namespace roost::membership

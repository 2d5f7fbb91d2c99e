#include "membership/io/keys_file.h"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "membership/io/secret_file.h"

namespace roost::membership {
namespace {

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  const int fd_;
};

absl::Status Failed(const std::string& path, absl::string_view what) {
  return absl::UnavailableError(
      absl::StrCat(kGossipKeysField, ": ", path, ": can't ", what, ": ", std::strerror(errno)));
}

bool WriteAll(int fd, absl::string_view text) {
  while (!text.empty()) {
    const ssize_t written = write(fd, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    text.remove_prefix(static_cast<size_t>(written));
  }
  return true;
}

}  // namespace

absl::StatusOr<Keyring> LoadKeysFile(const std::string& path, absl::string_view field) {
  absl::StatusOr<std::string> text = ReadSecretFile(field, path, Keyring::kTextBytesMax);
  if (!text.ok()) return text.status();
  absl::StatusOr<Keyring> keys = Keyring::Parse(*text);
  OPENSSL_cleanse(text->data(), text->size());
  if (keys.ok()) return keys;
  return absl::InvalidArgumentError(absl::StrCat(field, ": ", path, ": ", keys.status().message()));
}

absl::Status SaveKeysFile(const std::string& path, const Keyring& keys) {
  const std::unique_ptr<char, decltype(&std::free)> real(realpath(path.c_str(), nullptr),
                                                         &std::free);
  const std::string target = real == nullptr ? path : real.get();
  const size_t slash = target.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : target.substr(0, slash + 1);
  const std::string temporary = target + ".new";
  if (unlink(temporary.c_str()) != 0 && errno != ENOENT) return Failed(path, "make way for it");
  {
    const Descriptor file(
        open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (file.get() < 0) return Failed(path, "write a new one beside it");
    std::string text = keys.ToText();
    const bool written = WriteAll(file.get(), text) && fsync(file.get()) == 0;
    OPENSSL_cleanse(text.data(), text.size());
    if (!written) {
      const absl::Status failed = Failed(path, "write it");
      unlink(temporary.c_str());
      return failed;
    }
  }
  if (rename(temporary.c_str(), target.c_str()) != 0) {
    const absl::Status failed = Failed(path, "replace it");
    unlink(temporary.c_str());
    return failed;
  }
  const Descriptor directory(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory.get() < 0 || fsync(directory.get()) != 0) return Failed(path, "force it to disk");
  return absl::OkStatus();
}

}  // namespace roost::membership

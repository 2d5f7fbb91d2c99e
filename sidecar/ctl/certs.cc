#include "sidecar/ctl/certs.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <set>

#include "absl/strings/str_cat.h"
#include "membership/io/secret_file.h"
#include "sidecar/certificates.h"

namespace roost::ctl {
namespace {

using sidecar::Issued;
using sidecar::Validity;

constexpr int64_t kAuthorityDays = 3'650;
constexpr size_t kNodesMax = 1'000;
constexpr size_t kFileBytesMax = 256 << 10;
constexpr mode_t kPublicMode = 0644;
constexpr mode_t kSecretMode = 0600;
// Clocks differ a little from machine to machine.
constexpr absl::Duration kClockSkew = absl::Minutes(5);

absl::Status Failed(const std::string& path, absl::string_view what) {
  return absl::UnavailableError(absl::StrCat(path, ": can't ", what, ": ", std::strerror(errno)));
}

absl::Status MakeFolder(const std::string& path, mode_t mode) {
  if (mkdir(path.c_str(), mode) == 0 || errno == EEXIST) return absl::OkStatus();
  return Failed(path, "make it");
}

// As a whole; a node that watches the file never sees half of it.
absl::Status Write(const std::string& path, absl::string_view text, mode_t mode) {
  const std::string temporary = path + ".new";
  if (unlink(temporary.c_str()) != 0 && errno != ENOENT) return Failed(path, "make way for it");
  const int fd =
      open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
  if (fd < 0) return Failed(temporary, "make it");
  bool ok = fchmod(fd, mode) == 0;
  while (ok && !text.empty()) {
    const ssize_t written = write(fd, text.data(), text.size());
    ok = written > 0 || (written < 0 && errno == EINTR);
    if (written > 0) text.remove_prefix(static_cast<size_t>(written));
  }
  ok = ok && fsync(fd) == 0;
  const absl::Status failed = ok ? absl::OkStatus() : Failed(temporary, "write it");
  close(fd);
  if (ok && rename(temporary.c_str(), path.c_str()) == 0) return absl::OkStatus();
  const absl::Status status = ok ? Failed(path, "replace it") : failed;
  unlink(temporary.c_str());
  return status;
}

// Before anything is written: half of a request would be worse than none.
absl::Status CheckNodes(const std::vector<std::string>& nodes) {
  if (nodes.empty() || nodes.size() > kNodesMax) {
    return absl::InvalidArgumentError(absl::StrCat("--nodes must name 1 to ", kNodesMax, " nodes"));
  }
  std::set<std::string> seen;
  for (const std::string& node : nodes) {
    // It becomes a folder's name too.
    if (node == "." || node == ".." || !sidecar::IsCertificateName(node)) {
      return absl::InvalidArgumentError(
          "--nodes: a name must be 1 to 64 letters, digits, '.', '_' and '-'");
    }
    if (!seen.insert(node).second) {
      return absl::InvalidArgumentError(absl::StrCat("--nodes: ", node, " is there twice"));
    }
  }
  return absl::OkStatus();
}

absl::Status IssueAll(const CertsRequest& request, const Issued& authority, absl::Time now) {
  const Validity validity{now - kClockSkew, now + absl::Hours(24 * request.days)};
  for (const std::string& node : request.nodes) {
    const auto issued = sidecar::IssueCertificate(authority, node, validity);
    if (!issued.ok()) return issued.status();
    const std::string folder = absl::StrCat(request.dir, "/", node);
    absl::Status status = MakeFolder(folder, 0700);
    if (status.ok()) status = Write(folder + "/ca.pem", authority.certificate, kPublicMode);
    // The key before the certificate: a node that watches uses both once they match.
    if (status.ok()) status = Write(folder + "/key.pem", issued->key, kSecretMode);
    if (status.ok()) status = Write(folder + "/cert.pem", issued->certificate, kPublicMode);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

std::string AuthorityFile(const CertsRequest& request) { return request.dir + "/ca.pem"; }
std::string AuthorityKeyFile(const CertsRequest& request) { return request.dir + "/ca-key.pem"; }

absl::StatusOr<std::string> ReadPublic(const std::string& path) {
  std::FILE* file = std::fopen(path.c_str(), "re");
  if (file == nullptr) return Failed(path, "open it");
  std::string text(kFileBytesMax, '\0');
  text.resize(std::fread(text.data(), 1, text.size(), file));
  std::fclose(file);
  return text;
}

}  // namespace

absl::Status NewCerts(const CertsRequest& request, absl::Time now) {
  if (absl::Status status = CheckNodes(request.nodes); !status.ok()) return status;
  if (absl::Status status = MakeFolder(request.dir, 0700); !status.ok()) return status;
  for (const std::string& path : {AuthorityFile(request), AuthorityKeyFile(request)}) {
    if (access(path.c_str(), F_OK) != 0) continue;
    return absl::FailedPreconditionError(
        absl::StrCat(path, " is there already: `roostctl certs issue` makes certificates from it"));
  }
  const auto authority = sidecar::MakeAuthority(
      "roost-ca", {now - kClockSkew, now + absl::Hours(24 * kAuthorityDays)});
  if (!authority.ok()) return authority.status();
  absl::Status status = Write(AuthorityKeyFile(request), authority->key, kSecretMode);
  if (status.ok()) status = Write(AuthorityFile(request), authority->certificate, kPublicMode);
  return status.ok() ? IssueAll(request, *authority, now) : status;
}

absl::Status IssueCerts(const CertsRequest& request, absl::Time now) {
  if (absl::Status status = CheckNodes(request.nodes); !status.ok()) return status;
  auto certificate = ReadPublic(AuthorityFile(request));
  if (!certificate.ok()) return certificate.status();
  auto key =
      membership::ReadSecretFile("the authority's key", AuthorityKeyFile(request), kFileBytesMax);
  if (!key.ok()) return key.status();
  return IssueAll(request, {*std::move(certificate), *std::move(key)}, now);
}

}  // namespace roost::ctl

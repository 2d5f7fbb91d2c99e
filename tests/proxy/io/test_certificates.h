// Certificates and a TLS client for the proxy's tests.
#pragma once

#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ctime>
#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "gtest/gtest.h"
#include "membership/address.h"
#include "tests/proxy/io/test_peers.h"

namespace roost::proxy {

struct TestCertificate {
  std::string certificate;  // PEM.
  std::string key;
};

// Signed by itself, for `names`; the common name tells certificates apart.
inline TestCertificate MakeCertificate(const std::string& common_name,
                                       const std::vector<std::string>& names,
                                       int64_t lifetime_s = 86'400) {
  EVP_PKEY* key = EVP_EC_gen("P-256");
  X509* x509 = X509_new();
  X509_set_version(x509, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(x509), 1);
  X509_gmtime_adj(X509_getm_notBefore(x509), -86'400);
  X509_gmtime_adj(X509_getm_notAfter(x509), lifetime_s);
  X509_set_pubkey(x509, key);
  X509_NAME* subject = X509_get_subject_name(x509);
  X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>(common_name.c_str()), -1, -1,
                             0);
  X509_set_issuer_name(x509, subject);
  if (!names.empty()) {
    const std::string text = absl::StrCat("DNS:", absl::StrJoin(names, ",DNS:"));
    X509_EXTENSION* extension =
        X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, text.c_str());
    X509_add_ext(x509, extension, -1);
    X509_EXTENSION_free(extension);
  }
  X509_sign(x509, key, EVP_sha256());
  const auto text = [](auto write) {
    BIO* out = BIO_new(BIO_s_mem());
    write(out);
    char* bytes = nullptr;
    const long size = BIO_get_mem_data(out, &bytes);
    std::string taken(bytes, static_cast<size_t>(size));
    BIO_free(out);
    return taken;
  };
  TestCertificate made;
  made.certificate = text([&](BIO* out) { PEM_write_bio_X509(out, x509); });
  made.key = text(
      [&](BIO* out) { PEM_write_bio_PrivateKey(out, key, nullptr, nullptr, 0, nullptr, nullptr); });
  X509_free(x509);
  EVP_PKEY_free(key);
  return made;
}

// A folder of certificates; files appear and change in one step, as tools that renew them do it.
class CertificateFolder {
 public:
  CertificateFolder() {
    std::string name = ::testing::TempDir() + "certs-XXXXXX";
    EXPECT_NE(mkdtemp(name.data()), nullptr);
    path_ = name;
  }
  ~CertificateFolder() {
    for (const std::string& file : files_) unlink((path_ + "/" + file).c_str());
    rmdir(path_.c_str());
  }
  const std::string& path() const { return path_; }

  void Write(const std::string& file, const std::string& text, mode_t mode = 0600) {
    const std::string temporary = path_ + "/writing";
    std::ofstream(temporary) << text;
    EXPECT_EQ(chmod(temporary.c_str(), mode), 0);
    EXPECT_EQ(rename(temporary.c_str(), (path_ + "/" + file).c_str()), 0);
    files_.push_back(file);
  }
  void Write(const std::string& file, const TestCertificate& certificate) {
    Write(file, certificate.certificate + certificate.key);
  }
  void Remove(const std::string& file) { EXPECT_EQ(unlink((path_ + "/" + file).c_str()), 0); }

 private:
  std::string path_;
  std::vector<std::string> files_;
};

struct TlsClientOptions {
  std::string server_name = {};
  int max_version = TLS1_3_VERSION;
  std::string alpn = {};           // Wire format.
  SSL_SESSION* session = nullptr;  // To resume.
  std::string first = {};          // Sent in the clear before.
};

// A blocking TLS client that believes any certificate.
class TlsClient {
 public:
  TlsClient(const membership::Address& to, const TlsClientOptions& options) {
    context_ = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_max_proto_version(context_, options.max_version);
    SSL_CTX_set_session_cache_mode(context_, SSL_SESS_CACHE_CLIENT);
    ssl_ = SSL_new(context_);
    fd_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const timeval deadline{kDeadlineMs / 1000, 0};
    setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &deadline, sizeof(deadline));
    setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &deadline, sizeof(deadline));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(to.port);
    EXPECT_EQ(connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    if (!options.first.empty()) {
      EXPECT_EQ(send(fd_, options.first.data(), options.first.size(), MSG_NOSIGNAL),
                static_cast<ssize_t>(options.first.size()));
    }
    SSL_set_fd(ssl_, fd_);
    if (!options.server_name.empty()) {
      SSL_set_tlsext_host_name(ssl_, options.server_name.c_str());
    }
    if (!options.alpn.empty()) {
      SSL_set_alpn_protos(ssl_, reinterpret_cast<const unsigned char*>(options.alpn.data()),
                          static_cast<unsigned>(options.alpn.size()));
    }
    if (options.session != nullptr) SSL_set_session(ssl_, options.session);
    connected_ = SSL_connect(ssl_) == 1;
  }
  ~TlsClient() {
    SSL_free(ssl_);
    SSL_CTX_free(context_);
    if (fd_ >= 0) close(fd_);
  }
  TlsClient(const TlsClient&) = delete;
  TlsClient& operator=(const TlsClient&) = delete;

  bool connected() const { return connected_; }
  // Of the server's certificate; empty without a connection.
  std::string CommonName() const {
    X509* certificate = connected_ ? SSL_get1_peer_certificate(ssl_) : nullptr;
    if (certificate == nullptr) return "";
    char name[256] = {};
    X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName, name,
                              sizeof(name));
    X509_free(certificate);
    return name;
  }
  std::string Version() const { return SSL_get_version(ssl_); }
  std::string Protocol() const {
    const unsigned char* name = nullptr;
    unsigned size = 0;
    SSL_get0_alpn_selected(ssl_, &name, &size);
    return std::string(reinterpret_cast<const char*>(name), size);
  }
  bool resumed() const { return SSL_session_reused(ssl_) == 1; }
  // Owned by the caller.
  SSL_SESSION* Session() const { return SSL_get1_session(ssl_); }

  bool Send(absl::string_view bytes) {
    while (!bytes.empty()) {
      const int sent = SSL_write(ssl_, bytes.data(), static_cast<int>(bytes.size()));
      if (sent <= 0) return false;
      bytes.remove_prefix(static_cast<size_t>(sent));
    }
    return true;
  }
  // A head and the body of its Content-Length; what came until the end if that is less.
  std::string ReadMessage() {
    size_t head = 0, length = 0;
    while ((head = read_.find("\r\n\r\n")) == std::string::npos && Fill()) {
    }
    if (head == std::string::npos) return std::exchange(read_, {});
    head += 4;
    const size_t at = read_.find("Content-Length: ");
    if (at < head) length = strtoul(read_.c_str() + at + 16, nullptr, 10);
    while (read_.size() < head + length && Fill()) {
    }
    const std::string message = read_.substr(0, head + length);
    read_.erase(0, message.size());
    return message;
  }
  // TLS's own goodbye came, not a bare end of the stream.
  bool EndsProperly() {
    char byte;
    const int got = SSL_read(ssl_, &byte, 1);
    return got <= 0 && SSL_get_error(ssl_, got) == SSL_ERROR_ZERO_RETURN;
  }

 private:
  bool Fill() {
    char bytes[16 << 10];
    const int got = SSL_read(ssl_, bytes, sizeof(bytes));
    if (got <= 0) return false;
    read_.append(bytes, static_cast<size_t>(got));
    return true;
  }

  SSL_CTX* context_ = nullptr;
  SSL* ssl_ = nullptr;
  int fd_ = -1;
  bool connected_ = false;
  std::string read_;
};

}  // namespace roost::proxy

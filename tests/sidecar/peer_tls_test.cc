#include "sidecar/peer_tls.h"

#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "grpcpp/grpcpp.h"
#include "openssl/bio.h"
#include "openssl/pem.h"
#include "openssl/x509v3.h"
#include "proto/cluster.grpc.pb.h"
#include "sidecar/grpc_log.h"
#include "tests/sidecar/tls_files.h"

namespace roost::sidecar {
namespace {

using roost::testing::Authority;
using roost::testing::CertificateOf;
using roost::testing::FilesAt;
using roost::testing::Future;
using roost::testing::Past;
using roost::testing::WriteFile;
using roost::testing::WriteFiles;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr absl::Duration kPatience = absl::Seconds(30);

std::string Prefix(const std::string& name) {
  static int count = 0;
  return absl::StrCat(std::getenv("TEST_TMPDIR"), "/", ++count, "-", name);
}

std::unique_ptr<PeerTls> MustLoad(const TlsFiles& files) {
  auto loaded = PeerTls::Load(files);
  EXPECT_TRUE(loaded.ok()) << loaded.status();
  return loaded.ok() ? *std::move(loaded) : nullptr;
}

// Answers Members, and Watch once per Tick until the call ends.
class Greeter final : public v1::Cluster::Service {
 public:
  grpc::Status Members(grpc::ServerContext*, const v1::MembersRequest*,
                       v1::MembersResponse*) override {
    return grpc::Status::OK;
  }
  grpc::Status Watch(grpc::ServerContext* context, const v1::WatchRequest*,
                     grpc::ServerWriter<v1::MembersResponse>* writer) override {
    uint64_t sent = 0;
    while (!context->IsCancelled()) {
      absl::MutexLock lock(&mutex_);
      struct Wait {
        const uint64_t* ticks;
        uint64_t sent;
      } wait{&ticks_, sent};
      mutex_.AwaitWithTimeout(absl::Condition(
                                  +[](Wait* w) { return *w->ticks > w->sent; }, &wait),
                              absl::Milliseconds(100));
      for (; sent < ticks_; ++sent) writer->Write({});
    }
    return grpc::Status::OK;
  }
  void Tick() {
    absl::MutexLock lock(&mutex_);
    ++ticks_;
  }

 private:
  absl::Mutex mutex_;
  uint64_t ticks_ ABSL_GUARDED_BY(mutex_) = 0;
};

class Server {
 public:
  explicit Server(std::shared_ptr<grpc::ServerCredentials> credentials) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", credentials, &port_);
    builder.RegisterService(&greeter_);
    server_ = builder.BuildAndStart();
  }
  ~Server() { server_->Shutdown(std::chrono::system_clock::now()); }
  std::string address() const { return absl::StrCat("127.0.0.1:", port_); }
  Greeter* greeter() { return &greeter_; }

 private:
  Greeter greeter_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

std::unique_ptr<v1::Cluster::Stub> Connect(const Server& server,
                                           std::shared_ptr<grpc::ChannelCredentials> credentials) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return v1::Cluster::NewStub(
      grpc::CreateCustomChannel(server.address(), std::move(credentials), arguments));
}

// Over a new connection.
grpc::Status Call(const Server& server, std::shared_ptr<grpc::ChannelCredentials> credentials) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
  v1::MembersResponse response;
  return Connect(server, std::move(credentials))->Members(&context, {}, &response);
}

// As a stranger with another TLS library's manners: it checks that the server is "a".
grpc::Status CallAs(const Server& server, const grpc::SslCredentialsOptions& options) {
  grpc::ChannelArguments arguments;
  arguments.SetSslTargetNameOverride("a");
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
  v1::MembersResponse response;
  return v1::Cluster::NewStub(
             grpc::CreateCustomChannel(server.address(), grpc::SslCredentials(options), arguments))
      ->Members(&context, {}, &response);
}

bool Eventually(const std::function<bool()>& condition) {
  const absl::Time deadline = absl::Now() + kPatience;
  while (!condition()) {
    if (absl::Now() > deadline) return false;
    absl::SleepFor(absl::Milliseconds(20));
  }
  return true;
}

// Whether at least one more refusal of the kind is counted once `action` was done.
bool Counts(TlsRefusal refusal, const std::function<void()>& action) {
  const uint64_t before = PeerTls::refusals(refusal);
  action();
  return Eventually([&] { return PeerTls::refusals(refusal) > before; });
}

TEST(PeerTlsTest, NodesOfOneAuthorityTalkToEachOther) {
  const Issued ca = Authority();
  const auto a = MustLoad(WriteFiles(Prefix("a"), ca.certificate, CertificateOf(ca, "a")));
  const auto b = MustLoad(WriteFiles(Prefix("b"), ca.certificate, CertificateOf(ca, "b")));
  Server server(a->server_credentials());
  const grpc::Status status = Call(server, b->channel_credentials());
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_NEAR(absl::ToDoubleHours(a->expires() - absl::Now()), 2, 0.1);
}

// `certificate` with another issuer and basic constraints, signed by the issuer.
std::string SignedBy(const Issued& issuer, const std::string& certificate,
                     const char* constraints) {
  const auto issuers = ParseCertificates(issuer.certificate);
  const auto subjects = ParseCertificates(certificate);
  const auto key = ParsePrivateKey(issuer.key);
  X509* const made = subjects->front().get();
  X509_set_issuer_name(made, X509_get_subject_name(issuers->front().get()));
  X509_EXTENSION_free(X509_delete_ext(made, X509_get_ext_by_NID(made, NID_basic_constraints, -1)));
  X509_EXTENSION* extension =
      X509V3_EXT_conf_nid(nullptr, nullptr, NID_basic_constraints, constraints);
  EXPECT_EQ(X509_add_ext(made, extension, -1), 1);
  X509_EXTENSION_free(extension);
  EXPECT_GT(X509_sign(made, key->get(), EVP_sha256()), 0);
  BIO* const text = BIO_new(BIO_s_mem());
  EXPECT_EQ(PEM_write_bio_X509(text, made), 1);
  char* data = nullptr;
  const long size = BIO_get_mem_data(text, &data);
  std::string pem(data, static_cast<size_t>(size));
  BIO_free(text);
  return pem;
}

TEST(PeerTlsTest, WhatLeadsToTheAuthorityComesWithTheCertificate) {
  SilenceLibraryLogs();
  Issued root = Authority("root"), between = Authority("between");
  root.certificate = SignedBy(root, root.certificate, "critical,CA:TRUE");
  between.certificate = SignedBy(root, between.certificate, "critical,CA:TRUE,pathlen:0");
  const auto whole = [&](const std::string& name) {
    Issued issued = CertificateOf(between, name);
    issued.certificate += between.certificate;
    return issued;
  };
  const auto a = MustLoad(WriteFiles(Prefix("a"), root.certificate, whole("a")));
  const auto b = MustLoad(WriteFiles(Prefix("b"), root.certificate, whole("b")));
  Server server(a->server_credentials());
  const grpc::Status status = Call(server, b->channel_credentials());
  EXPECT_TRUE(status.ok()) << status.error_message();
  // Without what lies between, the node itself would not start, and a peer is refused.
  const Issued bare = CertificateOf(between, "c");
  EXPECT_FALSE(PeerTls::Check(WriteFiles(Prefix("c"), root.certificate, bare)).ok());
  EXPECT_TRUE(Counts(TlsRefusal::kOtherAuthority, [&] {
    EXPECT_FALSE(CallAs(server, {root.certificate, bare.key, bare.certificate}).ok());
  }));
  // A node's certificate makes no authority.
  const Issued node = whole("e"), forged = CertificateOf(node, "d");
  EXPECT_TRUE(Counts(TlsRefusal::kOther, [&] {
    EXPECT_FALSE(
        CallAs(server, {root.certificate, forged.key, forged.certificate + node.certificate}).ok());
  }));
}

TEST(PeerTlsTest, StrangersAreRefusedAndCountedByReason) {
  SilenceLibraryLogs();
  const Issued ca = Authority(), other = Authority("other-ca");
  const auto a = MustLoad(WriteFiles(Prefix("a"), ca.certificate, CertificateOf(ca, "a")));
  const auto foreign =
      MustLoad(WriteFiles(Prefix("f"), other.certificate, CertificateOf(other, "b")));
  Server server(a->server_credentials());
  EXPECT_TRUE(Counts(TlsRefusal::kPlaintext,
                     [&] { EXPECT_FALSE(Call(server, grpc::InsecureChannelCredentials()).ok()); }));
  // The client is the first to see a stranger's certificate.
  EXPECT_TRUE(Counts(TlsRefusal::kOtherAuthority,
                     [&] { EXPECT_FALSE(Call(server, foreign->channel_credentials()).ok()); }));
  // A client that trusts the server, but whose own certificate comes from elsewhere or is missing:
  // the server refuses.
  const Issued stranger = CertificateOf(other, "b");
  EXPECT_TRUE(Counts(TlsRefusal::kOtherAuthority, [&] {
    EXPECT_FALSE(CallAs(server, {ca.certificate, stranger.key, stranger.certificate}).ok());
  }));
  EXPECT_TRUE(Counts(TlsRefusal::kNoCertificate, [&] {
    EXPECT_FALSE(CallAs(server, {ca.certificate, "", ""}).ok());
  }));
  // A server without TLS.
  Server plain(grpc::InsecureServerCredentials());
  EXPECT_TRUE(Counts(TlsRefusal::kPlaintext,
                     [&] { EXPECT_FALSE(Call(plain, a->channel_credentials()).ok()); }));
}

TEST(PeerTlsTest, ACertificateThatHasEndedIsRefusedByThePeer) {
  SilenceLibraryLogs();
  const Issued ca = Authority(), ended = CertificateOf(ca, "b", Past());
  const auto a = MustLoad(WriteFiles(Prefix("a"), ca.certificate, CertificateOf(ca, "a")));
  Server server(a->server_credentials());
  EXPECT_TRUE(Counts(TlsRefusal::kExpired, [&] {
    EXPECT_FALSE(CallAs(server, {ca.certificate, ended.key, ended.certificate}).ok());
  }));
}

TEST(PeerTlsTest, WithANameOnlyItsBearersAreLetIn) {
  SilenceLibraryLogs();
  const Issued ca = Authority();
  TlsFiles strict = WriteFiles(Prefix("s"), ca.certificate, CertificateOf(ca, "roost-peer"));
  strict.peer_san = "roost-peer";
  const auto a = MustLoad(strict);
  const auto b = MustLoad(WriteFiles(Prefix("b"), ca.certificate, CertificateOf(ca, "billing")));
  Server of_a(a->server_credentials()), of_b(b->server_credentials());
  EXPECT_TRUE(Call(of_a, a->channel_credentials()).ok());
  EXPECT_TRUE(Counts(TlsRefusal::kWrongName,
                     [&] { EXPECT_FALSE(Call(of_a, b->channel_credentials()).ok()); }));
  EXPECT_TRUE(Counts(TlsRefusal::kWrongName,
                     [&] { EXPECT_FALSE(Call(of_b, a->channel_credentials()).ok()); }));
}

TEST(PeerTlsTest, FilesAreSwappedWithoutEndingStreams) {
  SilenceLibraryLogs();
  const Issued old_ca = Authority("old-ca"), new_ca = Authority("new-ca");
  const std::string a_prefix = Prefix("a"), b_prefix = Prefix("b");
  const auto a = MustLoad(WriteFiles(a_prefix, old_ca.certificate, CertificateOf(old_ca, "a")));
  const auto b = MustLoad(WriteFiles(b_prefix, old_ca.certificate, CertificateOf(old_ca, "b")));
  const auto c = MustLoad(WriteFiles(Prefix("c"), new_ca.certificate, CertificateOf(new_ca, "c")));
  std::atomic<int> reloads{0};
  PeerTls::Events events;
  events.on_reload = [&](const absl::Status& status) { reloads += status.ok(); };
  a->Watch(events);
  b->Watch(events);
  Server server(a->server_credentials());
  const auto stub = Connect(server, b->channel_credentials());
  grpc::ClientContext context;
  const auto stream = stub->Watch(&context, {});
  v1::MembersResponse response;
  server.greeter()->Tick();
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_FALSE(Call(server, c->channel_credentials()).ok());

  // The usual change of authority: trust both, then new certificates, then drop the old one.
  const std::string both = old_ca.certificate + new_ca.certificate;
  WriteFile(FilesAt(a_prefix).ca_file, both);
  WriteFile(FilesAt(b_prefix).ca_file, both);
  ASSERT_TRUE(Eventually([&] { return reloads >= 2; }));
  WriteFiles(a_prefix, both, CertificateOf(new_ca, "a"));
  WriteFiles(b_prefix, both, CertificateOf(new_ca, "b"));
  EXPECT_TRUE(Eventually([&] { return Call(server, c->channel_credentials()).ok(); }));
  WriteFile(FilesAt(a_prefix).ca_file, new_ca.certificate);
  WriteFile(FilesAt(b_prefix).ca_file, new_ca.certificate);
  // One that kept to the old authority is out now...
  const auto late = MustLoad(WriteFiles(Prefix("l"), both, CertificateOf(old_ca, "late")));
  EXPECT_TRUE(Eventually([&] { return !Call(server, late->channel_credentials()).ok(); }));
  EXPECT_TRUE(Eventually([&] { return Call(server, b->channel_credentials()).ok(); }));
  // ...and the stream of before is still there.
  server.greeter()->Tick();
  EXPECT_TRUE(stream->Read(&response));
  context.TryCancel();
}

TEST(PeerTlsTest, ABadChangeIsToldOnceAndChangesNothing) {
  const Issued ca = Authority();
  const std::string prefix = Prefix("a");
  const auto a = MustLoad(WriteFiles(prefix, ca.certificate, CertificateOf(ca, "a")));
  absl::Mutex mutex;
  std::vector<absl::Status> told;
  PeerTls::Events events;
  events.on_reload = [&](absl::Status status) {
    absl::MutexLock lock(&mutex);
    told.push_back(std::move(status));
  };
  a->Watch(std::move(events));
  const auto count = [&] {
    absl::MutexLock lock(&mutex);
    return told.size();
  };
  Server server(a->server_credentials());
  WriteFile(FilesAt(prefix).cert_file, "-----BEGIN CERTIFICATE-----\nAAAA\n");
  ASSERT_TRUE(Eventually([&] { return count() == 1; }));
  EXPECT_TRUE(Call(server, a->channel_credentials()).ok());
  const Issued next = CertificateOf(ca, "a");
  WriteFiles(prefix, ca.certificate, next);
  ASSERT_TRUE(Eventually([&] { return count() >= 2; }));
  a->Stop();
  EXPECT_THAT(std::string(told[0].message()), HasSubstr("security.tls_cert_file"));
  EXPECT_TRUE(told.back().ok()) << told.back();
  EXPECT_TRUE(Call(server, a->channel_credentials()).ok());
}

class PeerTlsFilesTest : public ::testing::Test {
 protected:
  PeerTlsFilesTest()
      : ca_(Authority()),
        own_(CertificateOf(ca_, "a")),
        prefix_(Prefix("x")),
        files_(WriteFiles(prefix_, ca_.certificate, own_)) {}

  std::string Error() const { return std::string(PeerTls::Check(files_).message()); }

  const Issued ca_, own_;
  const std::string prefix_;
  TlsFiles files_;
};

TEST_F(PeerTlsFilesTest, GoodOnesAreGood) {
  EXPECT_EQ(Error(), "");
  files_.peer_san = "a";
  EXPECT_EQ(Error(), "");
  // An old authority that has ended may stay beside the new one.
  WriteFile(files_.ca_file, MakeAuthority("old", Past())->certificate + ca_.certificate);
  EXPECT_EQ(Error(), "");
}

TEST_F(PeerTlsFilesTest, TheErrorNamesFieldFileAndReason) {
  const auto says = [&](const char* field, const std::string& file, const char* why) {
    EXPECT_THAT(Error(), AllOf(HasSubstr(field), HasSubstr(file), HasSubstr(why)));
    WriteFiles(prefix_, ca_.certificate, own_);
  };
  constexpr char kCa[] = "security.tls_ca_file", kCert[] = "security.tls_cert_file",
                 kKey[] = "security.tls_key_file";
  unlink(files_.ca_file.c_str());
  says(kCa, files_.ca_file, "No such file");
  unlink(files_.cert_file.c_str());
  says(kCert, files_.cert_file, "No such file");
  unlink(files_.key_file.c_str());
  says(kKey, files_.key_file, "No such file");
  WriteFile(files_.ca_file, "");
  says(kCa, files_.ca_file, "holds no certificate");
  WriteFile(files_.ca_file, own_.certificate);
  says(kCa, files_.ca_file, "no authority's");
  WriteFile(files_.ca_file, Authority("other").certificate);
  says(kCert, files_.cert_file, "from an authority in security.tls_ca_file");
  WriteFile(files_.ca_file, MakeAuthority("old", Past())->certificate);
  says(kCa, files_.ca_file, "expired at ");
  WriteFile(files_.cert_file, std::string(300 << 10, 'x'));
  says(kCert, files_.cert_file, "bytes");
  WriteFile(files_.cert_file, own_.certificate.substr(0, own_.certificate.size() / 2));
  says(kCert, files_.cert_file, "damaged");
  WriteFile(files_.key_file, own_.certificate);
  says(kKey, files_.key_file, "no private key");
  WriteFile(files_.key_file, CertificateOf(ca_, "b").key);
  says(kKey, files_.key_file, "not the key of the certificate");
  WriteFile(files_.key_file, own_.key, 0640);
  says(kKey, files_.key_file, "chmod 600");
  WriteFile(files_.key_file, own_.key, 0604);
  says(kKey, files_.key_file, "chmod 600");
  WriteFiles(prefix_, ca_.certificate, CertificateOf(ca_, "a", Past()));
  says(kCert, files_.cert_file, "expired at ");
  WriteFiles(prefix_, ca_.certificate, CertificateOf(ca_, "a", Future()));
  says(kCert, files_.cert_file, "clock");
  files_.peer_san = "someone-else";
  says(kCert, files_.cert_file, "security.tls_peer_san");
}

TEST_F(PeerTlsFilesTest, NoErrorShowsTheKey) {
  const std::string secret = own_.key.substr(own_.key.find('\n') + 1, 20);
  WriteFile(files_.key_file, own_.key.substr(0, own_.key.size() / 2));
  EXPECT_THAT(Error(), AllOf(HasSubstr("security.tls_key_file"), Not(HasSubstr(secret))));
}

TEST(PeerTlsTest, NamesForCertificatesAreChecked) {
  const Issued ca = Authority();
  for (const std::string& bad : {std::string(), std::string("a,DNS:b"), std::string(65, 'a')}) {
    EXPECT_EQ(IssueCertificate(ca, bad, roost::testing::Now()).status().code(),
              absl::StatusCode::kInvalidArgument)
        << bad;
  }
  const Issued mixed{ca.certificate, Authority("other").key};
  EXPECT_FALSE(IssueCertificate(mixed, "a", roost::testing::Now()).ok());
}

}  // namespace
}  // namespace roost::sidecar

// TLS between the peers of real processes: certificates made with roostctl, changed while the
// cluster runs; strangers kept out.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"
#include "proto/cluster.grpc.pb.h"
#include "tests/cluster/cluster_fixture.h"
#include "tests/cluster/http_client.h"
#include "tests/sidecar/tls_files.h"

namespace roost::testing {
namespace {

using std::chrono::seconds;
using ::testing::AllOf;
using ::testing::HasSubstr;

std::string Folder(const std::string& name) {
  return absl::StrCat(std::getenv("TEST_TMPDIR"), "/", name);
}

void Certs(const std::string& action, const std::string& dir) {
  const Finished made =
      RunProgram("sidecar/roostctl", {"certs", action, dir, "--nodes", "n0,n1,n2"});
  ASSERT_EQ(made.exit_code, 0) << made.output;
}

std::string Read(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

std::string Security(const std::string& folder) {
  return absl::StrCat("security:\n  tls_ca_file: ", folder, "/ca.pem\n  tls_cert_file: ", folder,
                      "/cert.pem\n  tls_key_file: ", folder, "/key.pem\n");
}

double Refused(const Node& node, const std::string& reason) {
  return node.Metric("roost_tls_refused_total{reason=\"" + reason + "\"}");
}

// Whether a session made now reaches its copy on another node.
bool Replicates(Cluster* cluster, const std::string& id) {
  roost::v1::PutRequest request;
  request.set_id(id);
  (*request.mutable_set())["a"] = "1";
  request.set_create(true);
  roost::v1::PutResponse response;
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + seconds(5));
  return cluster->node(0).sessions()->Put(&context, request, &response).ok() &&
         response.receipt().copies() >= 2;
}

class TlsTest : public ::testing::Test {
 protected:
  TlsTest() : dir_(Folder(::testing::UnitTest::GetInstance()->current_test_info()->name())) {
    Certs("new", dir_);
    for (int i = 0; i < 3; ++i) {
      cluster_.node(i).mutable_config()->extra = Security(absl::StrCat(dir_, "/n", i));
    }
  }

  Cluster cluster_{3};
  const std::string dir_;
};

TEST_F(TlsTest, AuthorityAndCertificatesChangeWhileStreamsGoOn) {
  cluster_.StartAll();
  EXPECT_TRUE(Eventually(seconds(15), [&] { return Replicates(&cluster_, "before"); }));
  const double expires = cluster_.node(0).Metric("roost_tls_certificate_expires_seconds");
  EXPECT_GT(expires, 0);
  const std::string next = dir_ + ".next";
  Certs("new", next);
  const std::string old_ca = Read(dir_ + "/ca.pem"), new_ca = Read(next + "/ca.pem");
  const auto reloads = [&](int i) {
    return static_cast<int>(
        std::vector<std::string>(absl::StrSplit(cluster_.node(i).Log(), "TLS files changed"))
            .size() -
        1);
  };
  const auto change = [&](const std::function<void(const std::string& folder, int i)>& write) {
    for (int i = 0; i < 3; ++i) {
      const int before = reloads(i);
      write(absl::StrCat(dir_, "/n", i), i);
      ASSERT_TRUE(Eventually(seconds(20), [&] { return reloads(i) > before; })) << i;
    }
  };
  change([&](const std::string& folder, int) { WriteFile(folder + "/ca.pem", old_ca + new_ca); });
  change([&](const std::string& folder, int i) {
    WriteFile(folder + "/key.pem", Read(absl::StrCat(next, "/n", i, "/key.pem")));
    WriteFile(folder + "/cert.pem", Read(absl::StrCat(next, "/n", i, "/cert.pem")));
  });
  change([&](const std::string& folder, int) { WriteFile(folder + "/ca.pem", new_ca); });
  EXPECT_TRUE(Replicates(&cluster_, "between"));
  EXPECT_EQ(cluster_.node(0).AliveMembers(), 3);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(Refused(cluster_.node(i), "other_authority"), 0) << i;
    EXPECT_EQ(Refused(cluster_.node(i), "expired"), 0) << i;
  }
  // New connections use the new files: a restarted node is let in.
  cluster_.node(2).Kill();
  cluster_.node(2).Start();
  EXPECT_TRUE(cluster_.WaitUntilWhole());
  EXPECT_TRUE(Eventually(seconds(15), [&] { return Replicates(&cluster_, "after"); }));
}

// They are too long for a datagram; the calls that carry them are made where both keys and TLS are on.
TEST_F(TlsTest, LongAttributesSpreadWhereGossipIsSealedToo) {
  const Finished key = RunProgram("sidecar/roostctl", {"keys", "generate"});
  ASSERT_EQ(key.exit_code, 0) << key.output;
  for (int i = 0; i < 3; ++i) {
    const std::string folder = absl::StrCat(dir_, "/n", i), file = folder + "/gossip.keys";
    WriteFile(file, key.output);
    ASSERT_EQ(chmod(file.c_str(), 0600), 0);
    cluster_.node(i).mutable_config()->extra =
        absl::StrCat(Security(folder), "  keys_file: ", file, "\n");
  }
  cluster_.StartAll();
  const auto stub = [&](int i) {
    return roost::v1::Cluster::NewStub(
        grpc::CreateChannel(absl::StrCat("127.0.0.1:", cluster_.node(i).api_port()),
                            grpc::InsecureChannelCredentials()));
  };
  const std::string value(180, 'v');
  roost::v1::SetAttributesRequest request;
  for (const char* name : {"a", "b", "c"}) (*request.mutable_set())[name] = value;
  roost::v1::SetAttributesResponse response;
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + seconds(5));
  const grpc::Status set = stub(0)->SetAttributes(&context, request, &response);
  ASSERT_TRUE(set.ok()) << set.error_message();
  for (int i = 1; i < 3; ++i) {
    EXPECT_TRUE(Eventually(seconds(30), [&] {
      roost::v1::MembersResponse members;
      grpc::ClientContext call;
      call.set_deadline(std::chrono::system_clock::now() + seconds(5));
      if (!stub(i)->Members(&call, {}, &members).ok()) return false;
      return std::any_of(members.members().begin(), members.members().end(), [&](const auto& m) {
        const auto found = m.attributes().find("c");
        return m.name() == "n0" && found != m.attributes().end() && found->second == value;
      });
    })) << i;
  }
}

TEST_F(TlsTest, PeersWithoutTlsOrFromElsewhereShareNothing) {
  Certs("new", dir_ + ".other");
  cluster_.node(1).mutable_config()->extra = Security(dir_ + ".other/n1");
  cluster_.node(2).mutable_config()->extra = "";
  for (int i = 0; i < 3; ++i) cluster_.node(i).Start();
  // Gossip knows nothing of it, so that all see each other; no stream comes up.
  EXPECT_TRUE(Eventually(seconds(30), [&] {
    return Refused(cluster_.node(0), "plaintext") > 0 &&
           Refused(cluster_.node(0), "other_authority") > 0 &&
           Refused(cluster_.node(1), "other_authority") > 0;
  }));
  // One line a minute and reason, however many there were.
  EXPECT_TRUE(Eventually(seconds(30), [&] {
    return Refused(cluster_.node(0), "plaintext") > 5 &&
           cluster_.node(0).Log().find("\"reason\":\"plaintext\"") != std::string::npos;
  }));
  const std::string log = cluster_.node(0).Log(), line = "\"reason\":\"plaintext\"";
  const size_t at = log.find(line);
  ASSERT_NE(at, std::string::npos) << log;
  EXPECT_EQ(log.find(line, at + 1), std::string::npos);
  EXPECT_FALSE(Replicates(&cluster_, "nobody-else"));
}

TEST_F(TlsTest, FilesThatCanNotBeUsedAreRefusedAtCheckAndAtStart) {
  const std::string key = dir_ + "/n0/key.pem";
  ASSERT_EQ(chmod(key.c_str(), 0644), 0);
  cluster_.node(0).Start();
  EXPECT_EQ(cluster_.node(0).WaitForExit(seconds(10)), 1);
  EXPECT_THAT(cluster_.node(0).Log(),
              AllOf(HasSubstr("security.tls_key_file"), HasSubstr(key), HasSubstr("chmod 600")));
  const Finished check = RunProgram("sidecar/roostd", {"--check", cluster_.node(0).config_file()});
  EXPECT_EQ(check.exit_code, 2);
  EXPECT_THAT(check.output, AllOf(HasSubstr("security.tls_key_file"), HasSubstr("chmod 600")));
  ASSERT_EQ(chmod(key.c_str(), 0600), 0);
  EXPECT_EQ(RunProgram("sidecar/roostd", {"--check", cluster_.node(0).config_file()}).exit_code, 0);
}

// protobuf writes a line to standard error about every text that is no UTF-8: whoever can send a
// datagram could fill the disk.
TEST(LogTest, DatagramsOfGarbageWriteNoLines) {
  Cluster cluster(1);
  cluster.StartAll();
  const size_t before = cluster.node(0).Log().size();
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  to.sin_port = htons(cluster.node(0).config().gossip_port);
  const std::string datagram("RG\1\x0a\x02\xff\xfe", 7);  // A cluster's name of two bad bytes.
  for (int i = 0; i < 50; ++i) {
    sendto(fd, datagram.data(), datagram.size(), 0, reinterpret_cast<sockaddr*>(&to), sizeof(to));
  }
  close(fd);
  ASSERT_TRUE(Eventually(seconds(10), [&] {
    return cluster.node(0).Metric("roost_gossip_dropped_total{reason=\"malformed\"}") >= 10;
  }));
  const std::string log = cluster.node(0).Log().substr(before);
  for (const absl::string_view line : absl::StrSplit(log, '\n', absl::SkipEmpty())) {
    EXPECT_EQ(line[0], '{') << line;
  }
}

}  // namespace
}  // namespace roost::testing

// Encryption at rest on real processes: what the disk shows, keys that change, keys that are wrong.
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "grpcpp/client_context.h"
#include "gtest/gtest.h"
#include "tests/cluster/cluster_fixture.h"

namespace roost::testing {
namespace {

using std::chrono::seconds;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kValue[] = "a-value-to-look-for";
constexpr char kPrincipal[] = "somebody@example.org";

std::string MakeKey() {
  const Finished made = RunProgram("sidecar/roostctl", {"keys", "generate"});
  EXPECT_EQ(made.exit_code, 0) << made.output;
  return made.output;
}

std::string WriteKeys(const std::string& keys, mode_t mode = 0600) {
  const std::string path = absl::StrCat(std::getenv("TEST_TMPDIR"), "/records.keys");
  std::ofstream(path) << keys;
  EXPECT_EQ(chmod(path.c_str(), mode), 0);
  return path;
}

void Put(Node& node, const std::string& id) {
  roost::v1::PutRequest request;
  request.set_id(id);
  request.set_create(true);
  request.set_principal(kPrincipal);
  (*request.mutable_set())["cart"] = kValue;
  roost::v1::PutResponse response;
  // Again: the stub may hold a connection to the process before.
  EXPECT_TRUE(Eventually(seconds(20), [&] {
    grpc::ClientContext context;
    return node.sessions()->Put(&context, request, &response).ok();
  }));
}

std::string Read(Node& node, const std::string& id) {
  roost::v1::GetRequest request;
  request.set_id(id);
  roost::v1::GetResponse response;
  EXPECT_TRUE(Eventually(seconds(20), [&] {
    grpc::ClientContext context;
    return node.sessions()->Get(&context, request, &response).ok();
  }));
  const auto& attributes = response.session().attributes();
  const auto found = attributes.find("cart");
  return found == attributes.end() ? "" : found->second.value();
}

bool DiskShows(const Node& node, const std::string& text) {
  for (const auto& entry : std::filesystem::recursive_directory_iterator(node.config().data_dir)) {
    if (!entry.is_regular_file()) continue;
    std::ifstream file(entry.path(), std::ios::binary);
    if (absl::StrContains(std::string(std::istreambuf_iterator<char>(file), {}), text)) return true;
  }
  return false;
}

void Start(Node& node) {
  node.Start();
  ASSERT_TRUE(Eventually(seconds(30), [&] { return node.Ready(); })) << node.Log();
}

// The last line of the log with `text`.
std::string LastLine(const Node& node, const std::string& text) {
  const std::string log = node.Log();
  const size_t found = log.rfind(text);
  if (found == std::string::npos) return "";
  const size_t begin = log.rfind('\n', found) + 1;
  return log.substr(begin, log.find('\n', found) - begin);
}

TEST(EncryptionTest, TheDiskShowsNothingAndKeysChangeFromStartToStart) {
  const std::string first = MakeKey(), second = MakeKey();
  Cluster cluster(1, "store: {copies: 0, ack: local}\n");
  Node& node = cluster.node(0);
  Start(node);
  Put(node, "plain");
  EXPECT_TRUE(DiskShows(node, kValue)) << "the control";
  EXPECT_TRUE(DiskShows(node, kPrincipal)) << "the control";
  node.Kill();
  // Keys for a directory without are refused; a new one takes them.
  node.mutable_config()->extra = absl::StrCat(
      "store: {copies: 0, ack: local, encryption_keys_file: ", WriteKeys(first), "}\n");
  node.Start();
  EXPECT_EQ(node.WaitForExit(seconds(20)), 1);
  EXPECT_THAT(node.Log(), HasSubstr("move the directory away"));
  std::filesystem::rename(node.config().data_dir, node.config().data_dir + ".away");
  Start(node);
  Put(node, "one");
  EXPECT_FALSE(DiskShows(node, kValue));
  EXPECT_FALSE(DiskShows(node, kPrincipal));
  // A new first key: what is there is encrypted anew, then the old one can go.
  for (const auto& [keys, anew] : {std::pair(second + first, 1), std::pair(second, 0)}) {
    node.Kill();
    WriteKeys(keys);
    Start(node);
    EXPECT_EQ(Read(node, "one"), kValue);
    EXPECT_THAT(LastLine(node, "records are encrypted"),
                HasSubstr(absl::StrCat("\"anew\":", anew)));
  }
  EXPECT_FALSE(DiskShows(node, kValue));
  EXPECT_FALSE(DiskShows(node, kPrincipal));
  EXPECT_EQ(node.Metric("roost_store_corrupt_records_total"), 0);
  for (const std::string& key : {first, second}) {
    EXPECT_THAT(node.Log(), Not(HasSubstr(key.substr(0, 10))));
  }
}

TEST(EncryptionTest, WithoutItsKeysANodeSaysWhatIsWrongAndLosesNothing) {
  const std::string key = MakeKey();
  Cluster cluster(1);
  Node& node = cluster.node(0);
  const std::string plain = "store: {copies: 0, ack: local}\n";
  const std::string encrypted =
      absl::StrCat("store: {copies: 0, ack: local, encryption_keys_file: ", WriteKeys(key), "}\n");
  node.mutable_config()->extra = encrypted;
  Start(node);
  Put(node, "one");
  node.Kill();
  const auto refusal = [&] {
    node.Start();
    EXPECT_EQ(node.WaitForExit(seconds(20)), 1);
    return LastLine(node, "store.encryption_keys_file");
  };
  WriteKeys(MakeKey());
  EXPECT_THAT(refusal(), HasSubstr("lacks the key"));
  WriteKeys(key, 0644);
  EXPECT_THAT(refusal(), HasSubstr("chmod 600"));
  WriteKeys("no key\n");
  EXPECT_THAT(refusal(), HasSubstr("line 1"));
  node.mutable_config()->extra = plain;
  EXPECT_THAT(refusal(), HasSubstr("is encrypted"));
  node.mutable_config()->extra = encrypted;
  WriteKeys(key);
  Start(node);
  EXPECT_EQ(Read(node, "one"), kValue);
}

}  // namespace
}  // namespace roost::testing

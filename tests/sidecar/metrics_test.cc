#include "sidecar/metrics.h"

#include <cstdlib>
#include <map>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/sidecar/tls_files.h"

namespace roost::sidecar {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class MetricsTest : public ::testing::Test {
 protected:
  MetricsTest() {
    loops_[0].requests.Add(3);
    loops_[1].requests.Add(4);
    loops_[0].grace_held.Add(5);
    loops_[1].grace_now.Add(2);
    store_.takeovers = 6;
    membership_.deaths = 7;
    broadcasts_.incomplete = 12;
  }

  std::string Render() {
    std::vector<membership::Member> members(2 + rtts_us_.size());
    for (size_t i = 0; i < rtts_us_.size(); ++i) {
      members[2 + i].id = membership::NodeId{3 + i};
      members[2 + i].rtt = std::chrono::microseconds(rtts_us_[i]);
    }
    members[0].id = membership::NodeId{1};
    members[1].id = membership::NodeId{2};
    members[1].state = membership::MemberState::kDead;
    return RenderMetrics(
        {.node = "a\"b\\",
         .cluster = "shop",
         .ready = true,
         .membership = &membership_,
         .broadcasts = &broadcasts_,
         .store = &store_,
         .proxy = {&loops_[0], &loops_[1]},
         .certificates = {.certificates = 3,
                          .rejected = 2,
                          .earliest_expiry_unix_s = 1'800'000'000},
         .stats = {.owned = 8, .copied = 9, .tombstones = 10, .under_replicated = 11},
         .fenced_places = fenced_places_,
         .view = std::make_shared<membership::View>(12, membership::NodeId{1}, members),
         .process = ReadProcessUsage(),
         .tls = tls_});
  }

  std::vector<int> rtts_us_;
  membership::Counters membership_;
  membership::BroadcastCounters broadcasts_;
  store::Counters store_;
  proxy::Counters loops_[2];
  const PeerTls* tls_ = nullptr;
  int fenced_places_ = 0;
};

TEST_F(MetricsTest, CountersOfAllLoopsAreAddedUp) {
  const std::string text = Render();
  for (const char* line :
       {"roost_proxy_requests_total 7\n", "roost_grace_requests_total{outcome=\"held\"} 5\n",
        "roost_grace_held_requests 2\n", "roost_store_takeovers_total 6\n",
        "roost_member_deaths_total 7\n", "roost_broadcasts_total{kind=\"incomplete\"} 12\n",
        "roost_sessions{role=\"owned\"} 8\n", "roost_sessions{role=\"copied\"} 9\n",
        "roost_sessions{role=\"tombstone\"} 10\n", "roost_proxy_tls_certificates 3\n",
        "roost_proxy_tls_certificates_rejected 2\n", "roost_members{state=\"alive\"} 1\n",
        "roost_members{state=\"dead\"} 1\n", "roost_proxy_routed_total{route=\"no_session\"} 0\n",
        "roost_ready 1\n"}) {
    EXPECT_THAT(text, HasSubstr(std::string("\n") + line));
  }
}

TEST_F(MetricsTest, FencedSessionsAreShownWhereThereAreSome) {
  EXPECT_THAT(Render(), Not(HasSubstr("roost_fenced_")));
  fenced_places_ = 3;  // One member lives, one is dead.
  EXPECT_THAT(Render(), HasSubstr("\nroost_fenced_failures_survived -1\n"));
}

TEST_F(MetricsTest, TlsIsShownWhereItIsOn) {
  EXPECT_THAT(Render(), Not(HasSubstr("roost_tls_")));
  const Issued ca = roost::testing::Authority();
  const auto tls = PeerTls::Load(
      roost::testing::WriteFiles(std::string(std::getenv("TEST_TMPDIR")) + "/metrics",
                                 ca.certificate, roost::testing::CertificateOf(ca, "a")));
  ASSERT_TRUE(tls.ok()) << tls.status();
  tls_ = tls->get();
  const std::string text = Render();
  EXPECT_THAT(text, HasSubstr("\nroost_tls_refused_total{reason=\"expired\"} 0\n"));
  EXPECT_THAT(text, HasSubstr("\nroost_tls_certificate_expires_seconds " +
                              std::to_string(absl::ToUnixSeconds((*tls)->expires())) + "\n"));
}

TEST_F(MetricsTest, RoundTripTimesAreQuantilesOverTheMembers) {
  EXPECT_THAT(Render(), Not(HasSubstr("roost_member_rtt_seconds")));
  rtts_us_ = {900, 100, 250};
  for (const char* line : {"roost_member_rtt_seconds{quantile=\"0\"} 0.000100\n",
                           "roost_member_rtt_seconds{quantile=\"0.5\"} 0.000250\n",
                           "roost_member_rtt_seconds{quantile=\"1\"} 0.000900\n"}) {
    EXPECT_THAT(Render(), HasSubstr(line));
  }
}

TEST_F(MetricsTest, LabelsAreEscaped) { EXPECT_THAT(Render(), HasSubstr(R"(node="a\"b\\")")); }

// The rules of the text format 0.0.4 and of Prometheus' naming advice.
TEST_F(MetricsTest, TheTextIsWellFormed) {
  const std::regex sample(
      R"(([a-z][a-z0-9_]*)(\{[a-z_]+="(?:[^"\\\n]|\\.)*"(?:,[a-z_]+="(?:[^"\\\n]|\\.)*")*\})? [0-9.]+)");
  std::map<std::string, std::string> types;
  std::set<std::string> helps, series;
  std::string family;
  const std::string text = Render();
  ASSERT_TRUE(absl::EndsWith(text, "\n"));
  std::vector<std::string> lines = absl::StrSplit(text, '\n');
  lines.pop_back();
  for (const std::string& line : lines) {
    const std::vector<std::string> words = absl::StrSplit(line, absl::MaxSplits(' ', 3));
    if (absl::StartsWith(line, "# HELP ")) {
      EXPECT_TRUE(helps.insert(words[2]).second) << line;
      EXPECT_GT(words.size(), 3u) << line;
    } else if (absl::StartsWith(line, "# TYPE ")) {
      family = words[2];
      EXPECT_TRUE(types.emplace(family, words[3]).second) << line;
      EXPECT_EQ(helps.count(family), 1u) << line;
      EXPECT_TRUE(absl::StartsWith(family, "roost_") || absl::StartsWith(family, "process_"));
      EXPECT_EQ(words[3] == "counter", absl::EndsWith(family, "_total")) << line;
      EXPECT_FALSE(absl::StrContains(family, "_ms")) << "base units: " << line;
    } else {
      std::smatch match;
      ASSERT_TRUE(std::regex_match(line, match, sample)) << line;
      EXPECT_EQ(match[1], family) << line;
      EXPECT_TRUE(series.insert(line.substr(0, line.rfind(' '))).second) << line;
    }
  }
  EXPECT_EQ(helps.size(), types.size());
}

TEST(ProcessUsageTest, ReadsThisProcess) {
  const ProcessUsage usage = ReadProcessUsage();
  EXPECT_GT(usage.resident_bytes, 1'000'000u);
  EXPECT_GE(usage.virtual_bytes, usage.resident_bytes);
  EXPECT_GE(usage.threads, 1u);
  EXPECT_GE(usage.open_fds, 3u);
  EXPECT_GT(usage.max_fds, usage.open_fds);
  EXPECT_GT(usage.start_time, 1e9);
}

}  // namespace
}  // namespace roost::sidecar

// Roost's reading of streams of requests and of responses beside Boost.Beast's and Node's: where
// they differ, disagreements.txt must say why, or the test fails. So does a line of it that nothing
// shows any more.
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gtest/gtest.h"
#include "tests/proxy/differential/reading.h"
#include "tests/proxy/differential/streams.h"

namespace roost::proxy {
namespace {

constexpr char kFolder[] = "tests/proxy/differential/";
constexpr int kDiced = 20'000;
// Node is asked byte by byte, through a socket.
constexpr int kDicedForNode = 6'000;

bool SameHead(const ReadMessage& a, const ReadMessage& b) {
  return a.method == b.method && a.target == b.target && a.fields == b.fields;
}

// "" if both read the same; else what kind of difference it is, without anything of the stream in
// it.
std::string Difference(const Reading& ours, const Reading& theirs) {
  const size_t common = std::min(ours.messages.size(), theirs.messages.size());
  for (size_t i = 0; i < common; ++i) {
    const ReadMessage& a = ours.messages[i];
    const ReadMessage& b = theirs.messages[i];
    // To whom the connection is a tunnel from here on, there is no body.
    const bool tunnel = theirs.end == End::kTunnel && i + 1 == theirs.messages.size();
    if (!SameHead(a, b)) return "reads differently | head";
    if (!tunnel && a.body != b.body) return "reads differently | body";
  }
  const bool same_count = ours.messages.size() == theirs.messages.size();
  if (same_count && ours.end == theirs.end) return "";
  // They read no further.
  if (theirs.end == End::kTunnel) return "stops | tunnel";
  if (theirs.end == End::kClosed && theirs.messages.size() == common) return "stops | closes";
  if (ours.end == End::kRefused && ours.messages.size() == common) {
    return absl::StrCat("does not refuse | ", ours.reason);
  }
  if (theirs.end == End::kRefused && theirs.messages.size() == common) {
    return absl::StrCat("refuses | ", theirs.reason);
  }
  if (ours.end == End::kClosed) return "reads differently | goes on";
  if (!same_count) return "reads differently | number of messages";
  return "reads differently | end";
}

struct Known {
  bool seen = false;
  bool varies = false;  // By the parser's version, so need not be seen.
};

// "PARSER | KIND | REASON | explanation"; the kind may end with "?": varies.
std::map<std::string, Known> ReadTable() {
  std::map<std::string, Known> table;
  std::ifstream file(absl::StrCat(kFolder, "disagreements.txt"));
  EXPECT_TRUE(file.good());
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || line[0] == '#') continue;
    std::vector<std::string> cells = absl::StrSplit(line, absl::MaxSplits(" | ", 3));
    if (cells.size() != 4 || absl::StripAsciiWhitespace(cells[3]).size() < 20) {
      ADD_FAILURE() << "not 'parser | kind | reason | explanation': " << line;
      continue;
    }
    Known known;
    if (cells[1].back() == '?') {
      known.varies = true;
      cells[1].pop_back();
    }
    EXPECT_TRUE(
        table.emplace(absl::StrCat(cells[0], " | ", cells[1], " | ", cells[2]), known).second)
        << "twice: " << line;
  }
  return table;
}

std::vector<Stream> AllStreams(StreamKind kind, int diced) {
  std::vector<Stream> streams = WrittenStreams(kind);
  for (Stream& stream : DicedStreams(kind, 1, diced)) streams.push_back(std::move(stream));
  return streams;
}

class DifferentialTest : public ::testing::Test {
 protected:
  // `parser` as in the table.
  template <typename Read>
  void Compare(const std::string& parser, StreamKind kind, int diced, const Read& read) {
    std::map<std::string, Known> table = ReadTable();
    std::set<std::string> unexplained;
    std::map<std::string, int> counts;
    const std::vector<Stream> streams = AllStreams(kind, diced);
    int same = 0;
    for (const Stream& stream : streams) {
      const std::string difference =
          Difference(ReadByRoost(kind, stream.bytes), read(kind, stream.bytes));
      if (difference.empty()) {
        ++same;
        continue;
      }
      const std::string key = absl::StrCat(parser, " | ", difference);
      ++counts[key];
      const auto known = table.find(key);
      if (known != table.end()) {
        known->second.seen = true;
      } else if (unexplained.insert(key).second) {
        ADD_FAILURE() << "not explained in disagreements.txt: " << key << "\n  first in \""
                      << stream.name << "\": " << absl::CHexEscape(stream.bytes);
      }
    }
    std::printf("%zu streams, %d read alike by Roost and %s\n", streams.size(), same,
                parser.c_str());
    for (const auto& [key, count] : counts) std::printf("  %6d  %s\n", count, key.c_str());
    for (const auto& [key, known] : table) {
      if (absl::StartsWith(key, parser + " |") && !known.varies) {
        EXPECT_TRUE(known.seen) << "in disagreements.txt, but nothing shows it any more: " << key;
      }
    }
    EXPECT_GT(same, static_cast<int>(streams.size()) / 4);
  }
};

TEST_F(DifferentialTest, EveryDisagreementWithBeastOnRequestsIsExplained) {
  Compare("beast", StreamKind::kRequests, kDiced, ReadByBeast);
}

TEST_F(DifferentialTest, EveryDisagreementWithBeastOnResponsesIsExplained) {
  Compare("beast response", StreamKind::kResponses, kDiced, ReadByBeast);
}

TEST_F(DifferentialTest, EveryDisagreementWithNodeIsExplained) {
  const auto node = NodeReader::Start(absl::StrCat(kFolder, "node_reader.js"));
  if (node == nullptr) GTEST_SKIP() << "no `node` here (Debian package nodejs)";
  std::printf("%s\n", node->version().c_str());
  const auto read = [&node](StreamKind kind, const std::string& stream) {
    return node->Read(kind, stream);
  };
  Compare("node", StreamKind::kRequests, kDicedForNode, read);
  Compare("node response", StreamKind::kResponses, kDicedForNode, read);
}

// Whatever a client or an application sent: what Roost passes on means the same to everybody.
TEST_F(DifferentialTest, WhatIsForwardedIsReadAlikeByAll) {
  const auto node = NodeReader::Start(absl::StrCat(kFolder, "node_reader.js"));
  int forwarded = 0;
  for (const StreamKind kind : {StreamKind::kRequests, StreamKind::kResponses}) {
    int left = kDicedForNode;
    for (const Stream& stream : AllStreams(kind, kDiced)) {
      const std::string bytes = ForwardedByRoost(kind, stream.bytes);
      const Reading ours = ReadByRoost(kind, bytes);
      const std::string where = absl::StrCat(stream.name, ": ", absl::CHexEscape(bytes));
      ASSERT_EQ(ours.end, End::kBoundary) << where;
      ASSERT_EQ(Difference(ours, ReadByBeast(kind, bytes)), "") << where;
      if (node != nullptr && left-- > 0) {
        // Of methods that it does not know it says so; an offered upgrade it takes up.
        const std::string difference = Difference(ours, node->Read(kind, bytes));
        ASSERT_TRUE(difference.empty() || difference == "refuses | HPE_INVALID_METHOD" ||
                    difference == "stops | tunnel")
            << difference << "\n"
            << where;
      }
      forwarded += !bytes.empty();
    }
  }
  std::printf(
      "%d streams forwarded in part or whole; node: %s\n", forwarded,
      node == nullptr ? "not here (Debian package nodejs), so not asked" : node->version().c_str());
  EXPECT_GT(forwarded, kDiced / 4);
}

// What all read alike must also be what was meant.
TEST_F(DifferentialTest, ASoundStreamIsReadAsWritten) {
  const Reading reading = ReadByRoost(
      StreamKind::kRequests,
      "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\nGET "
      "/b HTTP/1.1\r\nHost: b\r\n\r\n");
  ASSERT_EQ(reading.messages.size(), 2u);
  EXPECT_EQ(reading.messages[0].body, "hello");
  EXPECT_EQ(reading.messages[1].target, "/b");
  EXPECT_EQ(reading.end, End::kBoundary);
}

}  // namespace
}  // namespace roost::proxy

// Roost's verdict on the test cases of llhttp, beside llhttp's own. Where they differ, the class of
// the case stands here with the reason.
#include <cstdio>
#include <map>
#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/proxy/differential/llhttp_cases.h"
#include "tests/proxy/differential/reading.h"

namespace roost::proxy {
namespace {

// "requests or responses, what llhttp does, what Roost does": why.
const std::map<std::string, std::string>& Explained() {
  static const auto* const explained = new std::map<std::string, std::string>{
      {"requests, refuses \"Content-Length overflow\", reads 0 of 0",
       "The case ends before its head does; Roost judges whole heads."},
      {"requests, refuses \"Duplicate Content-Length\", reads 0 of 0", "The same."},
      {"requests, refuses \"Expected space after method\", reads 1 of 0",
       "A method that llhttp has not heard of: RFC 9110 section 9.1 leaves them open."},
      {"requests, refuses \"Invalid method for HTTP/x.x request\", reads 1 of 0", "The same."},
      {"requests, refuses \"Invalid character in chunk extensions\", reads 1 of 0",
       "\"2;\" and nothing behind it. Roost drops extensions, names and all; where the line ends "
       "is "
       "beyond doubt."},
      {"responses, refuses \"Invalid character in chunk extensions\", reads 1 of 0", "The same."},
      {"requests, takes, CONNECT is not offered", "Roost is no forward proxy."},
      {"requests, takes, the request line is malformed",
       "Other protocols (ICE, RTSP), and two empty lines behind a body where RFC 9112 section 2.2 "
       "has one."},
      {"requests, takes, the request target is malformed",
       "HTTP/0.9, or a fragment, which is no part of a target (RFC 9112 section 3.2)."},
      {"requests, takes, the target * is for OPTIONS only", "RFC 9112 section 3.2.4."},
      {"requests, takes, the target's authority is malformed",
       "User information in a target: RFC 9110 section 4.2.4 has it taken for an error."},
      {"responses, takes, 101 to a protocol that was not offered",
       "The cases' requests are not known; Roost knows what it sent."},
      {"responses, takes, the last Transfer-Encoding is not chunked",
       "Roost decodes no other coding, and would have to pass on what it can't frame."},
      {"responses, takes, the status line is malformed",
       "An empty line before a response, which RFC 9112 allows for requests alone; HTTP/0.9."},
  };
  return *explained;
}

std::string Difference(const LlhttpCase& item, const Reading& ours) {
  const bool refused = ours.end == End::kRefused;
  // What llhttp had to be told to tolerate, Roost need not.
  if (refused && (item.lenient || !item.refusal.empty())) return "";
  if (!refused && item.refusal.empty()) {
    if (ours.messages.size() == item.messages) return "";
    // The end of the case is the end of the connection to Roost, and may end a response.
    if (item.kind == StreamKind::kResponses && ours.end == End::kClosed &&
        ours.messages.size() == item.messages + 1) {
      return "";
    }
  }
  return absl::StrCat(
      item.kind == StreamKind::kRequests ? "requests, " : "responses, ",
      item.refusal.empty() ? "takes" : absl::StrCat("refuses ", item.refusal), ", ",
      refused ? ours.reason : absl::StrCat("reads ", ours.messages.size(), " of ", item.messages));
}

TEST(LlhttpTest, OnlyExplainedClassesDifferFromItsVerdicts) {
  std::map<std::string, int> counts;
  std::map<std::string, std::string> examples;
  int agreed = 0, refused = 0;
  const std::vector<LlhttpCase> cases = LlhttpCases();
  for (const LlhttpCase& item : cases) {
    const Reading ours = ReadByRoost(item.kind, item.stream);
    refused += ours.end == End::kRefused;
    const std::string key = Difference(item, ours);
    if (key.empty()) {
      ++agreed;
      continue;
    }
    ++counts[key];
    examples[key] += absl::StrCat("\n  ", item.name, ": ", absl::CHexEscape(item.stream));
  }
  std::printf("%d of %d cases as llhttp has them; %d refused\n", agreed,
              static_cast<int>(cases.size()), refused);
  for (const auto& [key, count] : counts) {
    std::printf("  %4d  %s\n", count, key.c_str());
    EXPECT_TRUE(Explained().contains(key)) << "not explained: " << key << examples[key];
  }
  for (const auto& [key, why] : Explained())
    EXPECT_TRUE(counts.contains(key)) << "nothing shows it any more: " << key;
  EXPECT_GT(agreed, 100);
}

}  // namespace
}  // namespace roost::proxy

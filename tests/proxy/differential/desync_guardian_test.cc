// Roost's verdict on the test cases of http-desync-guardian: what they call ambiguous or severe is
// refused, what they call compliant is taken. Where not, the class of the case stands here with the
// reason.
#include "tests/proxy/differential/desync_guardian.h"

#include <cstdio>
#include <map>
#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "proxy/core/head_scanner.h"

namespace roost::proxy {
namespace {

// "tier, their reason, taken or Roost's reason to refuse": why.
const std::map<std::string, std::string>& Explained() {
  static const auto* const explained = new std::map<std::string, std::string>{
      {"Acceptable, NonCompliantHeader, a control character in a field value",
       "RFC 9110 section 5.5 calls it invalid; who forwards it passes the danger on."},
      {"Acceptable, NonCompliantHeader, a field name is malformed",
       "RFC 9110 section 5.1: no token, no field."},
      {"Acceptable, NonCompliantHeader, whitespace before or in a field name, or a folded line",
       "RFC 9112 section 5.1 wants 400, whatever the field is called."},
      {"Acceptable, NonCompliantVersion, only HTTP/1.0 and HTTP/1.1 are spoken here",
       "Nobody speaks them in this form."},
      {"Acceptable, NonCompliantVersion, something behind the HTTP version",
       "RFC 9112 section 3 ends the line there."},
      {"Acceptable, NonCompliantVersion, the request target is malformed",
       "A line without a version: HTTP/0.9."},
      {"Acceptable, SpaceInUri, the request line is malformed",
       "RFC 9112 section 3.2 asks for 400 rather than for a guess where the target ends."},
      {"Ambiguous, SuspiciousHeader, taken",
       "Names that are tokens of their own: with '_' or several '-'. Those that an application may "
       "take for one that Roost acts "
       "on (Content_Length) are not passed on."},
      {"Ambiguous, UndefinedContentLengthSemantics, taken",
       "A GET may have a body (RFC 9110 section 9.3.1); Roost frames it anew and never takes it "
       "for the next request."},
      {"Ambiguous, UndefinedTransferEncodingSemantics, taken", "The same in chunks."},
      {"Compliant, Compliant, Transfer-Encoding is malformed",
       "chunked has no parameters (RFC 9112 section 7.1)."},
      {"Compliant, Compliant, a Transfer-Encoding other than chunked",
       "Roost decodes no other, and RFC 9112 section 6.1 asks for 501."},
      {"Compliant, Compliant, the request target is malformed",
       "Bytes that RFC 3986 does not allow in a target, or a fragment, which is no part of one."},
  };
  return *explained;
}

TEST(DesyncGuardianTest, OnlyExplainedClassesDifferFromItsVerdicts) {
  std::map<std::string, int> counts;
  std::map<std::string, std::string> first;
  int agreed = 0, refused = 0;
  for (const GuardianCase& item : GuardianCases()) {
    RequestScanner scanner{ScanLimits{}};
    RequestHead head;
    const ScanStatus status = scanner.Scan(item.head, &head);
    ASSERT_NE(status, ScanStatus::kIncomplete) << item.name;
    const bool taken = status == ScanStatus::kComplete;
    refused += !taken;
    const bool dangerous = item.tier == "Ambiguous" || item.tier == "Severe";
    if (taken != dangerous) {
      ++agreed;
      continue;
    }
    const std::string key =
        absl::StrCat(item.tier, ", ", item.reason, ", ", taken ? "taken" : scanner.error().reason);
    ++counts[key];
    first.emplace(key, absl::StrCat(item.name, ": ", absl::CHexEscape(item.head)));
  }
  std::printf("%d cases as http-desync-guardian has them; %d refused\n", agreed, refused);
  for (const auto& [key, count] : counts) {
    std::printf("  %4d  %s\n", count, key.c_str());
    EXPECT_TRUE(Explained().contains(key)) << "not explained: " << key << "\n  " << first[key];
  }
  for (const auto& [key, why] : Explained())
    EXPECT_TRUE(counts.contains(key)) << "nothing shows it any more: " << key;
  EXPECT_GT(agreed, 100);
}

}  // namespace
}  // namespace roost::proxy

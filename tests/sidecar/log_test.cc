#include "sidecar/log.h"

#include <memory>
#include <sstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "spdlog/sinks/ostream_sink.h"

namespace roost::sidecar {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class LogTest : public ::testing::Test {
 protected:
  // Lines so far.
  int Lines() const {
    const std::string text = out_.str();
    return static_cast<int>(std::count(text.begin(), text.end(), '\n'));
  }

  std::ostringstream out_;
  Logger log_{std::make_shared<spdlog::sinks::ostream_sink_mt>(out_), LogLevel::kInfo};
};

TEST_F(LogTest, ALineIsAJsonObjectWithItsFields) {
  log_.Info("hello", {{"who", "w\"orld\n"}, {"count", int64_t{3}}});
  EXPECT_THAT(out_.str(), StartsWith("{\"ts\":\"20"));
  EXPECT_THAT(
      out_.str(),
      EndsWith("\"level\":\"info\",\"msg\":\"hello\",\"who\":\"w\\\"orld\\u000a\",\"count\":3}\n"));
}

TEST_F(LogTest, LinesBelowTheLevelAreLeftOut) {
  log_.Debug("quiet");
  EXPECT_EQ(Lines(), 0);
  log_.SetLevel(LogLevel::kDebug);
  log_.Debug("quiet");
  EXPECT_EQ(Lines(), 1);
}

TEST_F(LogTest, ARepeatedMessageIsBoundedButOthersGoOn) {
  for (int i = 0; i < 1'000; ++i) log_.Warn("flood", {{"peer", "a"}});
  EXPECT_EQ(Lines(), Logger::kBurst);
  log_.Warn("flood", {{"peer", "b"}});
  log_.Warn("other");
  EXPECT_EQ(Lines(), Logger::kBurst + 2);
}

TEST(JsonEscapeTest, WhatIsNotUtf8IsReplaced) {
  EXPECT_EQ(JsonEscape("a\xC3\xA9\xE2\x82\xAC"), "a\xC3\xA9\xE2\x82\xAC");
  EXPECT_EQ(JsonEscape("\xFF"), "\xEF\xBF\xBD");
  EXPECT_EQ(JsonEscape("\xC3"), "\xEF\xBF\xBD");
  EXPECT_EQ(JsonEscape("\xE0\x80\x80"), "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");
  EXPECT_EQ(JsonEscape("\\\x01"), "\\\\\\u0001");
}

}  // namespace
}  // namespace roost::sidecar

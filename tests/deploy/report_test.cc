#include "deploy/demo/report.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace roost::demo {
namespace {

using testing::HasSubstr;

TEST(PercentilesTest, AreValuesThatOccurred) {
  std::vector<double> values;
  for (int i = 100; i >= 1; --i) values.push_back(i);
  const Percentiles p = PercentilesOf(values);
  EXPECT_EQ(p.p50, 50);
  EXPECT_EQ(p.p99, 99);
  EXPECT_EQ(p.max, 100);
  EXPECT_EQ(PercentilesOf({7}).p99, 7);
  EXPECT_EQ(PercentilesOf({}).max, 0);
}

TEST(ReportTest, JsonCarriesFiguresAndReasons) {
  Report report;
  report.requests = 1'000;
  report.landed_elsewhere = 660;
  report.failed["add: connection closed"] = 2;
  report.failed["quote \" and\nline"] = 1;
  report.kill_to_good_ms = {10, 20, 30};
  const std::string json = Json(report);
  EXPECT_THAT(json, HasSubstr("\"requests\": 1000"));
  EXPECT_THAT(json, HasSubstr("\"landed_elsewhere\": 660"));
  EXPECT_THAT(json, HasSubstr("\"wrong_carts\": 0"));
  EXPECT_THAT(json, HasSubstr("\"add: connection closed\": 2"));
  EXPECT_THAT(json, HasSubstr("\"quote \\\" and line\": 1"));
  EXPECT_THAT(json, HasSubstr("\"kill_to_good_ms\": {\"p50\": 20.0, \"p99\": 30.0, \"max\": 30.0"));
}

TEST(ReportTest, TableShoutsAboutLostCarts) {
  Report report;
  EXPECT_THAT(Table(report), testing::Not(HasSubstr("LOST")));
  report.lost_carts = 1;
  EXPECT_THAT(Table(report), HasSubstr("LOST"));
}

}  // namespace
}  // namespace roost::demo

#include "store/options.h"

#include <gtest/gtest.h>

namespace roost::store {
namespace {

TEST(OptionsTest, DefaultsAreValid) { EXPECT_TRUE(Options().Validate().ok()); }

TEST(OptionsTest, ErrorsNameTheFieldAndTheLimit) {
  Options options;
  options.copies = 9;
  EXPECT_EQ(options.Validate().message(), "store.copies is 9; it must be 0 to 8");
  options = Options();
  options.idle_ttl = options.absolute_ttl + std::chrono::milliseconds(1);
  EXPECT_NE(options.Validate().message().find("store.idle_ttl_ms"), absl::string_view::npos);
  options = Options();
  options.attribute_bytes_max = (3 << 20) + 1;
  EXPECT_FALSE(options.Validate().ok());
  options = Options();
  options.touch_replicate_fraction = 0;
  EXPECT_FALSE(options.Validate().ok());
  options = Options();
  options.fenced_copies = 1;
  EXPECT_EQ(options.Validate().message(), "store.fenced_copies is 1; it must be 2 to 8");
  options = Options();
  options.lease = std::chrono::milliseconds(99);
  EXPECT_EQ(options.Validate().message(), "store.lease_ms is 99; it must be 100 to 60000");
  options = Options();
  options.clock_drift = 0.3;
  EXPECT_EQ(options.Validate().message(), "store.clock_drift must be 0 to 0.2");
}

}  // namespace
}  // namespace roost::store

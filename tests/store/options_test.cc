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
}

}  // namespace
}  // namespace roost::store

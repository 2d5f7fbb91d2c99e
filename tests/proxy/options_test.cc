#include "proxy/options.h"

#include "gtest/gtest.h"

namespace roost::proxy {
namespace {

using membership::Address;

Options Good() {
  Options options;
  options.app = *Address::Parse("127.0.0.1:8080");
  return options;
}

TEST(ProxyOptionsTest, DefaultsWithAnAppAreValid) {
  EXPECT_TRUE(Good().Validate().ok()) << Good().Validate();
}

TEST(ProxyOptionsTest, ErrorsNameTheField) {
  const auto error = [](void (*spoil)(Options*)) {
    Options options = Good();
    spoil(&options);
    return std::string(options.Validate().message());
  };
  const auto expect = [](const std::string& message, const char* field) {
    EXPECT_EQ(message.rfind(field, 0), 0u) << message;
  };
  expect(error([](Options* o) { o->cookie = "a b"; }), "proxy.cookie must");
  expect(error([](Options* o) { o->cookie = ""; }), "proxy.cookie must");
  expect(error([](Options* o) { o->name_space = std::string("a\0", 2); }), "proxy.namespace must");
  expect(error([](Options* o) { o->app = {}; }), "proxy.app");
  expect(error([](Options* o) { o->threads = 65; }), "proxy.threads must be 0 to 64");
  expect(error([](Options* o) { o->head_bytes_max = 1'023; }), "proxy.head_bytes_max");
  expect(error([](Options* o) { o->headers_max = 1'001; }), "proxy.headers_max");
  expect(error([](Options* o) { o->body_bytes_max = -1; }), "proxy.body_bytes_max");
  expect(error([](Options* o) { o->connections_max = 0; }), "proxy.connections_max");
  expect(error([](Options* o) { o->connections_per_source_max = -1; }),
         "proxy.connections_per_source_max");
  expect(error([](Options* o) { o->idle_timeout = {}; }), "proxy.idle_timeout_ms");
  expect(error([](Options* o) { o->body_rate_min = -1; }), "proxy.body_rate_min");
  expect(error([](Options* o) { o->app_waiting_max = -1; }), "proxy.app_waiting_max");
  expect(error([](Options* o) { o->health_path = "healthz"; }), "proxy.health_path must");
  expect(error([](Options* o) { o->health_path = "/a\r\nX: y"; }), "proxy.health_path must");
  expect(error([](Options* o) { o->health_interval = {}; }), "proxy.health_interval_ms");
  expect(error([](Options* o) { o->health_rise = 0; }), "proxy.health_rise");
  expect(error([](Options* o) { o->health_fall = 101; }), "proxy.health_fall");
  expect(error([](Options* o) { o->grace.requests_max = 0; }), "grace.requests_max");
  expect(error([](Options* o) { o->grace.wait = {}; }), "grace.wait_ms");
}

TEST(NetworkTest, ComparesOnlyThePrefix) {
  const auto contains = [](const char* network, int bits, const char* address) {
    return Network{*Address::Parse(network), bits}.Contains(*Address::Parse(address));
  };
  EXPECT_TRUE(contains("10.1.2.3:0", 128, "10.1.2.3:99"));
  EXPECT_FALSE(contains("10.1.2.3:0", 128, "10.1.2.4:0"));
  EXPECT_TRUE(contains("10.0.0.0:0", 96 + 8, "10.255.1.1:0"));
  EXPECT_FALSE(contains("10.0.0.0:0", 96 + 8, "11.0.0.0:0"));
  EXPECT_TRUE(contains("10.16.0.0:0", 96 + 12, "10.31.0.0:0"));
  EXPECT_FALSE(contains("10.16.0.0:0", 96 + 12, "10.32.0.0:0"));
  EXPECT_TRUE(contains("10.0.0.0:0", 0, "[2001:db8::1]:0"));
  EXPECT_FALSE(contains("10.0.0.0:0", 96, "[2001:db8::1]:0"));
}

}  // namespace
}  // namespace roost::proxy

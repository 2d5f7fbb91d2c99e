#include "sidecar/options.h"

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "sidecar/config_loader.h"

namespace roost::sidecar {
namespace {

using membership::Address;
using std::chrono::milliseconds;

config::v1::Config Load(const std::string& yaml) {
  const LoadedConfig loaded = ParseConfig("security: {insecure: true}\n" + yaml, "f.yaml", {});
  EXPECT_TRUE(loaded.errors.empty()) << loaded.errors[0].ToString();
  return loaded.config;
}

TEST(OptionsTest, DefaultsPassEveryModulesOwnRules) {
  EXPECT_TRUE(CheckOptions(Load("")).ok()) << CheckOptions(Load(""));
}

TEST(OptionsTest, DefaultsAreThoseOfTheModules) {
  const store::Options store = ToStoreOptions(Load("")), store_default;
  EXPECT_EQ(store.idle_ttl, store_default.idle_ttl);
  EXPECT_EQ(store.in_flight_bytes, store_default.in_flight_bytes);
  EXPECT_EQ(store.pending_max, store_default.pending_max);
  const proxy::Options proxy = ToProxyOptions(Load("")), proxy_default;
  EXPECT_EQ(proxy.head_bytes_max, proxy_default.head_bytes_max);
  EXPECT_EQ(proxy.tunnel_idle, proxy_default.tunnel_idle);
  EXPECT_EQ(proxy.proxy_protocol, proxy_default.proxy_protocol);
  EXPECT_EQ(proxy.tls_listen, proxy_default.tls_listen);
  EXPECT_EQ(proxy.tls_dir, proxy_default.tls_dir);
  EXPECT_EQ(proxy.tls_min_version, proxy_default.tls_min_version);
  EXPECT_EQ(proxy.connections_per_source_max, proxy_default.connections_per_source_max);
  EXPECT_EQ(proxy.body_rate_min, proxy_default.body_rate_min);
  EXPECT_EQ(proxy.app_waiting_max, proxy_default.app_waiting_max);
  EXPECT_EQ(proxy.access_log, proxy_default.access_log);
  EXPECT_EQ(proxy.health_path, proxy_default.health_path);
  EXPECT_EQ(proxy.health_interval, proxy_default.health_interval);
  EXPECT_EQ(proxy.health_timeout, proxy_default.health_timeout);
  EXPECT_EQ(proxy.health_rise, proxy_default.health_rise);
  EXPECT_EQ(proxy.health_fall, proxy_default.health_fall);
  EXPECT_EQ(proxy.grace.wait, proxy_default.grace.wait);
  const membership::Timing timing = ToMembershipOptions(Load("")).timing, timing_default;
  EXPECT_EQ(timing.probe_timeout, timing_default.probe_timeout);
  EXPECT_EQ(timing.rejoin_interval, timing_default.rejoin_interval);
}

TEST(OptionsTest, FencedFieldsArrive) {
  const store::Options standard = ToStoreOptions(Load("")), store_default;
  EXPECT_EQ(standard.fenced_copies, store_default.fenced_copies);
  EXPECT_EQ(standard.witness, store_default.witness);
  EXPECT_EQ(standard.lease, store_default.lease);
  EXPECT_DOUBLE_EQ(standard.clock_drift, store_default.clock_drift);
  EXPECT_TRUE(FencedNamespaces(Load("")).empty());
  EXPECT_EQ(ToProxyOptions(Load("")).mode, store::Mode::kAvailable);
  const auto config = Load(
      "store: {fenced_namespaces: [seats, tokens], fsync: always, fenced_copies: 4,\n"
      "        witness: true, lease_ms: 1s, clock_drift_ppm: 500}\n"
      "proxy: {namespace: seats}");
  EXPECT_TRUE(CheckOptions(config).ok()) << CheckOptions(config);
  const store::Options given = ToStoreOptions(config);
  EXPECT_EQ(given.fenced_copies, 4);
  EXPECT_TRUE(given.witness);
  EXPECT_EQ(given.lease, milliseconds(1'000));
  EXPECT_DOUBLE_EQ(given.clock_drift, 0.0005);
  EXPECT_EQ(FencedNamespaces(config), (std::set<std::string>{"seats", "tokens"}));
  EXPECT_EQ(ToProxyOptions(config).mode, store::Mode::kFenced);
}

TEST(OptionsTest, AttributesOfTheNodeAreNamesAndValues) {
  const membership::Options options =
      ToMembershipOptions(Load("node: {attributes: [\"rack=r7\", \"formula=a=b\", \"empty=\"]}"));
  EXPECT_EQ(options.attributes.values(),
            (membership::Attributes::Map{{"empty", ""}, {"formula", "a=b"}, {"rack", "r7"}}));
}

TEST(OptionsTest, PresetsSetWhatIsNotGivenAndAreConsistent) {
  for (const char* preset : {"local", "lan", "wan"}) {
    membership::Options options =
        ToMembershipOptions(Load(absl::StrCat("membership: {preset: ", preset, "}")));
    options.id = membership::NodeId{1};
    options.boot_epoch = 1;
    options.advertise = membership::Address::V4(0x0a000001, 7400);
    EXPECT_TRUE(options.Validate().ok()) << preset << ": " << options.Validate();
  }
  EXPECT_EQ(ToMembershipOptions(Load("membership: {preset: local}")).timing.gossip_interval,
            milliseconds(50));
  const auto wan =
      ToMembershipOptions(Load("membership: {probe_interval_ms: 4s, preset: wan}")).timing;
  EXPECT_EQ(wan.probe_interval, milliseconds(4'000)) << "given";
  EXPECT_EQ(wan.gossip_fanout, 4);
  EXPECT_EQ(wan.suspicion_max_mult, 6);
}

TEST(OptionsTest, EveryAffinityFieldArrives) {
  const proxy::AffinityOptions none = ToProxyOptions(Load("")).affinity;
  EXPECT_EQ(none.format, proxy::AffinityFormat::kNone);
  EXPECT_EQ(none.places, std::vector<proxy::IdPlace>{proxy::IdPlace::kCookie});
  EXPECT_EQ(none.cookie_attributes, proxy::AffinityOptions().cookie_attributes);
  EXPECT_EQ(none.route_cookie, proxy::AffinityOptions().route_cookie);
  EXPECT_EQ(none.path_parameter, proxy::AffinityOptions().path_parameter);
  const proxy::AffinityOptions all =
      ToProxyOptions(Load("store: {copies: 2}\n"
                          "affinity: {format: ranked, places: [header, query, path, cookie],\n"
                          "           form: base64, path_parameter: p, query_parameter: q,\n"
                          "           header: h, route_cookie_name: r, routes_by: roost,\n"
                          "           delimiter: \"!\", routes_max: 5, cookie_attributes: Secure,\n"
                          "           sealed_cookie_name: s, soap_bytes_max: 4KiB,\n"
                          "           learn_socketio: true}"))
          .affinity;
  using proxy::IdPlace;
  EXPECT_EQ(all.format, proxy::AffinityFormat::kRanked);
  EXPECT_EQ(all.places, (std::vector<IdPlace>{IdPlace::kHeader, IdPlace::kQuery, IdPlace::kPath,
                                              IdPlace::kCookie}));
  EXPECT_EQ(all.form, proxy::IdForm::kBase64);
  EXPECT_EQ(all.path_parameter, "p");
  EXPECT_EQ(all.query_parameter, "q");
  EXPECT_EQ(all.header, "h");
  EXPECT_EQ(all.route_cookie, "r");
  EXPECT_EQ(all.routes_by, proxy::RoutesBy::kRoost);
  EXPECT_EQ(all.delimiter, '!');
  EXPECT_EQ(all.routes_max, 5);
  EXPECT_EQ(all.cookie_attributes, "Secure");
  EXPECT_EQ(all.sealed_cookie, "s");
  EXPECT_EQ(all.soap_bytes_max, 4'096);
  EXPECT_TRUE(all.learn_socketio);
  EXPECT_EQ(all.copies, 2);
}

TEST(OptionsTest, AffinityPresetsAreConsistentAndGiveWay) {
  for (const char* preset : {"other", "tomcat", "wildfly", "wicket", "ofbiz", "wso2", "express",
                             "php", "django", "rails", "spring", "aspnet", "socketio", "mcp"}) {
    const auto config = Load(absl::StrCat("affinity: {preset: ", preset, "}"));
    EXPECT_TRUE(CheckOptions(config).ok()) << preset << ": " << CheckOptions(config);
  }
  const proxy::Options express = ToProxyOptions(Load("affinity: {preset: express}"));
  EXPECT_EQ(express.cookie, "connect.sid");
  EXPECT_EQ(express.affinity.form, proxy::IdForm::kSigned);
  const proxy::Options given =
      ToProxyOptions(Load("affinity: {preset: wildfly, places: [cookie], routes_by: app}\n"
                          "proxy: {cookie: SID}"));
  EXPECT_EQ(given.cookie, "SID");
  EXPECT_EQ(given.affinity.format, proxy::AffinityFormat::kRanked);
  EXPECT_EQ(given.affinity.places, std::vector<proxy::IdPlace>{proxy::IdPlace::kCookie});
  EXPECT_EQ(given.affinity.routes_by, proxy::RoutesBy::kApp);
}

TEST(OptionsTest, EveryStoreFieldArrives) {
  const store::Options store = ToStoreOptions(
      Load("store: {copies: 3, ack: all, min_copies: refuse, ack_timeout_ms: 1s, idle_ttl_ms: 2m,\n"
           "  absolute_ttl_ms: 3h, absolute_ttl_max_ms: 4h, attribute_bytes_max: 5KiB,\n"
           "  session_bytes_max: 6KiB, attributes_max: 7, in_flight_bytes: 80KiB,\n"
           "  cache_bytes: 9MiB, fsync_interval_ms: 10, pending_max: 11, "
           "  memtable_bytes: 12MiB, fsync: always, disk_free_min_bytes: 13MiB}"));
  EXPECT_EQ(store.copies, 3);
  EXPECT_EQ(store.ack, store::Ack::kAll);
  EXPECT_TRUE(store.refuse_when_degraded);
  EXPECT_EQ(store.ack_timeout, milliseconds(1'000));
  EXPECT_EQ(store.idle_ttl, milliseconds(120'000));
  EXPECT_EQ(store.absolute_ttl, milliseconds(3 * 3'600'000));
  EXPECT_EQ(store.absolute_ttl_max, milliseconds(4 * 3'600'000));
  EXPECT_EQ(store.attribute_bytes_max, 5 << 10);
  EXPECT_EQ(store.session_bytes_max, 6 << 10);
  EXPECT_EQ(store.attributes_max, 7);
  EXPECT_EQ(store.in_flight_bytes, 80 << 10);
  EXPECT_EQ(store.cache_bytes, 9 << 20);
  EXPECT_EQ(store.fsync_interval, milliseconds(10));
  EXPECT_EQ(store.memtable_bytes, 12 << 20);
  EXPECT_EQ(store.fsync, store::Fsync::kAlways);
  EXPECT_EQ(store.disk_free_min_bytes, 13 << 20);
  EXPECT_EQ(store.pending_max, 11);
}

TEST(OptionsTest, TheFileOfTheRecordsKeysIsCheckedUnderItsOwnName) {
  const config::v1::Config config = Load("store: {encryption_keys_file: /no/such/file}");
  const absl::Status missing = CheckFiles(config);
  EXPECT_FALSE(missing.ok());
  EXPECT_NE(missing.message().find("store.encryption_keys_file: /no/such/file"), std::string::npos);
  const auto none = LoadEncryptionKeys(Load("").store());
  EXPECT_TRUE(none.ok() && *none == nullptr);
}

TEST(OptionsTest, ProxyProtocolIsAChoice) {
  EXPECT_TRUE(ToProxyOptions(Load("proxy: {proxy_protocol: required}")).proxy_protocol);
  EXPECT_FALSE(ToProxyOptions(Load("proxy: {proxy_protocol: off}")).proxy_protocol);
}

TEST(OptionsTest, TlsForVisitors) {
  const proxy::Options proxy = ToProxyOptions(Load(
      "proxy: {tls_listen: \"0.0.0.0:8443\", tls_dir: /etc/roost/tls, tls_min_version: tls1_3}"));
  ASSERT_TRUE(proxy.tls_listen.has_value());
  EXPECT_EQ(proxy.tls_listen->ToString(), "0.0.0.0:8443");
  EXPECT_EQ(proxy.tls_dir, "/etc/roost/tls");
  EXPECT_EQ(proxy.tls_min_version, proxy::TlsVersion::k1_3);
}

TEST(OptionsTest, TrustedNetworksContainWhatTheySay) {
  const proxy::Options proxy =
      ToProxyOptions(Load("proxy: {trusted_proxies: [10.0.0.0/8, 192.168.1.7, \"fd00::/16\"]}"));
  ASSERT_EQ(proxy.trusted_proxies.size(), 3u);
  const auto contains = [&](int i, const char* address) {
    return proxy.trusted_proxies[i].Contains(*Address::Parse(address));
  };
  EXPECT_TRUE(contains(0, "10.200.3.4:1"));
  EXPECT_FALSE(contains(0, "11.0.0.1:1"));
  EXPECT_TRUE(contains(1, "192.168.1.7:5"));
  EXPECT_FALSE(contains(1, "192.168.1.8:5"));
  EXPECT_TRUE(contains(2, "[fd00::5]:1"));
  EXPECT_FALSE(contains(2, "[fd01::5]:1"));
}

TEST(AdvertisedAddressTest, IsTheConfiguredOneIfThereIsOne) {
  config::v1::Cluster cluster = Load("cluster: {advertise: 10.1.2.3}").cluster();
  EXPECT_EQ(AdvertisedAddress(cluster, 7400)->ToString(), "10.1.2.3:7400");
  cluster.set_advertise("fd00::1");
  EXPECT_EQ(AdvertisedAddress(cluster, 7)->ToString(), "[fd00::1]:7");
}

TEST(AdvertisedAddressTest, IsElseWhatItListensOn) {
  EXPECT_EQ(AdvertisedAddress(Load("cluster: {listen: \"127.0.0.2:1\"}").cluster(), 5)->ToString(),
            "127.0.0.2:5");
}

TEST(AdvertisedAddressTest, OfAWildcardIsTheInterfaceTowardsTheFirstSeed) {
  EXPECT_EQ(
      AdvertisedAddress(Load("cluster: {seeds: [\"127.0.0.1:7400\"]}").cluster(), 5)->ToString(),
      "127.0.0.1:5");
  const auto alone = AdvertisedAddress(Load("").cluster(), 5);
  ASSERT_TRUE(alone.ok());
  EXPECT_FALSE(alone->IsWildcard());
}

}  // namespace
}  // namespace roost::sidecar

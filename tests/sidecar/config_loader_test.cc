#include "sidecar/config_loader.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sidecar/config_checks.h"
#include "sidecar/config_fields.h"
#include "sidecar/config_rules.h"
#include "sidecar/config_values.h"
#include "sidecar/options.h"

namespace roost::sidecar {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

// Listens on loopback, so that nothing else is wrong; ends before line 4.
constexpr char kBase[] =
    "cluster: {listen: \"127.0.0.1:7400\", forward_listen: \"127.0.0.1:7401\"}\n"
    "admin: {listen: \"127.0.0.1:7403\"}\n"
    "\n";

std::vector<std::string> Errors(const std::string& yaml, const Environment& environment = {}) {
  std::vector<std::string> texts;
  for (const ConfigError& error : ParseConfig(yaml, "f.yaml", environment).errors) {
    texts.push_back(error.ToString());
  }
  return texts;
}

std::vector<std::string> ErrorsAfterBase(const std::string& yaml) { return Errors(kBase + yaml); }

TEST(ConfigRulesTest, EveryFieldHasExactlyOneRuleWithinItsOwnLimits) {
  config::v1::Config config;
  std::set<std::string> fields;
  ForEachField(&config, [&](const std::string& path, auto*, const auto* field) {
    fields.insert(path);
    const FieldRule* rule = FindRule(path);
    ASSERT_NE(rule, nullptr) << path;
    const bool text = field->cpp_type() == google::protobuf::FieldDescriptor::CPPTYPE_STRING;
    EXPECT_EQ(rule->form != TextForm::kNotText, text) << path;
    if (text || field->cpp_type() == google::protobuf::FieldDescriptor::CPPTYPE_ENUM) return;
    EXPECT_GE(rule->number, rule->min) << path;
    EXPECT_LE(rule->number, rule->max) << path;
  });
  EXPECT_EQ(FieldRules().size(), fields.size());
}

TEST(ConfigLoaderTest, BadAttributesAreNamed) {
  const auto one = [](const std::string& list) {
    return ErrorsAfterBase("node: {attributes: [" + list + "]}");
  };
  EXPECT_THAT(one("\"rack=r7\", \"release=1.2\""), IsEmpty());
  EXPECT_THAT(one("\"rack\""), ElementsAre(HasSubstr("NAME=VALUE")));
  EXPECT_THAT(one("\"=r7\""), ElementsAre(HasSubstr("node.attributes[0]")));
  EXPECT_THAT(one("\"bad name=v\""), ElementsAre(HasSubstr("[A-Za-z0-9_.-]")));
  EXPECT_THAT(one("\"rack=r7\", \"rack=r8\""), ElementsAre(HasSubstr("twice")));
  std::string many, large;
  for (int i = 0; i < 33; ++i) absl::StrAppend(&many, i == 0 ? "" : ",", "\"n", i, "=v\"");
  for (int i = 0; i < 20; ++i) {
    absl::StrAppend(&large, i == 0 ? "" : ",", "\"n", i, "=", std::string(240, 'v'), "\"");
  }
  EXPECT_THAT(one(many), ElementsAre(HasSubstr("at most 32")));
  EXPECT_THAT(one(large), ElementsAre(HasSubstr("at most 4096")));
}

TEST(ConfigLoaderTest, AnEmptyFileHasTheDocumentedDefaults) {
  const LoadedConfig loaded =
      ParseConfig("security: {insecure: true}\n", "f.yaml", {{"ROOST_NODE_NAME", "a"}});
  ASSERT_THAT(loaded.errors, IsEmpty());
  const config::v1::Config& config = loaded.config;
  EXPECT_EQ(config.node().data_dir(), "/var/lib/roost");
  EXPECT_EQ(config.cluster().name(), "roost");
  EXPECT_EQ(config.cluster().listen(), "0.0.0.0:7400");
  EXPECT_EQ(config.membership().probe_interval_ms(), 500);
  EXPECT_EQ(config.store().ack(), config::v1::one);
  EXPECT_EQ(config.store().session_bytes_max(), 2 << 20);
  EXPECT_EQ(config.store().absolute_ttl_max_ms(), 30LL * 24 * 3'600'000);
  EXPECT_EQ(config.proxy().listen(), "0.0.0.0:8000");
  EXPECT_EQ(config.proxy().cookie(), "JSESSIONID");
  EXPECT_EQ(config.grace().unknown_session(), config::v1::app);
  EXPECT_EQ(config.api().socket(), "/var/lib/roost/roost.sock");
  EXPECT_EQ(config.admin().listen(), "127.0.0.1:7403");
  EXPECT_EQ(config.log().level(), config::v1::info);
}

TEST(ConfigLoaderTest, ReadsEveryKindOfValue) {
  const LoadedConfig loaded = ParseConfig(
      "node: {name: web-1, zone: \"rack 2\"}\n"
      "cluster:\n"
      "  listen: \"[::1]:7400\"\n"
      "  forward_listen: \"127.0.0.1:0\"\n"
      "  seeds: [\"10.0.0.1:7400\", node-2.example:7400, \"[fd00::1]:7400\"]\n"
      "store: {ack: all, min_copies: refuse, idle_ttl_ms: 90s, cache_bytes: 1GiB, copies: 2}\n"
      "proxy: {head_timeout_ms: 250, body_bytes_max: 4096}\n"
      "api: {listen: \"\", socket: \"\"}\n"
      "log: {level: debug}\n",
      "f.yaml", {});
  ASSERT_THAT(loaded.errors, IsEmpty()) << loaded.errors[0].ToString();
  const config::v1::Config& config = loaded.config;
  EXPECT_EQ(config.node().zone(), "rack 2");
  EXPECT_THAT(config.cluster().seeds(),
              ElementsAre("10.0.0.1:7400", "node-2.example:7400", "[fd00::1]:7400"));
  EXPECT_EQ(config.store().ack(), config::v1::all);
  EXPECT_EQ(config.store().min_copies(), config::v1::refuse);
  EXPECT_EQ(config.store().idle_ttl_ms(), 90'000);
  EXPECT_EQ(config.store().cache_bytes(), 1 << 30);
  EXPECT_EQ(config.proxy().head_timeout_ms(), 250);
  EXPECT_EQ(config.proxy().body_bytes_max(), 4096);
  EXPECT_EQ(config.api().listen(), "");
  EXPECT_EQ(config.api().socket(), "");
  EXPECT_EQ(config.log().level(), config::v1::debug);
}

struct Broken {
  const char* yaml;
  const char* start;   // File, line and field.
  const char* reason;  // Part of the rest.
};

class BrokenConfigTest : public ::testing::TestWithParam<Broken> {};

TEST_P(BrokenConfigTest, IsRefusedWithFileLineAndField) {
  const std::vector<std::string> errors = ErrorsAfterBase(GetParam().yaml);
  ASSERT_EQ(errors.size(), 1u) << ::testing::PrintToString(errors);
  EXPECT_THAT(errors[0], StartsWith(GetParam().start));
  EXPECT_THAT(errors[0], HasSubstr(GetParam().reason));
}

INSTANTIATE_TEST_SUITE_P(
    All, BrokenConfigTest,
    ::testing::Values(
        Broken{"clutser: {}", "f.yaml:4: clutser: ", "unknown field"},
        Broken{"node:\n  colour: red", "f.yaml:5: node.colour: ", "node may have name, zone"},
        Broken{"node: {name: a}\nlog: {level: info}\nnode: {zone: b}",
               "f.yaml:6: node: ", "given twice"},
        Broken{"node:\n  name: a\n  name: b", "f.yaml:6: node.name: ", "given twice"},
        Broken{"node: {name: \"a b\"}", "f.yaml:4: node.name: ", "may hold only"},
        Broken{"node: {name: \"\"}", "f.yaml:4: node.name: ", "must not be empty"},
        Broken{"node: {name: }", "f.yaml:4: node.name: ", "has no value"},
        Broken{"node: [a]", "f.yaml:4: node: ", "must have fields below it"},
        Broken{"node: 5", "f.yaml:4: node: ", "must have fields below it"},
        Broken{"node: {zone: {a: b}}", "f.yaml:4: node.zone: ", "wants one value"},
        Broken{"proxy:\n  tls_listen: 127.0.0.1:8443",
               "f.yaml:5: proxy.tls_dir: ", "proxy.tls_dir"},
        Broken{"proxy: {proxy_protocol: maybe}", "f.yaml:4: proxy.proxy_protocol: ", "required"},
        Broken{"proxy:\n  trusted_proxies: 10.0.0.1",
               "f.yaml:5: proxy.trusted_proxies: ", "wants a list"},
        Broken{"proxy:\n  trusted_proxies:\n    - 10.0.0.1\n    - 10.0.0.0/33",
               "f.yaml:7: proxy.trusted_proxies[1]: ", "not an IP or a network"},
        Broken{"proxy: {trusted_proxies: [[a]]}",
               "f.yaml:4: proxy.trusted_proxies: ", "list of plain values"},
        Broken{"proxy: {health_path: healthz}", "f.yaml:4: proxy.health_path: ", "'/' first"},
        Broken{"proxy: {health_path: \"/a b\"}", "f.yaml:4: proxy.health_path: ", "no spaces"},
        Broken{"proxy: {health_fall: 0}", "f.yaml:4: proxy.health_fall: ", "1"},
        Broken{"proxy: {listen: 8000}", "f.yaml:4: proxy.listen: ", "not an address"},
        Broken{"proxy: {app: localhost}", "f.yaml:4: proxy.app: ", "not an address"},
        Broken{"proxy: {app: \"127.0.0.1:0\"}", "f.yaml:4: proxy.app: ", "port"},
        Broken{"proxy: {app: \"127.0.0.1:8000\"}", "f.yaml:4: proxy.app: ", "circles"},
        Broken{"proxy: {cookie: \"a=b\"}", "f.yaml:4: proxy.cookie: ", "is not a name of"},
        Broken{"proxy: {threads: lots}", "f.yaml:4: proxy.threads: ", "not a whole number"},
        Broken{"proxy: {threads: 65}", "f.yaml:4: proxy.threads: ", "0 to 64"},
        Broken{"proxy: {head_bytes_max: 100}", "f.yaml:4: proxy.head_bytes_max: ", "1KiB to 64KiB"},
        Broken{"proxy: {head_timeout_ms: soon}",
               "f.yaml:4: proxy.head_timeout_ms: ", "not a duration"},
        Broken{"store: {cache_bytes: 64MB}", "f.yaml:4: store.cache_bytes: ", "not a size"},
        Broken{"store: {idle_ttl_ms: -1}", "f.yaml:4: store.idle_ttl_ms: ", "not a duration"},
        Broken{"store: {idle_ttl_ms: 99999999999999999999h}",
               "f.yaml:4: store.idle_ttl_ms: ", "not a duration"},
        Broken{"store: {ack: ACK_MODE_UNSPECIFIED}", "f.yaml:4: store.ack: ", "local, one, all"},
        Broken{"store: {idle_ttl_ms: 48h}",
               "f.yaml:4: store.idle_ttl_ms: ", "store.absolute_ttl_ms"},
        Broken{"store: {session_bytes_max: 1KiB}",
               "f.yaml:4: store.attribute_bytes_max: ", "session_bytes_max"},
        Broken{"store: {in_flight_bytes: 64KiB}",
               "f.yaml:4: store.in_flight_bytes: ", "session_bytes_max"},
        Broken{"membership:\n  nack_timeout_ms: 400ms",
               "f.yaml:5: membership.probe_timeout_ms: ", "below probe_interval_ms"},
        Broken{"membership: {gossip_interval_ms: 600}",
               "f.yaml:4: membership.gossip_interval_ms: ", "membership.probe_interval_ms"},
        Broken{"membership: {preset: wan, sync_interval_ms: 200}",
               "f.yaml:4: membership.sync_interval_ms: ", "membership.gossip_interval_ms"},
        Broken{"membership: {preset: local, refused_suspicion_ms: 800}",
               "f.yaml:4: membership.refused_suspicion_ms: ", "membership.suspicion_mult"},
        Broken{"membership: {preset: moon}", "f.yaml:4: membership.preset: ", "local, lan, wan"},
        Broken{"affinity: {preset: zope}", "f.yaml:4: affinity.preset: ", "tomcat, wildfly"},
        Broken{"affinity: {places: [cookie, body]}",
               "f.yaml:4: affinity.places[1]: ", "cookie, path, query, header, soap"},
        Broken{"affinity: {format: sealed}", "f.yaml:4: affinity.format: ", "security.keys_file"},
        Broken{"affinity: {header: \"a b\"}", "f.yaml:4: affinity.header: ", "is not a name"},
        Broken{"affinity: {delimiter: \"..\"}", "f.yaml:4: affinity.delimiter: ", "at most 1"},
        Broken{"affinity: {routes_max: 0}", "f.yaml:4: affinity.routes_max: ", "1 to 8"},
        Broken{"api: {listen: \"127.0.0.1:7400\"}",
               "f.yaml:4: api.listen: ", "port of cluster.listen"},
        Broken{"api: {listen: \"0.0.0.0:7402\"}", "f.yaml:4: api.listen: ", "security.insecure"},
        Broken{"security: {insecure: yes}", "f.yaml:4: security.insecure: ", "true or false"},
        Broken{"[a]: b", "f.yaml:4: ", "plain name"},
        Broken{"node: {name: a", "f.yaml:", "not YAML"},
        Broken{"---\nnode: {name: a}", "f.yaml:", "second YAML document"}));

TEST(ConfigLoaderTest, EveryErrorIsListedInTheOrderOfTheFile) {
  EXPECT_THAT(
      ErrorsAfterBase("node: {name: \"?\"}\nfoo: 1\nstore: {copies: 9}\nlog: {level: x}"),
      ElementsAre(StartsWith("f.yaml:4: node.name: "), StartsWith("f.yaml:5: foo: "),
                  StartsWith("f.yaml:6: store.copies: "), StartsWith("f.yaml:7: log.level: ")));
}

TEST(ConfigLoaderTest, AFileOfGarbageHasABoundedNumberOfErrors) {
  std::string yaml;
  for (int i = 0; i < 5'000; ++i) absl::StrAppend(&yaml, "field", i, ": 1\n");
  EXPECT_LE(Errors(yaml).size(), 100u);
  EXPECT_EQ(Errors(std::string(1'000, '[')).size(), 1u);
  EXPECT_EQ(Errors(std::string("\0\xff\xfe{", 4)).size(), 1u);
}

TEST(ConfigLoaderTest, ListeningBeyondLoopbackNeedsInsecure) {
  EXPECT_THAT(Errors(""),
              ElementsAre(HasSubstr("cluster.listen"), HasSubstr("cluster.forward_listen")));
  EXPECT_THAT(Errors("security: {insecure: true}"), IsEmpty());
}

TEST(ConfigLoaderTest, TheRefusalSaysWhatIsStillUnprotected) {
  const auto listen_error = [](const char* security) {
    for (const std::string& error : Errors(security)) {
      if (error.find("cluster.listen:") != std::string::npos) return error;
    }
    return std::string();
  };
  EXPECT_THAT(listen_error(""), HasSubstr("gossip (no security.keys_file) and the peers' gRPC"));
  EXPECT_THAT(listen_error("security: {keys_file: /k}"), Not(HasSubstr("gossip")));
  EXPECT_THAT(listen_error("security: {keys_file: /k}"),
              HasSubstr("the peers' gRPC (no security.tls_cert_file)"));
  const char* tls = "security: {tls_ca_file: /a, tls_cert_file: /c, tls_key_file: /k}";
  EXPECT_THAT(listen_error(tls), HasSubstr("and gossip (no security.keys_file) would"));
  EXPECT_EQ(listen_error("security: {keys_file: /g, tls_ca_file: /a, tls_cert_file: /c, "
                         "tls_key_file: /k}"),
            "");
  // Peers that forward prove themselves with the gossip keys.
  EXPECT_THAT(Errors(tls),
              Contains(AllOf(HasSubstr("cluster.forward_listen"), HasSubstr("HTTP forwarded"))));
  EXPECT_THAT(Errors("security: {keys_file: /k}"),
              Not(Contains(HasSubstr("cluster.forward_listen"))));
}

TEST(ConfigLoaderTest, RecordsHaveKeysOfTheirOwn) {
  const std::string gossip = "security: {insecure: true, keys_file: /k}\n";
  EXPECT_THAT(Errors(gossip + "store: {encryption_keys_file: /k}"),
              ElementsAre(AllOf(HasSubstr("store.encryption_keys_file: "),
                                HasSubstr("may not be security.keys_file"))));
  EXPECT_THAT(Errors(gossip + "store: {encryption_keys_file: /r}"), IsEmpty());
}

TEST(ConfigLoaderTest, TlsTakesAllThreeFilesOrNone) {
  const std::string base = "security: {insecure: true, ";
  EXPECT_THAT(Errors(base + "tls_ca_file: /a, tls_cert_file: /c, tls_key_file: /k}"), IsEmpty());
  EXPECT_THAT(
      Errors(base + "tls_cert_file: /c}"),
      ElementsAre(AllOf(HasSubstr("security.tls_cert_file: "),
                        HasSubstr("needs security.tls_ca_file and security.tls_key_file"))));
  EXPECT_THAT(Errors(base + "tls_ca_file: /a, tls_cert_file: /c}"),
              ElementsAre(HasSubstr("needs security.tls_key_file too")));
  EXPECT_THAT(Errors(base + "tls_peer_san: roost}"),
              ElementsAre(AllOf(HasSubstr("security.tls_peer_san: "), HasSubstr("needs"))));
  EXPECT_THAT(Errors(base + "tls_peer_san: \"" + std::string(256, 'a') + "\"}"),
              Contains(HasSubstr("255")));
}

TEST(ConfigLoaderTest, DiscoveryFieldsAreChecked) {
  const std::string base = "security: {insecure: true}\n";
  EXPECT_THAT(Errors(base + "cluster: {seeds: [\"srv:_roost._udp.example\", \"web:7400\"], "
                            "multicast: \"239.1.2.3:7409\", seeds_file: /s, expect: 3}"),
              IsEmpty());
  for (const char* bad :
       {"cluster: {multicast: \"10.0.0.1:7409\"}", "cluster: {multicast: \"239.1.2.3:0\"}",
        "cluster: {multicast: \"[ff15::1]:7409\"}", "cluster: {multicast: here}",
        "cluster: {multicast: \"239.1.2.3:7409\", listen: \"[::1]:7400\"}", "cluster: {expect: 0}",
        "cluster: {expect: 1001}", "cluster: {seeds: [\"srv:\"]}",
        "cluster: {seeds: [\"srv:a b\"]}"}) {
    EXPECT_EQ(Errors(base + bad).size(), 1u) << bad;
  }
}

TEST(ConfigLoaderTest, FencedIsRefusedWhereItWouldNotHold) {
  EXPECT_THAT(ErrorsAfterBase("store: {fenced_namespaces: [seats], fsync: always}\n"), IsEmpty());
  EXPECT_THAT(ErrorsAfterBase("store: {fenced_namespaces: [seats],\n"
                              "        fenced_failures: killed_processes}\n"),
              IsEmpty());
  EXPECT_THAT(ErrorsAfterBase("store:\n  fsync: interval\n  fenced_namespaces: [seats]\n"),
              ElementsAre(StartsWith("f.yaml:5: store.fsync: must be always")));
  EXPECT_THAT(ErrorsAfterBase("store: {witness: true}\n"),
              ElementsAre(StartsWith("f.yaml:4: store.witness: a witness has a part in fenced")));
  EXPECT_THAT(ErrorsAfterBase("store: {fenced_namespaces: [a, b, a], fsync: always}\n"),
              ElementsAre("f.yaml:4: store.fenced_namespaces: holds a name twice"));
  EXPECT_THAT(ErrorsAfterBase("store: {fenced_namespaces: [\"a b\"], fsync: always}\n"),
              ElementsAre(HasSubstr("may hold only letters, digits")));
  EXPECT_THAT(ErrorsAfterBase(absl::StrCat("store: {fsync: always, fenced_namespaces: [",
                                           std::string(65, 'n'), "]}\n")),
              ElementsAre(HasSubstr("longer than 64 characters")));
}

TEST(ConfigLoaderTest, TooFewPlacesAreRefusedWithTheArithmetic) {
  const auto errors =
      ErrorsAfterBase("store: {fenced_namespaces: [a], fsync: always, fenced_copies: 1}\n");
  ASSERT_EQ(errors.size(), 1u);
  EXPECT_THAT(errors[0],
              StartsWith("f.yaml:4: store.fenced_copies: with 1 a fenced session has 2 places, of "
                         "which a majority is 2: it would survive the loss of 0 nodes. Set it to 2 "
                         "(3 places, majority 2, survives 1)"));
  EXPECT_THAT(errors[0], HasSubstr("store.witness: true"));
}

TEST(ConfigLoaderTest, VisitorsOfFencedSessionsWaitForTheirTakeover) {
  const auto wait_ms = [](const std::string& yaml) {
    return ParseConfig(kBase + yaml, "f.yaml", {}).config.grace().wait_ms();
  };
  EXPECT_EQ(wait_ms("store: {fenced_namespaces: [seats]}\n"), 2'000) << "another namespace";
  EXPECT_EQ(wait_ms("store: {fenced_namespaces: [default]}\n"), 4'000);
  EXPECT_EQ(wait_ms("store: {fenced_namespaces: [default], lease_ms: 500ms}\n"), 2'000);
  EXPECT_EQ(wait_ms("store: {fenced_namespaces: [default]}\ngrace: {wait_ms: 1s}\n"), 1'000);
}

TEST(ConfigLoaderTest, TheEnvironmentOverridesTheFile) {
  const LoadedConfig loaded =
      ParseConfig(absl::StrCat(kBase, "node: {name: file}\nproxy: {threads: 3}"), "f.yaml",
                  {{"ROOST_NODE_NAME", "env"},
                   {"ROOST_CLUSTER_SEEDS", "10.0.0.1:1, 10.0.0.2:2"},
                   {"ROOST_STORE_ACK_TIMEOUT_MS", "3s"},
                   {"ROOST_API", "127.0.0.1:1"},              // roostctl's.
                   {"ROOST_PROXY_SERVICE_HOST", "10.0.0.9"},  // Kubernetes'.
                   {"ROOST_PROXY_PORT_8000_TCP", "tcp://10.0.0.9:1"}});
  ASSERT_THAT(loaded.errors, IsEmpty()) << loaded.errors[0].ToString();
  EXPECT_EQ(loaded.config.node().name(), "env");
  EXPECT_THAT(loaded.config.cluster().seeds(), ElementsAre("10.0.0.1:1", "10.0.0.2:2"));
  EXPECT_EQ(loaded.config.store().ack_timeout_ms(), 3'000);
  EXPECT_EQ(loaded.config.proxy().threads(), 3);
}

TEST(ConfigLoaderTest, BadVariablesAreNamed) {
  EXPECT_THAT(Errors(kBase, {{"ROOST_STORE_COPIES", "many"}}),
              ElementsAre(StartsWith("ROOST_STORE_COPIES: store.copies: ")));
  EXPECT_THAT(Errors(kBase, {{"ROOST_STORE_COPIES", "10"}}),
              ElementsAre(StartsWith("ROOST_STORE_COPIES: store.copies: ")));
  EXPECT_THAT(Errors(kBase, {{"ROOST_STORE_COPYS", "1"}}),
              ElementsAre(HasSubstr("ROOST_STORE_COPYS: no field")));
}

TEST(ConfigLoaderTest, FilesThatCannotBeReadAreErrors) {
  const std::string dir = std::getenv("TEST_TMPDIR");
  EXPECT_EQ(LoadConfigFile(dir + "/none.yaml", {}).errors.size(), 1u);
  EXPECT_EQ(LoadConfigFile(dir, {}).errors.size(), 1u);
  std::ofstream(dir + "/large.yaml") << std::string(kConfigFileBytesMax + 1, '#');
  const auto large = LoadConfigFile(dir + "/large.yaml", {}).errors;
  ASSERT_EQ(large.size(), 1u);
  EXPECT_THAT(large[0].ToString(), HasSubstr("larger than"));
}

TEST(ConfigLoaderTest, PrintedConfigurationReadsBackTheSame) {
  const LoadedConfig loaded =
      ParseConfig(absl::StrCat(kBase,
                               "node: {name: \"1\", zone: \"null\"}\nstore: {ack: all}\n"
                               "proxy: {trusted_proxies: [10.0.0.0/8, \"::1\"]}"),
                  "f.yaml", {});
  ASSERT_THAT(loaded.errors, IsEmpty()) << loaded.errors[0].ToString();
  const std::string yaml = ConfigToYaml(loaded.config);
  const LoadedConfig again = ParseConfig(yaml, "printed", {});
  ASSERT_THAT(again.errors, IsEmpty()) << again.errors[0].ToString() << "\n" << yaml;
  EXPECT_EQ(again.config.SerializeAsString(), loaded.config.SerializeAsString()) << yaml;
}

TEST(ConfigLoaderTest, EveryExamplePassesTheCheck) {
  int examples = 0;
  for (const auto& entry : std::filesystem::directory_iterator("deploy/examples")) {
    if (entry.path().extension() != ".yaml") continue;
    ++examples;
    const LoadedConfig loaded = LoadConfigFile(entry.path(), {});
    for (const ConfigError& error : loaded.errors) ADD_FAILURE() << error.ToString();
    EXPECT_TRUE(CheckOptions(loaded.config).ok()) << CheckOptions(loaded.config);
  }
  EXPECT_GE(examples, 1);
}

TEST(ConfigValuesTest, FormatsReadBack) {
  for (int64_t value : {0L, 1L, 500L, 1'000L, 90'000L, 3'600'000L, 1L << 40}) {
    EXPECT_EQ(ParseDurationMs(FormatDurationMs(value)), value);
    EXPECT_EQ(ParseBytes(FormatBytes(value)), value);
  }
  EXPECT_EQ(FormatDurationMs(90'000), "90s");
  EXPECT_EQ(FormatBytes(64 << 10), "64KiB");
}

TEST(ConfigValuesTest, RefusesWhatIsNoValue) {
  for (const char* text : {"", "s", "-1s", "1.5s", "1 s", "1S", "9223372036854775807h", " 1s"}) {
    EXPECT_FALSE(ParseDurationMs(text).has_value()) << text;
  }
  for (const char* text : {"", "KiB", "1kB", "1KB", "9223372036854775807GiB"}) {
    EXPECT_FALSE(ParseBytes(text).has_value()) << text;
  }
}

}  // namespace
}  // namespace roost::sidecar

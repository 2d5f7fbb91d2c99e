#include "sidecar/config_presets.h"

#include <cassert>
#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "google/protobuf/descriptor.h"
#include "sidecar/config_fields.h"

namespace roost::sidecar {
namespace {

// The values of `lan` are the defaults (config_rules.h).
struct PresetRow {
  absl::string_view field;
  int64_t local;
  int64_t wan;
};

constexpr PresetRow kRows[] = {
    {"probe_interval_ms", 250, 2'500},   {"probe_timeout_ms", 60, 800},
    {"nack_timeout_ms", 60, 700},        {"suspicion_mult", 3, 4},
    {"suspicion_max_mult", 4, 6},        {"refused_suspicion_ms", 100, 1'000},
    {"gossip_interval_ms", 50, 250},     {"gossip_fanout", 3, 4},
    {"sync_interval_ms", 5'000, 30'000}, {"rejoin_interval_ms", 1'000, 10'000},
};

struct AffinityRow {
  config::v1::AffinityPreset preset;
  absl::string_view field;
  absl::string_view text;  // Entries of lists: separated by ','.
};

constexpr AffinityRow kAffinityRows[] = {
    {config::v1::tomcat, "affinity.format", "id_route"},
    {config::v1::tomcat, "affinity.places", "cookie,path"},
    {config::v1::wildfly, "affinity.format", "ranked"},
    {config::v1::wildfly, "affinity.places", "cookie,path"},
    {config::v1::wildfly, "affinity.routes_by", "roost"},
    {config::v1::wicket, "affinity.format", "id_route"},
    {config::v1::wicket, "affinity.places", "cookie,path"},
    {config::v1::ofbiz, "affinity.format", "id_route"},
    {config::v1::ofbiz, "affinity.places", "cookie,path"},
    {config::v1::wso2, "affinity.format", "id_route"},
    {config::v1::wso2, "affinity.places", "soap,cookie,path"},
    {config::v1::express, "proxy.cookie", "connect.sid"},
    {config::v1::express, "affinity.form", "signed"},
    {config::v1::php, "proxy.cookie", "PHPSESSID"},
    {config::v1::django, "proxy.cookie", "sessionid"},
    {config::v1::rails, "proxy.cookie", "_session_id"},
    {config::v1::spring, "proxy.cookie", "SESSION"},
    {config::v1::spring, "affinity.form", "base64"},
    {config::v1::aspnet, "proxy.cookie", ".AspNetCore.Session"},
    {config::v1::socketio, "affinity.places", "query"},
    {config::v1::socketio, "affinity.query_parameter", "sid"},
    {config::v1::socketio, "affinity.learn_socketio", "true"},
    {config::v1::mcp, "affinity.places", "header"},
    {config::v1::mcp, "affinity.header", "Mcp-Session-Id"},
};

}  // namespace

void ApplyPreset(const std::function<bool(absl::string_view)>& given,
                 config::v1::Membership* membership) {
  using config::v1::Membership;
  using google::protobuf::FieldDescriptor;
  if (membership->preset() != Membership::local && membership->preset() != Membership::wan) return;
  const auto* reflection = membership->GetReflection();
  for (const PresetRow& row : kRows) {
    if (given(absl::StrCat("membership.", row.field))) continue;
    const FieldDescriptor* field =
        membership->GetDescriptor()->FindFieldByName(std::string(row.field));
    assert(field != nullptr);
    const int64_t value = membership->preset() == Membership::local ? row.local : row.wan;
    if (field->cpp_type() == FieldDescriptor::CPPTYPE_INT64) {
      reflection->SetInt64(membership, field, value);
    } else {
      reflection->SetInt32(membership, field, static_cast<int32_t>(value));
    }
  }
}

void ApplyAffinityPreset(const std::function<bool(absl::string_view)>& given,
                         config::v1::Config* config) {
  using google::protobuf::FieldDescriptor;
  using google::protobuf::Message;
  ForEachField(config,
               [&](const std::string& path, Message* section, const FieldDescriptor* field) {
                 if (given(path)) return;
                 for (const AffinityRow& row : kAffinityRows) {
                   if (row.preset != config->affinity().preset() || row.field != path) continue;
                   for (const absl::string_view text : absl::StrSplit(row.text, ',')) {
                     const std::string problem = SetFieldFromText(section, field, text);
                     assert(problem.empty());
                     (void)problem;
                   }
                 }
                 // A list has no default of its own.
                 if (path == "affinity.places" && config->affinity().places().empty()) {
                   config->mutable_affinity()->add_places("cookie");
                 }
               });
}

}  // namespace roost::sidecar

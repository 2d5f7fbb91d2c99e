#include "sidecar/config_presets.h"

#include <cassert>
#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"
#include "google/protobuf/descriptor.h"

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

}  // namespace roost::sidecar

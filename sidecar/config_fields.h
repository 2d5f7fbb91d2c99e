// Walks and fills proto/config.proto by reflection: text to field, field to text.
#pragma once

#include <functional>
#include <string>

#include "absl/strings/string_view.h"
#include "google/protobuf/message.h"

namespace roost::sidecar {

// Calls `visit(path, section, field)` for every leaf of `config`, e.g. "cluster.seeds", in the
// order of the schema. Sections that are not set are made.
void ForEachField(
    google::protobuf::Message* config,
    const std::function<void(const std::string& path, google::protobuf::Message* section,
                             const google::protobuf::FieldDescriptor* field)>& visit);

// Writes (or, for a list, appends) `text` as the field's type, and by its name as a duration or a
// size, wants it. Empty if that worked, else the reason why not.
std::string SetFieldFromText(google::protobuf::Message* section,
                             const google::protobuf::FieldDescriptor* field,
                             absl::string_view text);

// The text that SetFieldFromText reads back; `index` is the entry of a list, else ignored.
std::string FieldToText(const google::protobuf::Message& section,
                        const google::protobuf::FieldDescriptor* field, int index);

// An integer field in the words of the file: "500ms", "64KiB" or "3".
std::string IntegerToText(const google::protobuf::FieldDescriptor* field, int64_t value);

// Of an integer, boolean or enumeration.
int64_t NumberOf(const google::protobuf::Message& section,
                 const google::protobuf::FieldDescriptor* field);

}  // namespace roost::sidecar

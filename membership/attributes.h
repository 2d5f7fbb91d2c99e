// Attributes are free names and values that a member tells of itself: its rack, its version,
// whatever its operator likes. Gossip carries a digest of them, and the values themselves only
// where they are small.
//
// An immutable value, cheap to copy. Any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace roost::membership {

class Attributes {
 public:
  using Map = std::map<std::string, std::string>;

  static constexpr size_t kCountMax = 32;
  static constexpr size_t kNameBytesMax = 64;
  static constexpr size_t kValueBytesMax = 1'024;
  // Names and values, together.
  static constexpr size_t kBytesMax = 4'096;

  // None.
  Attributes() = default;
  // INVALID_ARGUMENT, naming the rule, unless there are at most kCountMax and kBytesMax, names are
  // [A-Za-z0-9_.-] and values are valid UTF-8 without control characters. Values are not repeated.
  static absl::StatusOr<Attributes> Create(Map values);

  const Map& values() const;
  bool empty() const { return content_ == nullptr; }
  // 0 exactly if there are none; the same on every node for the same names and values.
  uint64_t digest() const { return content_ == nullptr ? 0 : content_->digest; }
  // Names and values, together.
  size_t bytes() const { return content_ == nullptr ? 0 : content_->bytes; }

  friend bool operator==(const Attributes& a, const Attributes& b) {
    return a.content_ == b.content_ || a.values() == b.values();
  }

 private:
  struct Content {
    Map values;
    uint64_t digest = 0;
    size_t bytes = 0;
  };

  std::shared_ptr<const Content> content_;
};

}  // namespace roost::membership

// Seeds as they are written in cluster.seeds and in the file of cluster.seeds_file. Any thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace roost::membership {

inline constexpr size_t kSeedsMax = 256;
inline constexpr size_t kSeedsFileBytesMax = 64 << 10;

struct Seed {
  enum class Kind : uint8_t {
    kHost,  // A name or an IP literal, asked for A and AAAA.
    kSrv,   // A name asked for SRV (RFC 2782): hosts with ports.
  };
  Kind kind = Kind::kHost;
  std::string host;
  uint16_t port = 0;  // kHost

  friend bool operator==(const Seed&, const Seed&) = default;
};

// "IP:PORT", "[IPV6]:PORT", "NAME:PORT" or "srv:NAME". INVALID_ARGUMENT otherwise, with the text.
absl::StatusOr<Seed> ParseSeed(absl::string_view text);

// One seed a line; blank lines and lines that start with '#' are skipped. INVALID_ARGUMENT, with
// the line's number, if one is malformed; more than kSeedsMax or kSeedsFileBytesMax are an error
// too.
absl::StatusOr<std::vector<Seed>> ParseSeedsFile(absl::string_view text);

}  // namespace roost::membership

// What two members say to each other to make their member tables equal, as plain structs
// (proto/member_sync.proto is the same on the wire).
//
// The asker sends digests of its table, by buckets of node ids; the answer holds the answerer's
// claims in the buckets that differ, and the asker then tells what the answerer lacks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "membership/address.h"
#include "membership/core/list_message.h"
#include "membership/core/message.h"
#include "membership/core/ordered_list.h"
#include "membership/node_id.h"

namespace roost::membership {

inline constexpr size_t kSyncBucketsMax = 1'024;
// Claims of one request or answer, encoded; an answer may hold a whole member list besides.
inline constexpr size_t kSyncClaimBytesMax = 256 * 1'024;
// No request or answer is larger.
inline constexpr size_t kSyncBytesMax = 1'024 * 1'024;

struct SyncRequest {
  NodeId sender;
  uint64_t sender_boot_epoch = 0;
  ListTag tag;                 // Which member list the sender holds...
  uint64_t lineage = 0;        // ...and of which lineage it wants a newer one; 0: none.
  std::vector<Update> claims;  // For the answerer; the sender's own comes first.
  // Of every bucket; their number is a power of two. Empty: nothing is asked.
  std::vector<uint64_t> digests;
  // Only these are to be compared; empty: all.
  std::vector<uint32_t> buckets;

  friend bool operator==(const SyncRequest&, const SyncRequest&) = default;
};

struct SyncAnswer {
  NodeId sender;
  uint64_t sender_boot_epoch = 0;
  ListTag tag;
  std::vector<Update> claims;
  std::vector<uint32_t> answered;   // Buckets that differ, all of whose claims are in `claims`.
  std::vector<uint32_t> left_over;  // Buckets that differ and found no room: to be asked again.
  std::optional<OrderedList> list;

  friend bool operator==(const SyncAnswer&, const SyncAnswer&) = default;
};

// A call to make. The shell reports its outcome exactly once, with the token.
struct SyncCall {
  uint64_t token = 0;
  Address to;  // tcp
  SyncRequest request;
};

enum class SyncFailure : uint8_t {
  kBusy,         // It answers too many; later.
  kUnavailable,  // Not reached, no answer in time, or it does not know this call.
};

// Of one claim in a request or an answer, its attributes included. Never less than it takes.
size_t SyncBytesMax(const Update& update);

}  // namespace roost::membership

// DatagramCodec turns messages into what goes over the network and back, sealed if there are keys,
// and counts what it refuses by reason.
//
// Owner: GossipLoop. Thread: gossip loop only.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "membership/address.h"
#include "membership/core/message.h"
#include "membership/io/gossip_seal.h"
#include "membership/io/gossip_wire.h"
#include "membership/keyring.h"
#include "membership/observer.h"
#include "membership/steady_time.h"

namespace roost::membership {

class DatagramCodec {
 public:
  // At most once a minute: a datagram of this address was refused for this reason.
  using Report = std::function<void(absl::string_view reason, const Address& from)>;

  // Without `keys` nothing is sealed. `counters` outlives this.
  DatagramCodec(std::string cluster, KeyringPtr keys, Counters* counters, Report report);

  // REQUIRES: there were keys from the start.
  void SetKeys(KeyringPtr keys);
  // At most kDatagramBytesMax.
  std::string Encode(const Message& message);
  // `bytes` is the size of the datagram, of which `buffer` may hold less. Nothing if it was
  // refused.
  std::optional<Message> Decode(SteadyTime now, const Address& from, absl::string_view buffer,
                                size_t bytes);

 private:
  // Why a datagram is refused; no counter: it is not.
  struct Refusal {
    absl::string_view reason;
    std::atomic<uint64_t> Counters::*counter = nullptr;
  };

  static Refusal ToRefusal(WireFault fault);
  static Refusal ToRefusal(SealFault fault);
  Refusal Open(absl::string_view datagram, Message* message);

  const std::string cluster_;
  Counters* const counters_;
  const Report report_;
  std::optional<GossipSeal> seal_;
  SteadyTime next_report_{};
};

}  // namespace roost::membership

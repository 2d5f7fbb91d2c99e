// TicketKeys are what TLS session tickets (RFC 5077, RFC 8446 section 4.6.1) are sealed with, so
// that a visitor who lands on another node resumes there without a full handshake.
//
// Nodes exchange nothing: each derives the key of a period from a secret that all of them have and
// from the period's number (HKDF, RFC 5869, over SHA-256). A ticket is sealed with the present
// period's key and opened with that of the present, the previous and the next one, so clocks may
// differ by a period and a ticket lives for one to two.
//
// Immutable value. Any thread.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

namespace roost::proxy {

inline constexpr size_t kTicketSecretBytes = 32;
using TicketSecret = std::array<uint8_t, kTicketSecretBytes>;

inline constexpr int64_t kTicketPeriodSeconds = 12 * 3'600;

struct TicketKey {
  std::array<uint8_t, 16> name;  // Travels in the ticket, in the clear.
  std::array<uint8_t, 32> seal;  // AES-256-CBC.
  std::array<uint8_t, 32> mac;   // HMAC-SHA-256.
};

class TicketKeys {
 public:
  // The first secret seals, all open. REQUIRES: at least one.
  explicit TicketKeys(std::vector<TicketSecret> secrets);

  TicketKey Sealing(int64_t unix_s) const;
  struct Opening {
    TicketKey key;
    bool renew;  // Of another period or secret than what is sealed with now.
  };
  std::optional<Opening> Find(const std::array<uint8_t, 16>& name, int64_t unix_s) const;

 private:
  const std::vector<TicketSecret> secrets_;
};

}  // namespace roost::proxy

#include "proxy/core/proxy_preamble.h"

#include <algorithm>
#include <array>
#include <boost/crc.hpp>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace roost::proxy {
namespace {

constexpr absl::string_view kSignature1 = "PROXY ";
constexpr absl::string_view kSignature2("\r\n\r\n\0\r\nQUIT\n", 12);
constexpr size_t kLineBytesMax = 107;  // CRLF included.

// Version 2: signature, version and command, family and transport, length.
constexpr size_t kHeader2Bytes = 16;
constexpr uint8_t kVersion2 = 0x20;
constexpr uint8_t kCommandLocal = 0x0;
constexpr uint8_t kCommandProxy = 0x1;
constexpr uint8_t kFamilyUnspecified = 0x0;
constexpr uint8_t kFamilyV4 = 0x1;
constexpr uint8_t kFamilyV6 = 0x2;
constexpr uint8_t kFamilyUnix = 0x3;
constexpr uint8_t kTransportDatagram = 0x2;
constexpr uint8_t kTlvCrc32c = 0x03;
constexpr uint8_t kTlvSsl = 0x20;
constexpr uint8_t kSslClient = 0x01;

uint8_t Byte(absl::string_view in, size_t at) { return static_cast<uint8_t>(in[at]); }
uint16_t Big16(absl::string_view in, size_t at) {
  return static_cast<uint16_t>(Byte(in, at) << 8 | Byte(in, at + 1));
}

bool ParsePort(absl::string_view text, uint16_t* port) {
  uint32_t value = 0;
  const bool digits =
      !text.empty() && text.size() <= 5 &&
      std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; }) &&
      (text.size() == 1 || text[0] != '0');
  if (!digits || !absl::SimpleAtoi(text, &value) || value > 65'535) return false;
  *port = static_cast<uint16_t>(value);
  return true;
}

std::optional<membership::Address> ParseHost(absl::string_view text, bool v6) {
  if ((text.find(':') != absl::string_view::npos) != v6) return std::nullopt;
  return membership::Address::Parse(v6 ? absl::StrCat("[", text, "]:0") : absl::StrCat(text, ":0"));
}

// "TCP4 SOURCE DESTINATION SOURCE_PORT DESTINATION_PORT", or "UNKNOWN" and anything.
bool ParseLine(absl::string_view line, ProxyPreamble* out) {
  const std::vector<absl::string_view> words = absl::StrSplit(line, ' ');
  if (words[0] == "UNKNOWN") return true;
  if (words.size() != 5 || (words[0] != "TCP4" && words[0] != "TCP6")) return false;
  const bool v6 = words[0] == "TCP6";
  out->client = ParseHost(words[1], v6);
  uint16_t to_port = 0;
  return out->client.has_value() && ParseHost(words[2], v6).has_value() &&
         ParsePort(words[3], &out->client->port) && ParsePort(words[4], &to_port);
}

PreambleStatus ParseVersion1(absl::string_view in, ProxyPreamble* out) {
  const absl::string_view head = in.substr(0, kLineBytesMax);
  const size_t end = head.find("\r\n");
  if (end == absl::string_view::npos) {
    return in.size() < kLineBytesMax ? PreambleStatus::kIncomplete : PreambleStatus::kBad;
  }
  out->size = end + 2;
  return ParseLine(head.substr(kSignature1.size(), end - kSignature1.size()), out)
             ? PreambleStatus::kComplete
             : PreambleStatus::kBad;
}

// Of the whole preamble, with the checksum's own four bytes taken as zero.
bool ChecksumMatches(absl::string_view preamble, size_t at) {
  boost::crc_optimal<32, 0x1EDC6F41, 0xFFFFFFFF, 0xFFFFFFFF, true, true> crc;
  constexpr std::array<char, 4> kZeros{};
  crc.process_bytes(preamble.data(), at);
  crc.process_bytes(kZeros.data(), kZeros.size());
  crc.process_bytes(preamble.data() + at + 4, preamble.size() - at - 4);
  const uint32_t sent = static_cast<uint32_t>(Big16(preamble, at)) << 16 | Big16(preamble, at + 2);
  return crc.checksum() == sent;
}

// Type, length in two bytes, value; unknown types are skipped.
bool ParseTlvs(absl::string_view preamble, size_t at, ProxyPreamble* out) {
  while (at < preamble.size()) {
    if (preamble.size() - at < 3) return false;
    const uint8_t type = Byte(preamble, at);
    const size_t size = Big16(preamble, at + 1);
    at += 3;
    if (preamble.size() - at < size) return false;
    if (type == kTlvCrc32c && (size != 4 || !ChecksumMatches(preamble, at))) return false;
    if (type == kTlvSsl) {
      if (size < 5) return false;
      out->tls = (Byte(preamble, at) & kSslClient) != 0;
    }
    at += size;
  }
  return true;
}

// Where the TLVs begin: behind the addresses. 0: malformed.
size_t ParseAddresses(absl::string_view preamble, ProxyPreamble* out) {
  const uint8_t family = Byte(preamble, 13) >> 4;
  const uint8_t transport = Byte(preamble, 13) & 0xf;
  if (family > kFamilyUnix || transport > kTransportDatagram) return 0;
  constexpr std::array<size_t, 4> kBytes = {0, 12, 36, 216};
  const size_t end = kHeader2Bytes + kBytes[family];
  if (preamble.size() < end) return 0;
  if (family == kFamilyUnspecified || family == kFamilyUnix) return end;
  if (transport == kTransportDatagram) return 0;  // HTTP/1.1 does not come in datagrams.
  membership::Address client;
  if (family == kFamilyV4) {
    client = membership::Address::V4(
        static_cast<uint32_t>(Big16(preamble, 16)) << 16 | Big16(preamble, 18),
        Big16(preamble, 24));
  } else {
    std::copy_n(preamble.begin() + 16, 16, client.ip.begin());
    client.port = Big16(preamble, 48);
  }
  out->client = client;
  return end;
}

PreambleStatus ParseVersion2(absl::string_view in, ProxyPreamble* out) {
  if (in.size() < kHeader2Bytes) return PreambleStatus::kIncomplete;
  const uint8_t command = Byte(in, 12) & 0xf;
  if ((Byte(in, 12) & 0xf0) != kVersion2 || command > kCommandProxy) return PreambleStatus::kBad;
  out->size = kHeader2Bytes + Big16(in, 14);
  if (out->size > kPreambleBytesMax) return PreambleStatus::kBad;
  if (in.size() < out->size) return PreambleStatus::kIncomplete;
  if (command == kCommandLocal) return PreambleStatus::kComplete;
  const absl::string_view preamble = in.substr(0, out->size);
  const size_t tlvs = ParseAddresses(preamble, out);
  return tlvs > 0 && ParseTlvs(preamble, tlvs, out) ? PreambleStatus::kComplete
                                                    : PreambleStatus::kBad;
}

// Whether `in` begins with `signature`, as far as it goes.
bool MayBegin(absl::string_view in, absl::string_view signature) {
  const size_t n = std::min(in.size(), signature.size());
  return in.substr(0, n) == signature.substr(0, n);
}

}  // namespace

PreambleStatus ParseProxyPreamble(absl::string_view in, ProxyPreamble* out) {
  *out = ProxyPreamble();
  if (absl::StartsWith(in, kSignature1)) return ParseVersion1(in, out);
  if (absl::StartsWith(in, kSignature2)) return ParseVersion2(in, out);
  return MayBegin(in, kSignature1) || MayBegin(in, kSignature2) ? PreambleStatus::kIncomplete
                                                                : PreambleStatus::kBad;
}

}  // namespace roost::proxy

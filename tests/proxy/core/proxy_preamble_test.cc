#include "proxy/core/proxy_preamble.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace roost::proxy {
namespace {

const std::string kSignature("\r\n\r\n\0\r\nQUIT\n", 12);

std::string Big16(size_t value) {
  return {static_cast<char>(value >> 8), static_cast<char>(value & 0xff)};
}

std::string Version2(char version_and_command, char family, const std::string& rest) {
  return absl::StrCat(kSignature, std::string(1, version_and_command), std::string(1, family),
                      Big16(rest.size()), rest);
}

std::string Tlv(char type, const std::string& value) {
  return absl::StrCat(std::string(1, type), Big16(value.size()), value);
}

// 192.0.2.7:40000 to 192.0.2.1:443.
const std::string kV4("\xc0\x00\x02\x07\xc0\x00\x02\x01\x9c\x40\x01\xbb", 12);

// What the preamble says, or how parsing ended.
std::string Parse(absl::string_view in) {
  ProxyPreamble preamble;
  switch (ParseProxyPreamble(in, &preamble)) {
    case PreambleStatus::kIncomplete:
      return "incomplete";
    case PreambleStatus::kBad:
      return "bad";
    case PreambleStatus::kComplete:
      break;
  }
  return absl::StrCat(preamble.client.has_value() ? preamble.client->ToString() : "none",
                      preamble.tls ? " tls" : "", " ", preamble.size);
}

TEST(ProxyPreambleTest, Version1) {
  EXPECT_EQ(Parse("PROXY TCP4 192.0.2.7 192.0.2.1 40000 443\r\nGET / HTTP/1.1\r\n"),
            "192.0.2.7:40000 42");
  EXPECT_EQ(Parse("PROXY TCP6 2001:db8::7 2001:db8::1 1 65535\r\n"), "[2001:db8::7]:1 44");
  EXPECT_EQ(Parse("PROXY UNKNOWN\r\nGET"), "none 15");
  EXPECT_EQ(Parse("PROXY UNKNOWN ffff:: ffff:: 65535 65535\r\n"), "none 41");
}

TEST(ProxyPreambleTest, MalformedVersion1) {
  for (const char* line : {
           "TCP4 192.0.2.7 192.0.2.1 40000",          // A word is missing.
           "TCP4 192.0.2.7 192.0.2.1 40000 443 1",    // One too many.
           "TCP4  192.0.2.7 192.0.2.1 40000 443",     // Two spaces.
           "TCP4 2001:db8::7 2001:db8::1 40000 443",  // The other family.
           "TCP6 192.0.2.7 192.0.2.1 40000 443",
           "TCP4 192.0.2 192.0.2.1 40000 443",  // Not an address.
           "TCP4 shop.example 192.0.2.1 40000 443",
           "TCP4 192.0.2.7 192.0.2.1 65536 443",  // Not a port.
           "TCP4 192.0.2.7 192.0.2.1 040 443",
           "TCP4 192.0.2.7 192.0.2.1 -1 443",
           "TCP4 192.0.2.7 192.0.2.1 40000 ",
           "UDP4 192.0.2.7 192.0.2.1 40000 443",
           "tcp4 192.0.2.7 192.0.2.1 40000 443",
           "",
       }) {
    EXPECT_EQ(Parse(absl::StrCat("PROXY ", line, "\r\n")), "bad") << line;
  }
  EXPECT_EQ(Parse("PROXY UNKNOWN " + std::string(93, 'x')), "bad") << "107 bytes and no end";
  EXPECT_EQ(Parse("PROXY UNKNOWN " + std::string(92, 'x')), "incomplete");
  EXPECT_EQ(Parse("PROXY UNKNOWN " + std::string(91, 'x') + "\r\n"), "none 107");
  EXPECT_EQ(Parse("GET / HTTP/1.1\r\n\r\n"), "bad");
  EXPECT_EQ(Parse("PROXYING"), "bad");
}

TEST(ProxyPreambleTest, Version2) {
  EXPECT_EQ(Parse(Version2('\x21', '\x11', kV4) + "GET"), "192.0.2.7:40000 28");
  std::string v6(36, '\0');
  v6[15] = v6[31] = 1;
  v6[33] = 80;
  EXPECT_EQ(Parse(Version2('\x21', '\x21', v6)), "[::1]:80 52");
  EXPECT_EQ(Parse(Version2('\x20', '\x00', "")), "none 16") << "LOCAL";
  EXPECT_EQ(Parse(Version2('\x20', '\x11', kV4)), "none 28") << "LOCAL, addresses ignored";
  EXPECT_EQ(Parse(Version2('\x21', '\x00', Tlv(4, "x"))), "none 20") << "UNSPEC";
  EXPECT_EQ(Parse(Version2('\x21', '\x31', std::string(216, 'u'))), "none 232") << "unix socket";
}

TEST(ProxyPreambleTest, MalformedVersion2) {
  EXPECT_EQ(Parse(Version2('\x11', '\x11', kV4)), "bad") << "version 1";
  EXPECT_EQ(Parse(Version2('\x22', '\x11', kV4)), "bad") << "command 2";
  EXPECT_EQ(Parse(Version2('\x21', '\x12', kV4)), "bad") << "datagrams";
  EXPECT_EQ(Parse(Version2('\x21', '\x41', kV4)), "bad") << "family 4";
  EXPECT_EQ(Parse(Version2('\x21', '\x13', kV4)), "bad") << "transport 3";
  EXPECT_EQ(Parse(Version2('\x21', '\x11', kV4.substr(1))), "bad") << "too short for its family";
  EXPECT_EQ(Parse(Version2('\x21', '\x21', kV4)), "bad");
  EXPECT_EQ(Parse(Version2('\x21', '\x11', kV4 + "\x04")), "bad") << "half a TLV";
  EXPECT_EQ(Parse(Version2('\x21', '\x11', kV4 + std::string("\x04\x00\x02x", 4))), "bad");
  EXPECT_EQ(Parse(Version2('\x21', '\x11', kV4 + std::string(kPreambleBytesMax, '\0'))), "bad")
      << "over the limit";
}

TEST(ProxyPreambleTest, TlvsOfVersion2) {
  const std::string ssl("\x01\x00\x00\x00\x00", 5), clear(5, '\0');
  EXPECT_EQ(Parse(Version2('\x21', '\x11', kV4 + Tlv(0x20, ssl))), "192.0.2.7:40000 tls 36");
  EXPECT_EQ(Parse(Version2('\x21', '\x11', kV4 + Tlv(0x20, clear))), "192.0.2.7:40000 36");
  EXPECT_EQ(Parse(Version2('\x21', '\x11', kV4 + Tlv(0x20, "abcd"))), "bad");
  EXPECT_EQ(Parse(Version2('\x21', '\x11', kV4 + Tlv(0x7f, "?") + Tlv(0x20, ssl))),
            "192.0.2.7:40000 tls 40");
}

TEST(ProxyPreambleTest, ChecksumIsVerified) {
  // CRC-32C of the preamble with the checksum's own bytes zero, computed with another program.
  const std::string right("\xcf\x66\x39\xa9", 4);
  EXPECT_EQ(Parse(Version2('\x21', '\x11', kV4 + Tlv(3, right))), "192.0.2.7:40000 35");
  std::string wrong = right;
  wrong[3] ^= 1;
  EXPECT_EQ(Parse(Version2('\x21', '\x11', kV4 + Tlv(3, wrong))), "bad");
  EXPECT_EQ(Parse(Version2('\x21', '\x11', kV4 + Tlv(3, right.substr(1)))), "bad");
}

TEST(ProxyPreambleTest, EveryPrefixIsIncomplete) {
  for (const std::string& whole :
       {std::string("PROXY TCP4 192.0.2.7 192.0.2.1 40000 443\r\n"),
        Version2('\x21', '\x11', kV4 + Tlv(0x20, std::string("\x01\0\0\0\0", 5)))}) {
    for (size_t n = 0; n < whole.size(); ++n) {
      EXPECT_EQ(Parse(whole.substr(0, n)), "incomplete") << n;
    }
  }
}

}  // namespace
}  // namespace roost::proxy

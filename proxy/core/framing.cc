#include "proxy/core/framing.h"

#include <array>
#include <limits>
#include <vector>

#include "absl/strings/match.h"
#include "proxy/core/syntax.h"

namespace roost::proxy {
namespace {

// More names in Connection than this are an attack, not a message.
constexpr int kConnectionNamesMax = 16;

// What the fields say, collected in one pass.
struct Facts {
  ScanError error;
  const HeaderField* host = nullptr;
  const HeaderField* upgrade = nullptr;
  uint64_t content_length = 0;
  int content_lengths = 0;
  int hosts = 0;
  int upgrades = 0;
  int connection_names = 0;
  bool transfer_encoding = false;
  bool chunked_seen = false;
  bool chunked_last = false;
  bool unknown_coding = false;
  bool close = false;
  bool keep_alive = false;
  bool connection_upgrade = false;
  bool expects_continue = false;

  void Fail(int status, const char* reason) {
    if (error.status == 0) error = {status, reason};
  }
};

bool ParseLength(absl::string_view text, uint64_t* length) {
  if (text.empty()) return false;
  uint64_t n = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return false;
    const uint64_t digit = c - '0';
    if (n > (std::numeric_limits<int64_t>::max() - digit) / 10) return false;
    n = n * 10 + digit;
  }
  *length = n;
  return true;
}

void AddTransferEncoding(absl::string_view value, Facts* facts) {
  facts->transfer_encoding = true;
  ForEachElement(value, [facts](absl::string_view coding) {
    if (!IsToken(coding)) return facts->Fail(400, "Transfer-Encoding is malformed");
    facts->chunked_last = absl::EqualsIgnoreCase(coding, "chunked");
    if (!facts->chunked_last) {
      facts->unknown_coding = true;
    } else if (facts->chunked_seen) {
      facts->Fail(400, "Transfer-Encoding has chunked twice");
    }
    facts->chunked_seen |= facts->chunked_last;
  });
}

void AddConnection(absl::string_view value, Facts* facts) {
  ForEachElement(value, [facts](absl::string_view option) {
    if (absl::EqualsIgnoreCase(option, "close")) {
      facts->close = true;
    } else if (absl::EqualsIgnoreCase(option, "keep-alive")) {
      facts->keep_alive = true;
    } else if (absl::EqualsIgnoreCase(option, "upgrade")) {
      facts->connection_upgrade = true;
    } else if (!absl::EqualsIgnoreCase(option, "te") && IsToken(option)) {
      if (++facts->connection_names > kConnectionNamesMax) {
        facts->Fail(400, "Connection names more than 16 fields");
      }
    }
  });
}

Facts Collect(const std::vector<HeaderField>& fields) {
  Facts facts;
  for (const HeaderField& field : fields) {
    switch (field.id) {
      case FieldId::kHost:
        facts.host = &field;
        ++facts.hosts;
        break;
      case FieldId::kContentLength:
        if (++facts.content_lengths > 1) facts.Fail(400, "Content-Length is there twice");
        if (!ParseLength(field.value, &facts.content_length)) {
          facts.Fail(400, "Content-Length is not a number below 2^63");
        }
        break;
      case FieldId::kTransferEncoding:
        AddTransferEncoding(field.value, &facts);
        break;
      case FieldId::kConnection:
        AddConnection(field.value, &facts);
        break;
      case FieldId::kUpgrade:
        facts.upgrade = &field;
        ++facts.upgrades;
        break;
      case FieldId::kExpect:
        facts.expects_continue = absl::EqualsIgnoreCase(field.value, "100-continue");
        break;
      default:
        break;
    }
  }
  return facts;
}

// Rules that requests and responses share.
void CheckFraming(int minor_version, Facts* facts) {
  if (!facts->transfer_encoding) return;
  if (minor_version == 0) facts->Fail(400, "Transfer-Encoding in HTTP/1.0");
  if (facts->content_lengths > 0) facts->Fail(400, "both Transfer-Encoding and Content-Length");
  if (!facts->chunked_last) facts->Fail(400, "the last Transfer-Encoding is not chunked");
  if (facts->unknown_coding) facts->Fail(501, "a Transfer-Encoding other than chunked");
}

bool KeepAlive(int minor_version, const Facts& facts) {
  return !facts.close && (minor_version == 1 || facts.keep_alive);
}

// A list of protocols that may be switched to. h2c would take the connection out of our hands.
bool IsUpgradeOffer(absl::string_view value) {
  bool fine = true;
  ForEachElement(value, [&fine](absl::string_view protocol) {
    const size_t slash = protocol.find('/');
    const absl::string_view name = protocol.substr(0, slash);
    fine &= IsToken(name) && !absl::EqualsIgnoreCase(name, "h2c");
    if (slash != absl::string_view::npos) fine &= IsToken(protocol.substr(slash + 1));
  });
  return fine;
}

bool Offers(absl::string_view offered, absl::string_view protocol) {
  bool found = false;
  ForEachElement(offered, [&](absl::string_view element) {
    found |= !element.empty() && absl::EqualsIgnoreCase(element, protocol);
  });
  return found;
}

constexpr std::array<bool, 256> kHostChars = [] {
  std::array<bool, 256> table{};
  for (int c = '0'; c <= '9'; ++c) table[c] = true;
  for (int c = 'a'; c <= 'z'; ++c) table[c] = table[c - 'a' + 'A'] = true;
  for (const char c : absl::string_view("-._~%!$&'()*+;=")) table[static_cast<uint8_t>(c)] = true;
  return table;
}();

bool IsIpLiteral(absl::string_view text) {
  if (text.size() < 4 || text.front() != '[' || text.back() != ']') return false;
  for (const char c : text.substr(1, text.size() - 2)) {
    const bool hex = (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f');
    if (!hex && c != ':' && c != '.') return false;
  }
  return true;
}

bool CheckHost(const Facts& facts, RequestHead* head, ScanError* error) {
  if (facts.hosts == 0) {
    if (head->minor_version == 0) return true;
    *error = {400, "Host is missing"};
    return false;
  }
  if (facts.hosts > 1) {
    *error = {400, "Host is there twice"};
    return false;
  }
  if (!IsAuthority(facts.host->value)) {
    *error = {400, "Host is not a host name or address with an optional port"};
    return false;
  }
  // An absolute-form target has set it already (RFC 9112 section 3.2.2).
  if (head->host.empty()) head->host = facts.host->value;
  return true;
}

bool HasNoBody(const ResponseContext& context, int status) {
  return context.method == Method::kHead || status < 200 || status == 204 || status == 304;
}

void SetResponseBody(const ResponseContext& context, const Facts& facts, ResponseHead* head) {
  if (HasNoBody(context, head->status)) {
    head->body = BodyKind::kNone;
  } else if (facts.transfer_encoding) {
    head->body = BodyKind::kChunked;
  } else if (head->has_content_length) {
    head->body = BodyKind::kLength;
  } else {
    head->body = BodyKind::kUntilClose;
    head->keep_alive = false;
  }
}

}  // namespace

bool IsAuthority(absl::string_view text) {
  size_t host_end = text.find(':');
  if (!text.empty() && text.front() == '[') {
    const size_t bracket = text.find(']');
    if (bracket == absl::string_view::npos || !IsIpLiteral(text.substr(0, bracket + 1))) {
      return false;
    }
    host_end = bracket + 1;
    if (host_end < text.size() && text[host_end] != ':') return false;
  } else {
    for (const char c : text.substr(0, host_end)) {
      if (!kHostChars[static_cast<uint8_t>(c)]) return false;
    }
  }
  if (host_end == 0 || text.empty()) return false;
  if (host_end >= text.size()) return true;
  const absl::string_view port = text.substr(host_end + 1);
  if (port.size() > 5) return false;
  uint64_t number = 0;
  return port.empty() || (ParseLength(port, &number) && number <= 65'535);
}

bool JudgeRequest(RequestHead* head, ScanError* error) {
  Facts facts = Collect(head->fields);
  CheckFraming(head->minor_version, &facts);
  if (facts.error.status != 0) {
    *error = facts.error;
    return false;
  }
  if (!CheckHost(facts, head, error)) return false;
  head->content_length = facts.content_length;
  head->body = facts.transfer_encoding      ? BodyKind::kChunked
               : facts.content_lengths != 0 ? BodyKind::kLength
                                            : BodyKind::kNone;
  head->keep_alive = KeepAlive(head->minor_version, facts);
  head->connection_names_fields = facts.connection_names > 0;
  head->expects_continue = facts.expects_continue && head->minor_version == 1 && head->has_body();
  head->wants_upgrade = facts.upgrades == 1 && facts.connection_upgrade && !head->has_body() &&
                        head->minor_version == 1 && IsUpgradeOffer(facts.upgrade->value);
  return true;
}

bool JudgeResponse(const ResponseContext& context, ResponseHead* head, ScanError* error) {
  Facts facts = Collect(head->fields);
  CheckFraming(head->minor_version, &facts);
  if (facts.error.status != 0) {
    *error = {502, facts.error.reason};
    return false;
  }
  head->has_content_length = facts.content_lengths != 0;
  head->content_length = facts.content_length;
  head->connection_names_fields = facts.connection_names > 0;
  head->keep_alive = KeepAlive(head->minor_version, facts);
  head->is_interim = head->status < 200 && head->status != 101;
  head->is_upgrade = head->status == 101;
  if (head->is_upgrade && (facts.upgrades != 1 || !facts.connection_upgrade ||
                           !Offers(context.offered_upgrade, facts.upgrade->value))) {
    *error = {502, "101 to a protocol that was not offered"};
    return false;
  }
  SetResponseBody(context, facts, head);
  return true;
}

}  // namespace roost::proxy

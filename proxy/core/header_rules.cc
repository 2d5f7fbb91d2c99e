#include "proxy/core/header_rules.h"

#include <algorithm>
#include <cassert>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "proxy/core/syntax.h"

namespace roost::proxy {
namespace {

constexpr FieldSet kHopByHop = {FieldId::kConnection,
                                FieldId::kContentLength,
                                FieldId::kTransferEncoding,
                                FieldId::kUpgrade,
                                FieldId::kTe,
                                FieldId::kTrailer,
                                FieldId::kKeepAlive,
                                FieldId::kProxyConnection,
                                FieldId::kHttp2Settings,
                                FieldId::kRoost};

// Written anew with every request of a client that is not trusted.
constexpr FieldSet kForwarding = {FieldId::kForwarded, FieldId::kXForwardedFor,
                                  FieldId::kXForwardedProto, FieldId::kXForwardedHost,
                                  FieldId::kXForwardedOther};

void AppendField(absl::string_view name, absl::string_view value, std::string* out) {
  out->append(name.data(), name.size());
  out->append(": ");
  out->append(value.data(), value.size());
  out->append("\r\n");
}

void AppendContentLength(uint64_t length, std::string* out) {
  absl::StrAppend(out, "Content-Length: ", length, "\r\n");
}

// Behind the field's CRLF. Only whitespace lies between a value and its CR: the scanner saw to it.
const char* LineEnd(const HeaderField& field) {
  const char* p = field.value.data() + field.value.size();
  while (*p != '\r') ++p;
  return p + 2;
}

bool ConnectionNames(const std::vector<HeaderField>& fields, absl::string_view name) {
  bool found = false;
  for (const HeaderField& field : fields) {
    if (field.id != FieldId::kConnection) continue;
    ForEachElement(field.value, [&](absl::string_view option) {
      found |= absl::EqualsIgnoreCase(option, name);
    });
  }
  return found;
}

// Copies what lies there, but for the edits in it; `edit` goes on to the first one behind it.
void AppendEdited(const char* begin, const char* end, const HeadEdits& edits, size_t* edit,
                  std::string* out) {
  for (; *edit < edits.values.size(); ++*edit) {
    const ValueEdit& next = edits.values[*edit];
    if (next.from.data() >= end) break;
    if (next.from.data() < begin) continue;  // In a field that was dropped.
    out->append(begin, next.from.data() - begin);
    out->append(next.to.data(), next.to.size());
    begin = next.from.data() + next.from.size();
  }
  out->append(begin, end - begin);
}

// Copies the fields that are not in `dropped`, neighbours in one go. Fields that the proxy knows
// are never dropped for being named by Connection.
void AppendKept(const std::vector<HeaderField>& fields, FieldSet dropped, bool check_names,
                const HeadEdits* edits, std::string* out) {
  size_t edit = 0;
  const auto append = [&](const char* begin, const char* end) {
    if (edits == nullptr || edits->values.empty()) {
      out->append(begin, end - begin);
    } else if (begin != end) {
      AppendEdited(begin, end, *edits, &edit, out);
    }
  };
  const char* run = nullptr;
  const char* run_end = nullptr;
  for (const HeaderField& field : fields) {
    if (dropped.Has(field.id) ||
        (check_names && field.id == FieldId::kOther && ConnectionNames(fields, field.name))) {
      continue;
    }
    if (run_end != field.name.data()) {
      append(run, run_end);
      run = field.name.data();
    }
    run_end = LineEnd(field);
  }
  append(run, run_end);
  if (edits != nullptr) out->append(edits->lines);
}

// Existing values of a list field and one more, on one line: many applications read only one.
void AppendExtended(const RequestHead& head, FieldId id, absl::string_view name,
                    absl::string_view last, std::string* out) {
  out->append(name.data(), name.size());
  out->append(": ");
  if (head.present.Has(id)) {
    for (const HeaderField& field : head.fields) {
      if (field.id != id || field.value.empty()) continue;
      out->append(field.value.data(), field.value.size());
      out->append(", ");
    }
  }
  out->append(last.data(), last.size());
  out->append("\r\n");
}

// One more element of RFC 7239, where the trusted client uses that field.
void AppendForwarded(const RequestHop& hop, std::string* out) {
  const bool v6 = hop.client_ip.find(':') != absl::string_view::npos;
  out->append(v6 ? "Forwarded: for=\"[" : "Forwarded: for=");
  out->append(hop.client_ip.data(), hop.client_ip.size());
  out->append(v6 ? "]\";proto=" : ";proto=");
  out->append(hop.scheme.data(), hop.scheme.size());
  out->append("\r\n");
}

void AppendForwarding(const RequestHead& head, absl::string_view host, const RequestHop& hop,
                      std::string* out) {
  if (!hop.client_trusted) {
    AppendField("X-Forwarded-For", hop.client_ip, out);
    AppendField("X-Forwarded-Proto", hop.scheme, out);
    AppendField("X-Forwarded-Host", host, out);
    return;
  }
  AppendExtended(head, FieldId::kXForwardedFor, "X-Forwarded-For", hop.client_ip, out);
  if (!head.present.Has(FieldId::kXForwardedProto)) {
    AppendField("X-Forwarded-Proto", hop.scheme, out);
  }
  if (!head.present.Has(FieldId::kXForwardedHost)) AppendField("X-Forwarded-Host", host, out);
  if (head.present.Has(FieldId::kForwarded)) AppendForwarded(hop, out);
}

FieldSet DroppedFromRequest(const RequestHead& head, const RequestHop& hop) {
  FieldSet dropped = kHopByHop;
  dropped.Add(FieldId::kHost);
  dropped.Add(FieldId::kLookAlike);
  // Its sender would not understand the 100 that the upstream answers.
  if (head.minor_version == 0) dropped.Add(FieldId::kExpect);
  if (hop.from_peer) return dropped;
  dropped.Add(FieldId::kXForwardedFor);
  if (!hop.client_trusted) dropped.AddAll(kForwarding);
  return dropped;
}

void AppendStatusLine(const ResponseHead& head, std::string* out) {
  char line[] = "HTTP/1.1 000 ";
  line[9] += head.status / 100;
  line[10] += head.status / 10 % 10;
  line[11] += head.status % 10;
  out->append(line, sizeof line - 1);
  out->append(head.reason.data(), head.reason.size());
  out->append("\r\n");
}

ResponseFraming FramingOf(const ResponseHead& head, const ResponseHop& hop) {
  ResponseFraming framing{head.body, hop.client_keep_alive};
  if (head.body == BodyKind::kChunked || head.body == BodyKind::kUntilClose) {
    const bool chunks_understood = hop.client_minor_version == 1;
    framing.body = chunks_understood ? BodyKind::kChunked : BodyKind::kUntilClose;
    framing.keep_alive &= chunks_understood;
  }
  return framing;
}

// Final responses only.
void AppendFraming(const ResponseHead& head, const ResponseHop& hop, const ResponseFraming& framing,
                   std::string* out) {
  if (framing.body == BodyKind::kChunked) {
    out->append("Transfer-Encoding: chunked\r\n");
  } else if (framing.body == BodyKind::kLength ||
             (head.has_content_length && (hop.head_request || head.status == 304))) {
    AppendContentLength(head.content_length, out);
  }
  if (!framing.keep_alive) {
    out->append("Connection: close\r\n");
  } else if (hop.client_minor_version == 0) {
    out->append("Connection: keep-alive\r\n");
  }
}

template <typename Head>
bool HasRoostField(const Head& head, absl::string_view name) {
  return head.present.Has(FieldId::kRoost) &&
         std::any_of(head.fields.begin(), head.fields.end(), [name](const HeaderField& field) {
           return field.id == FieldId::kRoost && absl::EqualsIgnoreCase(field.name, name);
         });
}

// A 101, or a 426 that says what to upgrade to.
void AppendUpgrade(const ResponseHead& head, std::string* out) {
  for (const HeaderField& field : head.fields) {
    if (field.id == FieldId::kUpgrade) AppendField("Upgrade", field.value, out);
  }
}

}  // namespace

void AppendRequestHead(const RequestHead& head, const RequestHop& hop, std::string* out) {
  assert(!(hop.from_peer && hop.to_peer) && (hop.to_peer || !hop.stand_in));
  assert(hop.fencing_token.empty() || !hop.to_peer);
  const absl::string_view host = head.host.empty() ? hop.default_host : head.host;
  out->append(head.method.data(), head.method.size());
  out->append(" ");
  if (head.path.front() == '?') out->append("/");
  out->append(head.path.data(), head.path.size());
  out->append(" HTTP/1.1\r\n");
  AppendField("Host", host, out);
  AppendKept(head.fields, DroppedFromRequest(head, hop), head.connection_names_fields, hop.edits,
             out);
  if (!hop.from_peer) AppendForwarding(head, host, hop, out);
  if (hop.to_peer) out->append("X-Roost-Hop: 1\r\n");
  if (hop.stand_in) out->append("X-Roost-Stand-In: 1\r\n");
  if (!hop.fencing_token.empty()) AppendField("X-Roost-Fencing-Token", hop.fencing_token, out);
  if (head.body == BodyKind::kLength) AppendContentLength(head.content_length, out);
  if (head.body == BodyKind::kChunked) out->append("Transfer-Encoding: chunked\r\n");
  if (head.wants_upgrade) {
    out->append("Connection: upgrade\r\n");
    AppendField("Upgrade", head.upgrade(), out);
  }
  out->append("\r\n");
}

ResponseFraming AppendResponseHead(const ResponseHead& head, const ResponseHop& hop,
                                   std::string* out) {
  assert(!head.is_interim || hop.client_minor_version == 1);
  AppendStatusLine(head, out);
  AppendKept(head.fields, kHopByHop, head.connection_names_fields, hop.edits, out);
  ResponseFraming framing;
  if (head.is_upgrade) {
    out->append("Connection: upgrade\r\n");
    AppendUpgrade(head, out);
  } else if (head.is_interim) {
    framing.keep_alive = hop.client_keep_alive;
  } else {
    framing = FramingOf(head, hop);
    AppendFraming(head, hop, framing, out);
    if (head.status == 426) AppendUpgrade(head, out);
  }
  out->append("\r\n");
  return framing;
}

bool IsNotOwnerAnswer(const ResponseHead& head) {
  return head.status == 421 && HasRoostField(head, "X-Roost-Not-Owner");
}

bool IsAppDownAnswer(const ResponseHead& head) {
  return head.status == 503 && HasRoostField(head, "X-Roost-App-Down");
}

bool IsForStandIn(const RequestHead& head) { return HasRoostField(head, "X-Roost-Stand-In"); }

}  // namespace roost::proxy

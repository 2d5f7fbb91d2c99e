// The parsed forms of HTTP/1.x heads: what scanners fill and everything else reads.
//
// Views point into the scanned buffer and live as long as its bytes stay where they are. A head
// object is reused from message to message, so that its field list allocates only while it grows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <vector>

#include "absl/strings/string_view.h"

namespace roost::proxy {

// Fields that the proxy acts on. Recognised once, while scanning; nobody compares names again.
enum class FieldId : uint8_t {
  kOther,
  kHost,
  kConnection,
  kContentLength,
  kTransferEncoding,
  kCookie,
  kSetCookie,
  kExpect,
  kUpgrade,
  kTe,
  kTrailer,
  kKeepAlive,
  kProxyConnection,
  kHttp2Settings,
  kForwarded,
  kXForwardedFor,
  kXForwardedProto,
  kXForwardedHost,
  kXForwardedOther,  // Any other X-Forwarded-*.
  kRoost,            // X-Roost-*: spoken between nodes only.
  kLookAlike,  // One of these but for '_' in place of '-'. To many applications it is that one.
};

struct HeaderField {
  absl::string_view name;
  absl::string_view value;  // Without surrounding whitespace.
  FieldId id = FieldId::kOther;
};

// Which fields a head has.
class FieldSet {
 public:
  constexpr FieldSet() = default;
  constexpr FieldSet(std::initializer_list<FieldId> ids) {
    for (const FieldId id : ids) bits_ |= Bit(id);
  }
  void Add(FieldId id) { bits_ |= Bit(id); }
  void AddAll(FieldSet other) { bits_ |= other.bits_; }
  constexpr bool Has(FieldId id) const { return (bits_ & Bit(id)) != 0; }
  void Clear() { bits_ = 0; }

 private:
  static constexpr uint32_t Bit(FieldId id) { return uint32_t{1} << static_cast<int>(id); }
  uint32_t bits_ = 0;
};

enum class BodyKind : uint8_t { kNone, kLength, kChunked, kUntilClose };

enum class Method : uint8_t {
  kOther,
  kGet,
  kHead,
  kPost,
  kPut,
  kDelete,
  kOptions,
  kPatch,
  kTrace,
};

// RFC 9110 section 9.2.2.
bool IsIdempotent(Method method);

struct RequestHead {
  absl::string_view method;
  absl::string_view target;  // As received.
  // Path and query: "/...", "*" (OPTIONS), or "?..." where an absolute-form target had no path.
  absl::string_view path;
  // Authority of an absolute-form target, else the Host field. Empty only with HTTP/1.0.
  absl::string_view host;
  std::vector<HeaderField> fields;  // In order of arrival.
  FieldSet present;
  uint64_t content_length = 0;  // 0 unless kLength.
  size_t size = 0;  // Bytes of the head, a leading empty line and the last one included.
  Method method_id = Method::kOther;
  uint8_t minor_version = 1;
  BodyKind body = BodyKind::kNone;  // Never kUntilClose. "Content-Length: 0" is kLength.
  bool keep_alive = false;
  bool idempotent = false;
  bool expects_continue = false;
  // A protocol (never h2c) is offered on a request without body, by HTTP/1.1.
  bool wants_upgrade = false;
  // Connection names fields besides close, keep-alive, upgrade and te.
  bool connection_names_fields = false;

  bool has_body() const { return body == BodyKind::kChunked || content_length > 0; }
  // The Upgrade field's value; empty if there is none.
  absl::string_view upgrade() const;
};

struct ResponseHead {
  absl::string_view reason;
  std::vector<HeaderField> fields;
  FieldSet present;
  // Of the Content-Length field, which answers to HEAD and 304 have without a body.
  uint64_t content_length = 0;
  size_t size = 0;
  int status = 0;  // 100 to 599.
  uint8_t minor_version = 1;
  BodyKind body = BodyKind::kNone;
  bool has_content_length = false;
  bool keep_alive = false;  // The connection can carry another request afterwards.
  bool is_interim = false;  // 1xx but 101: another head follows.
  bool is_upgrade = false;  // A valid 101 to an offered protocol: a tunnel follows.
  bool connection_names_fields = false;
};

}  // namespace roost::proxy

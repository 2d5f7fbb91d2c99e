#include "proxy/core/head_scanner.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include <algorithm>
#include <array>

#include "absl/base/attributes.h"
#include "absl/base/optimization.h"
#include "absl/strings/match.h"
#include "proxy/core/framing.h"
#include "proxy/core/syntax.h"

namespace roost::proxy {
namespace {

constexpr size_t kMethodBytesMax = 32;

// Up to 16 characters of a lower-case name as two little-endian words, zero-padded.
struct NameWords {
  uint64_t lo = 0;
  uint64_t hi = 0;
};

constexpr NameWords Pack(absl::string_view name) {
  NameWords words;
  for (size_t i = 0; i < name.size() && i < 16; ++i) {
    uint64_t c = static_cast<uint8_t>(name[i]);
    if (c >= 'A' && c <= 'Z') c |= 0x20;
    (i < 8 ? words.lo : words.hi) |= c << (i % 8 * 8);
  }
  return words;
}

struct KnownName {
  NameWords words;
  FieldId id = FieldId::kOther;
};

// Known names by length, so that recognising one is three comparisons without a branch. No name has
// the words of an empty slot.
constexpr size_t kNameBytesMax = 16;
constexpr size_t kNamesPerLength = 3;
constexpr auto kNames = [] {
  std::array<std::array<KnownName, kNamesPerLength>, kNameBytesMax + 1> table{};
  auto add = [&table](absl::string_view name, FieldId id) {
    size_t i = 0;
    while (table[name.size()][i].id != FieldId::kOther) ++i;
    table[name.size()][i] = {Pack(name), id};
  };
  add("te", FieldId::kTe);
  add("host", FieldId::kHost);
  add("cookie", FieldId::kCookie);
  add("expect", FieldId::kExpect);
  add("upgrade", FieldId::kUpgrade);
  add("trailer", FieldId::kTrailer);
  add("forwarded", FieldId::kForwarded);
  add("connection", FieldId::kConnection);
  add("keep-alive", FieldId::kKeepAlive);
  add("set-cookie", FieldId::kSetCookie);
  add("content-length", FieldId::kContentLength);
  add("http2-settings", FieldId::kHttp2Settings);
  add("x-forwarded-for", FieldId::kXForwardedFor);
  add("x-forwarded-host", FieldId::kXForwardedHost);
  add("proxy-connection", FieldId::kProxyConnection);
  return table;
}();

constexpr NameWords kRoostPrefix = Pack("x-roost-");
constexpr NameWords kForwardedPrefix = Pack("x-forwarded-");

FieldId IdentifyLong(absl::string_view name, const NameWords& words) {
  if (absl::EqualsIgnoreCase(name, "transfer-encoding")) return FieldId::kTransferEncoding;
  if (absl::EqualsIgnoreCase(name, "x-forwarded-proto")) return FieldId::kXForwardedProto;
  if (words.lo == kRoostPrefix.lo) return FieldId::kRoost;
  if (words.lo == kForwardedPrefix.lo && (words.hi & 0xffffffff) == kForwardedPrefix.hi) {
    return FieldId::kXForwardedOther;
  }
  return FieldId::kOther;
}

ABSL_ATTRIBUTE_ALWAYS_INLINE inline FieldId Identify(absl::string_view name,
                                                     const NameWords& words) {
  if (ABSL_PREDICT_FALSE(name.size() > kNameBytesMax)) return IdentifyLong(name, words);
  int id = 0;
  for (const KnownName& known : kNames[name.size()]) {
    const bool same = ((known.words.lo ^ words.lo) | (known.words.hi ^ words.hi)) == 0;
    id |= -static_cast<int>(same) & static_cast<int>(known.id);
  }
  if (ABSL_PREDICT_FALSE(id == 0 && (words.lo & 0xffff) == ('x' | '-' << 8))) {
    return IdentifyLong(name, words);
  }
  return static_cast<FieldId>(id);
}

// Of a name with '_': kOther, or kLookAlike if with '-' it would be one that we act on.
ABSL_ATTRIBUTE_NOINLINE FieldId IdentifyUnderscored(absl::string_view name) {
  std::array<char, 32> hyphened;  // Longer names can only match by their beginning.
  const absl::string_view begin = name.substr(0, hyphened.size());
  std::replace_copy(begin.begin(), begin.end(), hyphened.begin(), '_', '-');
  const absl::string_view other(hyphened.data(), begin.size());
  return Identify(other, Pack(other)) == FieldId::kOther ? FieldId::kOther : FieldId::kLookAlike;
}

bool IsTargetChar(char c) { return c > 0x20 && c < 0x7f && c != '#'; }

#if defined(__SSE2__)

inline __m128i Load(const char* p) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)); }

// All ones in bytes that lie between `first` and `last`, both ASCII.
inline __m128i Between(__m128i bytes, char first, char last) {
  return _mm_and_si128(_mm_cmpgt_epi8(bytes, _mm_set1_epi8(first - 1)),
                       _mm_cmplt_epi8(bytes, _mm_set1_epi8(last + 1)));
}

inline unsigned NotValueChars(__m128i bytes) {
  const __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes);
  const __m128i tab = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\t'));
  const __m128i del = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(0x7f));
  return _mm_movemask_epi8(_mm_or_si128(_mm_andnot_si128(tab, control), del));
}

inline unsigned NotTargetChars(__m128i bytes) {
  const __m128i hash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('#'));
  return ~_mm_movemask_epi8(_mm_andnot_si128(hash, Between(bytes, 0x21, 0x7e))) & 0xffff;
}

// First byte that may not stand in a value, or `end`.
inline const char* ValueEnd(const char* p, const char* end) {
  for (; end - p >= 16; p += 16) {
    const unsigned stops = NotValueChars(Load(p));
    if (stops != 0) return p + __builtin_ctz(stops);
  }
  while (p != end && IsValueChar(*p)) ++p;
  return p;
}

inline const char* TargetEnd(const char* p, const char* end) {
  for (; end - p >= 16; p += 16) {
    const unsigned stops = NotTargetChars(Load(p));
    if (stops != 0) return p + __builtin_ctz(stops);
  }
  while (p != end && IsTargetChar(*p)) ++p;
  return p;
}

// Bytes n to 15 of row n are zero.
constexpr auto kKeepFirst = [] {
  std::array<std::array<uint8_t, 16>, 16> table{};
  for (size_t n = 0; n < 16; ++n) {
    for (size_t i = 0; i < n; ++i) table[n][i] = 0xff;
  }
  return table;
}();

// The usual name: at most 15 letters, digits and '-' before its colon. 0 if it is not that.
inline size_t ShortName(const char* p, const char* end, NameWords* words) {
  if (end - p < 16) return 0;
  const __m128i bytes = Load(p);
  const unsigned colons = _mm_movemask_epi8(_mm_cmpeq_epi8(bytes, _mm_set1_epi8(':')));
  if (colons == 0) return 0;
  const unsigned size = __builtin_ctz(colons);
  const __m128i upper = Between(bytes, 'A', 'Z');
  const __m128i lower = _mm_or_si128(bytes, _mm_and_si128(upper, _mm_set1_epi8(0x20)));
  const __m128i fine =
      _mm_or_si128(_mm_or_si128(Between(lower, 'a', 'z'), Between(lower, '0', '9')),
                   _mm_cmpeq_epi8(bytes, _mm_set1_epi8('-')));
  if ((~_mm_movemask_epi8(fine) & ((1u << size) - 1)) != 0) return 0;
  const __m128i name =
      _mm_and_si128(lower, Load(reinterpret_cast<const char*>(kKeepFirst[size].data())));
  words->lo = _mm_cvtsi128_si64(name);
  words->hi = _mm_cvtsi128_si64(_mm_unpackhi_epi64(name, name));
  return size;
}

#else

const char* ValueEnd(const char* p, const char* end) {
  while (p != end && IsValueChar(*p)) ++p;
  return p;
}

const char* TargetEnd(const char* p, const char* end) {
  while (p != end && IsTargetChar(*p)) ++p;
  return p;
}

size_t ShortName(const char*, const char*, NameWords*) { return 0; }

#endif

// Walks over a head. Each step returns true or leaves the reason to stop in `status`.
class Walk {
 public:
  Walk(absl::string_view bytes, const ScanLimits& limits, ScanError* error)
      : p_(bytes.data()), end_(p_ + bytes.size()), limits_(limits), error_(error) {}

  const char* position() const { return p_; }
  ScanStatus status() const { return status_; }

  bool Bad(int status, const char* reason) {
    *error_ = {status, reason};
    status_ = ScanStatus::kBad;
    return false;
  }

  // Clients of old send an empty line behind a body (RFC 9112 section 2.2).
  bool SkipEmptyLine() {
    if (p_ == end_) return Incomplete();
    if (ABSL_PREDICT_TRUE(*p_ != '\r')) return true;
    return LineEnd("an empty line that is not CRLF");
  }

  bool RequestLine(RequestHead* head) {
    return MethodName(head) && Target(head) && RequestVersion(head);
  }

  bool StatusLine(ResponseHead* head) {
    constexpr size_t kShortest = 13;  // "HTTP/1.1 200" and the CR.
    const absl::string_view line(p_, std::min<size_t>(end_ - p_, kShortest));
    constexpr absl::string_view kPattern = "HTTP/1.v ddd";
    for (size_t i = 0; i < line.size() && i < kPattern.size(); ++i) {
      const char c = line[i];
      const bool fine = kPattern[i] == 'd'   ? c >= '0' && c <= '9'
                        : kPattern[i] == 'v' ? c == '0' || c == '1'
                                             : c == kPattern[i];
      if (!fine) return Bad(502, "the status line is malformed");
    }
    if (line.size() < kShortest) return Incomplete();
    head->minor_version = line[7] - '0';
    head->status = (line[9] - '0') * 100 + (line[10] - '0') * 10 + (line[11] - '0');
    if (head->status < 100 || head->status > 599) return Bad(502, "the status is out of range");
    p_ += kPattern.size();
    if (*p_ != ' ' && *p_ != '\r') return Bad(502, "the status line is malformed");
    if (*p_ == ' ') ++p_;
    const char* const reason_end = ValueEnd(p_, end_);
    head->reason = absl::string_view(p_, reason_end - p_);
    p_ = reason_end;
    return LineEnd("a control character in the status line");
  }

  // Up to and including the empty line.
  bool Fields(std::vector<HeaderField>* fields, FieldSet* present) {
    while (true) {
      if (p_ == end_) return Incomplete();
      if (*p_ == '\r') return LineEnd("a bare CR");
      if (ABSL_PREDICT_FALSE(fields->size() == limits_.headers_max)) {
        return Bad(431, "more header fields than allowed");
      }
      HeaderField& field = fields->emplace_back();
      if (!Name(&field) || !Value(&field)) return false;
      present->Add(field.id);
    }
  }

 private:
  bool Incomplete() {
    status_ = ScanStatus::kIncomplete;
    return false;
  }

  bool LineEnd(const char* reason) {
    if (ABSL_PREDICT_TRUE(end_ - p_ >= 2 && p_[0] == '\r' && p_[1] == '\n')) {
      p_ += 2;
      return true;
    }
    if (p_ == end_ || (*p_ == '\r' && end_ - p_ == 1)) return Incomplete();
    return Bad(400, *p_ == '\r' ? "a bare CR" : *p_ == '\n' ? "a bare LF" : reason);
  }

  bool MethodName(RequestHead* head) {
    const char* const begin = p_;
    while (p_ != end_ && IsTokenChar(*p_)) ++p_;
    head->method = absl::string_view(begin, p_ - begin);
    if (head->method.size() > kMethodBytesMax) return Bad(501, "the method is unknown");
    if (p_ == end_) return Incomplete();
    if (*p_ != ' ' || p_ == begin) return Bad(400, "the request line is malformed");
    ++p_;
    return true;
  }

  bool Target(RequestHead* head) {
    const char* const begin = p_;
    p_ = TargetEnd(p_, end_);
    head->target = absl::string_view(begin, p_ - begin);
    if (head->target.size() > limits_.target_bytes_max) return Bad(414, "the target is too long");
    if (p_ == end_) return Incomplete();
    if (*p_ != ' ' || p_ == begin) return Bad(400, "the request target is malformed");
    ++p_;
    return true;
  }

  bool RequestVersion(RequestHead* head) {
    constexpr absl::string_view kVersion = "HTTP/1.1";
    constexpr size_t kSize = kVersion.size();
    if (static_cast<size_t>(end_ - p_) < kSize) {
      return Incomplete();
    }
    const absl::string_view version(p_, kSize);
    if (ABSL_PREDICT_FALSE(version != kVersion && version != "HTTP/1.0")) {
      const bool other = version.substr(0, 5) == "HTTP/" && version[5] >= '0' &&
                         version[5] <= '9' && version[6] == '.' && version[7] >= '0' &&
                         version[7] <= '9';
      return other ? Bad(505, "only HTTP/1.0 and HTTP/1.1 are spoken here")
                   : Bad(400, "the request line is malformed");
    }
    head->minor_version = version[7] - '0';
    p_ += kSize;
    return LineEnd("something behind the HTTP version");
  }

  bool Name(HeaderField* field) {
    NameWords words;
    size_t size = ShortName(p_, end_, &words);
    bool underscored = false;
    if (ABSL_PREDICT_FALSE(size == 0)) {
      const char* q = p_;
      for (; q != end_ && IsTokenChar(*q); ++q) underscored |= *q == '_';
      if (q == end_) return Incomplete();
      if (*q != ':' || q == p_) return BadName(*q);
      size = q - p_;
      words = Pack(absl::string_view(p_, size));
    }
    field->name = absl::string_view(p_, size);
    field->id = Identify(field->name, words);
    if (ABSL_PREDICT_FALSE(underscored)) field->id = IdentifyUnderscored(field->name);
    p_ += size + 1;
    return true;
  }

  bool BadName(char c) {
    if (c == '\n') return Bad(400, "a bare LF");
    if (IsOws(c)) return Bad(400, "whitespace before or in a field name, or a folded line");
    return Bad(400, "a field name is malformed");
  }

  bool Value(HeaderField* field) {
    if (ABSL_PREDICT_TRUE(p_ != end_ && *p_ == ' ')) ++p_;
    while (p_ != end_ && IsOws(*p_)) ++p_;
    const char* const begin = p_;
    p_ = ValueEnd(p_, end_);
    const char* value_end = p_;
    while (value_end != begin && IsOws(value_end[-1])) --value_end;
    field->value = absl::string_view(begin, value_end - begin);
    return LineEnd("a control character in a field value");
  }

  const char* p_;
  const char* const end_;
  const ScanLimits& limits_;
  ScanError* const error_;
  ScanStatus status_ = ScanStatus::kComplete;
};

Method MethodOf(absl::string_view method) {
  switch (method.size()) {
    case 3:
      return method == "GET" ? Method::kGet : method == "PUT" ? Method::kPut : Method::kOther;
    case 4:
      return method == "POST" ? Method::kPost : method == "HEAD" ? Method::kHead : Method::kOther;
    case 5:
      return method == "PATCH"   ? Method::kPatch
             : method == "TRACE" ? Method::kTrace
                                 : Method::kOther;
    case 6:
      return method == "DELETE" ? Method::kDelete : Method::kOther;
    case 7:
      return method == "OPTIONS" ? Method::kOptions : Method::kOther;
    default:
      return Method::kOther;
  }
}

// Splits the target by its form (RFC 9112 section 3.2).
bool ReadTarget(RequestHead* head, Walk* walk) {
  head->method_id = MethodOf(head->method);
  head->idempotent = IsIdempotent(head->method_id);
  head->path = head->target;
  if (ABSL_PREDICT_TRUE(head->target.front() == '/')) return true;
  if (head->method == "CONNECT") return walk->Bad(501, "CONNECT is not offered");
  const bool options = head->method_id == Method::kOptions;
  if (head->target == "*") {
    return options || walk->Bad(400, "the target * is for OPTIONS only");
  }
  const size_t scheme = absl::StartsWithIgnoreCase(head->target, "http://")    ? 7
                        : absl::StartsWithIgnoreCase(head->target, "https://") ? 8
                                                                               : 0;
  if (scheme == 0) return walk->Bad(400, "the request target is malformed");
  const absl::string_view rest = head->target.substr(scheme);
  const size_t authority_end = std::min(rest.find_first_of("/?"), rest.size());
  head->host = rest.substr(0, authority_end);
  if (!IsAuthority(head->host)) return walk->Bad(400, "the target's authority is malformed");
  head->path = rest.substr(authority_end);
  if (head->path.empty()) head->path = options ? "*" : "/";
  return true;
}

void Clear(RequestHead* head) {
  head->fields.clear();
  head->present.Clear();
  head->host = {};
}

void Clear(ResponseHead* head) {
  head->fields.clear();
  head->present.Clear();
}

}  // namespace

bool ScanProgress::WorthParsing(absl::string_view buffer, size_t bytes_max) {
  const size_t size = buffer.size();
  if (size == 0) return false;
  if (parsed_ == 0 || size >= bytes_max || size / 2 >= parsed_) {
    parsed_ = size;
    return true;
  }
  for (size_t i = looked_; i < size; ++i) {
    i = buffer.find('\n', i);
    if (i == absl::string_view::npos) break;
    const bool empty_line = (i >= 1 && buffer[i - 1] == '\n') ||
                            (i >= 2 && buffer[i - 1] == '\r' && buffer[i - 2] == '\n');
    if (!empty_line) continue;
    looked_ = i + 1;
    return true;
  }
  looked_ = size;
  return false;
}

ScanStatus RequestScanner::Scan(absl::string_view buffer, RequestHead* head) {
  if (!progress_.WorthParsing(buffer, limits_.head_bytes_max)) return ScanStatus::kIncomplete;
  Clear(head);
  Walk walk(buffer.substr(0, limits_.head_bytes_max), limits_, &error_);
  const bool line = walk.SkipEmptyLine() && walk.RequestLine(head);
  if (line && ReadTarget(head, &walk) && walk.Fields(&head->fields, &head->present)) {
    head->size = walk.position() - buffer.data();
    progress_.Reset();
    return JudgeRequest(head, &error_) ? ScanStatus::kComplete : ScanStatus::kBad;
  }
  if (walk.status() == ScanStatus::kIncomplete && buffer.size() >= limits_.head_bytes_max) {
    line ? walk.Bad(431, "the head is too long") : walk.Bad(414, "the request line is too long");
  }
  if (walk.status() == ScanStatus::kBad) progress_.Reset();
  return walk.status();
}

ScanStatus ResponseScanner::Scan(absl::string_view buffer, const ResponseContext& context,
                                 ResponseHead* head) {
  if (!progress_.WorthParsing(buffer, limits_.head_bytes_max)) return ScanStatus::kIncomplete;
  Clear(head);
  Walk walk(buffer.substr(0, limits_.head_bytes_max), limits_, &error_);
  if (walk.StatusLine(head) && walk.Fields(&head->fields, &head->present)) {
    head->size = walk.position() - buffer.data();
    progress_.Reset();
    return JudgeResponse(context, head, &error_) ? ScanStatus::kComplete : ScanStatus::kBad;
  }
  if (walk.status() == ScanStatus::kIncomplete && buffer.size() >= limits_.head_bytes_max) {
    walk.Bad(502, "the head is too long");
  }
  if (walk.status() == ScanStatus::kBad) {
    error_.status = 502;
    progress_.Reset();
  }
  return walk.status();
}

}  // namespace roost::proxy

#include "proxy/core/soap_scan.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/strip.h"

namespace roost::proxy {
namespace {

constexpr absl::string_view kSoap11 = "http://schemas.xmlsoap.org/soap/envelope/";
constexpr absl::string_view kSoap12 = "http://www.w3.org/2003/05/soap-envelope";
constexpr absl::string_view kAxis2 = "http://ws.apache.org/namespaces/axis2";
constexpr absl::string_view kAddressing2005 = "http://www.w3.org/2005/08/addressing";
constexpr absl::string_view kAddressing2004 = "http://schemas.xmlsoap.org/ws/2004/08/addressing";
constexpr absl::string_view kByteOrderMark = "\xef\xbb\xbf";

bool IsSpace(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

}  // namespace

// What is collected is written before it is read, so it may stay.
void SoapScan::Reset() {
  result_ = Result::kMore;
  state_ = State::kStart;
  start_bytes_ = run_ = depth_ = bindings_ = 0;
  text_size_ = 0;
}

SoapScan::Result SoapScan::Feed(absl::string_view bytes) {
  while (!bytes.empty() && result_ == Result::kMore) {
    bytes.remove_prefix(Skip(bytes));
    if (bytes.empty()) break;
    Step(bytes.front());
    bytes.remove_prefix(1);
  }
  return result_;
}

// How many bytes at the front change nothing but what is collected: text that nobody reads, and the
// insides of values and end tags. Most of a message is that.
size_t SoapScan::Skip(absl::string_view bytes) {
  switch (state_) {
    case State::kText:
      if (depth_ == 0 || roles_[depth_ - 1] == Role::kGroupId) return 0;
      return std::min(bytes.find('<'), bytes.size());
    case State::kEndTag: {
      size_t size = 0;
      while (size < bytes.size() && bytes[size] != '>' && bytes[size] != '<') ++size;
      return size;
    }
    case State::kValue: {
      size_t size = 0;
      while (size < bytes.size() && bytes[size] != quote_ && bytes[size] != '<') ++size;
      value_.Append(bytes.substr(0, size));
      return size;
    }
    default:
      return 0;
  }
}

void SoapScan::Step(char c) {
  switch (state_) {
    case State::kStart:
      return Start(c);
    case State::kMime:
      // An empty line ends the part's head.
      run_ = c == '\n' ? run_ + 1 : c == '\r' ? run_ : 0;
      if (run_ == 2) state_ = State::kText;
      return;
    case State::kText:
      return InText(c);
    case State::kLess:
      return AfterLess(c);
    case State::kName:
    case State::kTag:
    case State::kSlash:
      return InTag(c);
    case State::kAttribute:
    case State::kEquals:
    case State::kQuote:
    case State::kValue:
      return InAttribute(c);
    case State::kEndTag:
      if (c == '<') return Fail();
      if (c == '>') Close();
      return;
    case State::kBang:
      return Bang(c);
    case State::kComment:
    case State::kCdata: {
      const char mark = state_ == State::kComment ? '-' : ']';
      if (c == '>' && run_ >= 2) state_ = State::kText;
      run_ = c != mark ? 0 : run_ < 2 ? run_ + 1 : 2;
      return;
    }
    case State::kInstruction:
      if (c == '>' && run_ == 1) state_ = State::kText;
      run_ = c == '?' ? 1 : 0;
      return;
  }
}

void SoapScan::Start(char c) {
  if (start_bytes_ < kByteOrderMark.size() && c == kByteOrderMark[start_bytes_]) {
    ++start_bytes_;
  } else if (c == '<') {
    state_ = State::kLess;
  } else if (c == '-') {
    state_ = State::kMime;
  } else if (!IsSpace(c)) {
    Fail();
  }
}

void SoapScan::InText(char c) {
  if (c == '<') {
    state_ = State::kLess;
    return;
  }
  if (depth_ == 0) {
    if (!IsSpace(c)) Fail();
    return;
  }
  if (roles_[depth_ - 1] != Role::kGroupId) return;
  if (c == '&' || text_size_ == kIdMax) return Fail();
  text_[text_size_++] = c;
}

void SoapScan::AfterLess(char c) {
  const bool in_id = depth_ > 0 && roles_[depth_ - 1] == Role::kGroupId;
  run_ = 0;
  if (c == '/') {
    state_ = State::kEndTag;
  } else if (in_id || IsSpace(c) || c == '>' || c == '<') {
    Fail();
  } else if (c == '!') {
    name_.Clear();
    state_ = State::kBang;
  } else if (c == '?') {
    state_ = State::kInstruction;
  } else {
    name_.Clear();
    name_.Append(c);
    state_ = State::kName;
  }
}

// Comments and CDATA sections; a DTD ends the search.
void SoapScan::Bang(char c) {
  constexpr absl::string_view kCdataMark = "[CDATA[";
  name_.Append(c);
  if (name_.view() == "--") {
    state_ = State::kComment;
  } else if (name_.view() == kCdataMark) {
    state_ = State::kCdata;
  } else if (name_.view() != "-" && !absl::StartsWith(kCdataMark, name_.view())) {
    Fail();
  }
}

void SoapScan::InTag(char c) {
  if (c == '<' || c == '&') return Fail();
  if (state_ == State::kSlash) {
    if (c != '>') return Fail();
    return Open(true);
  }
  if (c == '>') return Open(false);
  if (c == '/') {
    state_ = State::kSlash;
  } else if (IsSpace(c)) {
    state_ = State::kTag;
  } else if (state_ == State::kName) {
    name_.Append(c);
  } else {
    attribute_.Clear();
    attribute_.Append(c);
    state_ = State::kAttribute;
  }
}

void SoapScan::InAttribute(char c) {
  if (c == '<') return Fail();
  if (state_ == State::kValue) {
    if (c != quote_) return value_.Append(c);
    Bind();
    state_ = State::kTag;
    return;
  }
  if (state_ == State::kQuote) {
    if (IsSpace(c)) return;
    if (c != '"' && c != '\'') return Fail();
    quote_ = c;
    value_.Clear();
    state_ = State::kValue;
    return;
  }
  if (c == '=') {
    state_ = State::kQuote;
  } else if (IsSpace(c)) {
    state_ = State::kEquals;
  } else if (state_ == State::kEquals || c == '>' || c == '/') {
    Fail();
  } else {
    attribute_.Append(c);
  }
}

// Of the element that is being opened: it will be at depth_ + 1.
void SoapScan::Bind() {
  absl::string_view prefix = attribute_.view();
  if (!absl::ConsumePrefix(&prefix, "xmlns")) return;
  if (!prefix.empty() && !absl::ConsumePrefix(&prefix, ":")) return;  // "xmlnsx"
  if (bindings_ == kBindingsMax || prefix.size() > kPrefixMax || attribute_.too_long) {
    return Fail();
  }
  Binding& binding = bound_[bindings_++];
  binding.prefix.Clear();
  binding.prefix.Append(prefix);
  binding.depth = static_cast<uint8_t>(depth_ + 1);
  const absl::string_view space = value_.too_long ? absl::string_view() : value_.view();
  binding.space = space == kSoap11 || space == kSoap12                   ? Space::kSoap
                  : space == kAxis2                                      ? Space::kAxis2
                  : space == kAddressing2005 || space == kAddressing2004 ? Space::kAddressing
                                                                         : Space::kOther;
}

SoapScan::Space SoapScan::SpaceOf(absl::string_view prefix) const {
  for (size_t i = bindings_; i-- > 0;) {
    if (bound_[i].prefix.view() == prefix) return bound_[i].space;
  }
  return Space::kOther;
}

SoapScan::Role SoapScan::RoleOf(Space space, absl::string_view local) const {
  const bool group_id = space == Space::kAxis2 && local == "ServiceGroupId";
  if (depth_ == 0) {
    return space == Space::kSoap && local == "Envelope" ? Role::kEnvelope : Role::kOther;
  }
  switch (roles_[depth_ - 1]) {
    case Role::kEnvelope:
      return space == Space::kSoap && local == "Header" ? Role::kHeader : Role::kOther;
    case Role::kHeader:
      if (group_id) return Role::kGroupId;
      return space == Space::kAddressing && local == "ReplyTo" ? Role::kReplyTo : Role::kOther;
    case Role::kReplyTo:
      return space == Space::kAddressing && local == "ReferenceParameters"
                 ? Role::kReferenceParameters
                 : Role::kOther;
    case Role::kReferenceParameters:
      return group_id ? Role::kGroupId : Role::kOther;
    case Role::kGroupId:
    case Role::kOther:
      break;
  }
  return Role::kOther;
}

void SoapScan::Open(bool empty) {
  if (depth_ == kDepthMax) return Fail();
  const absl::string_view name = name_.too_long ? absl::string_view() : name_.view();
  const size_t colon = name.find(':');
  const bool prefixed = colon != absl::string_view::npos;
  const Role role = RoleOf(SpaceOf(prefixed ? name.substr(0, colon) : absl::string_view()),
                           prefixed ? name.substr(colon + 1) : name);
  // The Envelope comes first, and the Header first in it: without them there is nothing to find.
  const bool must = depth_ == 0 || roles_[depth_ - 1] == Role::kEnvelope;
  if (must && role == Role::kOther) return Fail();
  roles_[depth_++] = role;
  text_size_ = 0;
  state_ = State::kText;
  if (empty) Close();
}

void SoapScan::Close() {
  if (depth_ == 0) return Fail();
  const Role role = roles_[depth_ - 1];
  while (bindings_ > 0 && bound_[bindings_ - 1].depth >= depth_) --bindings_;
  --depth_;
  state_ = State::kText;
  if (role == Role::kGroupId) return EndId();
  if (role == Role::kHeader || role == Role::kEnvelope) Fail();
}

void SoapScan::EndId() {
  size_t begin = 0, end = text_size_;
  while (begin < end && IsSpace(text_[begin])) ++begin;
  while (end > begin && IsSpace(text_[end - 1])) --end;
  if (begin == end) return Fail();
  id_begin_ = static_cast<uint16_t>(begin);
  id_size_ = static_cast<uint16_t>(end - begin);
  result_ = Result::kFound;
}

}  // namespace roost::proxy

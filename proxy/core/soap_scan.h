// SoapScan finds the session's id in a SOAP message: axis2:ServiceGroupId, a child of the SOAP
// Header in requests, in Header/wsa:ReplyTo/wsa:ReferenceParameters in responses.
//
// It reads bytes as they come, keeps none of them but what it needs (all of it bounded), and ends
// at the Header's end. Names are compared with their namespaces. It is no XML parser: what it does
// not understand (a DTD, references, CDATA or elements in the id, other encodings than UTF-8, too
// deep or too many namespaces) means that there is no id. Knows SOAP 1.1 and 1.2, WS-Addressing of
// 2004/08 and 2005/08, and the root part of a multipart message where that comes first.
//
// Thread: that of its connection.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"

namespace roost::proxy {

class SoapScan {
 public:
  enum class Result : uint8_t { kMore, kFound, kNone };

  void Reset();
  // The next bytes of the message. After kFound or kNone the answer stays.
  Result Feed(absl::string_view bytes);
  // Without surrounding whitespace. REQUIRES: kFound.
  absl::string_view id() const { return absl::string_view(text_.data() + id_begin_, id_size_); }

 private:
  static constexpr size_t kDepthMax = 32;
  static constexpr size_t kBindingsMax = 32;
  static constexpr size_t kPrefixMax = 32;
  static constexpr size_t kNameMax = 96;
  static constexpr size_t kValueMax = 96;
  static constexpr size_t kIdMax = 1'024;

  enum class State : uint8_t {
    kStart,
    kMime,
    kText,
    kLess,
    kName,
    kTag,
    kAttribute,
    kEquals,
    kQuote,
    kValue,
    kSlash,
    kEndTag,
    kBang,
    kComment,
    kCdata,
    kInstruction,
  };
  enum class Space : uint8_t { kOther, kSoap, kAxis2, kAddressing };
  enum class Role : uint8_t {
    kOther,
    kEnvelope,
    kHeader,
    kReplyTo,
    kReferenceParameters,
    kGroupId
  };

  // Text of at most so many bytes; what is longer is known to be so.
  template <size_t kMax>
  struct Text {
    std::array<char, kMax> bytes;
    uint16_t size = 0;
    bool too_long = false;

    void Clear() {
      size = 0;
      too_long = false;
    }
    void Append(char c) {
      if (size == kMax) {
        too_long = true;
      } else {
        bytes[size++] = c;
      }
    }
    void Append(absl::string_view text) {
      const size_t count = std::min(text.size(), kMax - size);
      std::copy_n(text.data(), count, bytes.data() + size);
      size = static_cast<uint16_t>(size + count);
      too_long |= count < text.size();
    }
    absl::string_view view() const { return {bytes.data(), size}; }
  };
  struct Binding {
    Text<kPrefixMax> prefix;
    Space space;
    uint8_t depth;
  };

  size_t Skip(absl::string_view bytes);
  void Step(char c);
  void Start(char c);
  void InText(char c);
  void AfterLess(char c);
  void InTag(char c);
  void InAttribute(char c);
  void Bang(char c);
  void Bind();
  void Open(bool empty);
  void Close();
  Space SpaceOf(absl::string_view prefix) const;
  Role RoleOf(Space space, absl::string_view local) const;
  void EndId();
  void Fail() { result_ = Result::kNone; }

  Result result_ = Result::kMore;
  State state_ = State::kStart;
  char quote_ = 0;
  uint8_t start_bytes_ = 0;
  uint8_t run_ =
      0;  // How much of the end of a comment, section, instruction or MIME head is there.
  uint8_t depth_ = 0;
  uint8_t bindings_ = 0;
  std::array<Role, kDepthMax> roles_;
  std::array<Binding, kBindingsMax> bound_;
  Text<kNameMax> name_, attribute_;
  Text<kValueMax> value_;
  std::array<char, kIdMax> text_;
  uint16_t text_size_ = 0;
  uint16_t id_begin_ = 0, id_size_ = 0;
};

}  // namespace roost::proxy

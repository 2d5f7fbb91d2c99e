// What must hold of every affinity format, whatever a visitor or an application sends. Shared by
// the fuzz targets of the formats; the input's lines are a target, a Cookie and another field of a
// request, then two Set-Cookies and another field of a response.
#pragma once

#include <array>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "proxy/core/affinity.h"
#include "proxy/core/syntax.h"

namespace roost::proxy {

inline bool Within(absl::string_view part, absl::string_view whole) {
  return part.data() >= whole.data() && part.data() + part.size() <= whole.data() + whole.size();
}

// Only what a scanned head can hold.
inline std::vector<absl::string_view> LinesOf(absl::string_view in, std::string* text) {
  text->assign(in.data(), in.size());
  for (char& c : *text) {
    if (c != '\n' && !IsValueChar(c)) c = '?';
  }
  std::vector<absl::string_view> lines;
  absl::string_view rest = *text;
  while (lines.size() < 6) lines.push_back(TakeElement('\n', &rest));
  return lines;
}

inline const membership::View& FuzzView() {
  static const auto* view = [] {
    std::vector<membership::Member> members(3);
    for (size_t i = 0; i < members.size(); ++i) {
      members[i].id = membership::NodeId{i + 1};
      members[i].name = std::string("n") + static_cast<char>('1' + i);
    }
    members[2].state = membership::MemberState::kDead;
    return new membership::View(1, membership::NodeId{1}, members);
  }();
  return *view;
}

inline void CheckAffinity(const Options& options, absl::string_view in) {
  assert(options.affinity.Validate().ok());
  const Affinity affinity(options);
  // Each line in lines of its own head, with a CR behind it as the scanner leaves one there.
  std::string text;
  const std::vector<absl::string_view> lines = LinesOf(in, &text);
  std::array<std::string, 6> stored;
  for (size_t i = 0; i < stored.size(); ++i) stored[i] = std::string(lines[i]) + "\r\n";
  const auto value = [&](size_t i) {
    return absl::string_view(stored[i]).substr(0, stored[i].size() - 2);
  };

  RequestHead request;
  request.path = value(0);
  request.fields = {{"Cookie", value(1), FieldId::kCookie},
                    {options.affinity.header, value(2), FieldId::kOther}};
  request.present.Add(FieldId::kCookie);
  RequestAffinity found;
  affinity.Read(request, &found);
  assert(found.count() <= kSessionIdsMax);
  for (size_t i = 0; i < found.count(); ++i) {
    assert(!found.id(i).empty() && found.id(i).size() <= kSessionIdBytesMax);
    for (size_t j = 0; j < i; ++j) assert(found.id(i) != found.id(j));
  }
  const membership::NodeId hint = affinity.Hint(found, FuzzView());
  assert(hint.value <= 2);  // No stranger, and not the dead.
  assert(!hint || !found.routes().empty());

  HeadEdits edits;
  affinity.HideRoutes(found, &edits);
  const char* last = nullptr;
  for (const ValueEdit& edit : edits.values) {
    assert(Within(edit.from, stored[1]) && edit.to.empty() && edit.from.data() >= last);
    last = edit.from.data() + edit.from.size();
  }

  ResponseHead response;
  response.status = 302;
  response.fields = {{"Set-Cookie", value(3), FieldId::kSetCookie},
                     {"Set-Cookie", value(4), FieldId::kSetCookie},
                     {"Location", value(5), FieldId::kOther},
                     {options.affinity.header, value(5), FieldId::kOther}};
  response.present.Add(FieldId::kSetCookie);
  ResponseAffinity set;
  affinity.Read(response, 1'700'000'000, &set);
  assert((set.change == IdChange::kSet) == !set.id.empty());
  assert(set.id.size() <= kSessionIdBytesMax);
  edits.Clear();
  affinity.WriteRoutes({found, set, store::SessionKey{1, 2}, true}, FuzzView(), &edits);
  assert(edits.values.size() <= 1);
  for (const ValueEdit& edit : edits.values) {
    assert(Within(edit.from, stored[3]) || Within(edit.from, stored[4]));
  }
  // One whole line, however odd the visitor's cookie.
  const size_t end = edits.lines.find("\r\n");
  assert(edits.lines.empty() || end == edits.lines.size() - 2);

  // What a visitor is given comes back as the same session at the same node.
  if (edits.values.size() == 1 && options.affinity.form == IdForm::kPlain) {
    const ValueEdit& edit = edits.values[0];
    std::string cookie = options.cookie + "=" + std::string(set.id) + std::string(edit.to);
    if (set.id.find_first_of(";\" \t") == absl::string_view::npos) {
      request.fields = {{"Cookie", cookie, FieldId::kCookie}};
      request.path = "/";
      RequestAffinity again;
      affinity.Read(request, &again);
      assert(again.count() == 1 && again.id(0) == set.id && !again.bare());
      assert(affinity.Hint(again, FuzzView()).value == 1);
    }
  }
}

}  // namespace roost::proxy

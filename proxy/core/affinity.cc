#include "proxy/core/affinity.h"

#include <algorithm>
#include <cassert>
#include <cstring>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "proxy/core/cookies.h"
#include "store/placement.h"

namespace roost::proxy {
namespace {

// node.name's limit, and more names than anybody's list has.
constexpr size_t kRouteBytesMax = 64;
constexpr size_t kRoutesReadMax = 16;

bool IsUsable(absl::string_view id) { return !id.empty() && id.size() <= kSessionIdBytesMax; }

bool IsRoute(absl::string_view name) {
  return !name.empty() && name.size() <= kRouteBytesMax &&
         std::all_of(name.begin(), name.end(),
                     [](char c) { return absl::ascii_isalnum(c) || c == '_' || c == '-'; });
}

// Whether `routes` is a list of at most `max` names.
bool AreRoutes(absl::string_view routes, char delimiter, size_t max) {
  for (size_t count = 1; count <= max; ++count) {
    const size_t end = routes.find(delimiter);
    if (!IsRoute(routes.substr(0, end))) return false;
    if (end == absl::string_view::npos) return true;
    routes.remove_prefix(end + 1);
  }
  return false;
}

absl::string_view FirstRoute(absl::string_view routes, char delimiter) {
  return routes.substr(0, routes.find(delimiter));
}

int HexValue(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  c = absl::ascii_tolower(c);
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

// Into `room`; the text itself if nothing is encoded in it or it does not fit.
absl::string_view PercentDecode(absl::string_view text, char* room, size_t room_size,
                                size_t* used) {
  if (text.find('%') == absl::string_view::npos || text.size() > room_size) return text;
  size_t size = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool whole = text[i] == '%' && i + 2 < text.size();
    const int high = whole ? HexValue(text[i + 1]) : -1, low = whole ? HexValue(text[i + 2]) : -1;
    if (high >= 0 && low >= 0) {
      room[size++] = static_cast<char>(high * 16 + low);
      i += 2;
    } else {
      room[size++] = text[i];
    }
  }
  *used += size;
  return absl::string_view(room, size);
}

int Base64Value(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  return c == '+' || c == '-' ? 62 : c == '/' || c == '_' ? 63 : -1;
}

// Likewise; the text itself too if it is no Base64 of something printable.
absl::string_view Base64Decode(absl::string_view text, char* room, size_t room_size, size_t* used) {
  absl::string_view digits = text;
  while (absl::EndsWith(digits, "=")) digits.remove_suffix(1);
  if (digits.size() % 4 == 1 || digits.size() / 4 * 3 + 3 > room_size) return text;
  uint32_t bits = 0;
  int bit_count = 0;
  size_t size = 0;
  for (const char c : digits) {
    const int value = Base64Value(c);
    if (value < 0) return text;
    bits = bits << 6 | static_cast<uint32_t>(value);
    bit_count += 6;
    if (bit_count < 8) continue;
    bit_count -= 8;
    room[size] = static_cast<char>(bits >> bit_count & 0xff);
    if (!absl::ascii_isgraph(room[size++])) return text;
  }
  if (size == 0) return text;
  *used += size;
  return absl::string_view(room, size);
}

// s:ID.SIGNATURE, with the signature's dot the last.
absl::string_view Unsign(absl::string_view value) {
  absl::string_view rest = value;
  if (!absl::ConsumePrefix(&rest, "s%3A") && !absl::ConsumePrefix(&rest, "s%3a") &&
      !absl::ConsumePrefix(&rest, "s:")) {
    return value;
  }
  const size_t dot = rest.rfind('.');
  return dot == absl::string_view::npos || dot == 0 ? value : rest.substr(0, dot);
}

// Calls `visit(value)` for every ";NAME=VALUE" of the path; `mark` is ";NAME=".
template <typename Visit>
void ForEachPathParameter(absl::string_view target, absl::string_view mark, Visit visit) {
  absl::string_view path = target.substr(0, target.find('?'));
  for (;;) {
    const size_t found = path.find(mark);
    if (found == absl::string_view::npos) return;
    path.remove_prefix(found + mark.size());
    visit(path.substr(0, path.find_first_of("/;")));
  }
}

// Likewise for the query; `mark` is "NAME=".
template <typename Visit>
void ForEachQueryParameter(absl::string_view target, absl::string_view mark, Visit visit) {
  const size_t query = target.find('?');
  if (query == absl::string_view::npos) return;
  absl::string_view rest = target.substr(query + 1);
  while (!rest.empty()) {
    absl::string_view parameter = TakeElement('&', &rest);
    if (absl::ConsumePrefix(&parameter, mark)) visit(parameter);
  }
}

template <typename Head, typename Visit>
void ForEachField(const Head& head, absl::string_view name, Visit visit) {
  for (const HeaderField& field : head.fields) {
    if (field.id == FieldId::kOther && absl::EqualsIgnoreCase(field.name, name)) visit(field.value);
  }
}

// Whether the body may be a SOAP message.
template <typename Head>
bool IsSoap(const Head& head) {
  bool found = false;
  ForEachField(head, "Content-Type", [&](absl::string_view type) {
    for (const absl::string_view soap :
         {"text/xml", "application/soap+xml", "multipart/related", "application/xml"}) {
      found |= absl::StartsWithIgnoreCase(type, soap);
    }
  });
  return found;
}

}  // namespace

void RequestAffinity::Clear() {
  count_ = tail_count_ = decoded_size_ = 0;
  routes_ = seal_ = {};
  bare_ = conflict_ = false;
}

void RequestAffinity::Add(absl::string_view id, absl::string_view routes, IdPlace place) {
  const auto end = ids_.begin() + count_;
  if (count_ == kSessionIdsMax || std::find(ids_.begin(), end, id) != end) return;
  if (count_ == 0) {
    place_ = place;
    routes_ = routes;
    bare_ = routes.empty();
  } else if (place != place_) {
    conflict_ = true;
  }
  ids_[count_++] = id;
}

Affinity::Affinity(const Options& options)
    : format_(options.affinity.format),
      places_(options.affinity.places),
      form_(options.affinity.form),
      cookie_(options.cookie),
      path_mark_(absl::StrCat(";", options.affinity.path_parameter, "=")),
      query_mark_(absl::StrCat(options.affinity.query_parameter, "=")),
      header_(options.affinity.header),
      route_cookie_(options.affinity.route_cookie),
      sealed_cookie_(options.affinity.sealed_cookie),
      cookie_attributes_(options.affinity.cookie_attributes),
      routes_by_(options.affinity.routes_by),
      delimiter_(options.affinity.delimiter),
      routes_max_(static_cast<size_t>(options.affinity.routes_max)),
      copies_(options.affinity.copies),
      from_header_(options.affinity.Has(IdPlace::kHeader)),
      from_path_(options.affinity.Has(IdPlace::kPath)),
      from_soap_(options.affinity.Has(IdPlace::kSoap)),
      learn_socketio_(options.affinity.learn_socketio),
      body_bytes_max_(static_cast<size_t>(options.affinity.soap_bytes_max)) {}

Affinity::Parts Affinity::Split(absl::string_view value) const {
  const absl::string_view none = value.substr(value.size());
  if (format_ != AffinityFormat::kIdRoute && format_ != AffinityFormat::kRanked) {
    return {value, {}, none};
  }
  const size_t delimiter = value.find(delimiter_);
  if (delimiter == absl::string_view::npos || delimiter == 0) return {value, {}, none};
  const absl::string_view routes = value.substr(delimiter + 1);
  const size_t max = format_ == AffinityFormat::kRanked ? kRoutesReadMax : 1;
  // Not names of nodes: the id just has dots in it.
  if (!AreRoutes(routes, delimiter_, max)) return {value, {}, none};
  return {value.substr(0, delimiter), routes, value.substr(delimiter)};
}

absl::string_view Affinity::Derive(absl::string_view value, char* room, size_t room_size,
                                   size_t* used) const {
  switch (form_) {
    case IdForm::kPlain:
      return value;
    case IdForm::kSigned:
      return PercentDecode(Unsign(value), room, room_size, used);
    case IdForm::kBase64:
      return Base64Decode(value, room, room_size, used);
  }
  return value;
}

void Affinity::AddId(absl::string_view value, IdPlace place, RequestAffinity* out) const {
  const Parts parts = Split(value);
  if (place == IdPlace::kCookie && !parts.tail.empty() && out->tail_count_ < kSessionIdsMax) {
    out->tails_[out->tail_count_++] = parts.tail;
  }
  const absl::string_view id =
      Derive(parts.id, out->decoded_.data() + out->decoded_size_,
             out->decoded_.size() - out->decoded_size_, &out->decoded_size_);
  if (IsUsable(id)) out->Add(id, parts.routes, place);
}

void Affinity::AddIds(const RequestHead& head, IdPlace place, RequestAffinity* out) const {
  const auto add = [&](absl::string_view value) { AddId(value, place, out); };
  switch (place) {
    case IdPlace::kCookie:
      return ForEachCookie(head, cookie_, [&](absl::string_view value) {
        add(value);
        return out->count_ < kSessionIdsMax;
      });
    case IdPlace::kPath:
      return ForEachPathParameter(head.path, path_mark_, add);
    case IdPlace::kQuery:
      return ForEachQueryParameter(head.path, query_mark_, add);
    case IdPlace::kHeader:
      return ForEachField(head, header_, add);
    case IdPlace::kSoap:
      return;  // It is in the body.
  }
}

void Affinity::Read(const RequestHead& head, RequestAffinity* out) const {
  out->Clear();
  for (const IdPlace place : places_) AddIds(head, place, out);
  if (format_ == AffinityFormat::kRouteCookie) {
    out->routes_ = {};
    ForEachCookie(head, route_cookie_, [&](absl::string_view value) {
      const size_t delimiter = value.find(delimiter_);
      if (delimiter == absl::string_view::npos) return true;
      const absl::string_view route = value.substr(delimiter + 1);
      if (IsRoute(route)) out->routes_ = route;
      return out->routes_.empty();
    });
    out->bare_ = out->routes_.empty();
  } else if (format_ == AffinityFormat::kSealed) {
    ForEachCookie(head, sealed_cookie_, [&](absl::string_view value) {
      out->seal_ = value;
      return false;
    });
  }
}

void Affinity::Read(const ResponseHead& head, int64_t now_unix_s, ResponseAffinity* out) const {
  out->Clear();
  const auto set = [&](absl::string_view value, bool in_cookie) {
    const Parts parts = Split(value);
    size_t used = 0;
    const absl::string_view id = Derive(parts.id, out->decoded.data(), out->decoded.size(), &used);
    if (!IsUsable(id)) return;
    out->change = IdChange::kSet;
    out->id = id;
    out->tail = in_cookie ? parts.tail : absl::string_view();
  };
  if (std::find(places_.begin(), places_.end(), IdPlace::kCookie) != places_.end() &&
      head.present.Has(FieldId::kSetCookie)) {
    SetCookie last;
    for (const HeaderField& field : head.fields) {
      if (field.id != FieldId::kSetCookie) continue;
      const auto cookie = ReadSetCookie(field.value, cookie_, now_unix_s);
      if (!cookie) continue;
      if (!cookie->cleared) {
        last = *cookie;
        set(cookie->value, true);
      } else if (out->change == IdChange::kNone ||
                 (cookie->path == last.path && cookie->domain == last.domain)) {
        // Another path's or domain's cookie of that name is another cookie.
        out->change = IdChange::kCleared;
        out->id = out->tail = {};
      }
    }
  }
  if (out->change == IdChange::kSet) return;
  if (from_header_) ForEachField(head, header_, [&](absl::string_view id) { set(id, false); });
  if (out->change == IdChange::kSet || !from_path_ || head.status / 100 != 3) return;
  ForEachField(head, "Location", [&](absl::string_view url) {
    ForEachPathParameter(url, path_mark_, [&](absl::string_view id) { set(id, false); });
  });
}

bool Affinity::SoapComesBefore(IdPlace place) const {
  return std::find(places_.begin(), places_.end(), IdPlace::kSoap) <
         std::find(places_.begin(), places_.end(), place);
}

bool Affinity::IdInBody(const RequestHead& head, const RequestAffinity& request) const {
  return from_soap_ && head.has_body() && IsSoap(head) &&
         (request.count_ == 0 || SoapComesBefore(request.place_));
}

std::optional<BodyIdScan::Kind> Affinity::IdInBody(const RequestHead& head,
                                                   const RequestAffinity& request,
                                                   const ResponseHead& response) const {
  if (response.body == BodyKind::kNone) return std::nullopt;
  if (from_soap_ && IsSoap(response)) return BodyIdScan::Kind::kSoap;
  if (learn_socketio_ && request.count_ == 0 && response.status == 200 &&
      absl::StrContains(head.path, "transport=polling")) {
    return BodyIdScan::Kind::kSocketIo;
  }
  return std::nullopt;
}

void Affinity::AddBodyId(absl::string_view id, RequestAffinity* request) const {
  if (!IsUsable(id)) return;
  const size_t kept = std::min(request->count_, kSessionIdsMax - 1);
  std::copy_backward(request->ids_.begin(), request->ids_.begin() + kept,
                     request->ids_.begin() + kept + 1);
  request->conflict_ |= kept > 0 && request->ids_[0] != id;
  request->ids_[0] = id;
  request->count_ = kept + 1;
  request->place_ = IdPlace::kSoap;
}

void Affinity::AddBodyId(absl::string_view id, ResponseAffinity* response) const {
  const bool first = response->change != IdChange::kSet || SoapComesBefore(IdPlace::kCookie);
  if (!first || !IsUsable(id)) return;
  response->Clear();
  response->change = IdChange::kSet;
  response->id = id;
}

membership::NodeId Affinity::Hint(const RequestAffinity& request,
                                  const membership::View& view) const {
  absl::string_view rest = request.routes_;
  while (!rest.empty()) {
    const membership::Member* member = view.FindByName(TakeElement(delimiter_, &rest));
    if (member != nullptr && member->live()) return member->id;
  }
  return {};
}

bool Affinity::WritesSuffix() const {
  return routes_by_ == RoutesBy::kRoost &&
         (format_ == AffinityFormat::kIdRoute || format_ == AffinityFormat::kRanked);
}

// Behind an id that has the delimiter in it nobody would find them again.
bool Affinity::TakesRoutes(absl::string_view id) const {
  return id.find(delimiter_) == absl::string_view::npos;
}

void Affinity::HideRoutes(const RequestAffinity& request, HeadEdits* edits) const {
  if (!WritesSuffix()) return;
  for (size_t i = 0; i < request.tail_count_; ++i) edits->values.push_back({request.tails_[i], {}});
}

void Affinity::AppendRoutes(store::SessionKey key, const membership::View& view,
                            std::string* out) const {
  const absl::string_view self = view.Find(view.self())->name;
  if (self.empty()) return;
  absl::StrAppend(out, absl::string_view(&delimiter_, 1), self);
  if (format_ != AffinityFormat::kRanked || copies_ == 0) return;
  size_t count = 1;
  for (const membership::NodeId node : store::PlaceCopies(view, key, view.self(), copies_)) {
    if (node == view.self()) continue;
    const absl::string_view name = view.Find(node)->name;
    if (count++ == routes_max_) return;
    absl::StrAppend(out, absl::string_view(&delimiter_, 1), name);
  }
}

bool Affinity::WriteRoutes(const Owned& owned, const membership::View& view,
                           HeadEdits* edits) const {
  if (format_ == AffinityFormat::kSealed) return WriteSeal(owned, view.self(), edits);
  const bool by_route_cookie = format_ == AffinityFormat::kRouteCookie;
  if (!owned.owned_here || !(by_route_cookie || WritesSuffix())) return false;
  const RequestAffinity& request = owned.request;
  const absl::string_view self = view.Find(view.self())->name;
  const bool current = !request.bare_ && FirstRoute(request.routes_, delimiter_) == self;
  if (WritesSuffix() && owned.response.tail.data() != nullptr) {
    if (!TakesRoutes(owned.response.id)) return false;
    AppendRoutes(owned.key, view, &edits->text);
    if (!edits->text.empty()) edits->values.push_back({owned.response.tail, edits->text});
    return false;
  }
  if (current || owned.response.change == IdChange::kCleared) return false;
  std::string& lines = edits->lines;
  if (by_route_cookie) {
    absl::StrAppend(&lines, "Set-Cookie: ", route_cookie_, "=");
  } else if (request.count_ > 0 && request.place_ == IdPlace::kCookie && form_ == IdForm::kPlain &&
             TakesRoutes(request.ids_[0])) {
    absl::StrAppend(&lines, "Set-Cookie: ", cookie_, "=", request.ids_[0]);
  } else {
    return false;
  }
  const size_t before = lines.size();
  AppendRoutes(owned.key, view, &lines);
  if (lines.size() == before) {
    lines.clear();
    return false;
  }
  EndCookie(&lines);
  return !request.bare_;
}

void Affinity::EndCookie(std::string* lines) const {
  if (!cookie_attributes_.empty()) absl::StrAppend(lines, "; ", cookie_attributes_);
  lines->append("\r\n");
}

bool Affinity::WriteSeal(const Owned& owned, membership::NodeId self, HeadEdits* edits) const {
  if (!owned.owned_here || owned.seals == nullptr) return false;
  const RequestAffinity& request = owned.request;
  const IdChange change = owned.response.change;
  // A seal is of one session, and of no use for the next.
  const bool renamed =
      change == IdChange::kSet && (request.count_ == 0 || request.ids_[0] != owned.response.id);
  if (change == IdChange::kCleared || (!renamed && SealKeys::Names(request.seal_, self))) {
    return false;
  }
  absl::StrAppend(&edits->lines, "Set-Cookie: ", sealed_cookie_, "=");
  owned.seals->Append(owned.key, self, &edits->lines);
  EndCookie(&edits->lines);
  return !renamed && !request.seal_.empty();
}

}  // namespace roost::proxy

#include "proxy/affinity_options.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace roost::proxy {
namespace {

constexpr size_t kNameBytesMax = 64;
constexpr size_t kAttributesBytesMax = 256;
constexpr int64_t kSoapBytesMin = 1 << 10;
constexpr int64_t kSoapBytesMax = 16 << 10;

bool IsTokenChar(char c) {
  return absl::ascii_isalnum(c) ||
         absl::string_view("!#$%&'*+-.^_`|~").find(c) != absl::string_view::npos;
}

absl::Status Invalid(absl::string_view field, absl::string_view reason) {
  return absl::InvalidArgumentError(absl::StrCat("affinity.", field, " ", reason));
}

absl::Status CheckName(absl::string_view field, absl::string_view name) {
  const bool valid = !name.empty() && name.size() <= kNameBytesMax &&
                     std::all_of(name.begin(), name.end(), IsTokenChar);
  if (valid) return absl::OkStatus();
  return Invalid(field, absl::StrCat("must be 1 to ", kNameBytesMax,
                                     " letters, digits or !#$%&'*+-.^_`|~, because affinity.places "
                                     "or affinity.format uses it"));
}

// They are written into a field as they are.
absl::Status CheckAttributes(absl::string_view text) {
  const bool valid = text.size() <= kAttributesBytesMax &&
                     std::all_of(text.begin(), text.end(), absl::ascii_isprint) &&
                     text.find(',') == absl::string_view::npos;
  if (valid) return absl::OkStatus();
  return Invalid("cookie_attributes",
                 absl::StrCat("must be at most ", kAttributesBytesMax,
                              " printable characters without ',', such as Path=/; HttpOnly"));
}

}  // namespace

bool AffinityOptions::Has(IdPlace place) const {
  return std::find(places.begin(), places.end(), place) != places.end();
}

absl::Status AffinityOptions::Validate() const {
  absl::Status status;
  if (places.empty()) {
    status.Update(Invalid("places", "must name where ids are, such as [cookie, path]"));
  }
  for (const IdPlace place : places) {
    if (std::count(places.begin(), places.end(), place) == 1) continue;
    status.Update(Invalid("places", "names a place twice; once is enough"));
  }
  if (Has(IdPlace::kPath)) status.Update(CheckName("path_parameter", path_parameter));
  if (Has(IdPlace::kQuery)) status.Update(CheckName("query_parameter", query_parameter));
  if (Has(IdPlace::kHeader)) status.Update(CheckName("header", header));
  if (format == AffinityFormat::kRouteCookie) {
    status.Update(CheckName("route_cookie_name", route_cookie));
  }
  if (format == AffinityFormat::kSealed) status.Update(CheckName("sealed_cookie_name", sealed_cookie));
  status.Update(CheckAttributes(cookie_attributes));
  // Not one that names or ids may hold, nor one that ends a cookie's value.
  if (absl::string_view(".!~:|@").find(delimiter) == absl::string_view::npos) {
    status.Update(Invalid("delimiter", "must be one of . ! ~ : | @"));
  }
  const bool suffix = format == AffinityFormat::kIdRoute || format == AffinityFormat::kRanked;
  if (form == IdForm::kSigned && suffix) {
    status.Update(Invalid("form",
                          "signed does not go with a format that writes routes behind ids, where "
                          "the signature is; use route_cookie"));
  }
  if (routes_max < 1 || routes_max > 8) {
    status.Update(Invalid("routes_max", absl::StrCat("must be 1 to 8, not ", routes_max)));
  }
  if (soap_bytes_max < kSoapBytesMin || soap_bytes_max > kSoapBytesMax) {
    status.Update(Invalid("soap_bytes_max", absl::StrCat("must be ", kSoapBytesMin, " to ",
                                                         kSoapBytesMax, ", not ", soap_bytes_max)));
  }
  return status;
}

}  // namespace roost::proxy

#include "proxy/core/head.h"

namespace roost::proxy {

bool IsIdempotent(Method method) {
  switch (method) {
    case Method::kGet:
    case Method::kHead:
    case Method::kPut:
    case Method::kDelete:
    case Method::kOptions:
    case Method::kTrace:
      return true;
    case Method::kPost:
    case Method::kPatch:
    case Method::kOther:
      return false;
  }
  return false;
}

absl::string_view RequestHead::upgrade() const {
  if (!present.Has(FieldId::kUpgrade)) return {};
  for (const HeaderField& field : fields) {
    if (field.id == FieldId::kUpgrade) return field.value;
  }
  return {};
}

}  // namespace roost::proxy

#include "store/core/limits.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "store/core/session_summary.h"

namespace roost::store {
namespace {

constexpr size_t kNameBytesMax = 256;
constexpr size_t kSchemaBytesMax = 128;
constexpr size_t kPrincipalBytesMax = 256;

absl::Status TooLarge(absl::string_view field, int64_t value, int64_t limit) {
  return absl::InvalidArgumentError(absl::StrCat(field, " has ", value, "; the limit is ", limit));
}

absl::Status CheckName(absl::string_view field, const std::string& name) {
  if (name.empty()) return absl::InvalidArgumentError(absl::StrCat(field, " must not be empty"));
  if (name.size() > kNameBytesMax) return TooLarge(field, name.size(), kNameBytesMax);
  return absl::OkStatus();
}

absl::Status CheckAttributes(const Options& options, absl::string_view field,
                             const std::map<std::string, Attribute>& attributes) {
  for (const auto& [name, attribute] : attributes) {
    absl::Status status = CheckName(absl::StrCat(field, ": bytes of a name"), name);
    if (!status.ok()) return status;
    const auto bytes = static_cast<int64_t>(attribute.value.size());
    if (bytes > options.attribute_bytes_max) {
      return TooLarge(absl::StrCat(field, ": bytes of a value"), bytes,
                      options.attribute_bytes_max);
    }
    if (attribute.schema.size() > kSchemaBytesMax) {
      return TooLarge("schemas: bytes of a tag", attribute.schema.size(), kSchemaBytesMax);
    }
  }
  return absl::OkStatus();
}

absl::Status CheckPrincipal(const std::string& principal) {
  if (principal.size() <= kPrincipalBytesMax) return absl::OkStatus();
  return TooLarge("principal: bytes", principal.size(), kPrincipalBytesMax);
}

}  // namespace

absl::Status CheckCreate(const Options& options, const CreateOp& op) {
  const int64_t absolute_max = options.absolute_ttl_max.count();
  if (op.absolute_ttl_ms < 0 || op.absolute_ttl_ms > absolute_max) {
    return TooLarge("absolute_ttl_ms", op.absolute_ttl_ms, absolute_max);
  }
  const int64_t absolute =
      op.absolute_ttl_ms != 0 ? op.absolute_ttl_ms : options.absolute_ttl.count();
  if (op.idle_ttl_ms < 0 || op.idle_ttl_ms > absolute) {
    return TooLarge("idle_ttl_ms", op.idle_ttl_ms, absolute);
  }
  if (op.renewal_ttl_ms < 0 || op.renewal_ttl_ms > absolute_max) {
    return TooLarge("renewal_ttl_ms", op.renewal_ttl_ms, absolute_max);
  }
  absl::Status status = CheckAttributes(options, "attributes", op.attributes);
  return status.ok() ? CheckPrincipal(op.principal) : status;
}

absl::Status CheckPut(const Options& options, const PutOp& op) {
  if (op.create && op.expected_version != 0) {
    return absl::InvalidArgumentError("expected_version must be 0 with create");
  }
  if (op.remove.size() > static_cast<size_t>(options.attributes_max)) {
    return TooLarge("remove: names", op.remove.size(), options.attributes_max);
  }
  for (const std::string& name : op.remove) {
    if (absl::Status status = CheckName("remove: bytes of a name", name); !status.ok()) {
      return status;
    }
    if (op.set.count(name) != 0) {
      return absl::InvalidArgumentError("remove: a name may not be in set as well");
    }
  }
  absl::Status status = CheckAttributes(options, "set", op.set);
  return status.ok() ? CheckPrincipal(op.principal) : status;
}

absl::Status CheckIncrement(const IncrementOp& op) { return CheckName("name: bytes", op.name); }

absl::Status CheckRotate(const RotateOp& op) {
  if (op.key.mode() != op.new_key.mode()) {
    return absl::InvalidArgumentError("new id: it must be in a namespace of the same mode");
  }
  return CheckPrincipal(op.principal);
}

absl::Status CheckLock(const LockOp& op) {
  if (op.lease_ms < kLockLeaseMsMin || op.lease_ms > kLockLeaseMsMax) {
    return absl::InvalidArgumentError(absl::StrCat("lease_ms is ", op.lease_ms, "; it must be ",
                                                   kLockLeaseMsMin, " to ", kLockLeaseMsMax));
  }
  if (op.wait_ms >= 0 && op.wait_ms <= kLockWaitMsMax) return absl::OkStatus();
  return TooLarge("wait_ms", op.wait_ms, kLockWaitMsMax);
}

absl::Status CheckSession(const Options& options, const Session& session) {
  const auto count = static_cast<int64_t>(session.attributes.size());
  if (count > options.attributes_max) {
    return TooLarge("session: attributes", count, options.attributes_max);
  }
  if (const int64_t bytes = ContentSizeOf(session); bytes > options.session_bytes_max) {
    return TooLarge("session: bytes", bytes, options.session_bytes_max);
  }
  return absl::OkStatus();
}

}  // namespace roost::store

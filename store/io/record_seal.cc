#include "store/io/record_seal.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "store/io/record_proto.h"

namespace roost::store {
namespace {

using membership::AeadKey;
using membership::AeadNonce;
using membership::DeriveKey;
using membership::kAeadTagBytes;

// No record begins with it.
constexpr char kSealedFormat = '\xe1';
constexpr size_t kIdBytes = 4;
constexpr size_t kNonceBytes = 24;
constexpr size_t kHeaderBytes = 1 + kIdBytes + kNonceBytes;
static_assert(kHeaderBytes + kAeadTagBytes == RecordSeal::kOverheadBytes);
static_assert(2 * std::tuple_size_v<AeadNonce> == kNonceBytes);

constexpr absl::string_view kKeyLabel = "roost record key v1";
constexpr absl::string_view kPrincipalLabel = "roost principal v1 ";

uint8_t* Bytes(char* text) { return reinterpret_cast<uint8_t*>(text); }

void FillRandom(uint8_t* bytes, size_t size) {
  if (RAND_bytes(bytes, static_cast<int>(size)) != 1) std::abort();
}

void AppendId(uint32_t id, std::string* out) {
  for (int shift = 24; shift >= 0; shift -= 8) out->push_back(static_cast<char>(id >> shift));
}

uint32_t IdOf(absl::string_view sealed) {
  uint32_t id = 0;
  for (const char byte : sealed.substr(1, kIdBytes)) id = id << 8 | static_cast<uint8_t>(byte);
  return id;
}

// The key and the nonce that a record is sealed with.
struct Once {
  Once(const AeadKey& key, absl::string_view header) {
    const char* const bytes = header.data() + 1 + kIdBytes;
    AeadNonce first;
    std::memcpy(first.data(), bytes, first.size());
    std::memcpy(nonce.data(), bytes + first.size(), nonce.size());
    subkey = membership::ExtendedNonceKey(key, first);
  }
  ~Once() { OPENSSL_cleanse(subkey.data(), subkey.size()); }

  AeadKey subkey;
  AeadNonce nonce;
};

// What a record is bound to beside its key and nonce. A family's name has no NUL.
absl::string_view Separator() { return {"\0", 1}; }

}  // namespace

RecordSeal::RecordSeal(const membership::Keyring& keys, std::string family)
    : family_(std::move(family)) {
  keys_.reserve(keys.keys().size());
  for (const membership::GossipKey& key : keys.keys()) {
    keys_.push_back({key.id(), DeriveKey(key.bytes(), kKeyLabel)});
  }
}

RecordSeal::~RecordSeal() {
  for (Key& key : keys_) OPENSSL_cleanse(key.bytes.data(), key.bytes.size());
  OPENSSL_cleanse(index_key_.data(), index_key_.size());
}

void RecordSeal::MakeIndexKey() { FillRandom(index_key_.data(), index_key_.size()); }

absl::Status RecordSeal::Unlock(const std::vector<KeyRow>& rows) {
  const absl::Status damaged = absl::DataLossError("its record of the encryption keys is corrupt");
  std::vector<std::string> missing;
  std::optional<std::string> index_key;
  for (const auto& [key, value] : rows) {
    absl::string_view text = key;
    const bool is_key_row = absl::ConsumePrefix(&text, kKeyRowPrefix);
    const auto id = membership::ParseKeyId(text);
    if (!is_key_row || !id.ok()) return damaged;
    if (Find(*id) == nullptr) {
      missing.push_back(membership::KeyIdText(*id));
      continue;
    }
    const auto opened = Open({family_, key}, value);
    if (!opened.ok() || opened->size() != index_key_.size() || IdOf(value) != *id ||
        *opened != index_key.value_or(*opened)) {
      return damaged;
    }
    index_key = *opened;
  }
  if (!missing.empty()) {
    return absl::FailedPreconditionError(
        absl::StrCat("store.encryption_keys_file lacks the key ", absl::StrJoin(missing, ", "),
                     ", with which records in it are encrypted: put it back, after the first"));
  }
  if (!index_key.has_value()) return damaged;
  std::copy(index_key->begin(), index_key->end(), index_key_.begin());
  OPENSSL_cleanse(index_key->data(), index_key->size());
  return absl::OkStatus();
}

RecordSeal::KeyRow RecordSeal::FirstKeyRow() const {
  std::string key = absl::StrCat(kKeyRowPrefix, membership::KeyIdText(keys_.front().id));
  const absl::string_view index_key(reinterpret_cast<const char*>(index_key_.data()),
                                    index_key_.size());
  std::string value = Seal({family_, key}, index_key);
  return {std::move(key), std::move(value)};
}

std::string RecordSeal::Seal(Row row, absl::string_view record) const {
  const Key& key = keys_.front();
  std::string out(1, kSealedFormat);
  out.reserve(kOverheadBytes + record.size());
  AppendId(key.id, &out);
  out.resize(kOverheadBytes + record.size());
  FillRandom(Bytes(out.data()) + 1 + kIdBytes, kNonceBytes);
  const absl::string_view header = absl::string_view(out).substr(0, kHeaderBytes);
  const Once once(key.bytes, header);
  membership::AeadSeal(once.subkey, once.nonce, {header, row.family, Separator(), row.key}, record,
                       Bytes(out.data()) + kHeaderBytes);
  return out;
}

absl::StatusOr<std::string> RecordSeal::Open(Row row, absl::string_view sealed) const {
  if (sealed.size() < kOverheadBytes || sealed.size() > kRecordBytesMax + kOverheadBytes ||
      sealed[0] != kSealedFormat) {
    return absl::DataLossError("record: not encrypted as this version does it");
  }
  const Key* const key = Find(IdOf(sealed));
  if (key == nullptr) {
    return absl::DataLossError(absl::StrCat("record: encrypted with the key ",
                                            membership::KeyIdText(IdOf(sealed)),
                                            ", which store.encryption_keys_file lacks"));
  }
  const absl::string_view header = sealed.substr(0, kHeaderBytes);
  const Once once(key->bytes, header);
  std::string record(sealed.size() - kOverheadBytes, '\0');
  if (!membership::AeadOpen(once.subkey, once.nonce, {header, row.family, Separator(), row.key},
                            sealed.substr(kHeaderBytes), Bytes(record.data()))) {
    return absl::DataLossError("record: changed since it was encrypted");
  }
  return record;
}

bool RecordSeal::IsOfFirstKey(absl::string_view sealed) const {
  return IdOf(sealed) == keys_.front().id;
}

std::string RecordSeal::HidePrincipal(absl::string_view hash) const {
  const AeadKey hidden = DeriveKey(index_key_, absl::StrCat(kPrincipalLabel, hash));
  return {reinterpret_cast<const char*>(hidden.data()), std::min(hash.size(), hidden.size())};
}

const RecordSeal::Key* RecordSeal::Find(uint32_t id) const {
  const auto found =
      std::find_if(keys_.begin(), keys_.end(), [id](const Key& key) { return key.id == id; });
  return found == keys_.end() ? nullptr : &*found;
}

}  // namespace roost::store

#include "membership/io/gossip_seal.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include <cassert>
#include <utility>

#include "membership/aead.h"
#include "membership/core/message.h"
#include "membership/io/gossip_wire.h"

namespace roost::membership {
namespace {

constexpr size_t kPlainHeaderBytes = 3;
constexpr size_t kHeaderBytes = kPlainHeaderBytes + 4 + 4 + 8 + 8 + 8 + 8;
constexpr char kSubkeyLabel[] = "roost gossip seal v2";
// Members, their restarts and keys under rotation; then the cache starts anew.
constexpr size_t kSubkeysMax = 2 * ReplayGuard::kSendersMax;

static_assert(kHeaderBytes - kPlainHeaderBytes + kAeadTagBytes == kSealBytes);

template <typename T>
void Append(T value, std::string* out) {
  for (int shift = 8 * (sizeof(T) - 1); shift >= 0; shift -= 8) {
    out->push_back(static_cast<char>(value >> shift & 0xff));
  }
}

template <typename T>
T Take(absl::string_view* bytes) {
  T value = 0;
  for (size_t i = 0; i < sizeof(T); ++i) {
    value = value << 8 | static_cast<uint8_t>((*bytes)[i]);
  }
  bytes->remove_prefix(sizeof(T));
  return value;
}

uint8_t* Bytes(std::string* text) { return reinterpret_cast<uint8_t*>(text->data()); }

uint32_t TagOf(absl::string_view cluster) {
  uint8_t digest[EVP_MAX_MD_SIZE];
  const int done =
      EVP_Digest(cluster.data(), cluster.size(), digest, nullptr, EVP_sha256(), nullptr);
  assert(done == 1);
  (void)done;
  absl::string_view start(reinterpret_cast<const char*>(digest), sizeof(uint32_t));
  return Take<uint32_t>(&start);
}

uint64_t RandomSalt() {
  uint64_t salt = 0;
  const int done = RAND_bytes(reinterpret_cast<uint8_t*>(&salt), sizeof(salt));
  assert(done == 1);
  (void)done;
  return salt;
}

}  // namespace

GossipSeal::Subkey::~Subkey() { OPENSSL_cleanse(bytes.data(), bytes.size()); }

GossipSeal::GossipSeal(std::string cluster, KeyringPtr keys)
    : cluster_(std::move(cluster)),
      cluster_tag_(TagOf(cluster_)),
      salt_(RandomSalt()),
      keys_(std::move(keys)) {
  assert(keys_ != nullptr);
}

GossipSeal::~GossipSeal() = default;

void GossipSeal::SetKeys(KeyringPtr keys) {
  assert(keys != nullptr);
  keys_ = std::move(keys);
  subkeys_.clear();
}

std::string GossipSeal::EncodeHeader(const Header& header) {
  std::string out = {'R', 'G', static_cast<char>(kSealedFormatVersion)};
  out.reserve(kDatagramBytesMax);
  Append(header.key_id, &out);
  Append(header.cluster_tag, &out);
  Append(header.sender.value, &out);
  Append(header.boot_epoch, &out);
  Append(header.salt, &out);
  Append(header.sequence, &out);
  return out;
}

GossipSeal::Header GossipSeal::DecodeHeader(absl::string_view datagram) {
  datagram.remove_prefix(kPlainHeaderBytes);
  Header header;
  header.key_id = Take<uint32_t>(&datagram);
  header.cluster_tag = Take<uint32_t>(&datagram);
  header.sender.value = Take<uint64_t>(&datagram);
  header.boot_epoch = Take<uint64_t>(&datagram);
  header.salt = Take<uint64_t>(&datagram);
  header.sequence = Take<uint64_t>(&datagram);
  return header;
}

// GCM falls apart if one key ever seals two messages with one nonce. So each process has a key of
// its own, and its nonce is a counter: the subkey is HKDF-Expand (RFC 5869, the ring's key is
// uniformly random, so nothing need be extracted) of sender, boot epoch and salt. The boot epoch is
// persisted before the first datagram and never used twice by one data directory; the salt, 64
// random bits made when the process starts, keeps apart those that are copies of one data
// directory, or whose disk was restored from a backup. The counter never goes back while the
// process lives, whatever key is primary, and does not run out.
GossipSeal::Subkey GossipSeal::Derive(const GossipKey& key, const Header& header) {
  std::string info(kSubkeyLabel, sizeof(kSubkeyLabel) - 1);
  Append(header.sender.value, &info);
  Append(header.boot_epoch, &info);
  Append(header.salt, &info);
  return {DeriveKey(key.bytes(), info)};
}

AeadNonce GossipSeal::NonceOf(uint64_t sequence) {
  AeadNonce nonce = {};
  for (int i = 0; i < 8; ++i) {
    nonce[nonce.size() - 1 - i] = static_cast<uint8_t>(sequence >> 8 * i);
  }
  return nonce;
}

std::string GossipSeal::Seal(NodeId sender, uint64_t boot_epoch, absl::string_view datagram) {
  assert(datagram.size() >= kPlainHeaderBytes);
  const absl::string_view body = datagram.substr(kPlainHeaderBytes);
  const GossipKey& key = keys_->primary();
  const Header header{key.id(), cluster_tag_, sender, boot_epoch, salt_, ++sequence_};
  const Life life{header.key_id, sender.value, boot_epoch, salt_};
  auto subkey = subkeys_.find(life);
  if (subkey == subkeys_.end()) subkey = subkeys_.emplace(life, Derive(key, header)).first;
  std::string out = EncodeHeader(header);
  out.resize(kHeaderBytes + body.size() + kAeadTagBytes);
  AeadSeal(subkey->second.bytes, NonceOf(header.sequence),
           {absl::string_view(out).substr(0, kHeaderBytes), cluster_}, body,
           Bytes(&out) + kHeaderBytes);
  return out;
}

bool GossipSeal::Decrypt(const Header& header, absl::string_view datagram, std::string* out) {
  const Life life{header.key_id, header.sender.value, header.boot_epoch, header.salt};
  const auto known = subkeys_.find(life);
  const Subkey subkey =
      known != subkeys_.end() ? known->second : Derive(*keys_->Find(header.key_id), header);
  const absl::string_view sealed = datagram.substr(kHeaderBytes);
  *out = {'R', 'G', static_cast<char>(kGossipFormatVersion)};
  out->resize(kPlainHeaderBytes + sealed.size() - kAeadTagBytes);
  if (!AeadOpen(subkey.bytes, NonceOf(header.sequence),
                {datagram.substr(0, kHeaderBytes), cluster_}, sealed,
                Bytes(out) + kPlainHeaderBytes)) {
    return false;
  }
  if (known == subkeys_.end()) {
    if (subkeys_.size() >= kSubkeysMax) subkeys_.clear();
    subkeys_.emplace(life, subkey);
  }
  return true;
}

SealFault GossipSeal::Open(absl::string_view datagram, Opened* out) {
  if (datagram.size() < kPlainHeaderBytes || datagram.size() > kDatagramBytesMax ||
      datagram[0] != 'R' || datagram[1] != 'G') {
    return SealFault::kMalformed;
  }
  const auto version = static_cast<uint8_t>(datagram[2]);
  if (version == kGossipFormatVersion) return SealFault::kPlaintext;
  if (version != kSealedFormatVersion) return SealFault::kVersion;
  if (datagram.size() < kHeaderBytes + kAeadTagBytes) return SealFault::kMalformed;
  const Header header = DecodeHeader(datagram);
  if (header.cluster_tag != cluster_tag_) return SealFault::kForeignCluster;
  if (keys_->Find(header.key_id) == nullptr) return SealFault::kUnknownKey;
  if (!Decrypt(header, datagram, &out->datagram)) return SealFault::kForged;
  out->sender = header.sender;
  out->boot_epoch = header.boot_epoch;
  const Freshness freshness =
      guard_.Take(header.sender, header.boot_epoch, header.salt, header.sequence);
  out->former_life = freshness == Freshness::kFormerLife;
  return freshness == Freshness::kReplayed ? SealFault::kReplayed : SealFault::kNone;
}

}  // namespace roost::membership

#include "proxy/core/ticket_keys.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include <cassert>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

namespace roost::proxy {
namespace {

template <auto Free>
struct Freer {
  template <typename T>
  void operator()(T* t) const {
    Free(t);
  }
};

TicketKey Derive(const TicketSecret& secret, int64_t period) {
  const std::unique_ptr<EVP_KDF, Freer<EVP_KDF_free>> kdf(EVP_KDF_fetch(nullptr, "HKDF", nullptr));
  const std::unique_ptr<EVP_KDF_CTX, Freer<EVP_KDF_CTX_free>> context(EVP_KDF_CTX_new(kdf.get()));
  std::string info = absl::StrCat("roost tls ticket 1 ", period);
  std::string digest = "SHA256";
  const OSSL_PARAM params[] = {
      OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest.data(), 0),
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, const_cast<uint8_t*>(secret.data()),
                                        secret.size()),
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, info.data(), info.size()),
      OSSL_PARAM_construct_end(),
  };
  std::array<uint8_t, 80> out;
  // Not with keys that anyone could guess.
  if (EVP_KDF_derive(context.get(), out.data(), out.size(), params) != 1) std::abort();
  TicketKey key;
  memcpy(key.name.data(), out.data(), 16);
  memcpy(key.seal.data(), out.data() + 16, 32);
  memcpy(key.mac.data(), out.data() + 48, 32);
  return key;
}

int64_t PeriodOf(int64_t unix_s) { return unix_s / kTicketPeriodSeconds; }

}  // namespace

TicketKeys::TicketKeys(std::vector<TicketSecret> secrets) : secrets_(std::move(secrets)) {
  assert(!secrets_.empty());
}

TicketKey TicketKeys::Sealing(int64_t unix_s) const {
  return Derive(secrets_.front(), PeriodOf(unix_s));
}

std::optional<TicketKeys::Opening> TicketKeys::Find(const std::array<uint8_t, 16>& name,
                                                    int64_t unix_s) const {
  for (size_t i = 0; i < secrets_.size(); ++i) {
    for (const int64_t offset : {0, -1, 1}) {
      const TicketKey key = Derive(secrets_[i], PeriodOf(unix_s) + offset);
      if (key.name == name) return Opening{key, i != 0 || offset != 0};
    }
  }
  return std::nullopt;
}

}  // namespace roost::proxy

// Sealed records from disk: nothing but what the key's holder sealed for that row ever opens.
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <string>

#include "membership/keyring.h"
#include "store/io/record_seal.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using roost::membership::Keyring;
  using roost::store::RecordSeal;
  using roost::store::Row;
  // Any 32 bytes.
  static auto* const seal =
      new RecordSeal(*Keyring::Parse("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="), "node");
  const Row row = {"sessions", "sixteen bytes..."};
  const absl::string_view input(reinterpret_cast<const char*>(data), size);
  // Up to the corpus, which one has to hold the key to make.
  const auto made_up = seal->Open(row, input);
  assert(!made_up.ok() || *made_up == "a record");
  assert(seal->Unlock({{"encryption/" + std::string(input.substr(0, 8)), std::string(input)}})
             .code() != absl::StatusCode::kOk);
  const std::string sealed = seal->Seal(row, input);
  const auto opened = seal->Open(row, sealed);
  assert(opened.ok() && *opened == input);
  if (size < 3) return 0;
  std::string changed = sealed;
  const size_t place = (data[1] << 8 | data[2]) % sealed.size();
  changed[place] = static_cast<char>(changed[place] ^ (data[0] | 1));
  assert(!seal->Open(row, changed).ok());
  assert(!seal->Open({"sessions", input.substr(0, 16)}, sealed).ok() ||
         input.substr(0, 16) == row.key);
  static_cast<void>(made_up);
  return 0;
}

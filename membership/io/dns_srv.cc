#include "membership/io/dns_srv.h"

#include <arpa/nameser.h>
#include <netdb.h>
#include <netinet/in.h>
#include <resolv.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"

namespace roost::membership {
namespace {

constexpr size_t kFixedBytes = 6;  // Priority, weight, port.
constexpr size_t kAnswerBytesMax = 64 << 10;
constexpr int kServerSeconds = 2;
constexpr int kServerTries = 2;

absl::Status Malformed() {
  return absl::InvalidArgumentError("the name server's answer is garbage");
}

void AskOnly(const Address& server, res_state state) {
  state->nscount = 1;
  sockaddr_in& to = state->nsaddr_list[0];
  to = {};
  to.sin_family = AF_INET;
  to.sin_port = htons(server.port);
  std::memcpy(&to.sin_addr, server.ip.data() + 12, 4);
}

}  // namespace

absl::StatusOr<std::vector<Seed>> ParseSrvAnswer(absl::string_view answer) {
  ns_msg message;
  const auto* const bytes = reinterpret_cast<const unsigned char*>(answer.data());
  if (answer.size() > kAnswerBytesMax ||
      ns_initparse(bytes, static_cast<int>(answer.size()), &message) != 0) {
    return Malformed();
  }
  std::vector<Seed> found;
  for (int i = 0; i < ns_msg_count(message, ns_s_an); ++i) {
    ns_rr record;
    if (ns_parserr(&message, ns_s_an, i, &record) != 0) return Malformed();
    if (ns_rr_type(record) != ns_t_srv) continue;  // A CNAME on the way.
    if (ns_rr_rdlen(record) <= kFixedBytes) return Malformed();
    const unsigned char* const data = ns_rr_rdata(record);
    std::array<char, NS_MAXDNAME> host{};
    if (dn_expand(bytes, bytes + answer.size(), data + kFixedBytes, host.data(), host.size()) < 0) {
      return Malformed();
    }
    const auto port = static_cast<uint16_t>(ns_get16(data + 4));
    // "." says that the service is not offered.
    if (port == 0 || host[0] == '\0' || found.size() == kSeedsMax) continue;
    absl::StatusOr<Seed> seed = ParseSeed(absl::StrCat(host.data(), ":", port));
    if (!seed.ok()) return Malformed();
    found.push_back(*std::move(seed));
  }
  return found;
}

absl::StatusOr<std::vector<Seed>> LookUpSrv(const std::string& name,
                                            std::optional<Address> server) {
  struct __res_state state = {};
  if (res_ninit(&state) != 0) return absl::UnavailableError("no resolver configuration");
  state.retrans = kServerSeconds;
  state.retry = kServerTries;
  if (server) AskOnly(*server, &state);
  std::string answer(kAnswerBytesMax, '\0');
  const int size =
      res_nquery(&state, name.c_str(), ns_c_in, ns_t_srv,
                 reinterpret_cast<unsigned char*>(answer.data()), static_cast<int>(answer.size()));
  const int error = state.res_h_errno;
  res_nclose(&state);
  if (size < 0) return absl::UnavailableError(hstrerror(error));
  // A longer answer than fits is told by its size.
  return ParseSrvAnswer(absl::string_view(answer).substr(0, std::min<size_t>(answer.size(), size)));
}

}  // namespace roost::membership

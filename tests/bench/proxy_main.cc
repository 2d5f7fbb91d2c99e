// The proxy alone, with a store in which this node owns one session: what a profiler is pointed at.
//
// Usage: proxy_main LISTEN APP THREADS SESSION_ID [FORMAT]
// FORMAT: none, id_route, ranked, route_cookie, sealed, places or soap. The node's name is n1.
#include <signal.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "membership/address.h"
#include "membership/keyring.h"
#include "membership/view.h"
#include "proxy/io/proxy_server.h"
#include "store/session_key.h"
#include "tests/proxy/io/fake_session_store.h"

namespace {

using namespace roost;  // NOLINT(build/namespaces): a small program.

// False: there is no such format.
bool SetFormat(absl::string_view name, proxy::AffinityOptions* affinity) {
  using proxy::AffinityFormat;
  using proxy::IdPlace;
  affinity->routes_by = proxy::RoutesBy::kRoost;
  if (name == "id_route") {
    affinity->format = AffinityFormat::kIdRoute;
  } else if (name == "ranked") {
    affinity->format = AffinityFormat::kRanked;
  } else if (name == "route_cookie") {
    affinity->format = AffinityFormat::kRouteCookie;
  } else if (name == "sealed") {
    affinity->format = AffinityFormat::kSealed;
  } else if (name == "places") {
    affinity->places = {IdPlace::kPath, IdPlace::kQuery, IdPlace::kHeader, IdPlace::kCookie};
    affinity->query_parameter = "sid";
    affinity->header = "Mcp-Session-Id";
  } else if (name == "soap") {
    affinity->places = {IdPlace::kSoap, IdPlace::kCookie};
  } else {
    return name == "none";
  }
  return true;
}

membership::ViewPtr Alone(membership::NodeId self) {
  membership::Member member;
  member.id = self;
  member.name = "n1";
  return std::make_shared<membership::View>(1, self, std::vector<membership::Member>{member});
}

}  // namespace

int main(int argc, char** argv) {
  proxy::Options options;
  if ((argc != 5 && argc != 6) || (argc == 6 && !SetFormat(argv[5], &options.affinity))) {
    fprintf(stderr, "usage: %s LISTEN APP THREADS SESSION_ID [FORMAT]\n", argv[0]);
    return 2;
  }
  options.listen = membership::Address::Parse(argv[1]).value();
  options.app = membership::Address::Parse(argv[2]).value();
  options.forward_listen = options.listen.WithPort(0);
  options.threads = atoi(argv[3]);

  const membership::NodeId self{1};
  proxy::FakeSessionStore store;
  store.mutable_index().SetHeld(store::MakeSessionKey(options.name_space, argv[4]), self);
  const auto keys = std::make_shared<const membership::Keyring>(
      *membership::Keyring::Parse(absl::Base64Escape(std::string(32, 'k'))));
  auto server = proxy::ProxyServer::Create(
      options,
      {.store = &store, .self = self, .on_peer_refused = {}, .keys = keys, .cluster = "bench"});
  if (!server.ok()) {
    fprintf(stderr, "%s\n", server.status().ToString().c_str());
    return 1;
  }
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  (*server)->Start();
  (*server)->SetView(Alone(self));
  int signal = 0;
  sigwait(&set, &signal);
  (*server)->Stop();
  return 0;
}

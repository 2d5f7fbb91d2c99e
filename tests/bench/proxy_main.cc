// The proxy alone, with a store in which this node owns one session: what a profiler is pointed at.
//
// Usage: proxy_main LISTEN APP THREADS SESSION_ID
#include <signal.h>

#include <cstdio>
#include <cstdlib>

#include "membership/address.h"
#include "proxy/io/proxy_server.h"
#include "store/session_key.h"
#include "tests/proxy/io/fake_session_store.h"

int main(int argc, char** argv) {
  using namespace roost;  // NOLINT(build/namespaces): a small program.
  if (argc != 5) {
    fprintf(stderr, "usage: %s LISTEN APP THREADS SESSION_ID\n", argv[0]);
    return 2;
  }
  proxy::Options options;
  options.listen = membership::Address::Parse(argv[1]).value();
  options.app = membership::Address::Parse(argv[2]).value();
  options.forward_listen = options.listen.WithPort(0);
  options.threads = atoi(argv[3]);

  const membership::NodeId self{1};
  proxy::FakeSessionStore store;
  store.mutable_index().SetHeld(store::MakeSessionKey(options.name_space, argv[4]), self);
  auto server =
      proxy::ProxyServer::Create(options, {.store = &store, .self = self, .on_peer_refused = {}});
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
  int signal = 0;
  sigwait(&set, &signal);
  (*server)->Stop();
  return 0;
}

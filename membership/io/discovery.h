// Discovery finds where members may be: it asks for names and reads a file, again and again for
// ever.
//
// Looking names up blocks, so it has a thread of its own. What a source said last stays when it
// fails later: only a source that never answered leaves the picture incomplete.
//
// Owner: GossipLoop.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "membership/address.h"
#include "membership/io/seed_text.h"

namespace roost::membership {

class Discovery {
 public:
  struct Sources {
    std::vector<Seed> seeds;
    // Empty: none. Read again when it changes.
    std::string seeds_file;
    // Addresses that the gossip socket can't reach are left out.
    bool ipv4 = true;
    bool ipv6 = true;
  };
  struct Found {
    // At most kSeedsMax.
    std::vector<Address> addresses;
    // Every source has answered, and with somebody.
    bool complete = false;
    // What a source that fails now says; empty if none does.
    std::string problem;

    friend bool operator==(const Found&, const Found&) = default;
  };

  // `on_found` runs on Discovery's thread, at first and after every change; it must not block, nor
  // call Stop.
  Discovery(Sources sources, std::function<void(Found)> on_found);
  // Stops.
  ~Discovery();

  void Start();
  // Idempotent. `on_found` does not run any more when it returns. Does not wait for a lookup that
  // is under way, which takes seconds if name servers are silent: its thread ends by itself.
  void Stop();

 private:
  class Loop;
  std::shared_ptr<Loop> loop_;  // The thread holds it too.
};

}  // namespace roost::membership

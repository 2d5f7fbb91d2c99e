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

  // `on_found` runs on Discovery's thread, at first and after every change.
  Discovery(Sources sources, std::function<void(Found)> on_found);
  // Stops.
  ~Discovery();

  void Start();
  // Idempotent. Waits for a lookup that is under way: seconds, if name servers are silent.
  void Stop();

 private:
  class Loop;
  std::unique_ptr<Loop> loop_;
};

}  // namespace roost::membership

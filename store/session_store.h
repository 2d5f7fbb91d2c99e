// SessionStore is what the API server and the proxy see of the store. Every method may be called
// from any thread; callbacks run on the store's loop and must only post.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "store/listing.h"
#include "store/operations.h"
#include "store/ownership_index.h"

namespace roost::store {

class SessionStore {
 public:
  using ResultCallback = std::function<void(OperationResult)>;
  using OwnershipCallback = std::function<void(Ownership)>;
  using ListCallback = std::function<void(ListPage)>;

  virtual ~SessionStore() = default;

  // Does `operation` here if this node owns the session, else at the owner (one hop). Waits, at
  // most Options::ack_timeout in all, while the owner is being found or replaced.
  virtual void Execute(Operation operation, ResultCallback done) = 0;

  // Finds the owner by asking the copy holders, also if index() names another node: who calls this
  // was refused there. Takes the session over first if its owner is dead and this node is next in
  // line. Never fails; answers within Options::ack_timeout, kOrphaned if it can't tell by then.
  virtual void Resolve(SessionKey key, OwnershipCallback done) = 0;

  // Asks this node, or every live member at once and at most Options::ack_timeout. Never fails.
  virtual void List(ListQuery query, ListCallback done) = 0;

  // Counts as accesses; sessions not owned here are skipped. Cheap: no disk write, coalesced.
  virtual void Touch(std::vector<SessionKey> keys) = 0;

  // What this node knows about ownership, readable on any thread without asking the loop.
  virtual const OwnershipIndex& index() const = 0;
};

}  // namespace roost::store

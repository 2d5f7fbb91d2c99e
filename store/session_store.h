// SessionStore is what the API server and the proxy see of the store. Every method may be called
// from any thread; callbacks run on the store's loop and must only post.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "store/listing.h"
#include "store/operations.h"
#include "store/ownership_index.h"

namespace roost::store {

// Calls that came together and are carried out together: one hand-over to the store, one batch to
// the disk, few messages to the copies.
class CallBatch {
 public:
  virtual ~CallBatch() = default;
  // Taken by the store.
  std::vector<Operation> operations;
  // Once for each of `operations`, by its place, in any order.
  virtual void Done(uint32_t place, OperationResult result) = 0;
  // After one or more Done: the time to send what they said.
  virtual void Flush() = 0;
};

class SessionStore {
 public:
  using ResultCallback = std::function<void(OperationResult)>;
  using OwnershipCallback = std::function<void(Ownership)>;
  using ListCallback = std::function<void(ListPage)>;

  virtual ~SessionStore() = default;

  // Does `operation` here if this node owns the session, else at the owner (one hop). Waits, at
  // most Options::ack_timeout in all, while the owner is being found or replaced.
  virtual void Execute(Operation operation, ResultCallback done) = 0;

  // As Execute, for each of the batch's operations, started in their order; `batch` is kept until
  // all are done. Its methods are called as callbacks are, but one at a time. Refused as a whole
  // where there is no room for all.
  virtual void ExecuteAll(std::shared_ptr<CallBatch> batch) = 0;

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

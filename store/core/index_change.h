// How an IndexChange of the core shows in the index that other threads read.
#pragma once

#include "store/core/effects.h"
#include "store/ownership_index.h"

namespace roost::store {

inline void Apply(const IndexChange& change, OwnershipIndex* index) {
  switch (change.kind) {
    case IndexChange::Kind::kHeld:
      return index->SetHeld(change.key, change.owner);
    case IndexChange::Kind::kDeleted:
      return index->SetDeleted(change.key);
    case IndexChange::Kind::kAlias:
      return index->SetAlias(change.key, change.target);
    case IndexChange::Kind::kLearned:
      return index->SetLearned(change.key, change.owner);
    case IndexChange::Kind::kForget:
      return index->Forget(change.key);
    case IndexChange::Kind::kErase:
      return index->Erase(change.key);
    case IndexChange::Kind::kForgetLearned:
      return index->ForgetLearned();
  }
}

}  // namespace roost::store

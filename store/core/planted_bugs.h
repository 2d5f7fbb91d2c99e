// Bugs on purpose, one at a time, to prove that the simulator's checkers see them.
//
// Only the library core_planted is built with ROOST_PLANTED_STORE_BUGS, and only tests may link it.
// In every other build Planted() is a constant false and the bug is no part of the program.
#pragma once

namespace roost::store {

enum class Bug {
  kNone,
  kAckBeforePersist,
  kSendBeforePersist,
  kResultBeforePersist,
  kSkipEpochCheck,
  kForgetFenced,
  kTombstoneForgottenEarly,
  kTombstoneLoses,
  kResumeOnePast,
  kResumeFromTheEnd,
  kCopyExpiresAlone,
  kAdoptOlder,
  kTakeOverWithoutEpoch,
  kNoTakeover,
  kAckAnyVersion,
  kDegradeSilently,
  kServeUnvalidated,
  kForgetChanges,
  kNoDrops,
  kAdoptUnmerged,
  kDropUnmerged,
  kLoseSilently,
  kMergeDropsTheirs,
  kNoOffers,
  kDeleteGivesUp,
  kForgetHeld,
  kNoReview,
  kVersionStays,
  kDeleteStaysLocal,
  kDeltaOnAnyBase,
  kDigestSkipsRanges,
  kEnd,
  // Of the mode `fenced`.
  kLeaseFromAnswer = kEnd,
  kNoDriftMargin,
  kNoBootWait,
  kTermNotRaised,
  kPromiseNotPersisted,
  kPromiseBeforePersist,
  kPromiseBeforeLapse,
  kPromiseToLower,
  kOwnerPromises,
  kNoLeaseCheck,
  kValidationSkipped,
  kValidationDoesNotBind,
  kAckOneShort,
  kReadUnacknowledged,
  kAcceptBelowPromise,
  kOwnRecordKept,
  kWitnessBelieved,
  kResignNotPersisted,
  kFencedIgnoresRefusal,
  kSetNotJoint,
  kPromisesOfOneSet,
  kLeasesOfOneSet,
  kAcksOfOneSet,
  kDroppedCopyForgets,
  kPlacesForgotten,
  kLateAnswersHeard,
  kLateCallersAnswered,
  kLetsGoAsCandidate,
  kUndoneEarly,
  kFencedEnd,
};

#ifdef ROOST_PLANTED_STORE_BUGS
inline Bug planted_bug = Bug::kNone;
inline bool Planted(Bug bug) { return bug == planted_bug; }
#else
constexpr bool Planted(Bug) { return false; }
#endif

}  // namespace roost::store

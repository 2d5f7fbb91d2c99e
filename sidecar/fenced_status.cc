#include "sidecar/fenced_status.h"

#include <algorithm>

namespace roost::sidecar {

int FencedSurvives(int places, const membership::View* view, const store::StoreStats& stats) {
  int live = 0;
  int dead = 0;
  if (view != nullptr) {
    for (const membership::Member& member : view->members()) {
      live += member.live();
      dead += member.state == membership::MemberState::kDead;
    }
  }
  // Whose places are not filled again yet may have lost one on every dead member.
  const int worst = stats.under_replicated > 0 ? places - dead : places;
  return std::max(-1, std::min(worst, live) - FencedMajority(places));
}

}  // namespace roost::sidecar

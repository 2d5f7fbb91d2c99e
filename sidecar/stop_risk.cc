#include "sidecar/stop_risk.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "grpcpp/alarm.h"

namespace roost::sidecar {
namespace {

// A write under load is with its copy within milliseconds. Who is hit at every look is not moving.
constexpr std::chrono::milliseconds kLookAgain{50};
constexpr int kLooksMax = 20;

// Keeps itself alive until it is done.
class Count : public std::enable_shared_from_this<Count> {
 public:
  Count(RiskSource source, std::function<void(const v1::SafeToStopResponse&)> done)
      : source_(std::move(source)), done_(std::move(done)) {}

  void Step() {
    store::RiskQuery query;
    if (sum_.more) query.after = sum_.reached;
    source_(std::move(query), [self = shared_from_this()](store::StopRisk step) {
      step.owned += self->sum_.owned;
      step.at_risk += self->sum_.at_risk;
      // Once there are more than can be looked at again, none of them is.
      const size_t room = store::StopRisk::kKeysMax - step.keys.size();
      const auto& seen = self->sum_.keys;
      step.keys.insert(step.keys.end(), seen.begin(), seen.begin() + std::min(room, seen.size()));
      self->sum_ = std::move(step);
      if (self->sum_.more) return self->Step();
      self->Judge();
    });
  }

 private:
  void Judge() {
    const bool may_pass = sum_.recovered && sum_.at_risk > 0 && sum_.at_risk == sum_.keys.size();
    if (!may_pass || looks_ == kLooksMax) return Finish();
    ++looks_;
    alarm_ = std::make_unique<grpc::Alarm>();
    alarm_->Set(std::chrono::system_clock::now() + kLookAgain,
                [self = shared_from_this()](bool) { self->LookAgain(); });
  }

  void LookAgain() {
    source_({.only = sum_.keys}, [self = shared_from_this()](store::StopRisk again) {
      self->sum_.at_risk = again.at_risk;
      self->sum_.keys = std::move(again.keys);
      self->sum_.recovered = again.recovered;
      self->Judge();
    });
  }

  void Finish() {
    v1::SafeToStopResponse response;
    response.set_safe(sum_.recovered && sum_.at_risk == 0);
    response.set_sessions_at_risk(sum_.at_risk);
    response.set_sessions_owned(sum_.owned);
    if (!sum_.recovered) {
      response.set_reason("the node still compares its sessions with other members");
    } else if (sum_.at_risk > 0) {
      response.set_reason(absl::StrCat(sum_.at_risk, " sessions are on no other live member"));
    }
    alarm_.reset();  // Its callback holds this object.
    done_(response);
  }

  const RiskSource source_;
  const std::function<void(const v1::SafeToStopResponse&)> done_;
  store::StopRisk sum_;
  int looks_ = 0;
  std::unique_ptr<grpc::Alarm> alarm_;
};

}  // namespace

void CountRisk(RiskSource source, std::function<void(const v1::SafeToStopResponse&)> done) {
  std::make_shared<Count>(std::move(source), std::move(done))->Step();
}

}  // namespace roost::sidecar

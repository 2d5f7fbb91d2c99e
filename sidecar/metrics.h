// The node's metrics as Prometheus text (exposition format 0.0.4): one prefix, base units, no label
// that grows with sessions or visitors.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "membership/observer.h"
#include "membership/view.h"
#include "proxy/observer.h"
#include "sidecar/peer_tls.h"
#include "store/listing.h"
#include "store/observer.h"

namespace roost::sidecar {

// Writes families one after the other; every sample follows its family's HELP and TYPE.
class MetricsText {
 public:
  enum class Type : uint8_t { kCounter, kGauge };
  using Labels = std::initializer_list<std::pair<absl::string_view, absl::string_view>>;

  // REQUIRES: no family of that name before; a counter's name ends in "_total".
  void Family(absl::string_view name, absl::string_view help, Type type);
  // Of the last family.
  void Sample(double value, Labels labels = {});
  void Sample(uint64_t value, Labels labels = {});
  // A number as it is to be read.
  void SampleText(const std::string& value, Labels labels);
  // A family with one sample.
  void Counter(absl::string_view name, absl::string_view help, uint64_t value);
  void Gauge(absl::string_view name, absl::string_view help, uint64_t value);

  std::string Take() { return std::move(text_); }

 private:
  std::string text_;
  std::string family_;
};

// What is read from /proc/self; 0 where that can't be read.
struct ProcessUsage {
  double cpu_seconds = 0;
  uint64_t resident_bytes = 0;
  uint64_t virtual_bytes = 0;
  uint64_t open_fds = 0;
  uint64_t max_fds = 0;
  uint64_t threads = 0;
  // Seconds since the Unix epoch.
  double start_time = 0;
};
ProcessUsage ReadProcessUsage();

struct MetricsInput {
  absl::string_view node;
  absl::string_view cluster;
  bool ready = false;
  const membership::Counters* membership = nullptr;
  const membership::BroadcastCounters* broadcasts = nullptr;
  const store::Counters* store = nullptr;
  // One block per event loop.
  std::vector<const proxy::Counters*> proxy;
  proxy::CertificateStats certificates;
  bool app_up = true;
  proxy::AccessLogStats access_log = {};
  store::StoreStats stats;
  // Of a fenced session; 0: there are none.
  int fenced_places = 0;
  // May be null: no view yet.
  membership::ViewPtr view;
  ProcessUsage process;
  // Null: the peers' TLS is off.
  const PeerTls* tls = nullptr;
};

// REQUIRES: `membership`, `broadcasts` and `store` are set.
std::string RenderMetrics(const MetricsInput& input);

}  // namespace roost::sidecar

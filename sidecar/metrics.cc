#include "sidecar/metrics.h"

#include <dirent.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <chrono>
#include <fstream>
#include <iterator>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "sidecar/fenced_status.h"
#include "sidecar/version.h"

namespace roost::sidecar {
namespace {

using Type = MetricsText::Type;
using membership::MemberState;

std::string ReadAll(const char* path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

uint64_t CountOpenFds() {
  DIR* directory = opendir("/proc/self/fd");
  if (directory == nullptr) return 0;
  uint64_t count = 0;
  while (readdir(directory) != nullptr) ++count;
  closedir(directory);
  return count > 3 ? count - 3 : 0;  // ".", ".." and this directory.
}

// Seconds since the epoch at which the machine started, or 0.
double BootTime() {
  const std::string stat = ReadAll("/proc/stat");
  const size_t at = stat.find("\nbtime ");
  double seconds = 0;
  if (at == std::string::npos) return 0;
  const absl::string_view rest = absl::string_view(stat).substr(at + 7);
  return absl::SimpleAtod(rest.substr(0, rest.find('\n')), &seconds) ? seconds : 0;
}

// Sum of one counter over the event loops.
uint64_t Sum(const MetricsInput& input, proxy::Counter proxy::Counters::*counter) {
  uint64_t sum = 0;
  for (const proxy::Counters* block : input.proxy) sum += (block->*counter).value();
  return sum;
}

void RenderNode(const MetricsInput& in, MetricsText* out) {
  out->Family("roost_build_info", "Version of the node; always 1.", Type::kGauge);
  out->Sample(uint64_t{1}, {{"version", kVersion}, {"node", in.node}, {"cluster", in.cluster}});
  out->Gauge("roost_ready", "1 if the node takes traffic.", in.ready ? 1 : 0);
  const ProcessUsage& process = in.process;
  out->Family("process_cpu_seconds_total", "User and system CPU time.", Type::kCounter);
  out->Sample(process.cpu_seconds);
  out->Gauge("process_resident_memory_bytes", "Resident memory.", process.resident_bytes);
  out->Gauge("process_virtual_memory_bytes", "Virtual memory.", process.virtual_bytes);
  out->Gauge("process_open_fds", "Open file descriptors.", process.open_fds);
  out->Gauge("process_max_fds", "Limit of open file descriptors.", process.max_fds);
  out->Gauge("process_threads", "Threads.", process.threads);
  out->Family("process_start_time_seconds", "Start, seconds since the Unix epoch.", Type::kGauge);
  out->Sample(process.start_time);
}

void RenderMembers(const MetricsInput& in, MetricsText* out) {
  uint64_t count[5] = {};
  if (in.view) {
    for (const auto& member : in.view->members()) ++count[static_cast<int>(member.state)];
  }
  out->Family("roost_members", "Members in the view of this node, itself included.", Type::kGauge);
  for (MemberState state :
       {MemberState::kAlive, MemberState::kSuspect, MemberState::kDead, MemberState::kLeft}) {
    out->Sample(count[static_cast<int>(state)], {{"state", membership::MemberStateName(state)}});
  }
  const membership::ListSummary list = in.view ? in.view->list() : membership::ListSummary{};
  out->Gauge("roost_member_list_version", "Version of the member list; 0 without one.",
             list.version);
  out->Gauge("roost_member_list_degraded", "1 if this side lost the majority of the cluster.",
             list.degraded ? 1 : 0);
  out->Gauge("roost_member_list_below_min", "1 if fewer members live than split_brain.min_members.",
             list.below_min_members ? 1 : 0);
  out->Gauge("roost_member_coordinator", "1 if this node decides the member list.",
             in.view && list.coordinator && list.coordinator == in.view->self() ? 1 : 0);
  out->Gauge("roost_view_version", "Changes of the view since the start.",
             in.view ? in.view->version() : 0);
}

// Over the live members, since one label each would grow with the cluster.
void RenderRtts(const MetricsInput& in, MetricsText* out) {
  std::vector<double> rtts;
  for (size_t i = 0; in.view && i < in.view->members().size(); ++i) {
    const membership::Member& member = in.view->members()[i];
    if (member.live() && member.rtt.count() > 0) {
      rtts.push_back(std::chrono::duration<double>(member.rtt).count());
    }
  }
  if (rtts.empty()) return;
  std::sort(rtts.begin(), rtts.end());
  out->Family("roost_member_rtt_seconds",
              "Smoothed round-trip times of gossip to the live members: quantiles over them.",
              Type::kGauge);
  const std::pair<absl::string_view, double> quantiles[] = {{"0", 0}, {"0.5", 0.5}, {"1", 1}};
  for (const auto& [label, quantile] : quantiles) {
    const auto i = static_cast<size_t>(quantile * static_cast<double>(rtts.size() - 1));
    out->SampleText(absl::StrFormat("%.6f", rtts[i]), {{"quantile", label}});
  }
}

void RenderMembership(const membership::Counters& c, MetricsText* out) {
  out->Family("roost_gossip_datagrams_total", "Gossip datagrams.", Type::kCounter);
  out->Sample(c.datagrams_sent, {{"direction", "sent"}});
  out->Sample(c.datagrams_received, {{"direction", "received"}});
  out->Family("roost_gossip_bytes_total", "Bytes of gossip datagrams.", Type::kCounter);
  out->Sample(c.bytes_sent, {{"direction", "sent"}});
  out->Sample(c.bytes_received, {{"direction", "received"}});
  out->Family("roost_gossip_dropped_total", "Received datagrams that were dropped.",
              Type::kCounter);
  out->Sample(c.dropped_malformed, {{"reason", "malformed"}});
  out->Sample(c.dropped_foreign_cluster, {{"reason", "foreign_cluster"}});
  out->Sample(c.dropped_version, {{"reason", "version"}});
  out->Sample(c.dropped_plaintext, {{"reason", "plaintext"}});
  out->Sample(c.dropped_wrong_key, {{"reason", "wrong_key"}});
  out->Sample(c.dropped_forged, {{"reason", "forged"}});
  out->Sample(c.dropped_replayed, {{"reason", "replayed"}});
  out->Counter("roost_gossip_send_errors_total", "Datagrams that could not be sent.",
               c.send_errors);
  out->Counter("roost_member_probes_failed_total", "Probe rounds without an answer.",
               c.probes_failed);
  out->Counter("roost_member_suspicions_total", "Members that this node suspected.", c.suspicions);
  out->Counter("roost_member_refutations_total", "Suspicions of itself that this node refuted.",
               c.refutations);
  out->Counter("roost_member_deaths_total", "Members that this node saw die.", c.deaths);
  out->Counter("roost_member_refused_evidence_total",
               "Refused connections taken as evidence of a killed process.", c.refused_evidence);
  out->Family("roost_member_events_total", "What happened to the cluster, by kind.",
              Type::kCounter);
  for (size_t i = 0; i < membership::kEventKinds; ++i) {
    out->Sample(c.events[i], {{"event", membership::EventKindName(membership::EventKind(i))}});
  }
  out->Counter("roost_member_events_dropped_total",
               "Events that came too many at once to be reported.", c.events_dropped);
  out->Family("roost_member_syncs_total",
              "Calls that compare member tables: made to peers, made in vain, answered for peers.",
              Type::kCounter);
  out->Sample(c.syncs, {{"kind", "made"}});
  out->Sample(c.syncs_failed, {{"kind", "failed"}});
  out->Sample(c.syncs_answered, {{"kind", "answered"}});
  out->Gauge("roost_member_health_score", "Local health after Lifeguard; 0 is healthy.",
             c.health_score);
}

void RenderBroadcasts(const membership::BroadcastCounters& c, MetricsText* out) {
  out->Family("roost_broadcasts_total",
              "Broadcasts: sent by this node's application, of these not acknowledged by every "
              "member in time, and received from other members.",
              Type::kCounter);
  out->Sample(c.sent, {{"kind", "sent"}});
  out->Sample(c.incomplete, {{"kind", "incomplete"}});
  out->Sample(c.received, {{"kind", "received"}});
}

void RenderTls(const PeerTls& tls, MetricsText* out) {
  out->Gauge("roost_tls_certificate_expires_seconds",
             "When the node's certificate ends, in seconds since the Unix epoch.",
             static_cast<uint64_t>(absl::ToUnixSeconds(tls.expires())));
  out->Family("roost_tls_refused_total",
              "Connections between peers that were refused before any call, by this node or by the "
              "other.",
              Type::kCounter);
  for (size_t i = 0; i < kTlsRefusals; ++i) {
    const auto refusal = static_cast<TlsRefusal>(i);
    out->Sample(PeerTls::refusals(refusal), {{"reason", TlsRefusalName(refusal)}});
  }
}

void RenderSessions(const store::StoreStats& stats, MetricsText* out) {
  out->Family("roost_sessions", "Sessions that this node holds.", Type::kGauge);
  out->Sample(stats.owned, {{"role", "owned"}});
  out->Sample(stats.copied, {{"role", "copied"}});
  out->Sample(stats.tombstones, {{"role", "tombstone"}});
  out->Gauge("roost_sessions_under_replicated", "Owned sessions with fewer copies than configured.",
             stats.under_replicated);
  out->Gauge("roost_sessions_conflicted", "Sessions held here that have a conflict journal.",
             stats.conflicted);
}

void RenderFenced(const MetricsInput& in, MetricsText* out) {
  if (in.fenced_places == 0) return;
  out->Family("roost_fenced_failures_survived",
              "Nodes that may fail now with every fenced session still served; -1: not so already.",
              Type::kGauge);
  out->SampleText(absl::StrCat(FencedSurvives(in.fenced_places, in.view.get(), in.stats)), {});
}

void RenderStore(const store::Counters& c, MetricsText* out) {
  out->Family("roost_store_operations_total", "Session operations done here.", Type::kCounter);
  out->Sample(c.creates, {{"operation", "create"}});
  out->Sample(c.gets, {{"operation", "get"}});
  out->Sample(c.increments, {{"operation", "increment"}});
  out->Sample(c.rotates, {{"operation", "rotate"}});
  out->Sample(c.locks, {{"operation", "lock"}});
  out->Sample(c.puts, {{"operation", "put"}});
  out->Sample(c.deletes, {{"operation", "delete"}});
  out->Sample(c.touches, {{"operation", "touch"}});
  out->Counter("roost_store_cas_conflicts_total", "Compare-and-set that met another version.",
               c.cas_conflicts);
  out->Counter("roost_store_lock_waits_total", "Lock calls that had to wait.", c.lock_waits);
  out->Counter("roost_store_lock_timeouts_total", "Lock calls that waited in vain.",
               c.lock_timeouts);
  out->Counter("roost_store_stale_locks_total", "Calls with a token that had lost its lock.",
               c.stale_locks);
  out->Counter("roost_store_forwarded_total", "Operations forwarded to the owner.", c.forwarded);
  out->Family("roost_store_expired_total", "Sessions that expired.", Type::kCounter);
  out->Sample(c.expired_idle, {{"reason", "idle"}});
  out->Sample(c.expired_absolute, {{"reason", "absolute"}});
  out->Counter("roost_store_takeovers_total", "Sessions taken over from another node.",
               c.takeovers);
  out->Counter("roost_store_step_downs_total",
               "Sessions given up because a copy knew a higher epoch.", c.step_downs);
  out->Counter("roost_store_lease_messages_total",
               "Messages sent that ask for a lease or grant one (mode fenced).", c.lease_messages);
  out->Counter("roost_store_conflicts_total",
               "Merges of sessions that two owners had written apart from each other.",
               c.conflicts);
  out->Counter("roost_store_conflict_losses_total",
               "Writes that lost in them, put into the conflict journal.", c.conflict_losses);
  out->Counter("roost_store_conflicts_dropped_total",
               "Entries that made room in a full conflict journal.", c.conflicts_dropped);
  out->Counter("roost_store_conflicts_restored_total",
               "Entries of the conflict journal that were restored.", c.conflicts_restored);
  out->Counter("roost_store_superseded_total",
               "Records that gave way to another owner's until it had merged them.", c.superseded);
  out->Counter("roost_store_reviews_total",
               "Sessions compared with the present members, and with other holders where in doubt.",
               c.reviews);
  out->Counter("roost_store_refused_stamps_total",
               "Writes with a time further ahead than clocks may differ, met in a merge.",
               c.refused_stamps);
  out->Counter("roost_store_ack_timeouts_total", "Writes whose copies did not answer in time.",
               c.ack_timeouts);
  out->Counter("roost_store_degraded_writes_total",
               "Writes acknowledged with fewer copies than asked for.", c.degraded_writes);
  out->Counter("roost_store_refused_writes_total", "Writes refused for too few live nodes.",
               c.refused_writes);
  out->Family("roost_store_replicated_total", "Records replicated.", Type::kCounter);
  out->Sample(c.replicated_out, {{"direction", "out"}});
  out->Sample(c.replicated_in, {{"direction", "in"}});
  out->Counter("roost_store_replication_bytes_total", "Bytes of records sent to copies.",
               c.bytes_out);
  out->Family("roost_store_deltas_total",
              "Records without the attributes that a copy has already: put together here, or "
              "sent from here to a copy that lacked one and got the whole.",
              Type::kCounter);
  out->Sample(c.deltas_in, {{"result", "applied"}});
  out->Sample(c.deltas_refused, {{"result", "refused"}});
  out->Counter(
      "roost_store_divergences_total",
      "Records that a copy had lost, or had older than it had acknowledged, and got again.",
      c.divergences);
  out->Counter("roost_store_resolves_total", "Lookups of owners.", c.resolves);
  out->Counter("roost_store_resolve_unknown_total", "Lookups that nobody could answer.",
               c.resolve_unknown);
  out->Counter("roost_store_corrupt_records_total", "Records on disk that could not be read.",
               c.corrupt_records);
  out->Counter("roost_store_disk_errors_total", "Failed disk operations.", c.disk_errors);
}

void RenderTraffic(const MetricsInput& in, MetricsText* out) {
  using C = proxy::Counters;
  out->Counter("roost_proxy_connections_total", "Client connections accepted.",
               Sum(in, &C::connections));
  out->Gauge("roost_proxy_connections", "Client connections open.", Sum(in, &C::connections_open));
  out->Counter("roost_proxy_connections_refused_total",
               "Client connections over proxy.connections_max.", Sum(in, &C::connections_refused));
  out->Counter("roost_proxy_sources_refused_total",
               "Client connections over proxy.connections_per_source_max.",
               Sum(in, &C::sources_refused));
  out->Counter("roost_proxy_preambles_refused_total",
               "Connections without the PROXY protocol where proxy.proxy_protocol requires it.",
               Sum(in, &C::preambles_refused));
  out->Counter("roost_proxy_tls_handshakes_total", "TLS handshakes completed.",
               Sum(in, &C::tls_handshakes));
  out->Counter("roost_proxy_tls_resumed_total", "TLS handshakes that resumed a session.",
               Sum(in, &C::tls_resumed));
  out->Counter("roost_proxy_tls_failures_total",
               "TLS handshakes that failed, or took longer than proxy.head_timeout.",
               Sum(in, &C::tls_failures));
  out->Gauge("roost_proxy_tls_certificates", "Certificates in use.", in.certificates.certificates);
  out->Gauge("roost_proxy_tls_certificates_rejected", "Files in proxy.tls_dir that can't be used.",
             in.certificates.rejected);
  out->Gauge("roost_proxy_tls_earliest_expiry_timestamp_seconds",
             "When the first of the certificates in use expires, Unix time; 0 without any.",
             static_cast<uint64_t>(in.certificates.earliest_expiry_unix_s));
  out->Counter("roost_proxy_requests_total", "Requests from clients.", Sum(in, &C::requests));
  out->Counter("roost_proxy_requests_forwarded_in_total", "Requests that peers forwarded here.",
               Sum(in, &C::requests_forwarded_in));
  out->Family("roost_proxy_routed_total", "Where requests from clients went.", Type::kCounter);
  out->Sample(Sum(in, &C::routed_no_session), {{"route", "no_session"}});
  out->Sample(Sum(in, &C::routed_local), {{"route", "local"}});
  out->Sample(Sum(in, &C::routed_forward), {{"route", "forward"}});
  out->Sample(Sum(in, &C::routed_unknown), {{"route", "unknown"}});
  out->Sample(Sum(in, &C::routed_stand_in), {{"route", "stand_in"}});
  out->Sample(Sum(in, &C::routed_hint), {{"route", "hint"}});
  out->Counter("roost_proxy_forward_misses_total",
               "Forwarded requests whose receiver did not own the session.",
               Sum(in, &C::forward_misses));
  out->Counter("roost_proxy_sessions_learned_total", "Sessions learned from responses.",
               Sum(in, &C::sessions_learned));
  out->Counter("roost_proxy_affinity_conflicts_total",
               "Requests that name different sessions in two places.",
               Sum(in, &C::affinity_conflicts));
  out->Counter("roost_proxy_affinity_seals_refused_total",
               "Sealed cookies that no node has made for that session.",
               Sum(in, &C::seals_refused));
  out->Counter("roost_proxy_affinity_moved_total",
               "Visitors who were told of their session's new node.", Sum(in, &C::affinity_moved));
  out->Counter("roost_proxy_create_hold_timeouts_total",
               "Responses released before their session reached its copies.",
               Sum(in, &C::create_hold_timeouts));
  out->Counter("roost_proxy_fenced_refused_total",
               "Answers withheld since their node lost the fenced session before they went out.",
               Sum(in, &C::fenced_refused));
  out->Counter("roost_proxy_tunnels_total", "Connections upgraded to tunnels.",
               Sum(in, &C::tunnels));
  out->Family("roost_proxy_access_log_lines_total", "Lines of the access log.", Type::kCounter);
  out->Sample(in.access_log.written, {{"result", "written"}});
  out->Sample(in.access_log.dropped, {{"result", "dropped"}});
  out->Family("roost_proxy_bytes_total", "Bytes from and to clients.", Type::kCounter);
  out->Sample(Sum(in, &C::bytes_in), {{"direction", "in"}});
  out->Sample(Sum(in, &C::bytes_out), {{"direction", "out"}});
  out->Counter("roost_proxy_spliced_bytes_total",
               "Bytes of bodies and tunnels that were moved without being copied.",
               Sum(in, &C::bytes_spliced));
}

void RenderGrace(const MetricsInput& in, MetricsText* out) {
  using C = proxy::Counters;
  out->Family("roost_grace_requests_total", "Requests in the grace buffer, by outcome.",
              Type::kCounter);
  out->Sample(Sum(in, &C::grace_held), {{"outcome", "held"}});
  out->Sample(Sum(in, &C::grace_owner_found), {{"outcome", "owner_found"}});
  out->Sample(Sum(in, &C::grace_unknown), {{"outcome", "unknown"}});
  out->Sample(Sum(in, &C::grace_timeout), {{"outcome", "timeout"}});
  out->Sample(Sum(in, &C::grace_full), {{"outcome", "full"}});
  out->Sample(Sum(in, &C::grace_cancelled), {{"outcome", "cancelled"}});
  out->Gauge("roost_grace_held_requests", "Requests held now.", Sum(in, &C::grace_now));
  out->Gauge("roost_grace_held_bytes", "Bytes of the requests held now.",
             Sum(in, &C::grace_bytes_now));
}

void RenderFaults(const MetricsInput& in, MetricsText* out) {
  using C = proxy::Counters;
  out->Family("roost_proxy_refused_total", "Answers that the proxy made itself, by status.",
              Type::kCounter);
  const std::pair<absl::string_view, proxy::Counter C::*> refused[] = {
      {"400", &C::refused_400}, {"408", &C::refused_408}, {"413", &C::refused_413},
      {"431", &C::refused_431}, {"501", &C::refused_501}, {"502", &C::refused_502},
      {"503", &C::refused_503}, {"504", &C::refused_504}, {"505", &C::refused_505}};
  for (const auto& [status, counter] : refused) out->Sample(Sum(in, counter), {{"status", status}});
  out->Gauge("roost_proxy_app_up",
             "1 unless the application is down; then other nodes' applications stand in for it.",
             in.app_up ? 1 : 0);
  out->Gauge("roost_proxy_app_waiting", "Requests that the application has not begun to answer.",
             Sum(in, &C::app_waiting));
  out->Counter("roost_proxy_app_busy_total", "Requests refused: proxy.app_waiting_max was reached.",
               Sum(in, &C::app_busy));
  out->Family("roost_proxy_app_checks_total", "Checks of the application, by result.",
              Type::kCounter);
  out->Sample(Sum(in, &C::app_checks_passed), {{"result", "passed"}});
  out->Sample(Sum(in, &C::app_checks_failed), {{"result", "failed"}});
  out->Counter("roost_proxy_app_connect_failures_total",
               "Connections to the application that could not be made.",
               Sum(in, &C::app_connect_failures));
  out->Counter("roost_proxy_peer_connect_failures_total",
               "Connections to peers' proxies that could not be made.",
               Sum(in, &C::peer_connect_failures));
  out->Counter("roost_proxy_circuits_opened_total",
               "Times that a peer was found unreachable; requests for it wait then.",
               Sum(in, &C::circuits_opened));
  out->Counter("roost_proxy_circuit_waits_total",
               "Requests held, or sent to a stand-in, rather than tried at such a peer.",
               Sum(in, &C::circuit_waits));
  out->Counter("roost_proxy_peer_proof_failures_total",
               "Connections to a peer's address where nobody holds the cluster's key.",
               Sum(in, &C::peer_proof_failures));
  out->Family("roost_proxy_peers_refused_total",
              "Connections to cluster.forward_listen without the proof of a peer, by reason.",
              Type::kCounter);
  for (size_t i = 0; i < proxy::kPeerRefusals; ++i) {
    uint64_t refused = 0;
    for (const C* counters : in.proxy) refused += counters->peers_refused[i].value();
    out->Sample(refused, {{"reason", proxy::kPeerRefusalNames[i]}});
  }
  out->Counter("roost_proxy_app_bad_responses_total",
               "Answers of the application that are not HTTP.", Sum(in, &C::app_bad_responses));
  out->Counter("roost_proxy_retries_total", "Requests sent again.", Sum(in, &C::retries));
  out->Counter("roost_proxy_clients_too_slow_total",
               "Clients cut off for sending or taking less than proxy.body_rate_min.",
               Sum(in, &C::client_too_slow));
  out->Family("roost_proxy_aborted_total", "Exchanges cut off in the middle, by who went away.",
              Type::kCounter);
  out->Sample(Sum(in, &C::upstream_aborted), {{"side", "upstream"}});
  out->Sample(Sum(in, &C::client_aborted), {{"side", "client"}});
}

}  // namespace

void MetricsText::Family(absl::string_view name, absl::string_view help, Type type) {
  assert(type != Type::kCounter || absl::EndsWith(name, "_total"));
  family_ = std::string(name);
  absl::StrAppend(&text_, "# HELP ", name, " ", help, "\n# TYPE ", name, " ",
                  type == Type::kCounter ? "counter" : "gauge", "\n");
}

void MetricsText::SampleText(const std::string& value, Labels labels) {
  text_ += family_;
  const char* separator = "{";
  for (const auto& [name, label] : labels) {
    absl::StrAppend(&text_, separator, name, "=\"",
                    absl::StrReplaceAll(label, {{"\\", "\\\\"}, {"\"", "\\\""}, {"\n", "\\n"}}),
                    "\"");
    separator = ",";
  }
  absl::StrAppend(&text_, labels.size() == 0 ? "" : "}", " ", value, "\n");
}

void MetricsText::Sample(double value, Labels labels) {
  SampleText(absl::StrFormat("%.3f", value), labels);
}
void MetricsText::Sample(uint64_t value, Labels labels) { SampleText(absl::StrCat(value), labels); }

void MetricsText::Counter(absl::string_view name, absl::string_view help, uint64_t value) {
  Family(name, help, Type::kCounter);
  Sample(value);
}

void MetricsText::Gauge(absl::string_view name, absl::string_view help, uint64_t value) {
  Family(name, help, Type::kGauge);
  Sample(value);
}

ProcessUsage ReadProcessUsage() {
  ProcessUsage usage;
  rusage self = {};
  getrusage(RUSAGE_SELF, &self);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  usage.cpu_seconds = seconds(self.ru_utime) + seconds(self.ru_stime);
  rlimit fds = {};
  if (getrlimit(RLIMIT_NOFILE, &fds) == 0) usage.max_fds = fds.rlim_cur;
  usage.open_fds = CountOpenFds();
  // After the command's name, which may hold anything: fields 3 and up of proc(5).
  const std::string stat = ReadAll("/proc/self/stat");
  const size_t name_end = stat.rfind(") ");
  if (name_end == std::string::npos) return usage;
  const std::vector<std::string> fields = absl::StrSplit(stat.substr(name_end + 2), ' ');
  const auto number = [&fields](size_t field) {
    uint64_t value = 0;
    return field - 3 < fields.size() && absl::SimpleAtoi(fields[field - 3], &value) ? value : 0;
  };
  usage.threads = number(20);
  usage.start_time =
      BootTime() + static_cast<double>(number(22)) / static_cast<double>(sysconf(_SC_CLK_TCK));
  usage.virtual_bytes = number(23);
  usage.resident_bytes = number(24) * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  return usage;
}

std::string RenderMetrics(const MetricsInput& input) {
  MetricsText out;
  RenderNode(input, &out);
  RenderMembers(input, &out);
  RenderRtts(input, &out);
  RenderMembership(*input.membership, &out);
  RenderBroadcasts(*input.broadcasts, &out);
  if (input.tls != nullptr) RenderTls(*input.tls, &out);
  RenderSessions(input.stats, &out);
  RenderFenced(input, &out);
  RenderStore(*input.store, &out);
  RenderTraffic(input, &out);
  RenderGrace(input, &out);
  RenderFaults(input, &out);
  return out.Take();
}

}  // namespace roost::sidecar

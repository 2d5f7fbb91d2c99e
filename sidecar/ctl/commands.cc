#include "sidecar/ctl/commands.h"

#include <algorithm>
#include <chrono>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <thread>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "google/protobuf/util/json_util.h"
#include "grpcpp/grpcpp.h"
#include "membership/keyring.h"
#include "proto/cluster.grpc.pb.h"
#include "proto/sessions.grpc.pb.h"
#include "sidecar/ctl/certs.h"
#include "sidecar/ctl/table.h"

namespace roost::ctl {
namespace {

constexpr uint32_t kPageSize = 1'000;
constexpr int64_t kBroadcastMsMax = 30'000;
constexpr std::chrono::milliseconds kSafeAgain{200};

std::shared_ptr<grpc::Channel> Connect(const Arguments& arguments) {
  grpc::ChannelArguments options;
  options.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);  // The node is on this machine.
  options.SetMaxReceiveMessageSize(16 << 20);
  return grpc::CreateCustomChannel(arguments.api, grpc::InsecureChannelCredentials(), options);
}

absl::Status ToStatus(const grpc::Status& status, const Arguments& arguments) {
  if (status.ok()) return absl::OkStatus();
  const bool unreachable = status.error_code() == grpc::StatusCode::UNAVAILABLE ||
                           status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED;
  if (!unreachable) {
    return {static_cast<absl::StatusCode>(status.error_code()), status.error_message()};
  }
  return absl::UnavailableError(absl::StrCat(
      "no answer from the node at ", arguments.api, ": ", status.error_message(),
      "\nIs roostd running here, and is this its api.listen (or unix:PATH of its api.socket)? "
      "Another one is chosen with --api or ROOST_API."));
}

std::unique_ptr<grpc::ClientContext> NewContext(const Arguments& arguments) {
  auto context = std::make_unique<grpc::ClientContext>();
  context->set_deadline(std::chrono::system_clock::now() + arguments.timeout);
  return context;
}

std::string ToJson(const google::protobuf::Message& message, bool one_line) {
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = !one_line;
  options.always_print_primitive_fields = true;
  options.preserve_proto_field_names = true;
  std::string json;
  if (!google::protobuf::util::MessageToJsonString(message, &json, options).ok()) return "{}\n";
  absl::StripTrailingAsciiWhitespace(&json);
  return json + "\n";
}

// "1d 2h", "3m 4s", "250ms": the two largest units.
std::string Ago(int64_t ms) {
  if (ms < 1'000) return absl::StrCat(ms, "ms");
  const int64_t s = ms / 1'000;
  if (s < 60) return absl::StrCat(s, "s");
  if (s < 3'600) return absl::StrFormat("%dm %ds", s / 60, s % 60);
  if (s < 86'400) return absl::StrFormat("%dh %dm", s / 3'600, s % 3'600 / 60);
  return absl::StrFormat("%dd %dh", s / 86'400, s % 86'400 / 3'600);
}

std::string StateName(const v1::Member& member) {
  const std::string name = v1::MemberState_Name(member.state());
  const std::string state = absl::AsciiStrToLower(absl::StripPrefix(name, "MEMBER_STATE_"));
  return member.draining() ? state + ", draining" : state;
}

std::string HostPort(const std::string& host, uint32_t port) {
  const bool v6 = host.find(':') != std::string::npos;
  return v6 ? absl::StrCat("[", host, "]:", port) : absl::StrCat(host, ":", port);
}

std::string AppName(v1::AppHealth app) {
  switch (app) {
    case v1::APP_HEALTH_OK:
      return "ok";
    case v1::APP_HEALTH_FAILING:
      return "failing";
    default:
      return "unknown";
  }
}

// Which versions a member speaks, and whether it holds the cluster back or is ahead of it.
std::string ProtocolName(const v1::Member& member, uint32_t version) {
  const std::string range = member.protocol_min() == member.protocol_max()
                                ? absl::StrCat(member.protocol_max())
                                : absl::StrCat(member.protocol_min(), "-", member.protocol_max());
  return member.protocol_max() == version ? range : absl::StrCat(range, " (skew)");
}

std::string RttText(const v1::Member& member) {
  if (member.rtt_us() == 0) return "-";
  return absl::StrFormat("%.2fms", static_cast<double>(member.rtt_us()) / 1'000);
}

std::string AttributesText(const v1::Member& member) {
  const std::map<std::string, std::string> sorted(member.attributes().begin(),
                                                  member.attributes().end());
  return absl::StrJoin(sorted, ",", absl::PairFormatter("="));
}

// What holds for the whole side that the node is on.
std::string ListLine(const v1::MembersResponse& response) {
  if (response.lineage().empty()) return "in no member list yet\n";
  std::string line = absl::StrCat("list ", response.lineage(), " version ", response.list_version(),
                                  ", coordinator ", response.coordinator());
  if (response.degraded()) {
    absl::StrAppend(&line, ", DEGRADED: lost the majority of list ", response.parent_lineage());
  }
  if (response.below_min_members()) {
    absl::StrAppend(&line, ", BELOW split_brain.min_members: refuses writes");
  }
  if (response.protocol_version() == 0) {
    absl::StrAppend(&line, ", NO PROTOCOL VERSION that all members speak");
  }
  return line + "\n";
}

std::string MembersTable(const v1::MembersResponse& response) {
  Table table({"NAME", "STATE", "AGE", "ZONE", "RTT", "APP", "PROTOCOL", "GOSSIP", "PEER",
               "FORWARD", "BOOT", "INCARNATION", "ID", "ATTRIBUTES"});
  for (const v1::Member& member : response.members()) {
    const std::string age = member.join_seq() == 0 ? "-" : absl::StrCat(member.join_seq());
    table.Add({member.name() + (member.self() ? " (this node)" : ""), StateName(member),
               age + (member.coordinator() ? " coordinator" : ""), member.zone(), RttText(member),
               AppName(member.app()), ProtocolName(member, response.protocol_version()),
               HostPort(member.host(), member.gossip_port()), absl::StrCat(member.peer_port()),
               absl::StrCat(member.forward_port()), absl::StrCat(member.boot_epoch()),
               absl::StrCat(member.incarnation()), member.id(), AttributesText(member)});
  }
  return ListLine(response) + table.ToString();
}

std::string FencedText(const v1::FencedStatus& fenced) {
  const std::string now =
      fenced.survives() < 0
          ? "not served: too few members are in sight"
          : absl::StrCat("survives ", fenced.survives(), " failures (", fenced.places(),
                         " places, majority ", fenced.majority(), ")");
  return absl::StrCat(absl::StrJoin(fenced.namespaces(), ", "), ": ", now,
                      fenced.witness() ? "; this node is a witness" : "");
}

absl::Status Status(const Arguments& arguments, const Print& print) {
  v1::StatusResponse response;
  const auto stub = v1::Operator::NewStub(Connect(arguments));
  const grpc::Status status = stub->Status(NewContext(arguments).get(), {}, &response);
  if (!status.ok()) return ToStatus(status, arguments);
  if (arguments.json) {
    print(ToJson(response, false));
    return absl::OkStatus();
  }
  Table table({"NODE", response.name()});
  table.Add({"id", response.id()});
  table.Add({"cluster", response.cluster()});
  table.Add({"version", response.version()});
  table.Add({"state", response.state()});
  table.Add({"up", Ago(response.uptime_ms())});
  table.Add({"members alive", absl::StrCat(response.members_alive())});
  table.Add({"members suspect", absl::StrCat(response.members_suspect())});
  table.Add({"sessions owned", absl::StrCat(response.sessions_owned())});
  table.Add({"sessions copied", absl::StrCat(response.sessions_copied())});
  table.Add({"tombstones", absl::StrCat(response.tombstones())});
  table.Add({"under-replicated", absl::StrCat(response.sessions_under_replicated())});
  table.Add({"with conflicts", absl::StrCat(response.sessions_conflicted())});
  table.Add({"held in grace", absl::StrCat(response.grace_held())});
  if (response.has_fenced()) table.Add({"fenced", FencedText(response.fenced())});
  print(table.ToString());
  return absl::OkStatus();
}

absl::Status Members(const Arguments& arguments, const Print& print) {
  const auto stub = v1::Cluster::NewStub(Connect(arguments));
  v1::MembersResponse response;
  if (!arguments.watch) {
    const grpc::Status status = stub->Members(NewContext(arguments).get(), {}, &response);
    if (!status.ok()) return ToStatus(status, arguments);
    print(arguments.json ? ToJson(response, false) : MembersTable(response));
    return absl::OkStatus();
  }
  grpc::ClientContext context;  // No deadline: until Ctrl-C, or until the node goes away.
  const auto reader = stub->Watch(&context, {});
  while (reader->Read(&response)) {
    print(arguments.json
              ? ToJson(response, true)
              : absl::StrCat("view ", response.view(), "\n", MembersTable(response), "\n"));
  }
  return ToStatus(reader->Finish(), arguments);
}

absl::Status Owner(const Arguments& arguments, const Print& print) {
  v1::ResolveRequest request;
  request.set_id(arguments.id);
  request.set_session_key(arguments.key);
  request.set_namespace_(arguments.name_space);
  v1::ResolveResponse response;
  const auto stub = v1::Sessions::NewStub(Connect(arguments));
  const grpc::Status status = stub->Resolve(NewContext(arguments).get(), request, &response);
  if (!status.ok()) return ToStatus(status, arguments);
  if (arguments.json) {
    print(ToJson(response, false));
  } else if (!response.deleted()) {
    Table table({"SESSION KEY", response.session_key()});
    table.Add({"owner", response.owner() + (response.owned_here() ? " (this node)" : "")});
    table.Add({"owner's id", response.owner_node()});
    table.Add({"epoch", absl::StrCat(response.epoch(), " by ", response.epoch_node())});
    const bool held = response.copy_set_size() > 0;
    table.Add({"version", held ? absl::StrCat(response.version()) : "not held here"});
    table.Add({"held by", held ? absl::StrJoin(response.copy_set(), ", ") : "not held here"});
    print(table.ToString());
  }
  return response.deleted() ? absl::NotFoundError("the session was deleted") : absl::OkStatus();
}

std::string SessionsTable(const v1::ListSessionsResponse& response) {
  Table table(
      {"SESSION KEY", "OWNER", "EPOCH", "VERSION", "HELD BY", "IDLE LEFT", "BYTES", "CONFLICTS"});
  for (const auto& entry : response.sessions()) {
    table.Add({entry.session_key(), entry.owner(), absl::StrCat(entry.epoch()),
               absl::StrCat(entry.version()), absl::StrJoin(entry.copy_set(), ","),
               entry.deleted() ? "deleted" : Ago(entry.idle_remaining_ms()),
               absl::StrCat(entry.size_bytes()), absl::StrCat(entry.conflicts())});
  }
  return table.ToString();
}

absl::Status Sessions(const Arguments& arguments, const Print& print) {
  const auto stub = v1::Operator::NewStub(Connect(arguments));
  v1::ListSessionsRequest request;
  request.set_owned_only(arguments.owned);
  request.set_conflicted_only(arguments.command == Command::kConflicts);
  v1::ListSessionsResponse all;
  do {
    const int64_t missing = arguments.limit - all.sessions_size();
    request.set_page_size(static_cast<uint32_t>(std::min<int64_t>(missing, kPageSize)));
    request.set_page_token(all.next_page_token());
    v1::ListSessionsResponse page;
    const grpc::Status status = stub->ListSessions(NewContext(arguments).get(), request, &page);
    if (!status.ok()) return ToStatus(status, arguments);
    all.mutable_sessions()->MergeFrom(page.sessions());
    all.set_next_page_token(page.next_page_token());
  } while (!all.next_page_token().empty() && all.sessions_size() < arguments.limit);
  if (arguments.json) {
    print(ToJson(all, false));
    return absl::OkStatus();
  }
  print(SessionsTable(all));
  if (!all.next_page_token().empty()) print("(there are more: --limit)\n");
  return absl::OkStatus();
}

// Values may be anything, and go to a terminal.
std::string ConflictsTable(const v1::ShowConflictsResponse& response) {
  Table table({"ID", "WHEN", "LOST EPOCH", "VERSION", "AGAINST EPOCH", "VERSION", "POLICY",
               "ATTRIBUTE", "LOST VALUE"});
  for (const auto& conflict : response.conflicts()) {
    for (const auto& loss : conflict.losses()) {
      table.Add({conflict.id(),
                 absl::FormatTime(absl::FromUnixMillis(conflict.when_ms()), absl::UTCTimeZone()),
                 absl::StrCat(conflict.lost_epoch()), absl::StrCat(conflict.lost_version()),
                 absl::StrCat(conflict.kept_epoch()), absl::StrCat(conflict.kept_version()),
                 conflict.policy(), absl::CEscape(loss.name()),
                 loss.removed() ? "(removed)" : absl::CEscape(loss.value())});
    }
  }
  return table.ToString();
}

absl::Status Conflicts(const Arguments& arguments, const Print& print) {
  if (arguments.conflicts_action == ConflictsAction::kList) return Sessions(arguments, print);
  const auto stub = v1::Operator::NewStub(Connect(arguments));
  if (arguments.conflicts_action == ConflictsAction::kShow) {
    v1::ShowConflictsRequest request;
    request.set_session_key(arguments.key);
    v1::ShowConflictsResponse response;
    const auto status = stub->ShowConflicts(NewContext(arguments).get(), request, &response);
    if (!status.ok()) return ToStatus(status, arguments);
    print(arguments.json ? ToJson(response, false) : ConflictsTable(response));
    return absl::OkStatus();
  }
  v1::ChangeConflictRequest request;
  request.set_session_key(arguments.key);
  request.set_id(arguments.conflict);
  request.set_change(arguments.conflicts_action == ConflictsAction::kRestore
                         ? v1::ChangeConflictRequest::CHANGE_RESTORE
                         : v1::ChangeConflictRequest::CHANGE_FORGET);
  v1::ChangeConflictResponse response;
  const auto status = stub->ChangeConflict(NewContext(arguments).get(), request, &response);
  if (!status.ok()) return ToStatus(status, arguments);
  print(arguments.json ? ToJson(response, false)
                       : absl::StrCat("done: version ", response.version(), ", at ",
                                      response.copies(), " nodes\n"));
  return absl::OkStatus();
}

// The one key in a file, or on standard input.
absl::StatusOr<membership::GossipKey> ReadKey(const std::string& file) {
  std::ifstream opened;
  if (file != "-") opened.open(file);
  std::istream& in = file == "-" ? std::cin : opened;
  if (!in) return absl::UnavailableError(absl::StrCat("can't read ", file));
  // One byte more than allowed tells that there is more.
  std::string text(membership::Keyring::kTextBytesMax + 1, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(in.gcount()));
  const auto keys = membership::Keyring::Parse(text);
  const std::string name = file == "-" ? "standard input" : file;
  if (!keys.ok()) {
    return absl::InvalidArgumentError(absl::StrCat(name, ": ", keys.status().message()));
  }
  if (keys->keys().size() != 1) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": holds ", keys->keys().size(), " keys; one is added at a time"));
  }
  return keys->primary();
}

absl::StatusOr<v1::ChangeKeysRequest> ToChange(const Arguments& arguments) {
  v1::ChangeKeysRequest request;
  if (arguments.keys_action == KeysAction::kUse) {
    request.set_use(arguments.operand);
  } else if (arguments.keys_action == KeysAction::kRemove) {
    request.set_remove(arguments.operand);
  } else {
    const auto key = ReadKey(arguments.operand);
    if (!key.ok()) return key.status();
    request.set_add(key->ToBase64());
  }
  return request;
}

absl::Status Keys(const Arguments& arguments, const Print& print) {
  if (arguments.keys_action == KeysAction::kGenerate) {
    print(membership::GossipKey::Generate().ToBase64() + "\n");
    return absl::OkStatus();
  }
  const auto stub = v1::Operator::NewStub(Connect(arguments));
  v1::KeysResponse response;
  grpc::Status status;
  if (arguments.keys_action == KeysAction::kList) {
    status = stub->ListKeys(NewContext(arguments).get(), {}, &response);
  } else {
    const auto change = ToChange(arguments);
    if (!change.ok()) return change.status();
    status = stub->ChangeKeys(NewContext(arguments).get(), *change, &response);
  }
  if (!status.ok()) return ToStatus(status, arguments);
  if (arguments.json) {
    print(ToJson(response, false));
    return absl::OkStatus();
  }
  Table table({"KEY", "USE"});
  for (const auto& key : response.keys()) {
    table.Add({key.id(), key.primary() ? "seals and opens" : "opens"});
  }
  print(table.ToString());
  return absl::OkStatus();
}

absl::Status Broadcast(const Arguments& arguments, const Print& print) {
  v1::BroadcastRequest request;
  request.set_topic(arguments.topic);
  request.set_payload(arguments.payload);
  // Leaves the node time to say who is missing.
  request.set_timeout_ms(std::min<int64_t>(arguments.timeout.count() / 2, kBroadcastMsMax));
  v1::BroadcastResponse response;
  const auto stub = v1::Cluster::NewStub(Connect(arguments));
  const grpc::Status status = stub->Broadcast(NewContext(arguments).get(), request, &response);
  if (!status.ok()) return ToStatus(status, arguments);
  if (arguments.json) {
    print(ToJson(response, false));
  } else {
    Table table({"MEMBER", "TAKEN"});
    for (const std::string& name : response.acknowledged()) table.Add({name, "yes"});
    for (const std::string& name : response.missing()) table.Add({name, "not known"});
    print(table.ToString());
  }
  if (response.missing_size() == 0) return absl::OkStatus();
  return absl::UnavailableError(
      absl::StrCat(response.missing_size(), " of the members have not said that they have it"));
}

absl::Status Events(const Arguments& arguments, const Print& print) {
  const auto stub = v1::Sessions::NewStub(Connect(arguments));
  grpc::ClientContext context;  // No deadline: until Ctrl-C, or until the node goes away.
  const auto reader = stub->WatchSessions(&context, {});
  v1::WatchSessionsResponse response;
  while (reader->Read(&response)) {
    for (const v1::SessionEvent& event : response.events()) {
      if (arguments.json) {
        print(ToJson(event, true));
        continue;
      }
      const absl::Time at = absl::FromUnixMillis(event.at_ms());
      std::string line = absl::StrCat(
          absl::FormatTime("%H:%M:%E3S", at, absl::LocalTimeZone()), "  ", event.session_key(),
          "  ", absl::AsciiStrToLower(v1::SessionEvent::Kind_Name(event.kind())), " (",
          absl::AsciiStrToLower(v1::SessionEvent::Cause_Name(event.cause())), "), version ",
          event.version());
      if (!event.new_session_key().empty()) {
        absl::StrAppend(&line, ", now ", event.new_session_key());
      }
      print(line + "\n");
    }
  }
  return ToStatus(reader->Finish(), arguments);
}

absl::Status ExplainRoute(const Arguments& arguments, const Print& print) {
  v1::ExplainRouteRequest request;
  request.set_method(arguments.method);
  request.set_url(arguments.url);
  for (const std::string& header : arguments.headers) request.add_headers(header);
  v1::ExplainRouteResponse response;
  const grpc::Status status = v1::Operator::NewStub(Connect(arguments))
                                  ->ExplainRoute(NewContext(arguments).get(), request, &response);
  if (!status.ok()) return ToStatus(status, arguments);
  if (arguments.json) {
    print(ToJson(response, false));
    return absl::OkStatus();
  }
  Table table({"RULE", "OUTCOME"});
  for (const auto& step : response.steps()) table.Add({step.rule(), step.outcome()});
  print(table.ToString());
  print(absl::StrCat("\n", response.action(), response.node().empty() ? "" : " ", response.node(),
                     "\n"));
  return absl::OkStatus();
}

absl::Status SafeToStop(const Arguments& arguments, const Print& print) {
  const auto stub = v1::Operator::NewStub(Connect(arguments));
  const auto deadline = std::chrono::steady_clock::now() + arguments.timeout;
  v1::SafeToStopResponse response;
  while (true) {
    const grpc::Status status = stub->SafeToStop(NewContext(arguments).get(), {}, &response);
    if (!status.ok()) return ToStatus(status, arguments);
    if (response.safe() || !arguments.wait) break;
    if (std::chrono::steady_clock::now() + kSafeAgain >= deadline) break;
    std::this_thread::sleep_for(kSafeAgain);
  }
  if (arguments.json) {
    print(ToJson(response, false));
  } else if (response.safe()) {
    print(absl::StrCat("safe: all of ", response.sessions_owned(),
                       " sessions owned here are on another member\n"));
  }
  return response.safe() ? absl::OkStatus()
                         : absl::FailedPreconditionError("not safe: " + response.reason());
}

absl::Status Certs(const Arguments& arguments, const Print& print) {
  const bool is_new = arguments.certs_action == CertsAction::kNew;
  const absl::Status status =
      is_new ? NewCerts(arguments.certs, absl::Now()) : IssueCerts(arguments.certs, absl::Now());
  if (!status.ok()) return status;
  Table table({"NODE", "FILES"});
  for (const std::string& node : arguments.certs.nodes) {
    table.Add({node, absl::StrCat(arguments.certs.dir, "/", node, "/{ca,cert,key}.pem")});
  }
  print(table.ToString());
  return absl::OkStatus();
}

}  // namespace

absl::Status Run(const Arguments& arguments, const Print& print) {
  switch (arguments.command) {
    case Command::kStatus:
      return Status(arguments, print);
    case Command::kMembers:
      return Members(arguments, print);
    case Command::kOwner:
      return Owner(arguments, print);
    case Command::kSessions:
      return Sessions(arguments, print);
    case Command::kKeys:
      return Keys(arguments, print);
    case Command::kBroadcast:
      return Broadcast(arguments, print);
    case Command::kConflicts:
      return Conflicts(arguments, print);
    case Command::kEvents:
      return Events(arguments, print);
    case Command::kRoute:
      return ExplainRoute(arguments, print);
    case Command::kSafeToStop:
      return SafeToStop(arguments, print);
    case Command::kCerts:
      return Certs(arguments, print);
    case Command::kHelp:
    case Command::kVersion:
      break;
  }
  return absl::InternalError("not a command that talks to a node");
}

}  // namespace roost::ctl

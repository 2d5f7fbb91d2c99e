#include "sidecar/ctl/arguments.h"

#include <functional>
#include <map>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace roost::ctl {
namespace {

constexpr int64_t kLimitMax = 100'000;
constexpr int64_t kTimeoutSecondsMax = 3'600;
constexpr int64_t kDaysMax = 3'650;

const std::map<std::string, Command>& Commands() {
  static const auto* commands = new std::map<std::string, Command>{
      {"help", Command::kHelp},           {"version", Command::kVersion},
      {"status", Command::kStatus},       {"members", Command::kMembers},
      {"owner", Command::kOwner},         {"sessions", Command::kSessions},
      {"keys", Command::kKeys},           {"certs", Command::kCerts},
      {"broadcast", Command::kBroadcast}, {"safe-to-stop", Command::kSafeToStop},
      {"events", Command::kEvents}};
  return *commands;
}

const std::map<std::string, KeysAction>& KeysActions() {
  static const auto* actions =
      new std::map<std::string, KeysAction>{{"generate", KeysAction::kGenerate},
                                            {"list", KeysAction::kList},
                                            {"add", KeysAction::kAdd},
                                            {"use", KeysAction::kUse},
                                            {"remove", KeysAction::kRemove}};
  return *actions;
}

absl::Status Usage(absl::string_view reason) {
  return absl::InvalidArgumentError(absl::StrCat(reason, "; see roostctl --help"));
}

absl::Status ParseNumber(const std::string& option, const std::string& text, int64_t max,
                         int64_t* out) {
  if (absl::SimpleAtoi(text, out) && *out >= 1 && *out <= max) return absl::OkStatus();
  return Usage(absl::StrCat(option, " must be 1 to ", max, ", not ", text));
}

class Parser {
 public:
  absl::StatusOr<Arguments> Parse(const std::vector<std::string>& words) {
    absl::Status status;
    for (size_t i = 0; i < words.size() && status.ok(); ++i) {
      const size_t equals = words[i].find('=');
      if (!absl::StartsWith(words[i], "-") || words[i] == "-") {
        status = TakeWord(words[i]);
      } else if (absl::StartsWith(words[i], "--") && equals != std::string::npos) {
        status = TakeOption(words[i].substr(0, equals), words[i].substr(equals + 1));
      } else if (TakesValue(words[i])) {
        if (i + 1 == words.size()) return Usage(absl::StrCat(words[i], " needs a value"));
        status = TakeOption(words[i], words[i + 1]);
        ++i;
      } else {
        status = TakeFlag(words[i]);
      }
    }
    status.Update(Finish());
    if (!status.ok()) return status;
    return std::move(arguments_);
  }

  Arguments* arguments() { return &arguments_; }

 private:
  static bool TakesValue(const std::string& option) {
    return option == "--api" || option == "--timeout" || option == "--limit" ||
           option == "--namespace" || option == "--key" || option == "--nodes" ||
           option == "--days";
  }

  absl::Status TakeWord(const std::string& word) {
    if (!command_) {
      const auto found = Commands().find(word);
      if (found == Commands().end()) return Usage(absl::StrCat("unknown command ", word));
      command_ = found->second;
    } else if (*command_ == Command::kHelp && Commands().count(word) != 0) {
      arguments_.help_for = Commands().at(word);
    } else if (*command_ == Command::kOwner && arguments_.id.empty() && !word.empty()) {
      arguments_.id = word;
    } else if (*command_ == Command::kKeys) {
      return TakeKeysWord(word);
    } else if (*command_ == Command::kBroadcast && arguments_.topic.empty() && !word.empty()) {
      arguments_.topic = word;
    } else if (*command_ == Command::kBroadcast && arguments_.payload.empty() && !word.empty()) {
      arguments_.payload = word;
    } else if (*command_ == Command::kCerts) {
      return TakeCertsWord(word);
    } else {
      return Usage("too many arguments");
    }
    return absl::OkStatus();
  }

  absl::Status TakeKeysWord(const std::string& word) {
    const bool takes_operand = arguments_.keys_action == KeysAction::kAdd ||
                               arguments_.keys_action == KeysAction::kUse ||
                               arguments_.keys_action == KeysAction::kRemove;
    if (arguments_.keys_action == KeysAction::kNone) {
      const auto found = KeysActions().find(word);
      if (found == KeysActions().end()) return Usage(absl::StrCat("keys can't ", word));
      arguments_.keys_action = found->second;
    } else if (takes_operand && arguments_.operand.empty() && !word.empty()) {
      arguments_.operand = word;
    } else {
      return Usage("too many arguments");
    }
    return absl::OkStatus();
  }

  absl::Status TakeCertsWord(const std::string& word) {
    if (arguments_.certs_action == CertsAction::kNone) {
      if (word != "new" && word != "issue") return Usage(absl::StrCat("certs can't ", word));
      arguments_.certs_action = word == "new" ? CertsAction::kNew : CertsAction::kIssue;
    } else if (arguments_.certs.dir.empty() && !word.empty()) {
      arguments_.certs.dir = word;
    } else {
      return Usage("too many arguments");
    }
    return absl::OkStatus();
  }

  absl::Status FinishCerts() {
    if (arguments_.certs_action == CertsAction::kNone) {
      return Usage("certs needs one of new, issue");
    }
    if (arguments_.certs.dir.empty()) return Usage("a folder is missing");
    if (arguments_.certs.nodes.empty()) return Usage("--nodes is missing");
    return absl::OkStatus();
  }

  absl::Status FinishKeys() {
    switch (arguments_.keys_action) {
      case KeysAction::kNone:
        return Usage("keys needs one of generate, list, add, use, remove");
      case KeysAction::kAdd:
        if (arguments_.operand.empty()) arguments_.operand.push_back('-');
        return absl::OkStatus();
      case KeysAction::kUse:
      case KeysAction::kRemove:
        if (arguments_.operand.empty()) return Usage("a key id is missing");
        return absl::OkStatus();
      case KeysAction::kGenerate:
      case KeysAction::kList:
        break;
    }
    return absl::OkStatus();
  }

  absl::Status TakeOption(const std::string& option, const std::string& value) {
    if (option == "--api") {
      arguments_.api = value;
    } else if (option == "--timeout") {
      int64_t seconds = 0;
      absl::Status status = ParseNumber(option, value, kTimeoutSecondsMax, &seconds);
      arguments_.timeout = std::chrono::seconds(seconds);
      return status;
    } else if (option == "--limit" && command_ == Command::kSessions) {
      return ParseNumber(option, value, kLimitMax, &arguments_.limit);
    } else if (option == "--namespace" && command_ == Command::kOwner) {
      arguments_.name_space = value;
    } else if (option == "--nodes" && command_ == Command::kCerts) {
      arguments_.certs.nodes = absl::StrSplit(value, ',');
    } else if (option == "--days" && command_ == Command::kCerts) {
      return ParseNumber(option, value, kDaysMax, &arguments_.certs.days);
    } else if (option == "--key" && command_ == Command::kOwner) {
      arguments_.key = value;
    } else {
      return Usage(absl::StrCat("no option ", option, " here"));
    }
    return absl::OkStatus();
  }

  absl::Status TakeFlag(const std::string& flag) {
    if (flag == "--json") {
      arguments_.json = true;
    } else if (flag == "--help" || flag == "-h") {
      help_ = true;
    } else if (flag == "--version" && !command_) {
      command_ = Command::kVersion;
    } else if (flag == "--watch" && command_ == Command::kMembers) {
      arguments_.watch = true;
    } else if (flag == "--wait" && command_ == Command::kSafeToStop) {
      arguments_.wait = true;
    } else if (flag == "--owned" && command_ == Command::kSessions) {
      arguments_.owned = true;
    } else {
      return Usage(absl::StrCat("no option ", flag, " here"));
    }
    return absl::OkStatus();
  }

  absl::Status Finish() {
    if (help_) {
      arguments_.command = Command::kHelp;
      arguments_.help_for = command_.value_or(Command::kHelp);
      return absl::OkStatus();
    }
    if (!command_) return Usage("a command is missing");
    arguments_.command = *command_;
    if (arguments_.api.empty()) return Usage("--api is empty");
    if (*command_ == Command::kOwner && arguments_.id.empty() == arguments_.key.empty()) {
      return Usage("owner needs a session id, or --key");
    }
    if (*command_ == Command::kKeys) return FinishKeys();
    if (*command_ == Command::kCerts) return FinishCerts();
    if (*command_ == Command::kBroadcast && arguments_.topic.empty()) {
      return Usage("broadcast needs a topic");
    }
    return absl::OkStatus();
  }

  Arguments arguments_;
  std::optional<Command> command_;
  bool help_ = false;
};

constexpr char kCommonHelp[] =
    "\n"
    "  --json           print JSON with the field names of proto/cluster.proto and sessions.proto\n"
    "  --api TARGET     HOST:PORT or unix:PATH of the node's API; default 127.0.0.1:7402, or\n"
    "                   $ROOST_API\n"
    "  --timeout SECONDS  default 5\n"
    "\n"
    "Exit code: 0 done, 1 the node can't be reached or failed, 2 wrong usage, 3 no such session or "
    "key.\n";

}  // namespace

absl::StatusOr<Arguments> ParseArguments(const std::vector<std::string>& words,
                                         const std::string& api) {
  Parser parser;
  if (!api.empty()) parser.arguments()->api = api;
  return parser.Parse(words);
}

std::string HelpText(Command command) {
  switch (command) {
    case Command::kStatus:
      return absl::StrCat("roostctl status: what the node is and how many sessions it holds\n",
                          kCommonHelp);
    case Command::kMembers:
      return absl::StrCat(
          "roostctl members [--watch]: the members as the node sees them\n\n"
          "  --watch          print them again after every change, until Ctrl-C\n",
          kCommonHelp);
    case Command::kOwner:
      return absl::StrCat(
          "roostctl owner ID [--namespace NAME]: which node owns a session\n"
          "roostctl owner --key KEY\n\n"
          "  --namespace NAME namespace of ID; default \"default\"\n"
          "  --key KEY        32 hexadecimal digits, as `sessions` shows them\n",
          kCommonHelp);
    case Command::kSessions:
      return absl::StrCat(
          "roostctl sessions [--owned] [--limit N]: sessions that the node holds\n\n"
          "  --owned          only those that it owns\n"
          "  --limit N        at most N, 1 to 100000; default 100\n",
          kCommonHelp);
    case Command::kKeys:
      return absl::StrCat(
          "roostctl keys generate        a new gossip key, on standard output\n"
          "roostctl keys list            the keys that the node holds, by id\n"
          "roostctl keys add [FILE]      another key, from FILE or standard input: it opens\n"
          "roostctl keys use ID          the key that seals from now on\n"
          "roostctl keys remove ID       forgets a key\n\n"
          "To begin: (umask 077; roostctl keys generate > /etc/roost/gossip.keys), the same file\n"
          "on every node, named in security.keys_file. To change the key of a running cluster:\n"
          "generate one; add it on every node; use it on every node; remove the old one on every\n"
          "node. Each step also writes the node's keys file.\n",
          kCommonHelp);
    case Command::kBroadcast:
      return absl::StrCat(
          "roostctl broadcast TOPIC [TEXT]: a message to the applications at every member, and "
          "who\n"
          "has taken it. Fails if a member has not.\n\n"
          "  TOPIC            1 to 64 letters, digits, '_', '.' and '-'\n"
          "  TEXT             at most 64 KiB\n",
          kCommonHelp);
    case Command::kCerts:
      return "roostctl certs new DIR --nodes A,B,...     an authority, and a certificate per node\n"
             "roostctl certs issue DIR --nodes A,B,...   more of them, or new ones, from it\n\n"
             "  --nodes A,B,...  names, 1 to 64 letters, digits, '.', '_' and '-'\n"
             "  --days N         how long the nodes' certificates hold, 1 to 3650; default 365\n\n"
             "Makes DIR/A/ca.pem, cert.pem and key.pem for node A: copy them to it, owned by its\n"
             "user, and name them in security.tls_ca_file, tls_cert_file and tls_key_file. Keep\n"
             "DIR/ca-key.pem away from the nodes: it lets anyone in. A running node takes files "
             "that\n"
             "are replaced without a restart. Asks no node for anything.\n\n"
             "Exit code: 0 done, 1 failed, 2 wrong usage.\n";
    case Command::kSafeToStop:
      return absl::StrCat(
          "roostctl safe-to-stop [--wait]: whether the node may be stopped without losing a "
          "session\n\n"
          "  --wait           until it may, at most for --timeout\n\n"
          "For rolling restarts: wait for it on the node that is next, stop that node (SIGTERM),\n"
          "start it again, wait until it is ready, go on with the next.\n"
          "Exit code 1 and the reason if it may not.\n",
          kCommonHelp);
    case Command::kEvents:
      return absl::StrCat(
          "roostctl events: what happens to the sessions that the node owns, as it happens, until\n"
          "Ctrl-C. With --json one object per line. Exit code 1 if more happens than can be "
          "printed.\n",
          kCommonHelp);
    case Command::kVersion:
      return "roostctl version: the version of roostctl\n";
    case Command::kHelp:
      break;
  }
  return absl::StrCat(
      "roostctl: asks a Roost node about itself and its cluster\n\n"
      "  roostctl status                what the node is and how many sessions it holds\n"
      "  roostctl members [--watch]     the members as the node sees them\n"
      "  roostctl owner ID              which node owns a session\n"
      "  roostctl sessions [--owned]    sessions that the node holds\n"
      "  roostctl events                what happens to the sessions that it owns, until Ctrl-C\n"
      "  roostctl safe-to-stop [--wait] whether stopping the node now would lose a session\n"
      "  roostctl keys ACTION           gossip keys: generate, list, add, use, remove\n"
      "  roostctl broadcast TOPIC TEXT  a message to the applications at every member\n"
      "  roostctl certs ACTION          TLS certificates for the nodes: new, issue\n"
      "  roostctl version\n"
      "  roostctl COMMAND --help        more about a command\n",
      kCommonHelp);
}

}  // namespace roost::ctl

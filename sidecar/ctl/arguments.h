// What roostctl was asked to do.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "sidecar/ctl/certs.h"

namespace roost::ctl {

enum class Command {
  kHelp,
  kVersion,
  kStatus,
  kMembers,
  kOwner,
  kSessions,
  kKeys,
  kCerts,
  kBroadcast,
  kSafeToStop,
  kEvents
};

// Of `roostctl keys`.
enum class KeysAction { kNone, kGenerate, kList, kAdd, kUse, kRemove };

// Of `roostctl certs`.
enum class CertsAction { kNone, kNew, kIssue };

struct Arguments {
  Command command = Command::kHelp;
  // Of which command help is wanted; kHelp: of all.
  Command help_for = Command::kHelp;
  bool json = false;
  bool watch = false;   // members
  bool wait = false;    // safe-to-stop
  bool owned = false;   // sessions
  int64_t limit = 100;  // sessions: 1 to 100,000
  // owner: one of the two.
  std::string id;
  std::string key;
  std::string name_space;  // owner
  KeysAction keys_action = KeysAction::kNone;
  // keys: the file of `add` ("-": standard input), the key id of `use` and `remove`.
  std::string operand;
  std::string topic;    // broadcast
  std::string payload;  // broadcast
  CertsAction certs_action = CertsAction::kNone;
  CertsRequest certs;
  // "HOST:PORT" or "unix:PATH".
  std::string api = "127.0.0.1:7402";
  std::chrono::milliseconds timeout{5'000};
};

// `words` are those after the program's name, `api` the default target if it is not empty. An error
// is INVALID_ARGUMENT and says what is wrong with which word.
absl::StatusOr<Arguments> ParseArguments(const std::vector<std::string>& words,
                                         const std::string& api);

std::string HelpText(Command command);

}  // namespace roost::ctl

// SessionChecks judges a run of whole nodes: what each disk, stream and caller saw, against the
// promises in store/README.md.
//
// Every write of a client adds an attribute of its own, so a session's record says which writes it
// holds, whoever merged it. Nothing here looks into a core: disks, messages and answers only.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "membership/steady_time.h"
#include "store/core/effects.h"

namespace roost::sim {

class SessionCluster;

using membership::SteadyTime;

enum class Outcome : uint8_t { kOpen, kAcked, kUnknown, kRefused };

// Adds its attribute, or removes that of write `removes`.
struct WriteRecord {
  store::SessionKey key;
  int removes = -1;
  // A removal where the attribute had never been: there was nothing to remove.
  bool in_vain = false;
  Outcome outcome = Outcome::kOpen;
  SteadyTime started{};
  SteadyTime ended{};
  // As acknowledged.
  uint64_t version = 0;
  uint32_t copies = 0;
  // Nodes (by bit) whose disks have it, or had it until a later write replaced it; and those whose
  // disks had it at any time.
  uint64_t held_by = 0;
  uint64_t ever_held_by = 0;
  // The only node that had it stopped: until it is back, and has been merged, nobody shows it.
  bool stranded = false;
  // Disks that lost it since the last new one got it.
  uint32_t destroyed = 0;
};

struct KeyRecord {
  // Of those who made it.
  std::set<uint64_t> first_lines;
  std::vector<int> writes;
  Outcome deletion = Outcome::kRefused;  // kRefused: nobody tried.
  SteadyTime deleted{};
  uint32_t deletion_copies = 0;
  // Nodes (by bit) whose disks have it as deleted, and such disks that lost it since the last new
  // one got it.
  uint64_t tombstone_at = 0;
  uint32_t tombstones_destroyed = 0;
  // Its clocks are so short that it is gone before the end.
  bool short_lived = false;
};

class SessionChecks {
 public:
  void Watch(SessionCluster* cluster, bool trace);

  // Nodes fail one after the other, with time to mend between: no conflict excuses anything, and
  // reads show what was acknowledged before they began.
  void ExpectCalm(bool calm) { calm_ = calm; }

  // What happens.
  void OnPersist(int node, const store::Persist& batch);
  void OnWritten(int node, const store::Persist& batch);
  // What its disk has not got by now it never gets.
  void OnStop(int node);
  void OnSend(int from, int to, const store::ToReceiver& message);
  void OnSend(int from, int to, const store::ToSender& message);
  void AfterFlush(int node);
  void BeforeDataLoss();
  void AfterDataLoss();

  // The clients' histories. `removes`: a write to undo, or -1.
  int Begin(store::SessionKey key, int removes);
  void End(int write, const store::OperationResult& result);
  void EndUnknown(int write);
  void BeginDelete(store::SessionKey key);
  void EndDelete(store::SessionKey key, const store::OperationResult& result);
  // An answer to a Get that began at `started`.
  void OnRead(store::SessionKey key, SteadyTime started, const store::OperationResult& result);
  static std::string AttributeOf(int write);

  // The end. Empty if every session has one owner and the right number of equal copies.
  std::string NotConverged() const;
  // As every node answers when all is calm.
  void CheckFinalRead(int node, store::SessionKey key, const store::OperationResult& result);

  const std::map<store::SessionKey, KeyRecord>& keys() const { return keys_; }
  std::map<store::SessionKey, KeyRecord>& mutable_keys() { return keys_; }
  const std::vector<WriteRecord>& writes() const { return writes_; }

  void Sometimes(const std::string& what) { ++sometimes_[what]; }
  const std::map<std::string, uint64_t>& sometimes() const { return sometimes_; }
  void Violation(const std::string& what);
  void Note(const std::string& what);
  const std::vector<std::string>& violations() const { return violations_; }
  void Hash(uint64_t a, uint64_t b);
  uint64_t hash() const { return hash_; }

 private:
  // A line's writes are one owner's, so a version of it has one content.
  using Version = std::tuple<store::Epoch, uint64_t, uint64_t>;
  static Version VersionOf(const store::Session& session) {
    return {session.epoch, session.version, session.line};
  }
  bool MadeTwice(store::SessionKey key) const;

  void CheckFenced(int node, const store::Session& session);
  void CheckStored(int node, const store::PutSession& put);
  void OnHeld(int node, absl::string_view attribute);
  // A version that is on no disk may be written anew: any (-1), or of those that this node made and
  // its disk does not have.
  void ForgetNowhere(int writer);
  // Nodes by bit.
  uint64_t HoldersOf(size_t write) const;
  bool Journalled(store::SessionKey key, const std::string& attribute,
                  const std::string& value) const;
  void CheckWrite(int write, const store::Session* session);
  void CheckLast(store::SessionKey key, const store::Session& session);
  SteadyTime Now() const;

  SessionCluster* cluster_ = nullptr;
  bool trace_ = false;
  bool calm_ = true;
  std::vector<WriteRecord> writes_;
  std::map<store::SessionKey, KeyRecord> keys_;
  // What a version of a session contains, and who wrote it.
  struct Content {
    uint64_t hash = 0;
    int writer = -1;
  };
  std::map<store::SessionKey, std::map<Version, Content>> ledger_;
  // By node: what the last batch with the session that is not on the disk yet makes of it; null if
  // it forgets it.
  struct Pending {
    uint64_t ticket = 0;
    store::SessionPtr body;
  };
  std::map<std::pair<int, store::SessionKey>, Pending> pending_;
  std::vector<uint64_t> held_before_loss_;
  std::map<std::string, uint64_t> sometimes_;
  std::vector<std::string> violations_;
  uint64_t hash_ = 0xcbf29ce484222325u;
};

}  // namespace roost::sim

// One membership core, fed by hand, and what it wants sent and called.
#pragma once

#include <algorithm>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "membership/core/swim.h"

namespace roost::membership::testing {

using std::chrono::milliseconds;
using std::chrono::seconds;

inline Address AddressOf(uint64_t id) {
  return Address::V4(0x0a000000 + static_cast<uint32_t>(id), 7400);
}

inline Update Claim(uint64_t id, uint32_t incarnation = 0,
                    MemberState state = MemberState::kAlive) {
  Update update;
  update.member.id = NodeId{id};
  update.member.boot_epoch = 1;
  update.member.incarnation = incarnation;
  update.member.state = state;
  update.member.name = absl::StrCat("n", id);
  update.member.gossip = AddressOf(id);
  update.member.peer_port = 7400;
  return update;
}

inline Message From(uint64_t sender, MessageKind kind, std::vector<Update> updates = {}) {
  Message message;
  message.kind = kind;
  message.sender = NodeId{sender};
  message.sender_boot_epoch = 1;
  message.updates = std::move(updates);
  return message;
}

class Node {
 public:
  explicit Node(uint64_t id, bool sync_by_stream = true) : Node(OptionsOf(id, sync_by_stream)) {}
  explicit Node(const Options& options) : random_(options.id.value) {
    EXPECT_TRUE(options.Validate().ok());
    swim_ = std::make_unique<Swim>(options, random_);
    swim_->Start(now_, &out_);
    Collect();
  }

  static Options OptionsOf(uint64_t id, bool sync_by_stream = true) {
    Options options;
    options.cluster = "test";
    options.name = absl::StrCat("n", id);
    options.id = NodeId{id};
    options.boot_epoch = 1;
    options.advertise = AddressOf(id);
    options.peer_port = 7400;
    options.sync_by_stream = sync_by_stream;
    return options;
  }

  void Hear(const Message& message) {
    swim_->OnMessage(now_, AddressOf(message.sender.value), message, &out_);
    Collect();
  }
  void Know(uint64_t first, uint64_t last) {
    for (uint64_t id = first; id <= last; ++id) {
      Hear(From(id, MessageKind::kGossip, {Claim(id)}));
    }
  }
  void Run(SteadyDuration duration) {
    const SteadyTime end = now_ + duration;
    while (swim_->NextDeadline() <= end) {
      now_ = std::max(now_, swim_->NextDeadline());
      swim_->OnDeadline(now_, &out_);
      Collect();
    }
    now_ = end;
  }
  std::optional<SyncAnswer> Answer(const SyncRequest& request) {
    const auto answer = swim_->OnSyncRequest(now_, request, &out_);
    Collect();
    return answer;
  }
  // Carries this node's calls to `peer` until there are none. How many there were.
  int Exchange(Node* peer) {
    int calls = 0;
    while (!calls_.empty()) {
      const SyncCall call = calls_.front();
      calls_.erase(calls_.begin());
      ++calls;
      const auto answer = peer->Answer(call.request);
      EXPECT_TRUE(answer.has_value());
      swim_->OnSyncAnswer(now_, call.token, *answer, &out_);
      Collect();
    }
    return calls;
  }
  void Fail(SyncFailure failure) {
    ASSERT_FALSE(calls_.empty());
    const uint64_t token = calls_.front().token;
    calls_.clear();
    swim_->OnSyncFailed(now_, token, failure, &out_);
    Collect();
  }
  void SetAttributes(Attributes attributes) {
    swim_->SetAttributes(now_, std::move(attributes), &out_);
    Collect();
  }

  std::vector<Message> Sent(uint64_t to, MessageKind kind) const {
    std::vector<Message> messages;
    for (const Send& send : sends_) {
      if (send.to == AddressOf(to) && send.message.kind == kind) messages.push_back(send.message);
    }
    return messages;
  }
  const Member* Find(uint64_t id) const {
    const auto* entry = swim_->table().Find(NodeId{id});
    return entry == nullptr ? nullptr : &entry->member;
  }
  // As a node with the same table tells.
  Message DigestOf(uint64_t sender, uint64_t digest) const {
    Message message = From(sender, MessageKind::kSync);
    message.digest = digest;
    message.reply_wanted = true;
    return message;
  }
  uint64_t digest() const { return swim_->table().Digests(now_, 1)[0]; }
  Swim& swim() { return *swim_; }
  const absl::Status& fatal() const { return fatal_; }
  std::vector<SyncCall>& calls() { return calls_; }
  void Forget() { sends_.clear(); }

 private:
  void Collect() {
    sends_.insert(sends_.end(), out_.sends.begin(), out_.sends.end());
    calls_.insert(calls_.end(), out_.sync_calls.begin(), out_.sync_calls.end());
    if (out_.fatal) fatal_ = *out_.fatal;
    out_.Clear();
  }

  SteadyTime now_ = SteadyTime{} + seconds(1'000);
  std::mt19937_64 random_;
  std::unique_ptr<Swim> swim_;
  Effects out_;
  std::vector<Send> sends_;
  std::vector<SyncCall> calls_;
  absl::Status fatal_;
};

}  // namespace roost::membership::testing

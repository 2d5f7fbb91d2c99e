#include "membership/io/sync_client.h"

#include <cassert>
#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "grpcpp/client_context.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/support/channel_arguments.h"
#include "membership/io/sync_wire.h"

namespace roost::membership {
namespace {

constexpr std::chrono::seconds kCallMax{5};

std::shared_ptr<grpc::Channel> MakeChannel(
    const Address& to, const std::shared_ptr<grpc::ChannelCredentials>& credentials) {
  grpc::ChannelArguments args;
  args.SetMaxReceiveMessageSize(static_cast<int>(kSyncBytesMax));
  args.SetMaxSendMessageSize(static_cast<int>(kSyncBytesMax));
  args.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  // A compressed message would be inflated without a bound.
  args.SetInt(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0);
  args.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  args.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  return grpc::CreateCustomChannel(absl::StrCat(to.IsV4() ? "ipv4:" : "ipv6:", to.ToString()),
                                   credentials, args);
}

}  // namespace

struct SyncClient::Call {
  uint64_t token = 0;
  std::unique_ptr<gossip::v1::MemberSync::Stub> stub;
  grpc::ClientContext context;
  gossip::v1::SyncRequest request;
  gossip::v1::SyncAnswer answer;
};

SyncClient::SyncClient(std::string cluster, std::shared_ptr<grpc::ChannelCredentials> credentials,
                       Done done)
    : cluster_(std::move(cluster)), credentials_(std::move(credentials)), done_(std::move(done)) {}

SyncClient::~SyncClient() { Stop(); }

void SyncClient::Start(const SyncCall& wanted) {
  if (channel_ == nullptr || peer_ != wanted.to) {
    peer_ = wanted.to;
    channel_ = MakeChannel(peer_, credentials_);
  }
  auto call = std::make_shared<Call>();
  call->token = wanted.token;
  call->stub = gossip::v1::MemberSync::NewStub(channel_);
  // A span, not a time of day: that may be set at any moment.
  call->context.set_deadline(gpr_time_from_seconds(kCallMax.count(), GPR_TIMESPAN));
  EncodeSyncRequest(wanted.request, cluster_, &call->request);
  {
    absl::MutexLock lock(&mutex_);
    if (stopped_) return;
    assert(call_ == nullptr);
    call_ = call;
  }
  call->stub->async()->Exchange(
      &call->context, &call->request, &call->answer, [this, call](const grpc::Status& status) {
        SyncAnswer answer;
        absl::Status outcome(static_cast<absl::StatusCode>(status.error_code()),
                             status.error_message());
        if (outcome.ok()) outcome = DecodeSyncAnswer(call->answer, &answer);
        absl::MutexLock lock(&mutex_);
        call_.reset();
        if (stopped_) return;
        if (outcome.ok()) {
          done_(call->token, std::move(answer));
        } else {
          done_(call->token, std::move(outcome));
        }
      });
}

void SyncClient::Stop() {
  absl::MutexLock lock(&mutex_);
  stopped_ = true;
  if (call_ != nullptr) call_->context.TryCancel();
  // gRPC reports every call, a cancelled one at once.
  mutex_.Await(absl::Condition(
      +[](std::shared_ptr<Call>* call) { return *call == nullptr; }, &call_));
}

}  // namespace roost::membership

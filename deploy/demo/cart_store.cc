#include "deploy/demo/cart_store.h"

#include <chrono>
#include <sstream>
#include <thread>

#include "grpcpp/create_channel.h"

namespace roost::demo {
namespace {

constexpr char kCart[] = "cart";
constexpr char kSchema[] = "cart/v1";
constexpr size_t kItemsMax = 1'000;
constexpr int kAttempts = 8;
constexpr std::chrono::milliseconds kPause{50};
constexpr std::chrono::seconds kCallTimeout{4};

void SetDeadline(grpc::ClientContext* context) {
  context->set_deadline(std::chrono::system_clock::now() + kCallTimeout);
}

std::vector<std::string> Lines(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

std::string Text(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += line + '\n';
  return text;
}

}  // namespace

CartStore::CartStore(const std::string& target) {
  grpc::ChannelArguments arguments;
  // The sidecar is on this machine: when it comes back, notice soon.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1'000);
  stub_ = roost::v1::Sessions::NewStub(
      grpc::CreateCustomChannel(target, grpc::InsecureChannelCredentials(), arguments));
}

grpc::Status CartStore::Create(const std::string& id, Cart* cart) {
  roost::v1::CreateRequest request;
  request.set_id(id);
  (*request.mutable_attributes())[kCart] = "";
  (*request.mutable_schemas())[kCart] = kSchema;
  roost::v1::CreateResponse response;
  grpc::ClientContext context;
  SetDeadline(&context);
  const grpc::Status status = stub_->Create(&context, request, &response);
  if (!status.ok()) return status;
  // Who owns it is known only to the node; the answer to Load names it.
  return Load(id, cart);
}

grpc::Status CartStore::Load(const std::string& id, Cart* cart) {
  roost::v1::GetRequest request;
  request.set_id(id);
  roost::v1::GetResponse response;
  grpc::Status status;
  // UNAVAILABLE: a takeover or start-up is under way. A read may be repeated whatever happened.
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    if (attempt > 0) std::this_thread::sleep_for(kPause);
    grpc::ClientContext context;
    SetDeadline(&context);
    status = stub_->Get(&context, request, &response);
    if (status.error_code() != grpc::StatusCode::UNAVAILABLE) break;
  }
  if (!status.ok()) return status;
  const auto& attributes = response.session().attributes();
  const auto found = attributes.find(kCart);
  cart->items =
      found == attributes.end() ? std::vector<std::string>{} : Lines(found->second.value());
  cart->version = response.session().version();
  cart->owner = response.session().owner();
  return status;
}

grpc::Status CartStore::Add(const std::string& id, const std::string& item, Cart* cart) {
  grpc::Status status;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    status = Load(id, cart);
    if (!status.ok()) return status;
    if (cart->items.size() >= kItemsMax) {
      return {grpc::StatusCode::RESOURCE_EXHAUSTED, "the cart holds 1,000 items, its limit"};
    }
    cart->items.push_back(item);
    roost::v1::PutRequest request;
    request.set_id(id);
    (*request.mutable_set())[kCart] = Text(cart->items);
    (*request.mutable_schemas())[kCart] = kSchema;
    request.set_expected_version(cart->version);
    roost::v1::PutResponse response;
    grpc::ClientContext context;
    SetDeadline(&context);
    status = stub_->Put(&context, request, &response);
    // ABORTED: another request changed the cart since it was loaded, so this one did nothing.
    if (status.error_code() != grpc::StatusCode::ABORTED) break;
  }
  return status;
}

grpc::Status CartStore::Delete(const std::string& id) {
  roost::v1::DeleteRequest request;
  request.set_id(id);
  roost::v1::DeleteResponse response;
  grpc::ClientContext context;
  SetDeadline(&context);
  return stub_->Delete(&context, request, &response);
}

}  // namespace roost::demo

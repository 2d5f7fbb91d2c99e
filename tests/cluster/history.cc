#include "tests/cluster/history.h"

#include <algorithm>
#include <random>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "grpcpp/grpcpp.h"

namespace roost::testing {
namespace {

using std::chrono::milliseconds;
using Kind = sim::Call::Kind;
using Answer = sim::Call::Answer;

constexpr char kAttribute[] = "v";
constexpr char kCounter[] = "roost/int64";
// So that the sums of no two writes and additions are the same.
constexpr int64_t kValueStep = 1'000'000;
// After a node could not be reached.
constexpr milliseconds kPause{20};
constexpr size_t kStoryLines = 30;
constexpr size_t kSurprisesMax = 10;

std::unique_ptr<roost::v1::Sessions::Stub> StubOf(const std::string& target) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 200);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return roost::v1::Sessions::NewStub(
      grpc::CreateCustomChannel(target, grpc::InsecureChannelCredentials(), arguments));
}

bool Writes(Kind kind) { return kind != Kind::kGet; }

// Nothing was done: the node said so, or the call never left. Else it may have been; gRPC's own
// UNAVAILABLE, of a connection that broke, says nothing.
bool IsRefused(const grpc::Status& status) {
  if (status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED) return true;
  if (status.error_code() != grpc::StatusCode::UNAVAILABLE) return false;
  const std::string& message = status.error_message();
  return absl::StartsWith(message, "fenced: ") || message == "the owner is not known yet" ||
         absl::StrContains(message, "failed to connect");
}

// Nodes that never heard of a session claim it at once, and what one has begun goes on at another.
bool IsContest(Kind kind, const grpc::Status& status) {
  return (kind == Kind::kCreate || kind == Kind::kPutOrCreate) &&
         status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED &&
         absl::EndsWith(status.error_message(), "the session moved to another node");
}

}  // namespace

// One thread of the load.
class HistoryLoad::Worker {
 public:
  Worker(HistoryLoad* load, uint32_t seed) : load_(load), random_(seed) {
    for (const std::string& target : load->options_.targets) stubs_.push_back(StubOf(target));
  }

  void Run() {
    while (!load_->stop_) {
      const SessionPtr session = load_->Pick(random_());
      Heard heard;
      heard.call.kind = PickKind(session.get());
      heard.call.value = (heard.call.kind == Kind::kIncrement)
                             ? 1 + static_cast<int64_t>(random_() % 9)
                             : load_->next_value_.fetch_add(kValueStep);
      if (heard.call.kind == Kind::kCompareAndSet) {
        heard.call.expected = std::max<uint64_t>(1, session->last_version);
      }
      Make(session.get(), &heard);
    }
  }

 private:
  Kind PickKind(Session* session) {
    // Whoever comes first makes it, and some more try.
    if (session->calls++ < 3) return Kind::kCreate;
    const uint32_t dice = random_() % 100;
    if (dice < 50) return Kind::kGet;
    if (dice < 72) return Kind::kPut;
    if (dice < 82) return Kind::kCompareAndSet;
    if (dice < 92) return Kind::kIncrement;
    if (dice < 97) return Kind::kPutOrCreate;
    // Most live to their end.
    return random_() % 3 == 0 ? Kind::kDelete : Kind::kGet;
  }

  void Make(Session* session, Heard* heard) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + load_->options_.call_timeout);
    auto* const stub = stubs_[random_() % stubs_.size()].get();
    sim::Call& call = heard->call;
    call.invoked = load_->Now();
    const grpc::Status status = Send(stub, *session, &context, heard);
    call.returned = load_->Now();
    call.answer = AnswerOf(call.kind, status);
    heard->contested = call.answer == Answer::kUnknown && IsContest(call.kind, status);
    if (call.answer == Answer::kDone) {
      session->last_version = call.version;
    } else {
      call.version = 0;
    }
    // That there is no such session only a majority can say, too.
    if (call.answer != Answer::kRefused && call.answer != Answer::kUnknown) ++load_->answered_;
    {
      absl::MutexLock lock(&session->mutex);
      session->history.push_back(*heard);
    }
    if (status.error_code() == grpc::StatusCode::UNAVAILABLE) std::this_thread::sleep_for(kPause);
  }

  Answer AnswerOf(Kind kind, const grpc::Status& status) {
    switch (status.error_code()) {
      case grpc::StatusCode::OK:
        return Answer::kDone;
      case grpc::StatusCode::NOT_FOUND:
        return Answer::kAbsent;
      case grpc::StatusCode::ALREADY_EXISTS:
      case grpc::StatusCode::ABORTED:
        return Answer::kConflict;
      case grpc::StatusCode::UNAVAILABLE:
      case grpc::StatusCode::DEADLINE_EXCEEDED:
      case grpc::StatusCode::RESOURCE_EXHAUSTED:
      case grpc::StatusCode::CANCELLED:
        return !Writes(kind) || IsRefused(status) ? Answer::kRefused : Answer::kUnknown;
      default: {
        absl::MutexLock lock(&load_->mutex_);
        if (load_->surprises_.size() < kSurprisesMax) {
          load_->surprises_.push_back(
              absl::StrCat("answer with code ", status.error_code(), ": ", status.error_message()));
        }
        return Answer::kUnknown;
      }
    }
  }

  template <typename Request>
  void Name(const Session& session, Request* request) {
    request->set_namespace_(load_->options_.name_space);
    request->set_id(session.id);
  }

  static void Take(const roost::v1::WriteReceipt& receipt, Heard* heard) {
    heard->call.version = receipt.version();
    heard->epoch_n = receipt.epoch();
    heard->epoch_node = receipt.epoch_node();
  }

  template <typename Stub>
  grpc::Status Send(Stub* stub, const Session& session, grpc::ClientContext* context,
                    Heard* heard) {
    sim::Call& call = heard->call;
    switch (call.kind) {
      case Kind::kCreate: {
        roost::v1::CreateRequest request;
        Name(session, &request);
        (*request.mutable_attributes())[kAttribute] = absl::StrCat(call.value);
        (*request.mutable_schemas())[kAttribute] = kCounter;
        roost::v1::CreateResponse response;
        const grpc::Status status = stub->Create(context, request, &response);
        if (status.ok()) Take(response.receipt(), heard);
        return status;
      }
      case Kind::kPut:
      case Kind::kPutOrCreate:
      case Kind::kCompareAndSet: {
        roost::v1::PutRequest request;
        Name(session, &request);
        (*request.mutable_set())[kAttribute] = absl::StrCat(call.value);
        (*request.mutable_schemas())[kAttribute] = kCounter;
        request.set_create(call.kind == Kind::kPutOrCreate);
        request.set_expected_version(call.expected);
        roost::v1::PutResponse response;
        const grpc::Status status = stub->Put(context, request, &response);
        if (status.ok()) Take(response.receipt(), heard);
        return status;
      }
      case Kind::kIncrement: {
        roost::v1::IncrementRequest request;
        Name(session, &request);
        request.set_name(kAttribute);
        request.set_delta(call.value);
        roost::v1::IncrementResponse response;
        const grpc::Status status = stub->Increment(context, request, &response);
        if (status.ok()) Take(response.receipt(), heard);
        call.read = response.value();
        return status;
      }
      case Kind::kDelete: {
        roost::v1::DeleteRequest request;
        Name(session, &request);
        roost::v1::DeleteResponse response;
        const grpc::Status status = stub->Delete(context, request, &response);
        if (status.ok()) Take(response.receipt(), heard);
        return status;
      }
      case Kind::kGet:
        break;
    }
    roost::v1::GetRequest request;
    Name(session, &request);
    request.set_peek(random_() % 2 == 0);
    roost::v1::GetResponse response;
    const grpc::Status status = stub->Get(context, request, &response);
    if (!status.ok()) return status;
    call.version = response.session().version();
    heard->epoch_n = response.session().epoch();
    heard->epoch_node = response.session().epoch_node();
    const auto found = response.session().attributes().find(kAttribute);
    const bool read = found != response.session().attributes().end() &&
                      absl::SimpleAtoi(found->second.value(), &call.read);
    if (!read) call.read = -1;  // Nobody has written that.
    return status;
  }

  HistoryLoad* const load_;
  std::minstd_rand random_;
  std::vector<std::unique_ptr<roost::v1::Sessions::Stub>> stubs_;
};

HistoryLoad::HistoryLoad(Options options) : options_(std::move(options)) {
  {
    absl::MutexLock lock(&mutex_);
    current_.resize(static_cast<size_t>(options_.sessions));
  }
  for (int i = 0; i < options_.threads; ++i) {
    threads_.emplace_back([this, i] { Worker(this, static_cast<uint32_t>(i + 1)).Run(); });
  }
}

HistoryLoad::~HistoryLoad() { Stop(); }

void HistoryLoad::Stop() {
  stop_ = true;
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
}

int64_t HistoryLoad::Now() const {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now() -
                                                              start_)
      .count();
}

HistoryLoad::SessionPtr HistoryLoad::Pick(uint64_t random) {
  absl::MutexLock lock(&mutex_);
  SessionPtr& session = current_[random % current_.size()];
  if (session == nullptr || session->calls >= options_.calls_per_session) {
    if (session != nullptr) ended_.push_back(session);
    session = std::make_shared<Session>();
    session->id = absl::StrCat("history-", ++made_);
  }
  return session;
}

HistoryLoad::Report HistoryLoad::Finish() {
  Stop();
  Report report;
  absl::MutexLock lock(&mutex_);
  for (const SessionPtr& session : current_) {
    if (session != nullptr) ended_.push_back(session);
  }
  current_.clear();
  report.violations = surprises_;
  for (const SessionPtr& session : ended_) Judge(session.get(), &report);
  return report;
}

void HistoryLoad::Judge(Session* session, Report* report) {
  absl::MutexLock lock(&session->mutex);
  std::vector<Heard>& heard = session->history;
  std::sort(heard.begin(), heard.end(),
            [](const Heard& a, const Heard& b) { return a.call.invoked < b.call.invoked; });
  // Epochs as numbers: their nodes' names break ties, so by their place among them.
  std::set<std::string> nodes;
  for (const Heard& h : heard) nodes.insert(h.epoch_node);
  std::vector<sim::Call> calls;
  std::string last_node;
  bool deleted = false;
  for (Heard& h : heard) {
    if (h.epoch_n != 0) {
      const auto rank = std::distance(nodes.begin(), nodes.find(h.epoch_node));
      h.call.epoch = h.epoch_n * (nodes.size() + 1) + static_cast<uint64_t>(rank);
      if (!last_node.empty() && h.epoch_node != last_node) ++report->takeovers;
      last_node = h.epoch_node;
    }
    deleted |= h.call.kind == Kind::kDelete && h.call.answer == Answer::kDone;
    report->done += h.call.answer == Answer::kDone || h.call.answer == Answer::kAbsent ||
                    h.call.answer == Answer::kConflict;
    report->refused += h.call.answer == Answer::kRefused;
    report->unknown += h.call.answer == Answer::kUnknown;
    report->contested += h.contested;
    calls.push_back(h.call);
  }
  ++report->sessions;
  report->deleted += deleted;
  report->calls += calls.size();
  const sim::Linearization found = sim::Linearize(calls);
  if (found.verdict == sim::Verdict::kTooHard) ++report->too_hard;
  if (found.verdict != sim::Verdict::kNotLinearizable) return;
  std::string story = absl::StrCat(session->id, " can't have happened. In this order it would fit");
  const size_t from = found.order.size() - std::min(found.order.size(), kStoryLines);
  for (size_t i = from; i < found.order.size(); ++i) {
    absl::StrAppend(&story, "\n  ", sim::Describe(calls[found.order[i]]));
  }
  absl::StrAppend(&story, "\nup to\n  ", sim::Describe(calls[found.stuck]));
  report->violations.push_back(std::move(story));
}

std::string HistoryLoad::Report::ToString() const {
  return absl::StrFormat(
      "%d calls of %d sessions (%d deleted): %d done, %d refused, %d unknown (%d of them "
      "contested); %d takeovers seen; %d not decided, %d violations",
      calls, sessions, deleted, done, refused, unknown, contested, takeovers, too_hard,
      violations.size());
}

}  // namespace roost::testing

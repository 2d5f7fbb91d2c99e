#include "tests/cluster/write_load.h"

#include <iostream>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "grpcpp/grpcpp.h"

namespace roost::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;

// A try whose outcome the client never learned may be carried out late, after a later write. So
// the writes of a session go to so many attributes in turn, and the last of each must be there.
constexpr uint64_t kAttributes = 8;
constexpr seconds kCallMax{3};
// One write of so many is a Delete, and another session begins in its place.
constexpr uint64_t kDeleteEvery = 50;
constexpr seconds kReadBackMax{30};

std::string AttributeOf(uint64_t write) { return absl::StrCat("n", write % kAttributes); }

std::unique_ptr<roost::v1::Sessions::Stub> StubOf(const Node& node) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 200);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return roost::v1::Sessions::NewStub(grpc::CreateCustomChannel(
      absl::StrCat("127.0.0.1:", node.api_port()), grpc::InsecureChannelCredentials(), arguments));
}

void SetDeadline(grpc::ClientContext* context) {
  context->set_deadline(std::chrono::system_clock::now() + kCallMax);
}

}  // namespace

WriteLoad::WriteLoad(Cluster* cluster, int threads, int sessions_per_thread, double writes_per_s)
    : cluster_(cluster), writers_(threads) {
  for (int i = 0; i < threads; ++i) {
    for (int s = 0; s < sessions_per_thread; ++s) {
      writers_[i].sessions.push_back({absl::StrCat("load-", i, "-", s)});
    }
    for (int n = 0; n < cluster->size(); ++n) {
      writers_[i].stubs.push_back(StubOf(cluster->node(n)));
    }
  }
  for (int i = 0; i < threads; ++i) {
    writers_[i].thread = std::thread([this, i, rate = writes_per_s / threads] { Run(i, rate); });
  }
}

WriteLoad::~WriteLoad() {
  stop_ = true;
  for (Writer& writer : writers_) {
    if (writer.thread.joinable()) writer.thread.join();
  }
}

void WriteLoad::Run(int index, double writes_per_s) {
  Writer* const writer = &writers_[index];
  const auto interval = std::chrono::duration_cast<steady_clock::duration>(
      std::chrono::duration<double>(1) / writes_per_s);
  auto next = steady_clock::now();
  for (uint64_t turn = 0; !stop_; ++turn) {
    Session* const session = &writer->sessions[turn % writer->sessions.size()];
    // Not every session at its turn, but each once in a while.
    const bool ends = session->acknowledged > 0 &&
                      turn / writer->sessions.size() % kDeleteEvery == turn % kDeleteEvery;
    if (!ends) {
      if (Put(writer, session, turn)) ++writes_;
    } else if (Delete(writer, session, turn)) {
      ++writes_;
      writer->deleted.push_back(session->id);
      *session = {absl::StrCat("load-", index, "-after-", turn)};
    }
    // On average no more than asked for; what was missed more than a second ago is not made up for.
    next = std::max(next + interval, steady_clock::now() - milliseconds(1'000));
    std::this_thread::sleep_until(next);
  }
}

template <typename Call>
bool WriteLoad::Try(Writer* writer, uint64_t turn, Call call) {
  for (int i = 0; i < kTries; ++i) {
    grpc::ClientContext context;
    SetDeadline(&context);
    const grpc::Status status =
        call(writer->stubs[(turn + i) % writer->stubs.size()].get(), &context);
    if (status.ok()) return true;
    ++repeats_;
    std::this_thread::sleep_for(kPause);
  }
  ++failed_;
  return false;
}

bool WriteLoad::Put(Writer* writer, Session* session, uint64_t turn) {
  roost::v1::PutRequest request;
  request.set_id(session->id);
  request.set_create(true);
  ++session->tried;
  (*request.mutable_set())[AttributeOf(session->tried)] = absl::StrCat(session->tried);
  const bool done = Try(writer, turn, [&](auto* stub, grpc::ClientContext* context) {
    roost::v1::PutResponse response;
    return stub->Put(context, request, &response);
  });
  if (done) session->acknowledged = session->tried;
  return done;
}

bool WriteLoad::Delete(Writer* writer, Session* session, uint64_t turn) {
  roost::v1::DeleteRequest request;
  request.set_id(session->id);
  return Try(writer, turn, [&](auto* stub, grpc::ClientContext* context) {
    roost::v1::DeleteResponse response;
    const grpc::Status status = stub->Delete(context, request, &response);
    // Done by the try before.
    return status.error_code() == grpc::StatusCode::NOT_FOUND ? grpc::Status::OK : status;
  });
}

// Who owns the session, as each node sees it.
void WriteLoad::Explain(const Writer& writer, const std::string& id) {
  for (size_t n = 0; n < writer.stubs.size(); ++n) {
    roost::v1::ResolveRequest request;
    request.set_id(id);
    roost::v1::ResolveResponse response;
    grpc::ClientContext context;
    SetDeadline(&context);
    const grpc::Status status = writer.stubs[n]->Resolve(&context, request, &response);
    std::cout << "  node " << n << ": "
              << (status.ok() ? response.ShortDebugString() : status.error_message()) << "\n";
  }
}

std::optional<WriteLoad::Values> WriteLoad::Read(roost::v1::Sessions::Stub* stub,
                                                 const std::string& id) {
  std::optional<Values> values;
  std::string last;
  Eventually(kReadBackMax, [&] {
    roost::v1::GetRequest request;
    request.set_id(id);
    roost::v1::GetResponse response;
    grpc::ClientContext context;
    SetDeadline(&context);
    // A call that fails at once polls nothing, and without one that does no connection is made.
    context.set_wait_for_ready(true);
    const grpc::Status status = stub->Get(&context, request, &response);
    const bool none = status.error_code() == grpc::StatusCode::NOT_FOUND;
    last = status.error_message();
    if (!status.ok() && !none) return false;
    values.emplace();
    for (const auto& [name, attribute] : response.session().attributes()) {
      if (!absl::SimpleAtoi(attribute.value(), &(*values)[name])) (*values)[name] = 0;
    }
    return true;
  });
  if (!values) std::cout << id << ": " << last << "\n";
  return values;
}

bool WriteLoad::HasAll(const Session& session, const std::optional<Values>& values) {
  if (!values) return false;
  const uint64_t first =
      session.acknowledged < kAttributes ? 1 : session.acknowledged - kAttributes + 1;
  for (uint64_t write = first; write <= session.acknowledged; ++write) {
    const auto found = values->find(AttributeOf(write));
    // What was tried in vain may have been done, and then stands in the place of an earlier one.
    if (found == values->end() || found->second < write) return false;
  }
  return true;
}

WriteLoad::Report WriteLoad::Finish() {
  stop_ = true;
  for (Writer& writer : writers_) {
    if (writer.thread.joinable()) writer.thread.join();
  }
  Report report{.writes = writes_, .repeats = repeats_, .failed = failed_};
  const std::chrono::duration<double> took = steady_clock::now() - start_;
  report.writes_per_s = static_cast<double>(report.writes) / took.count();
  for (Writer& writer : writers_) {
    for (int n = 0; n < cluster_->size(); ++n) {
      if (!cluster_->node(n).running()) continue;
      for (const Session& session : writer.sessions) {
        const auto values = Read(writer.stubs[n].get(), session.id);
        if (HasAll(session, values)) continue;
        ++report.lost;
        std::cout << session.id << " at node " << n << ": " << session.acknowledged
                  << " acknowledged, " << session.tried << " tried; "
                  << (values ? "has" : "no answer");
        for (const auto& [name, value] : values.value_or(Values())) std::cout << " " << value;
        std::cout << "\n";
        Explain(writer, session.id);
      }
      for (const std::string& id : writer.deleted) {
        const auto values = Read(writer.stubs[n].get(), id);
        if (values && values->empty()) continue;
        ++report.resurrected;
        std::cout << id << " at node " << n << ": deleted; " << (values ? "is back" : "no answer")
                  << "\n";
        Explain(writer, id);
      }
    }
    report.sessions += writer.sessions.size();
    report.deleted += writer.deleted.size();
  }
  return report;
}

}  // namespace roost::testing

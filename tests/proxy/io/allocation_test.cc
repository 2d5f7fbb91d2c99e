// The proxy's own threads allocate nothing per request, once they have seen their first ones.
#include <atomic>
#include <cstdlib>
#include <new>

#include "gtest/gtest.h"
#include "tests/proxy/io/fixture.h"

namespace {

std::atomic<uint64_t> allocations{0};
// The test's threads: clients and applications, which may allocate as they like.
thread_local bool exempt = false;

void* Allocate(size_t size) {
  if (!exempt) allocations.fetch_add(1, std::memory_order_relaxed);
  void* memory = std::malloc(size);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

void* operator new(size_t size) { return Allocate(size); }
void* operator new[](size_t size) { return Allocate(size); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, size_t) noexcept { std::free(memory); }

namespace roost::proxy {
namespace {

class AllocationTest : public ProxyFixture {
 protected:
  AllocationTest() { exempt = true; }
  ~AllocationTest() override {
    server_->Stop();
    server_.reset();
    exempt = false;
  }

  // An application that answers each request with `answer`.
  static TestApp::Script Answering(std::string answer) {
    return [answer = std::move(answer)](Stream& s, int) {
      exempt = true;
      while (!s.ReadMessage().empty()) s.Send(answer);
    };
  }

  // Of the proxy's threads during 1,000 requests on one connection, after 50 others.
  uint64_t AllocationsOf(Stream client, const std::string& request, size_t answer_bytes) {
    const auto exchange = [&] {
      client.Send(request);
      return client.ReadHead().size() + client.ReadBytes(answer_bytes).size();
    };
    for (int i = 0; i < 50; ++i) EXPECT_GT(exchange(), answer_bytes);
    const uint64_t before = allocations.load();
    for (int i = 0; i < 1'000; ++i) EXPECT_GT(exchange(), answer_bytes);
    return allocations.load() - before;
  }
};

TEST_F(AllocationTest, CountsTheProxysThreads) {
  const uint64_t before = allocations.load();
  StartProxy(Answering(Ok("x")));
  Stream client = Client();
  client.Send(Get());
  client.ReadMessage();
  EXPECT_GT(allocations.load(), before) << "the first connection and request allocate";
}

TEST_F(AllocationTest, NoneWithoutSession) {
  StartProxy(Answering(Ok(std::string(1'000, 'x'))));
  EXPECT_EQ(AllocationsOf(Client(), Get(), 1'000), 0u);
}

TEST_F(AllocationTest, NoneForAnOwnedSession) {
  StartProxy(Answering(Ok("x", "Set-Cookie: other=1; Path=/\r\n")));
  store_.mutable_index().SetHeld(Key("abc"), kSelf);
  // An access is reported to the store at most once a second: one list, handed over.
  EXPECT_LE(AllocationsOf(Client(), GetAs("abc"), 1), 20u);
}

TEST_F(AllocationTest, NoneForRoutes) {
  options_.affinity.format = AffinityFormat::kRanked;
  options_.affinity.routes_by = RoutesBy::kRoost;
  options_.affinity.places = {IdPlace::kCookie, IdPlace::kPath};
  StartProxy(Answering(Ok("x")));
  SetPeer(app_->address());
  store_.mutable_index().SetHeld(Key("abc"), kSelf);
  EXPECT_LE(AllocationsOf(Client(), GetAs("abc.n1.n2; JSESSIONID=abc.n2"), 1), 20u);
}

TEST_F(AllocationTest, NoneForBodies) {
  StartProxy(Answering(Ok(std::string(100'000, 'x'))));
  const std::string request =
      absl::StrCat("POST /p HTTP/1.1\r\nHost: t\r\nContent-Length: ", 20'000, "\r\n\r\n",
                   std::string(20'000, 'b'));
  EXPECT_EQ(AllocationsOf(Client(), request, 100'000), 0u);
}

TEST_F(AllocationTest, NoneForChunks) {
  StartProxy(
      Answering("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"));
  EXPECT_EQ(AllocationsOf(Client(), Get(), 15), 0u);
}

TEST_F(AllocationTest, NoneForForwardedOnes) {
  TestApp peer(Answering(Ok(std::string(1'000, 'p'))));
  StartProxy(Answering(Ok("x")));
  SetPeer(peer.address());
  store_.mutable_index().SetLearned(Key("abc"), kPeer);
  EXPECT_EQ(AllocationsOf(Client(), GetAs("abc"), 1'000), 0u);
  EXPECT_EQ(Count(&Counters::routed_forward), 1'050u);
}

TEST_F(AllocationTest, NoneForThoseOfPeers) {
  StartProxy(Answering(Ok(std::string(1'000, 'x'))));
  store_.mutable_index().SetHeld(Key("abc"), kSelf);
  EXPECT_LE(
      AllocationsOf(PeerClient(), Get("/", "X-Roost-Hop: 1\r\nCookie: JSESSIONID=abc\r\n"), 1'000),
      20u);
}

}  // namespace
}  // namespace roost::proxy

// Visitor plays one person with a browser: fills a cart, looks at it, checks every answer, now and
// then logs out and begins again.
//
// Thread: the io_context's; all visitors share one.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <chrono>
#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "deploy/demo/http_client.h"
#include "deploy/demo/journal.h"
#include "deploy/demo/report.h"

namespace roost::demo {

using WallTime = std::chrono::system_clock::time_point;

// One TCP connection through the balancer, and whose sessions its answers belonged to.
struct Connection {
  uint16_t local_port = 0;
  std::map<std::string, uint64_t> answers_by_owner;
};

struct GoodAnswer {
  WallTime at;
  std::string owner;
};

// What all visitors write into.
struct Evidence {
  Report report;
  // In the order in which they were made.
  std::vector<Connection> connections;
  // By visitor, in order of time.
  std::vector<std::vector<GoodAnswer>> good;
};

class Visitor {
 public:
  // `evidence` outlives the visitor, and has a row in `good` for `index`.
  Visitor(int index, boost::asio::any_io_executor executor, boost::asio::ip::tcp::endpoint server,
          Evidence* evidence);

  // Until `end`, then one last look at the cart.
  boost::asio::awaitable<void> Run(std::chrono::steady_clock::time_point end);

 private:
  boost::asio::awaitable<void> AddItem();
  boost::asio::awaitable<void> ReadCart();
  boost::asio::awaitable<void> ReadPage();
  boost::asio::awaitable<void> LogOut();

  // One try, counted.
  boost::asio::awaitable<Answer> Try(boost::beast::http::verb verb, const std::string& target);
  boost::asio::awaitable<void> Pause(std::chrono::milliseconds time);
  // Compares the cart in `answer` with the journal, and takes over a new cookie.
  void Judge(const Answer& answer);
  void CountRetry(const Answer& answer);
  void CountFailure(const char* action, const std::string& reason);
  bool IsOwn(const std::vector<std::string>& cart) const;

  const int index_;
  const std::string item_prefix_;
  HttpClient client_;
  Evidence* const evidence_;
  std::mt19937 random_;
  boost::asio::any_io_executor executor_;
  Journal journal_;
  std::string cookie_;
  int items_made_ = 0;
  int requests_left_ = 0;  // On this connection.
  uint64_t seen_connections_ = 0;
  size_t connection_ = 0;  // Index in evidence_->connections.
};

}  // namespace roost::demo

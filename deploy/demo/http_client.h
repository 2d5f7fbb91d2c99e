// HttpClient is one visitor's connection: one request at a time, keep-alive, a deadline on
// everything.
//
// It tells apart what a retry may rest on: whether the request can have reached a server at all.
// Thread: the io_context's.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/verb.hpp>
#include <cstdint>
#include <optional>
#include <string>

namespace roost::demo {

struct Answer {
  // 0: no answer; `failure` says why.
  int status = 0;
  std::string failure;
  // The connection could not be made, so nothing was sent.
  bool never_sent = false;
  std::string body;
  std::string set_cookie;
  std::string node;   // X-Shop-Node
  std::string owner;  // X-Session-Owner
  // Index of the connection that carried it; see HttpClient::connections.
  uint64_t connection = 0;
};

class HttpClient {
 public:
  HttpClient(boost::asio::any_io_executor executor, boost::asio::ip::tcp::endpoint server)
      : executor_(std::move(executor)), server_(server) {}

  // Connects first if need be. Never throws.
  boost::asio::awaitable<Answer> Send(boost::beast::http::verb verb, std::string target,
                                      std::string cookie);
  void Close() { stream_.reset(); }
  // Local port of the connection that the last answer came on.
  uint16_t local_port() const { return local_port_; }
  // Counts connections made.
  uint64_t connections() const { return connections_; }

 private:
  boost::asio::awaitable<bool> Connect(Answer* answer);
  bool StillOpen();

  boost::asio::any_io_executor executor_;
  boost::asio::ip::tcp::endpoint server_;
  std::optional<boost::beast::tcp_stream> stream_;
  uint16_t local_port_ = 0;
  uint64_t connections_ = 0;
};

}  // namespace roost::demo

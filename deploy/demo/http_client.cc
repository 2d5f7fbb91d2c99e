#include "deploy/demo/http_client.h"

#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <chrono>

namespace roost::demo {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;

constexpr std::chrono::seconds kConnectTimeout{2};
constexpr std::chrono::seconds kAnswerTimeout{8};

std::string Field(const http::response<http::string_body>& response, const char* name) {
  const auto value = response[name];
  return std::string(value.data(), value.size());
}

std::string Reason(const boost::system::error_code& error) {
  if (error == beast::error::timeout) return "timeout";
  if (error == http::error::end_of_stream || error == http::error::partial_message ||
      error == asio::error::eof || error == asio::error::connection_reset ||
      error == asio::error::broken_pipe) {
    return "connection closed";
  }
  return error.message();
}

}  // namespace

asio::awaitable<bool> HttpClient::Connect(Answer* answer) {
  stream_.emplace(executor_);
  stream_->expires_after(kConnectTimeout);
  boost::system::error_code error;
  co_await stream_->async_connect(server_, asio::redirect_error(asio::use_awaitable, error));
  if (error) {
    answer->failure = "connect: " + Reason(error);
    answer->never_sent = true;
    stream_.reset();
    co_return false;
  }
  ++connections_;
  local_port_ = stream_->socket().local_endpoint(error).port();
  stream_->socket().set_option(asio::ip::tcp::no_delay(true), error);
  co_return true;
}

// A kept connection that the other side closed meanwhile must not carry a request: it would look
// lost.
bool HttpClient::StillOpen() {
  char byte;
  boost::system::error_code error;
  stream_->socket().non_blocking(true, error);
  stream_->socket().receive(asio::buffer(&byte, 1), asio::socket_base::message_peek, error);
  return error == asio::error::would_block;
}

asio::awaitable<Answer> HttpClient::Send(http::verb verb, std::string target, std::string cookie) {
  Answer answer;
  if (stream_ && !StillOpen()) stream_.reset();
  if (!stream_ && !co_await Connect(&answer)) co_return answer;
  answer.connection = connections_;

  http::request<http::empty_body> request(verb, target, 11);
  request.set(http::field::host,
              server_.address().to_string() + ":" + std::to_string(server_.port()));
  request.set(http::field::user_agent, "roost-visitors");
  if (!cookie.empty()) request.set(http::field::cookie, "theme=dark; JSESSIONID=" + cookie);
  request.prepare_payload();
  boost::system::error_code error;
  stream_->expires_after(kAnswerTimeout);
  co_await http::async_write(*stream_, request, asio::redirect_error(asio::use_awaitable, error));
  http::response<http::string_body> response;
  if (!error) {
    beast::flat_buffer buffer(1 << 20);
    co_await http::async_read(*stream_, buffer, response,
                              asio::redirect_error(asio::use_awaitable, error));
  }
  if (error) {
    answer.failure = Reason(error);
    stream_.reset();
    co_return answer;
  }
  answer.status = response.result_int();
  answer.set_cookie = Field(response, "Set-Cookie");
  answer.node = Field(response, "X-Shop-Node");
  answer.owner = Field(response, "X-Session-Owner");
  answer.body = std::move(response.body());
  if (!response.keep_alive()) stream_.reset();
  co_return answer;
}

}  // namespace roost::demo

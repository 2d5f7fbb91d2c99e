#include "sidecar/admin_server.h"

#include <atomic>
#include <cassert>
#include <optional>
#include <thread>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "boost/asio/io_context.hpp"
#include "boost/asio/ip/tcp.hpp"
#include "boost/asio/post.hpp"
#include "boost/asio/steady_timer.hpp"
#include "boost/beast/core/flat_buffer.hpp"
#include "boost/beast/core/tcp_stream.hpp"
#include "boost/beast/http.hpp"

namespace roost::sidecar {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using asio::ip::tcp;
using boost::system::error_code;

// How long accepting rests when the process has no descriptors left.
constexpr std::chrono::milliseconds kAcceptPause{100};

absl::string_view View(boost::string_view text) { return {text.data(), text.size()}; }

// "localhost", or an IP literal, each with or without port.
bool IsLocalHost(absl::string_view host) {
  const size_t colon = host.rfind(':');
  const bool bracket_last = absl::EndsWith(host, "]");
  absl::string_view name = host;
  if (colon != absl::string_view::npos && !bracket_last) {
    int port = 0;
    if (!absl::SimpleAtoi(host.substr(colon + 1), &port)) return false;
    name = host.substr(0, colon);
  }
  return absl::EqualsIgnoreCase(name, "localhost") ||
         membership::Address::Parse(absl::StrCat(name, ":1")).has_value();
}

}  // namespace

struct AdminServer::State {
  explicit State(Options o) : options(std::move(o)) {}

  const Options options;
  // The thread's. Outlives `io`, whose end destroys the connections that are left.
  size_t connections = 0;
  asio::io_context io{1};
  tcp::acceptor acceptor{io};
  asio::steady_timer accept_pause{io};
  std::thread thread;

  void Accept();
};

// One client. Kept alive by its pending operation.
class AdminServer::Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(State* state, tcp::socket socket) : state_(state), stream_(std::move(socket)) {
    ++state_->connections;
  }
  ~Connection() { --state_->connections; }

  void Read() {
    parser_.emplace();
    parser_->header_limit(static_cast<uint32_t>(state_->options.head_bytes_max));
    parser_->body_limit(uint64_t{0});
    stream_.expires_after(state_->options.timeout);
    http::async_read(
        stream_, buffer_, *parser_,
        [self = shared_from_this()](error_code error, size_t) { self->OnRead(error); });
  }

 private:
  void OnRead(error_code error) {
    if (error == http::error::end_of_stream || error == beast::error::timeout ||
        error == asio::error::operation_aborted) {
      return;
    }
    if (error == http::error::header_limit) return Refuse(431, "the head is too large\n");
    if (error == http::error::body_limit) return Refuse(413, "no body is taken\n");
    if (error) return Refuse(400, "not an HTTP request\n");
    const auto& request = parser_->get();
    keep_alive_ = request.keep_alive();
    head_only_ = request.method() == http::verb::head;
    const auto hosts = request.count(http::field::host);
    if (hosts > 1 || (hosts == 1 && !IsLocalHost(View(request[http::field::host])))) {
      return Refuse(403, "Host must be localhost or an IP address\n");
    }
    if (!head_only_ && request.method() != http::verb::get) {
      return Refuse(405, "only GET and HEAD\n");
    }
    Route(View(request.target()));
  }

  void Route(absl::string_view target) {
    const auto found = state_->options.pages.find(std::string(target.substr(0, target.find('?'))));
    if (found == state_->options.pages.end()) return Answer({404, "text/plain", "no such page\n"});
    // The page may come after the connection has gone, but not after the server: its owner stops
    // what makes pages before it destroys the server.
    stream_.expires_never();
    found->second([self = shared_from_this(), executor = stream_.get_executor()](Page page) {
      asio::post(executor,
                 [self, page = std::move(page)]() mutable { self->Answer(std::move(page)); });
    });
  }

  void Refuse(int status, std::string reason) {
    keep_alive_ = false;
    Answer({status, "text/plain", std::move(reason)});
  }

  void Answer(Page page) {
    response_ = {};
    response_.result(static_cast<unsigned>(page.status));
    response_.version(11);
    response_.set(http::field::content_type, page.content_type);
    response_.set(http::field::cache_control, "no-store");
    response_.set("X-Content-Type-Options", "nosniff");
    if (page.status == 405) response_.set(http::field::allow, "GET, HEAD");
    response_.keep_alive(keep_alive_);
    response_.content_length(page.body.size());
    if (!head_only_) response_.body() = std::move(page.body);
    stream_.expires_after(state_->options.timeout);
    http::async_write(stream_, response_, [self = shared_from_this()](error_code error, size_t) {
      if (!error && self->keep_alive_) self->Read();
    });
  }

  State* const state_;
  beast::tcp_stream stream_;
  beast::flat_buffer buffer_{16 << 10};
  std::optional<http::request_parser<http::empty_body>> parser_;
  http::response<http::string_body> response_;
  bool keep_alive_ = false;
  bool head_only_ = false;
};

void AdminServer::State::Accept() {
  acceptor.async_accept([this](error_code error, tcp::socket socket) {
    if (error == asio::error::operation_aborted) return;
    if (error) {
      accept_pause.expires_after(kAcceptPause);
      return accept_pause.async_wait([this](error_code stopped) {
        if (!stopped) Accept();
      });
    }
    if (connections < options.connections_max) {
      std::make_shared<Connection>(this, std::move(socket))->Read();
    }
    Accept();
  });
}

AdminServer::AdminServer(std::unique_ptr<State> state) : state_(std::move(state)) {}

absl::StatusOr<std::unique_ptr<AdminServer>> AdminServer::Create(Options options) {
  const membership::Address listen = options.listen;
  auto state = std::make_unique<State>(std::move(options));
  error_code error;
  const auto check = [&error, &listen](const char* what) {
    return error ? absl::UnavailableError(absl::StrCat("admin.listen: can't ", what, " ",
                                                       listen.ToString(), ": ", error.message()))
                 : absl::OkStatus();
  };
  const auto ip = asio::ip::make_address(listen.Host(), error);
  if (error) return check("use");
  const tcp::endpoint endpoint(ip, listen.port);
  state->acceptor.open(endpoint.protocol(), error);
  if (error) return check("open");
  state->acceptor.set_option(asio::socket_base::reuse_address(true), error);
  state->acceptor.bind(endpoint, error);
  if (error) return check("bind");
  state->acceptor.listen(asio::socket_base::max_listen_connections, error);
  if (error) return check("listen on");
  return std::unique_ptr<AdminServer>(new AdminServer(std::move(state)));
}

AdminServer::~AdminServer() { Stop(); }

membership::Address AdminServer::listen_address() const {
  error_code ignored;
  return state_->options.listen.WithPort(state_->acceptor.local_endpoint(ignored).port());
}

void AdminServer::Start() {
  assert(!state_->thread.joinable());
  state_->Accept();
  state_->thread = std::thread([state = state_.get()] { state->io.run(); });
}

void AdminServer::Stop() {
  state_->io.stop();
  if (state_->thread.joinable()) state_->thread.join();
}

}  // namespace roost::sidecar

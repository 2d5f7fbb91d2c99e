// The sample shop: a small web application that keeps its visitors' carts in Roost.
//
// It is written as any application might be: it makes its own session id and cookie, and knows
// nothing of other instances. Two things in it are for show: the head X-Shop-Node tells who
// answered, and it remembers in memory which visitors it has served, as applications with caches
// do, so that one can see whether visitors come back to the instance that knows them.
#include <atomic>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <cctype>
#include <cstdio>
#include <iostream>
#include <mutex>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_set>
#include <vector>

#include "deploy/demo/cart_store.h"

namespace roost::demo {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using asio::ip::tcp;
using Request = http::request<http::string_body>;
using Response = http::response<http::string_body>;

constexpr int kThreads = 64;  // Calls to Roost block; so many requests can wait for a copy at once.
constexpr int kConnectionsMax = 2'000;
constexpr size_t kVisitorsMax = 100'000;
constexpr size_t kItemBytesMax = 64;
constexpr std::chrono::seconds kIdleTimeout{30};

struct Flags {
  std::string listen = "127.0.0.1:8080";
  std::string api = "127.0.0.1:7402";
  std::string name = "shop";
};

// Which visitors this process has served. Forgets everything when full: it is a memory, not a
// store.
class Memory {
 public:
  bool Contains(const std::string& id) {
    const std::lock_guard lock(mutex_);
    return visitors_.count(id) > 0;
  }
  void Insert(const std::string& id) {
    const std::lock_guard lock(mutex_);
    if (visitors_.size() >= kVisitorsMax) visitors_.clear();
    visitors_.insert(id);
  }

 private:
  std::mutex mutex_;
  std::unordered_set<std::string> visitors_;
};

std::string NewSessionId() {
  static thread_local std::random_device random;
  char text[33];
  std::snprintf(text, sizeof(text), "%08x%08x%08x%08x", random(), random(), random(), random());
  return text;
}

// Our own ids only: what looks different is treated as no cookie.
std::string SessionIdOf(std::string_view cookies) {
  constexpr std::string_view kName = "JSESSIONID=";
  for (size_t at = 0; at < cookies.size();) {
    const size_t end = std::min(cookies.find(';', at), cookies.size());
    std::string_view pair = cookies.substr(at, end - at);
    while (!pair.empty() && pair.front() == ' ') pair.remove_prefix(1);
    if (pair.substr(0, kName.size()) == kName) {
      const std::string_view id = pair.substr(kName.size());
      const bool hex = id.find_first_not_of("0123456789abcdef") == std::string_view::npos;
      return id.size() == 32 && hex ? std::string(id) : std::string();
    }
    at = end + 1;
  }
  return {};
}

bool ValidItem(std::string_view item) {
  if (item.empty() || item.size() > kItemBytesMax) return false;
  for (const char c : item) {
    if (!std::isalnum(static_cast<unsigned char>(c)) && c != '-' && c != '_') return false;
  }
  return true;
}

class Shop {
 public:
  explicit Shop(const Flags& flags) : name_(flags.name), carts_(flags.api) {}

  Response Handle(const Request& request) {
    const std::string_view target(request.target().data(), request.target().size());
    const std::string_view path = target.substr(0, target.find('?'));
    Response response = Route(request, path, target);
    response.version(request.version());
    response.keep_alive(request.keep_alive());
    response.set("X-Shop-Node", name_);
    response.set(http::field::cache_control, "no-store");
    response.prepare_payload();
    return response;
  }

 private:
  // One request's session, loaded or made.
  struct Visit {
    std::string id;
    bool fresh = false;
    bool served_here_before = false;
    Cart cart;
  };

  Response Route(const Request& request, std::string_view path, std::string_view target) {
    const bool get = request.method() == http::verb::get;
    const bool post = request.method() == http::verb::post;
    if (get && path == "/healthz") return Answer(http::status::ok, "text/plain", "ok\n");
    if (get && path == "/") return ShowCart(request, /*json=*/false);
    if (get && path == "/cart") return ShowCart(request, /*json=*/true);
    if (post && path == "/cart/add") return AddItem(request, target);
    if (post && path == "/logout") return LogOut(request);
    return Answer(http::status::not_found, "text/plain", "no such page\n");
  }

  Response ShowCart(const Request& request, bool json) {
    Visit visit;
    if (const grpc::Status status = Begin(request, &visit); !status.ok()) return Failure(status);
    return Finish(visit, json);
  }

  Response AddItem(const Request& request, std::string_view target) {
    constexpr std::string_view kQuery = "/cart/add?item=";
    const std::string_view item =
        target.substr(0, kQuery.size()) == kQuery ? target.substr(kQuery.size()) : "";
    if (!ValidItem(item)) {
      return Answer(http::status::bad_request, "text/plain",
                    "item must be 1 to 64 letters, digits, '-' or '_'\n");
    }
    Visit visit;
    grpc::Status status = Begin(request, &visit);
    if (status.ok()) status = carts_.Add(visit.id, std::string(item), &visit.cart);
    if (!status.ok()) return Failure(status);
    return Finish(visit, /*json=*/true);
  }

  Response LogOut(const Request& request) {
    const std::string id = SessionIdOf(std::string(request[http::field::cookie]));
    if (!id.empty()) {
      if (const grpc::Status status = carts_.Delete(id); !status.ok()) return Failure(status);
    }
    Response response = Answer(http::status::ok, "text/plain", "bye\n");
    response.set(http::field::set_cookie, "JSESSIONID=; Path=/; HttpOnly; Max-Age=0");
    return response;
  }

  // Loads the visitor's session; whoever has none, or one that ended, gets a new one.
  grpc::Status Begin(const Request& request, Visit* visit) {
    visit->id = SessionIdOf(std::string(request[http::field::cookie]));
    if (!visit->id.empty()) {
      const grpc::Status status = carts_.Load(visit->id, &visit->cart);
      if (status.error_code() != grpc::StatusCode::NOT_FOUND) {
        visit->served_here_before = memory_.Contains(visit->id);
        return status;
      }
    }
    visit->id = NewSessionId();
    visit->fresh = true;
    return carts_.Create(visit->id, &visit->cart);
  }

  Response Finish(const Visit& visit, bool json) {
    memory_.Insert(visit.id);
    Response response = json ? Answer(http::status::ok, "application/json", Json(visit))
                             : Answer(http::status::ok, "text/html; charset=utf-8", Html(visit));
    // For the demo's figures: whose session this is, according to Roost.
    response.set("X-Session-Owner", visit.cart.owner);
    if (visit.fresh) {
      response.set(http::field::set_cookie, "JSESSIONID=" + visit.id + "; Path=/; HttpOnly");
    }
    return response;
  }

  std::string Json(const Visit& visit) const {
    std::string items;
    for (const std::string& item : visit.cart.items) {
      items += (items.empty() ? "\"" : ",\"") + item + "\"";
    }
    return "{\"node\":\"" + name_ + "\",\"count\":" + std::to_string(visit.cart.items.size()) +
           ",\"served_here_before\":" + (visit.served_here_before ? "true" : "false") +
           ",\"items\":[" + items + "]}\n";
  }

  std::string Html(const Visit& visit) const {
    std::string items;
    for (const std::string& item : visit.cart.items) items += "<li>" + item + "</li>\n";
    return "<!doctype html><title>Roost sample shop</title>\n<h1>Your cart</h1>\n<ul>\n" + items +
           "</ul>\n<form method=post onsubmit=\"this.action='/cart/add?item='+this.i.value\">"
           "<input id=i placeholder=apple pattern=\"[A-Za-z0-9_-]{1,64}\"><button>Add</button>"
           "</form>\n<p>Served by <b>" +
           name_ + "</b>, which has " +
           (visit.served_here_before ? "served you before" : "not served you before") +
           ". The session belongs to <b>" + visit.cart.owner + "</b>.</p>\n" +
           "<form method=post action=/logout><button>Log out</button></form>\n";
  }

  static Response Answer(http::status status, std::string_view type, std::string body) {
    Response response(status, 11);
    response.set(http::field::content_type, beast::string_view(type.data(), type.size()));
    response.body() = std::move(body);
    return response;
  }

  // 503: nothing was done, try again. 504: the write may have been done.
  static Response Failure(const grpc::Status& status) {
    const bool nothing_done = status.error_code() == grpc::StatusCode::UNAVAILABLE ||
                              status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED ||
                              status.error_code() == grpc::StatusCode::ABORTED;
    Response response =
        Answer(nothing_done ? http::status::service_unavailable : http::status::gateway_timeout,
               "text/plain",
               "session store: " + std::to_string(status.error_code()) + " " +
                   status.error_message() + "\n");
    if (nothing_done) response.set(http::field::retry_after, "1");
    return response;
  }

  const std::string name_;
  CartStore carts_;
  Memory memory_;
};

asio::awaitable<void> Serve(tcp::socket socket, Shop* shop, std::atomic<int>* connections) {
  beast::tcp_stream stream(std::move(socket));
  try {
    stream.socket().set_option(tcp::no_delay(true));
    beast::flat_buffer buffer(64 << 10);
    for (bool keep = true; keep;) {
      stream.expires_after(kIdleTimeout);
      http::request_parser<http::string_body> parser;
      parser.body_limit(16 << 10);
      co_await http::async_read(stream, buffer, parser, asio::use_awaitable);
      const Response response = shop->Handle(parser.get());
      stream.expires_after(kIdleTimeout);
      co_await http::async_write(stream, response, asio::use_awaitable);
      keep = response.keep_alive();
    }
  } catch (const boost::system::system_error&) {
    // The client went away or sent no HTTP: nothing to answer.
  }
  connections->fetch_sub(1);
}

asio::awaitable<void> Accept(tcp::acceptor acceptor, Shop* shop, std::atomic<int>* connections) {
  for (;;) {
    boost::system::error_code error;
    // Each connection on a strand of its own: its timeout and its reads never run at once.
    auto strand = asio::make_strand(acceptor.get_executor());
    tcp::socket socket =
        co_await acceptor.async_accept(strand, asio::redirect_error(asio::use_awaitable, error));
    if (error == asio::error::operation_aborted) co_return;
    if (error) continue;
    if (connections->fetch_add(1) >= kConnectionsMax) {
      connections->fetch_sub(1);
      continue;
    }
    asio::co_spawn(strand, Serve(std::move(socket), shop, connections), asio::detached);
  }
}

void PrintHelp() {
  std::cout << "usage: shop [--listen IP:PORT] [--api TARGET] [--name NAME]\n\n"
               "A sample shop that keeps its carts in Roost.\n"
               "  --listen IP:PORT  where to serve HTTP (default 127.0.0.1:8080)\n"
               "  --api TARGET      gRPC API of the sidecar beside it: HOST:PORT or unix:/path\n"
               "                    (default 127.0.0.1:7402)\n"
               "  --name NAME       told in X-Shop-Node (default shop)\n\n"
               "GET /  GET /cart  POST /cart/add?item=ITEM  POST /logout  GET /healthz\n";
}

// -1: go on; else the exit code.
int ParseFlags(int argc, char** argv, Flags* flags) {
  for (int i = 1; i < argc; ++i) {
    const std::string flag = argv[i];
    if (flag == "--help" || flag == "-h") {
      PrintHelp();
      return 0;
    }
    std::string* value = flag == "--listen" ? &flags->listen
                         : flag == "--api"  ? &flags->api
                         : flag == "--name" ? &flags->name
                                            : nullptr;
    if (value == nullptr || i + 1 == argc) {
      std::cerr << "shop: " << (value == nullptr ? "unknown option " : "no value for ") << flag
                << " (see --help)\n";
      return 2;
    }
    *value = argv[++i];
  }
  return -1;
}

tcp::endpoint ParseEndpoint(const std::string& text) {
  const size_t colon = text.rfind(':');
  if (colon == std::string::npos) throw std::invalid_argument("--listen must be IP:PORT");
  const unsigned long port = std::stoul(text.substr(colon + 1));
  if (port > 65'535) throw std::invalid_argument("--listen: the port is over 65535");
  return {asio::ip::make_address(text.substr(0, colon)), static_cast<uint16_t>(port)};
}

int Run(const Flags& flags) {
  Shop shop(flags);
  std::atomic<int> connections{0};
  asio::io_context context(kThreads);
  tcp::acceptor acceptor(context, ParseEndpoint(flags.listen));
  std::cerr << "shop " << flags.name << " listens on " << acceptor.local_endpoint() << "\n";
  asio::signal_set signals(context, SIGINT, SIGTERM);
  signals.async_wait([&context](const boost::system::error_code&, int) { context.stop(); });
  asio::co_spawn(context, Accept(std::move(acceptor), &shop, &connections), asio::detached);
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) threads.emplace_back([&context] { context.run(); });
  for (std::thread& thread : threads) thread.join();
  return 0;
}

}  // namespace
}  // namespace roost::demo

int main(int argc, char** argv) {
  roost::demo::Flags flags;
  if (const int code = roost::demo::ParseFlags(argc, argv, &flags); code >= 0) return code;
  try {
    return roost::demo::Run(flags);
  } catch (const std::exception& error) {
    std::cerr << "shop: " << flags.listen << ": " << error.what() << "\n";
    return 1;
  }
}

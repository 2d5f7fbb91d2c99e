#include "deploy/demo/visitor.h"

#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace roost::demo {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using std::chrono::milliseconds;

constexpr int kTries = 40;
constexpr milliseconds kRetryPause{100};
constexpr int kThinkMs = 150;  // Plus up to twice as much again.
constexpr int kRequestsPerConnection = 4;
constexpr size_t kItemsPerCart = 60;

std::string ReasonOf(const Answer& answer) {
  return answer.status == 0 ? answer.failure : absl::StrCat("answered ", answer.status);
}

// The value of JSESSIONID in a Set-Cookie field.
std::string CookieOf(absl::string_view set_cookie) {
  constexpr absl::string_view kName = "JSESSIONID=";
  if (!absl::StartsWith(set_cookie, kName)) return {};
  set_cookie.remove_prefix(kName.size());
  return std::string(set_cookie.substr(0, set_cookie.find(';')));
}

}  // namespace

Visitor::Visitor(int index, asio::any_io_executor executor, asio::ip::tcp::endpoint server,
                 Evidence* evidence)
    : index_(index),
      item_prefix_(absl::StrCat("v", index, "-")),
      client_(executor, server),
      evidence_(evidence),
      random_(index),
      executor_(executor) {}

asio::awaitable<void> Visitor::Run(std::chrono::steady_clock::time_point end) {
  co_await Pause(milliseconds(random_() % (2 * kThinkMs)));  // Not all at the same moment.
  while (std::chrono::steady_clock::now() < end) {
    const int choice = random_() % 10;
    if (journal_.size() >= kItemsPerCart) {
      co_await LogOut();
    } else if (choice < 5) {
      co_await AddItem();
    } else if (choice < 9) {
      co_await ReadCart();
    } else {
      co_await ReadPage();
    }
    co_await Pause(milliseconds(kThinkMs + random_() % (2 * kThinkMs)));
  }
  co_await ReadCart();
  client_.Close();
}

asio::awaitable<void> Visitor::Pause(milliseconds time) {
  asio::steady_timer timer(executor_, time);
  co_await timer.async_wait(asio::use_awaitable);
}

asio::awaitable<Answer> Visitor::Try(http::verb verb, const std::string& target) {
  // A new connection every few requests, so that the balancer throws the dice again.
  if (requests_left_ == 0) {
    client_.Close();
    requests_left_ = 1 + random_() % kRequestsPerConnection;
  }
  --requests_left_;
  Answer answer = co_await client_.Send(verb, target, cookie_);
  if (client_.connections() != seen_connections_) {
    seen_connections_ = client_.connections();
    connection_ = evidence_->connections.size();
    evidence_->connections.push_back({client_.local_port(), {}});
  }
  Report& report = evidence_->report;
  if (answer.status != 0) ++report.requests;
  if (answer.status != 200) co_return answer;
  evidence_->good[index_].push_back({std::chrono::system_clock::now(), answer.owner});
  if (!answer.owner.empty()) {
    ++evidence_->connections[connection_].answers_by_owner[answer.owner];
    ++(answer.owner == answer.node ? report.answered_by_owner : report.answered_by_other);
  }
  co_return answer;
}

asio::awaitable<void> Visitor::AddItem() {
  const std::string item = absl::StrCat(item_prefix_, ++items_made_);
  for (int i = 0; i < kTries; ++i) {
    journal_.OnSent(item);
    const Answer answer = co_await Try(http::verb::post, absl::StrCat("/cart/add?item=", item));
    if (answer.status == 200) {
      journal_.OnAcknowledged(item);
      Judge(answer);
      co_return;
    }
    if (answer.never_sent) journal_.OnRefused(item);
    // 503 says that nothing was done; what was cut off may have been done and must not be repeated.
    if (!answer.never_sent && answer.status != 503) {
      CountFailure("add", ReasonOf(answer));
      co_return;
    }
    CountRetry(answer);
    co_await Pause(kRetryPause);
  }
  CountFailure("add", "given up after 40 tries");
}

asio::awaitable<void> Visitor::ReadCart() {
  for (int i = 0; i < kTries; ++i) {
    const Answer answer = co_await Try(http::verb::get, "/cart");
    if (answer.status == 200) {
      Judge(answer);
      co_return;
    }
    CountRetry(answer);
    co_await Pause(kRetryPause);
  }
  CountFailure("read", "given up after 40 tries");
}

asio::awaitable<void> Visitor::ReadPage() {
  if (cookie_.empty()) co_return;
  const Answer answer = co_await Try(http::verb::get, "/");
  if (answer.status != 200) {
    CountRetry(answer);
    co_await ReadCart();
  } else if (!answer.set_cookie.empty()) {
    // A new session although this visitor has one: the cart behind the page is gone.
    if (journal_.acknowledged() > 0) ++evidence_->report.lost_carts;
    cookie_ = CookieOf(answer.set_cookie);
    journal_.Restart({});
  }
}

asio::awaitable<void> Visitor::LogOut() {
  const Answer answer = co_await Try(http::verb::post, "/logout");
  if (answer.status == 503 || answer.never_sent) {
    CountRetry(answer);
    co_return;  // Logs out next time.
  }
  journal_.Restart({});
  if (answer.status != 200) {
    CountFailure("log out", ReasonOf(answer));
    cookie_.clear();
    co_return;
  }
  // The old cookie must not bring the old cart back; Judge would find its items wrong.
  co_await ReadCart();
}

void Visitor::Judge(const Answer& answer) {
  Report& report = evidence_->report;
  std::vector<std::string> cart;
  if (!ParseItems(answer.body, &cart)) {
    ++report.wrong_carts;
    return;
  }
  ++report.carts_checked;
  if (absl::StrContains(answer.body, "\"served_here_before\":true")) ++report.served_before;
  if (!answer.set_cookie.empty()) {
    cookie_ = CookieOf(answer.set_cookie);
    // The node that made the session owns it: to go on with this connection would always be at
    // home.
    requests_left_ = 0;
  }
  const Verdict verdict = journal_.Check(cart);
  if (verdict == Verdict::kRight) return;
  ++(verdict == Verdict::kWrong ? report.wrong_carts : report.lost_carts);
  journal_.Restart(IsOwn(cart) ? cart : std::vector<std::string>{});
}

bool Visitor::IsOwn(const std::vector<std::string>& cart) const {
  for (const std::string& item : cart) {
    if (!absl::StartsWith(item, item_prefix_)) return false;
  }
  return true;
}

void Visitor::CountRetry(const Answer& answer) { ++evidence_->report.retried[ReasonOf(answer)]; }

void Visitor::CountFailure(const char* action, const std::string& reason) {
  ++evidence_->report.failed[absl::StrCat(action, ": ", reason)];
}

}  // namespace roost::demo

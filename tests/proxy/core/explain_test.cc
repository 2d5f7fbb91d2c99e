#include "proxy/core/explain.h"

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace roost::proxy {
namespace {

using membership::NodeId;

class ExplainTest : public ::testing::Test {
 protected:
  ExplainTest() {
    options_.affinity.format = AffinityFormat::kIdRoute;
    options_.affinity.places = {IdPlace::kCookie, IdPlace::kPath};
    std::vector<membership::Member> members(2);
    for (size_t i = 0; i < members.size(); ++i) {
      members[i].id = NodeId{i + 1};
      members[i].name = absl::StrCat("n", i + 1);
    }
    view_ = std::make_unique<membership::View>(1, NodeId{1}, members);
  }

  absl::StatusOr<Explanation> Ask(absl::string_view fields, absl::string_view target = "/") {
    const Affinity affinity(options_);
    return Explain(absl::StrCat("GET ", target, " HTTP/1.1\r\nHost: a\r\n", fields, "\r\n"),
                   {.affinity = affinity,
                    .scan_limits = limits_,
                    .index = index_,
                    .view = *view_,
                    .name_space = options_.name_space,
                    .mode = options_.mode,
                    .unknown_session = options_.grace.unknown_session,
                    .app_up = app_up_});
  }
  store::SessionKey Key(absl::string_view id) {
    return store::MakeSessionKey(options_.name_space, id, options_.mode);
  }
  // "rule: outcome" of every step, and the verdict.
  std::string Said(absl::string_view fields, absl::string_view target = "/") {
    const auto explanation = Ask(fields, target);
    if (!explanation.ok()) return std::string(explanation.status().message());
    std::string said;
    for (const ExplainStep& step : explanation->steps) {
      absl::StrAppend(&said, step.rule, ": ", step.outcome, "\n");
    }
    return absl::StrCat(said, explanation->action, " ", explanation->node);
  }

  Options options_;
  ScanLimits limits_;
  store::OwnershipIndex index_;
  bool app_up_ = true;
  std::unique_ptr<membership::View> view_;
};

TEST_F(ExplainTest, SaysThatAFencedSessionsLeasesAreAskedFor) {
  options_.mode = store::Mode::kFenced;
  index_.SetHeld(Key("abc"), NodeId{1});
  EXPECT_EQ(Said("Cookie: JSESSIONID=abc\r\n"),
            absl::StrCat("id: 1 id, the first in the cookie\nsession: ", Key("abc").ToHex(),
                         " is held here and owned by n1\ndecision: the application here, if this "
                         "node has leases of a majority then\nlocal n1"));
}

TEST_F(ExplainTest, SaysWhatIsReadAndWhoIsAsked) {
  index_.SetLearned(Key("abc"), NodeId{2});
  EXPECT_EQ(Said("Cookie: JSESSIONID=abc.n1\r\n"),
            absl::StrCat("id: 1 id, the first in the cookie\n"
                         "route: names n1, a live member; heeded if nobody knows the session\n"
                         "session: ",
                         Key("abc").ToHex(),
                         " was learned to be owned by n2\n"
                         "decision: forward to n2\n"
                         "forward n2"));
  EXPECT_EQ(Said(""),
            "id: none: a request without a session\ndecision: the application here\n"
            "local n1");
}

TEST_F(ExplainTest, UnknownSessionsAreHeldAndTheirRouteMayCount) {
  EXPECT_EQ(Said("", "/x;jsessionid=abc.n2"),
            absl::StrCat("id: 1 id, the first in the path\n"
                         "route: names n2, a live member; heeded if nobody knows the session\n"
                         "session: ",
                         Key("abc").ToHex(),
                         " is not known here\n"
                         "decision: hold, while the members that may know it are asked\n"
                         "if nobody knows it: forward to n2\n"
                         "hold "));
  options_.grace.unknown_session = UnknownSession::kUnavailable;
  EXPECT_NE(Said("Cookie: JSESSIONID=abc.n9\r\n").find("route: names no live member; not heeded"),
            std::string::npos);
  EXPECT_NE(Said("Cookie: JSESSIONID=abc\r\n").find("if nobody knows it: 503"), std::string::npos);
}

TEST_F(ExplainTest, TheFirstKnownOfSeveralIdsCounts) {
  index_.SetHeld(Key("b"), NodeId{1});
  const std::string said = Said("Cookie: JSESSIONID=a; JSESSIONID=b\r\n", "/;jsessionid=c");
  EXPECT_NE(said.find("id: 3 ids, the first in the cookie; other places name another"),
            std::string::npos)
      << said;
  EXPECT_NE(said.find("local n1"), std::string::npos) << said;
}

TEST_F(ExplainTest, SaysThatAnotherStandsIn) {
  app_up_ = false;
  index_.SetHeld(Key("a"), NodeId{1});
  EXPECT_NE(
      Said("Cookie: JSESSIONID=a\r\n").find("application: the one that should answer is down"),
      std::string::npos);
}

TEST_F(ExplainTest, WhatTheProxyRefusesIsNotExplained) {
  EXPECT_NE(Said("Content-Length: x\r\n").find("would be refused with 400"), std::string::npos);
  EXPECT_FALSE(Ask("", "/ /").ok());
}

TEST_F(ExplainTest, NoIdIsShown) {
  EXPECT_EQ(Said("Cookie: JSESSIONID=topsecret.n1\r\n").find("topsecret"), std::string::npos);
}

}  // namespace
}  // namespace roost::proxy

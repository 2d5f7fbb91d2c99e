#include "proxy/core/affinity.h"

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "gtest/gtest.h"
#include "proxy/core/head_scanner.h"

namespace roost::proxy {
namespace {

using membership::NodeId;

constexpr int64_t kNow = 1'700'000'000;
constexpr store::SessionKey kKey{1, 2};

class AffinityTest : public ::testing::Test {
 protected:
  AffinityTest() { options_.cookie = "SID"; }

  AffinityOptions& options() { return options_.affinity; }

  // What a request with this target and these fields says.
  const RequestAffinity& Read(absl::string_view fields, absl::string_view target = "/") {
    request_text_ = absl::StrCat("GET ", target, " HTTP/1.1\r\nHost: a\r\n", fields, "\r\n");
    EXPECT_EQ(RequestScanner(ScanLimits{}).Scan(request_text_, &request_head_),
              ScanStatus::kComplete);
    EXPECT_TRUE(options().Validate().ok()) << options().Validate();
    Affinity(options_).Read(request_head_, &request_);
    return request_;
  }
  std::string Ids(absl::string_view fields, absl::string_view target = "/") {
    Read(fields, target);
    std::vector<absl::string_view> ids;
    for (size_t i = 0; i < request_.count(); ++i) ids.push_back(request_.id(i));
    return absl::StrJoin(ids, " ");
  }
  std::string Routes(absl::string_view fields) { return std::string(Read(fields).routes()); }
  std::string AsSeenByApp() {
    HeadEdits edits;
    Affinity(options_).HideRoutes(request_, &edits);
    std::string out;
    RequestHop hop;
    hop.client_ip = "192.0.2.1";
    hop.edits = &edits;
    AppendRequestHead(request_head_, hop, &out);
    const size_t cookie = out.find("Cookie: ");
    return out.substr(cookie, out.find("\r\n", cookie) - cookie);
  }

  const ResponseAffinity& ReadResponse(absl::string_view fields, int status = 200) {
    response_text_ = absl::StrCat("HTTP/1.1 ", status, " OK\r\n", fields, "\r\n");
    EXPECT_EQ(ResponseScanner(ScanLimits{}).Scan(response_text_, {}, &response_head_),
              ScanStatus::kComplete);
    response_.Clear();
    const Affinity affinity(options_);
    if (affinity.MaySetId(response_head_)) affinity.Read(response_head_, kNow, &response_);
    return response_;
  }
  std::string Change(absl::string_view fields, int status = 200) {
    ReadResponse(fields, status);
    return response_.change == IdChange::kNone      ? "none"
           : response_.change == IdChange::kCleared ? "cleared"
                                                    : absl::StrCat("set ", response_.id);
  }
  // The fields of the response as the visitor gets them.
  std::string AsSeenByVisitor(bool owned_here = true) {
    HeadEdits edits;
    moved_ =
        Affinity(options_).WriteRoutes({request_, response_, kKey, owned_here}, *view_, &edits);
    std::string out;
    AppendResponseHead(response_head_, {.edits = &edits}, &out);
    const std::string fields = out.substr(out.find("\r\n") + 2);
    return absl::StrReplaceAll(fields, {{"Transfer-Encoding: chunked\r\n", ""}});
  }

  static membership::ViewPtr MakeView() {
    std::vector<membership::Member> members;
    for (uint64_t i = 1; i <= 3; ++i) {
      membership::Member member;
      member.id = NodeId{i};
      member.name = absl::StrCat("n", i);
      member.state = i == 3 ? membership::MemberState::kDead : membership::MemberState::kAlive;
      members.push_back(member);
    }
    return std::make_shared<membership::View>(1, NodeId{1}, members);
  }

  Options options_;
  membership::ViewPtr view_ = MakeView();
  std::string request_text_, response_text_;
  RequestHead request_head_;
  RequestAffinity request_;
  ResponseHead response_head_;
  ResponseAffinity response_;
  bool moved_ = false;
};

TEST_F(AffinityTest, CookieIsTheIdAndDotsStayInIt) {
  EXPECT_EQ(Ids("Cookie: SID=abc.n1\r\n"), "abc.n1");
  EXPECT_EQ(Ids("Cookie: SID=\"x\"; SID=; SID=y; SID=x\r\n"), "x y");
  EXPECT_EQ(Ids("Cookie: SID2=x\r\n", "/a;jsessionid=b?SID=c"), "");
}

TEST_F(AffinityTest, NumberAndLengthOfIdsAreBounded) {
  std::string many = "Cookie: ";
  for (int i = 0; i < 20; ++i) absl::StrAppend(&many, "SID=", i, "; ");
  EXPECT_EQ(Read(many + "\r\n").count(), kSessionIdsMax);
  EXPECT_EQ(Ids("Cookie: SID=" + std::string(1'025, 'x') + "; SID=y\r\n"), "y");
  EXPECT_EQ(Ids("Cookie: SID=" + std::string(1'024, 'x') + "\r\n").size(), 1'024u);
}

TEST_F(AffinityTest, OneRouteFollowsTheId) {
  options().format = AffinityFormat::kIdRoute;
  EXPECT_EQ(Ids("Cookie: SID=abc.n1\r\n"), "abc");
  EXPECT_EQ(request_.routes(), "n1");
  EXPECT_EQ(Ids("Cookie: SID=\"abc.n1\"; SID=abc.n2; SID=d\r\n"), "abc d");
  EXPECT_EQ(Ids("Cookie: SID=abc\r\n"), "abc");
  EXPECT_TRUE(request_.bare());
  options().delimiter = '!';
  EXPECT_EQ(Ids("Cookie: SID=a.b!n1\r\n"), "a.b");
}

TEST_F(AffinityTest, DotsThatAreNoRoutesStayInTheId) {
  options().format = AffinityFormat::kIdRoute;
  for (const std::string id : {"a.b.c", "eyJh.eyJz.c2ln", "s%3Aid.sig%2Fx", "abc.", ".n1",
                               "abc.n1=", "abc.n 1", "a.n1@evil", "a.10.0.0.1:80"}) {
    EXPECT_EQ(Ids("Cookie: SID=" + id + "\r\n"), id);
    EXPECT_EQ(request_.routes(), "") << id;
  }
  EXPECT_EQ(Ids("Cookie: SID=a." + std::string(65, 'n') + "\r\n").size(), 67u);
}

TEST_F(AffinityTest, RankedRoutesFollowTheId) {
  options().format = AffinityFormat::kRanked;
  EXPECT_EQ(Ids("Cookie: SID=abc.n1.n2.n3\r\n"), "abc");
  EXPECT_EQ(request_.routes(), "n1.n2.n3");
  EXPECT_EQ(Ids("Cookie: SID=abc.n1\r\n"), "abc");
  EXPECT_EQ(Ids("Cookie: SID=abc.n1..n3\r\n"), "abc.n1..n3");
  EXPECT_EQ(Read("Cookie: SID=a.1.2.3.4.5.6.7.8.9.10.11.12.13.14.15.16.17\r\n").routes(), "");
}

TEST_F(AffinityTest, RouteCookieIsAHintAndNeverAnId) {
  options().format = AffinityFormat::kRouteCookie;
  EXPECT_EQ(Ids("Cookie: ROUTEID=.n2\r\n"), "");
  EXPECT_EQ(request_.routes(), "n2");
  EXPECT_EQ(Ids("Cookie: ROUTEID=x.n2; SID=abc.n1\r\n"), "abc.n1");
  EXPECT_EQ(request_.routes(), "n2");
  EXPECT_EQ(Routes("Cookie: ROUTEID=n2; ROUTEID=.a/b; ROUTEID=.\r\n"), "");
}

TEST_F(AffinityTest, HintIsTheFirstLiveMember) {
  options().format = AffinityFormat::kRanked;
  const auto hint = [&](absl::string_view cookie) {
    return Affinity(options_).Hint(Read(absl::StrCat("Cookie: SID=", cookie, "\r\n")), *view_);
  };
  EXPECT_EQ(hint("abc.n2.n1"), NodeId{2});
  EXPECT_EQ(hint("abc.n3.n2"), NodeId{2});
  EXPECT_EQ(hint("abc.n3"), NodeId{});
  EXPECT_EQ(hint("abc.stranger.N2"), NodeId{});
  EXPECT_EQ(hint("abc"), NodeId{});
}

TEST_F(AffinityTest, SignedAndEncodedIdsAreTheApplications) {
  options().form = IdForm::kSigned;
  EXPECT_EQ(Ids("Cookie: SID=s%3AabC_-9.sig%2Fna%2Bture\r\n"), "abC_-9");
  EXPECT_EQ(Ids("Cookie: SID=s:a.b.sig\r\n"), "a.b");
  EXPECT_EQ(Ids("Cookie: SID=s%3Aa%40b%2.sig\r\n"), "a@b%2");
  EXPECT_EQ(Ids("Cookie: SID=s%3A.sig; SID=s%3Aabc; SID=x.y\r\n"), "s:.sig s:abc x.y");
  EXPECT_EQ(Change("Set-Cookie: SID=s%3Aa%40b.sig; Path=/\r\n"), "set a@b");
  options().form = IdForm::kBase64;
  EXPECT_EQ(Ids("Cookie: SID=YWJj; SID=YWJjZA==; SID=YWJjZGU\r\n"), "abc abcd abcde");
  EXPECT_EQ(Ids("Cookie: SID=A; SID=!!; SID=AAAA\r\n"), "A !! AAAA");
  EXPECT_EQ(Change("Set-Cookie: SID=YWJj\r\n"), "set abc");
}

TEST_F(AffinityTest, DecodedIdsDoNotDisturbEachOther) {
  options().form = IdForm::kBase64;
  std::string cookies = "Cookie: ";
  std::string expected;
  for (int i = 0; i < 8; ++i) {
    const std::string id(99, static_cast<char>('A' + i));
    const char* digits[] = {"QUFB", "QkJC", "Q0ND", "RERE", "RUVF", "RkZG", "R0dH", "SEhI"};
    std::string encoded;
    for (int n = 0; n < 33; ++n) encoded += digits[i];
    absl::StrAppend(&cookies, "SID=", encoded, "; ");
    // There is room for five; the others stay as they are, on every node.
    absl::StrAppend(&expected, i > 0 ? " " : "", i < 5 ? id : encoded);
  }
  EXPECT_EQ(Ids(cookies + "\r\n"), expected);
}

TEST_F(AffinityTest, FindsIdsInPathQueryAndField) {
  options().places = {IdPlace::kPath, IdPlace::kQuery, IdPlace::kHeader};
  options().query_parameter = "sid";
  options().header = "Mcp-Session-Id";
  EXPECT_EQ(Ids("Cookie: SID=x\r\n", "/a;jsessionid=p1;v=2/b;jsessionid=p2?x=;jsessionid=no"),
            "p1 p2");
  EXPECT_EQ(Ids("", "/a;xjsessionid=1/jsessionid=2;JSESSIONID=3"), "");
  EXPECT_EQ(Ids("", "/a?EIO=4&sid=q1&asid=2&sid=&t=sid=3"), "q1");
  EXPECT_EQ(Ids("mcp-session-id: h1\r\n"), "h1");
  EXPECT_EQ(request_.place(), IdPlace::kHeader);
}

TEST_F(AffinityTest, PlacesGoByPrecedenceAndConflictsShow) {
  options().places = {IdPlace::kCookie, IdPlace::kPath};
  EXPECT_EQ(Ids("Cookie: SID=c\r\n", "/;jsessionid=p"), "c p");
  EXPECT_TRUE(request_.conflict());
  EXPECT_EQ(Ids("Cookie: SID=c\r\n", "/;jsessionid=c"), "c");
  EXPECT_FALSE(request_.conflict());
  options().places = {IdPlace::kPath, IdPlace::kCookie};
  EXPECT_EQ(Ids("Cookie: SID=c; SID=d\r\n", "/;jsessionid=p"), "p c d");
}

TEST_F(AffinityTest, LearnsFromTheLastCookieThatStands) {
  EXPECT_EQ(Change(""), "none");
  EXPECT_EQ(Change("Set-Cookie: SID=x\r\nSet-Cookie: a=b\r\n"), "set x");
  EXPECT_EQ(Change("Set-Cookie: SID=x\r\nSet-Cookie: SID=y\r\n"), "set y");
  EXPECT_EQ(Change("Set-Cookie: SID=x; Path=/\r\nSet-Cookie: SID=; Path=/\r\n"), "cleared");
  EXPECT_EQ(Change("Set-Cookie: SID=; Path=/\r\nSet-Cookie: SID=x; Path=/\r\n"), "set x");
  // Cleaning up after an older version of the application.
  EXPECT_EQ(Change("Set-Cookie: SID=x; Path=/\r\nSet-Cookie: SID=; Path=/old\r\n"), "set x");
  EXPECT_EQ(Change("Set-Cookie: SID=" + std::string(1'025, 'x') + "\r\n"), "none");
}

TEST_F(AffinityTest, LearnsFromFieldsAndRedirections) {
  EXPECT_EQ(Change("Mcp-Session-Id: h\r\nLocation: /;jsessionid=p\r\n", 302), "none");
  options().places = {IdPlace::kHeader, IdPlace::kPath};
  options().header = "Mcp-Session-Id";
  options().format = AffinityFormat::kIdRoute;
  EXPECT_EQ(Change("Set-Cookie: SID=x\r\nMCP-Session-ID: h\r\n"), "set h");
  EXPECT_EQ(Change("Location: http://a/b;jsessionid=p.n1?x\r\n", 302), "set p");
  EXPECT_EQ(Change("Location: http://a/b;jsessionid=p.n1?x\r\n", 201), "none");
}

TEST_F(AffinityTest, ApplicationsThatWriteRoutesAreLeftAlone) {
  options().format = AffinityFormat::kIdRoute;
  Read("Cookie: SID=abc.n2\r\n");
  EXPECT_EQ(AsSeenByApp(), "Cookie: SID=abc.n2");
  ReadResponse("Set-Cookie: SID=abc.n1\r\n");
  EXPECT_EQ(AsSeenByVisitor(), "Set-Cookie: SID=abc.n1\r\n\r\n");
}

TEST_F(AffinityTest, RoutesAreWrittenIntoTheApplicationsCookies) {
  options().format = AffinityFormat::kIdRoute;
  options().routes_by = RoutesBy::kRoost;
  Read("");
  ReadResponse("A: b\r\nSet-Cookie: SID=\"abc\"; Path=/a\r\nC: d\r\n");
  EXPECT_EQ(AsSeenByVisitor(), "A: b\r\nSet-Cookie: SID=\"abc.n1\"; Path=/a\r\nC: d\r\n\r\n");
  ReadResponse("Set-Cookie: SID=abc.old; Path=/a\r\n");
  EXPECT_EQ(AsSeenByVisitor(), "Set-Cookie: SID=abc.n1; Path=/a\r\n\r\n");
  EXPECT_FALSE(moved_);
  EXPECT_EQ(AsSeenByVisitor(false), "Set-Cookie: SID=abc.old; Path=/a\r\n\r\n");
}

TEST_F(AffinityTest, IdsWithTheDelimiterInThemAreLeftAlone) {
  options().format = AffinityFormat::kIdRoute;
  options().routes_by = RoutesBy::kRoost;
  Read("Cookie: SID=a.b.c\r\n");
  EXPECT_EQ(AsSeenByApp(), "Cookie: SID=a.b.c");
  ReadResponse("Set-Cookie: SID=a.b.c\r\n");
  EXPECT_EQ(AsSeenByVisitor(), "Set-Cookie: SID=a.b.c\r\n\r\n");
  ReadResponse("");
  EXPECT_EQ(AsSeenByVisitor(), "\r\n");
}

TEST_F(AffinityTest, WrittenRoutesAreHiddenFromTheApplication) {
  options().format = AffinityFormat::kRanked;
  options().routes_by = RoutesBy::kRoost;
  Read("Cookie: a=b; SID=\"abc.n1.n2\"; SID=abc.n2; SID=d.e=f; c=d.n1\r\n");
  EXPECT_EQ(AsSeenByApp(), "Cookie: a=b; SID=\"abc\"; SID=abc; SID=d.e=f; c=d.n1");
}

TEST_F(AffinityTest, VisitorsAreToldWhereTheirSessionMoved) {
  options().format = AffinityFormat::kIdRoute;
  options().routes_by = RoutesBy::kRoost;
  options().cookie_attributes = "Path=/app";
  ReadResponse("A: b\r\n");
  Read("Cookie: SID=abc.n2\r\n");
  EXPECT_EQ(AsSeenByVisitor(), "A: b\r\nSet-Cookie: SID=abc.n1; Path=/app\r\n\r\n");
  EXPECT_TRUE(moved_);
  EXPECT_EQ(AsSeenByVisitor(false), "A: b\r\n\r\n");
  Read("Cookie: SID=abc\r\n");
  EXPECT_EQ(AsSeenByVisitor(), "A: b\r\nSet-Cookie: SID=abc.n1; Path=/app\r\n\r\n");
  EXPECT_FALSE(moved_);
  Read("Cookie: SID=abc.n1\r\n");
  EXPECT_EQ(AsSeenByVisitor(), "A: b\r\n\r\n");
  Read("Cookie: SID=abc.n2\r\n");
  ReadResponse("Set-Cookie: SID=; Max-Age=0\r\n");
  EXPECT_EQ(AsSeenByVisitor(), "Set-Cookie: SID=; Max-Age=0\r\n\r\n");
}

TEST_F(AffinityTest, RankedRoutesNameOwnerAndCopies) {
  options().format = AffinityFormat::kRanked;
  options().routes_by = RoutesBy::kRoost;
  Read("");
  ReadResponse("Set-Cookie: SID=abc\r\n");
  EXPECT_EQ(AsSeenByVisitor(), "Set-Cookie: SID=abc.n1.n2\r\n\r\n");
  options().routes_max = 1;
  EXPECT_EQ(AsSeenByVisitor(), "Set-Cookie: SID=abc.n1\r\n\r\n");
  options().routes_max = 3;
  options().copies = 0;
  EXPECT_EQ(AsSeenByVisitor(), "Set-Cookie: SID=abc.n1\r\n\r\n");
}

TEST_F(AffinityTest, RouteCookieIsWrittenWhenItNamesAnother) {
  options().format = AffinityFormat::kRouteCookie;
  ReadResponse("Set-Cookie: SID=abc.x\r\n");
  Read("");
  EXPECT_EQ(AsSeenByVisitor(),
            "Set-Cookie: SID=abc.x\r\nSet-Cookie: ROUTEID=.n1; Path=/; HttpOnly\r\n\r\n");
  Read("Cookie: ROUTEID=.n1; SID=abc.x\r\n");
  EXPECT_EQ(AsSeenByVisitor(), "Set-Cookie: SID=abc.x\r\n\r\n");
  Read("Cookie: ROUTEID=.n2; SID=abc.x\r\n");
  EXPECT_EQ(AsSeenByApp(), "Cookie: ROUTEID=.n2; SID=abc.x");
  AsSeenByVisitor();
  EXPECT_TRUE(moved_);
}

TEST(AffinityOptionsTest, ErrorsNameTheFieldAndWhatToDo) {
  const auto error = [](auto change) {
    AffinityOptions options;
    change(&options);
    return std::string(options.Validate().message());
  };
  using O = AffinityOptions;
  EXPECT_EQ(error([](O*) {}), "");
  EXPECT_EQ(error([](O* o) { o->places.clear(); }),
            "affinity.places must name where ids are, such as [cookie, path]");
  EXPECT_EQ(error([](O* o) {
              o->places = {IdPlace::kCookie, IdPlace::kCookie};
            }),
            "affinity.places names a place twice; once is enough");
  EXPECT_NE(error([](O* o) { o->places = {IdPlace::kHeader}; }).find("affinity.header must be 1"),
            std::string::npos);
  EXPECT_NE(error([](O* o) { o->places = {IdPlace::kQuery}; }).find("affinity.query_parameter"),
            std::string::npos);
  EXPECT_EQ(error([](O* o) { o->delimiter = ';'; }),
            "affinity.delimiter must be one of . ! ~ : | @");
  EXPECT_NE(error([](O* o) {
              o->form = IdForm::kSigned;
              o->format = AffinityFormat::kRanked;
            }).find("use route_cookie"),
            std::string::npos);
  EXPECT_EQ(error([](O* o) { o->routes_max = 9; }), "affinity.routes_max must be 1 to 8, not 9");
  EXPECT_NE(error([](O* o) {
              o->cookie_attributes = "Path=/\r\nX: y";
            }).find("affinity.cookie_attributes must be"),
            std::string::npos);
}

}  // namespace
}  // namespace roost::proxy

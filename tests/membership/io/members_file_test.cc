#include "membership/io/members_file.h"

#include <sys/stat.h>

#include <fstream>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace roost::membership {
namespace {

Address AddressOf(uint32_t i) { return Address::V4(0x0a000000 + i, 7400); }

Member MemberOf(uint32_t i, MemberState state = MemberState::kAlive) {
  Member member;
  member.id = NodeId{i};
  member.name = absl::StrCat("n", i);
  member.gossip = AddressOf(i);
  member.state = state;
  return member;
}

View ViewOf(std::vector<Member> others) {
  others.push_back(MemberOf(1));
  return View(1, NodeId{1}, std::move(others));
}

class MembersFileTest : public ::testing::Test {
 protected:
  // Opens it, remembers `views`, closes it. What it had read.
  std::vector<Address> Use(const std::vector<View>& views = {}) {
    problem_ = absl::OkStatus();
    MembersFile file(path_, "shop", &problem_);
    for (const View& view : views) file.Remember(view);
    return file.addresses();
  }
  std::string Content() const {
    std::ifstream file(path_);
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
  }
  void SetContent(const std::string& text) { std::ofstream(path_) << text; }

  const std::string path_ =
      absl::StrCat(::testing::TempDir(), "/members_",
                   ::testing::UnitTest::GetInstance()->current_test_info()->name());
  absl::Status problem_;
};

TEST_F(MembersFileTest, RemembersWhereTheOthersWere) {
  EXPECT_TRUE(Use({ViewOf({MemberOf(2), MemberOf(3, MemberState::kDead)})}).empty());
  EXPECT_TRUE(problem_.ok());
  // Who was dead all the time was never met.
  EXPECT_EQ(Use(), std::vector<Address>{AddressOf(2)});
  struct stat status = {};
  ASSERT_EQ(stat(path_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
}

TEST_F(MembersFileTest, TheDeadAreKeptAndTheLeftAreNot) {
  Use({ViewOf({MemberOf(2), MemberOf(3)}),
       ViewOf({MemberOf(2, MemberState::kDead), MemberOf(3, MemberState::kLeft)})});
  EXPECT_EQ(Use(), std::vector<Address>{AddressOf(2)});
}

TEST_F(MembersFileTest, AloneNothingIsForgottenAtOnce) {
  Use({ViewOf({MemberOf(2), MemberOf(3)})});
  Use({ViewOf({})});
  EXPECT_EQ(Use({ViewOf({MemberOf(3)})}).size(), 2u);
  // Those met most recently come first.
  EXPECT_EQ(Use(), (std::vector<Address>{AddressOf(3), AddressOf(2)}));
  for (int i = 0; i <= RememberedMember::kStartsMax; ++i) Use({ViewOf({MemberOf(3)})});
  EXPECT_EQ(Use(), std::vector<Address>{AddressOf(3)});
}

TEST_F(MembersFileTest, IsBounded) {
  std::vector<Member> many;
  for (uint32_t i = 2; i < 1'002; ++i) many.push_back(MemberOf(i));
  Use({ViewOf(std::move(many))});
  EXPECT_LE(Content().size(), kMembersFileBytesMax);
  EXPECT_EQ(Use().size(), kRememberedMax);
}

TEST_F(MembersFileTest, DamagedFileIsIgnoredAndReplaced) {
  Use({ViewOf({MemberOf(2)})});
  const std::string good = Content();
  std::string flipped = good;
  flipped[good.size() / 2] ^= 1;
  for (const std::string& bad :
       {flipped, good.substr(0, good.size() - 5), std::string(), std::string("garbage\n"),
        std::string(kMembersFileBytesMax + 10, 'x')}) {
    SetContent(bad);
    EXPECT_TRUE(Use().empty());
    EXPECT_EQ(problem_.code(), absl::StatusCode::kDataLoss);
    EXPECT_NE(problem_.message().find(path_), std::string::npos);
  }
  Use({ViewOf({MemberOf(2)})});
  EXPECT_EQ(Use().size(), 1u);
  EXPECT_TRUE(problem_.ok());
}

TEST_F(MembersFileTest, AnotherClustersFileIsIgnored) {
  SetContent(MembersFileText("other", {{AddressOf(2), 0}}));
  EXPECT_TRUE(Use().empty());
  EXPECT_EQ(problem_.code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(MembersFileTest, FailedWriteIsTold) {
  absl::Status problem;
  MembersFile file(absl::StrCat(::testing::TempDir(), "/no/such/folder"), "shop", &problem);
  EXPECT_TRUE(problem.ok()) << "a file that is not there is none";
}

}  // namespace
}  // namespace roost::membership

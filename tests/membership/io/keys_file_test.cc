#include "membership/io/keys_file.h"

#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace roost::membership {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class KeysFileTest : public ::testing::Test {
 protected:
  KeysFileTest() {
    path_ = ::testing::TempDir() + "/keys." + std::to_string(getpid()) + "." +
            ::testing::UnitTest::GetInstance()->current_test_info()->name();
  }
  ~KeysFileTest() override { unlink(path_.c_str()); }

  void Write(const std::string& text, mode_t mode) {
    std::ofstream(path_) << text;
    ASSERT_EQ(chmod(path_.c_str(), mode), 0);
  }
  std::string Error() { return std::string(LoadKeysFile(path_).status().message()); }

  const Keyring ring_ = *Keyring::Create({GossipKey::Generate(), GossipKey::Generate()});
  std::string path_;
};

TEST_F(KeysFileTest, SavedIsLoadedAndNobodyElses) {
  ASSERT_TRUE(SaveKeysFile(path_, ring_).ok());
  struct stat status = {};
  ASSERT_EQ(stat(path_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0600u);
  const auto loaded = LoadKeysFile(path_);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->ToText(), ring_.ToText());
  const Keyring next = *ring_.WithPrimary(ring_.keys()[1].id());
  ASSERT_TRUE(SaveKeysFile(path_, next).ok());
  EXPECT_EQ(LoadKeysFile(path_)->primary().id(), ring_.keys()[1].id());
  EXPECT_NE(access((path_ + ".new").c_str(), F_OK), 0);
}

TEST_F(KeysFileTest, ModesThatLetOthersAtItAreRefusedWithTheReason) {
  for (const mode_t mode : {0640, 0604, 0660, 0620, 0602, 0644}) {
    Write(ring_.ToText(), mode);
    EXPECT_EQ(LoadKeysFile(path_).status().code(), absl::StatusCode::kFailedPrecondition) << mode;
    EXPECT_THAT(Error(), AllOf(HasSubstr("security.keys_file"), HasSubstr("chmod 600")));
  }
  Write(ring_.ToText(), 0400);
  EXPECT_TRUE(LoadKeysFile(path_).ok());
}

TEST_F(KeysFileTest, MissingFolderAndGarbageAreErrorsWithoutTheContents) {
  EXPECT_THAT(Error(), AllOf(HasSubstr(path_), HasSubstr("No such file")));
  Write("my password\n", 0600);
  EXPECT_THAT(Error(), AllOf(HasSubstr("line 1"), Not(HasSubstr("password"))));
  Write(std::string(100'000, 'x'), 0600);
  EXPECT_THAT(Error(), HasSubstr("larger than 4096"));
  const std::string folder = path_;
  path_ = ::testing::TempDir();
  EXPECT_THAT(Error(), HasSubstr("no regular file"));
  path_ = folder;
}

TEST_F(KeysFileTest, WhatALinkPointsToIsReplaced) {
  const std::string target = path_ + ".real";
  ASSERT_TRUE(SaveKeysFile(target, ring_).ok());
  ASSERT_EQ(symlink(target.c_str(), path_.c_str()), 0);
  const Keyring next = *ring_.Without(ring_.keys()[1].id());
  ASSERT_TRUE(SaveKeysFile(path_, next).ok());
  EXPECT_EQ(LoadKeysFile(target)->keys().size(), 1u);
  struct stat status = {};
  ASSERT_EQ(lstat(path_.c_str(), &status), 0);
  EXPECT_TRUE(S_ISLNK(status.st_mode));
  unlink(target.c_str());
}

TEST_F(KeysFileTest, WhereNothingCanBeWrittenNothingIsLost) {
  EXPECT_FALSE(SaveKeysFile("/proc/no/such/folder/keys", ring_).ok());
}

}  // namespace
}  // namespace roost::membership

// A directory whose name leaves room for a unix socket's: its path may have 107 bytes, and the
// test's own directory may be longer.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>

#include "gtest/gtest.h"

namespace roost::sidecar {

// Made by the constructor, removed by the destructor.
class ShortDir {
 public:
  ShortDir() { EXPECT_NE(mkdtemp(path_.data()), nullptr); }
  ~ShortDir() { std::filesystem::remove_all(path_); }
  ShortDir(const ShortDir&) = delete;
  ShortDir& operator=(const ShortDir&) = delete;

  std::string File(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_ = "/tmp/roost-test.XXXXXX";
};

}  // namespace roost::sidecar

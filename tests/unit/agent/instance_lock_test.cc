// SPDX-License-Identifier: Apache-2.0
#include "vbond/agent/instance_lock.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <optional>

namespace qmasq::vbond {
namespace {

using ::testing::HasSubstr;

TEST(InstanceLock, IsHeldByOneAtATime) {
  char name[] = "/tmp/qmasq-lock-XXXXXX";
  ASSERT_NE(::mkdtemp(name), nullptr);
  std::string directory = std::string(name) + "/run";
  {
    auto first = InstanceLock::take(directory);
    ASSERT_TRUE(first.has_value()) << first.error().message;
    auto second = InstanceLock::take(directory);
    ASSERT_FALSE(second.has_value());
    EXPECT_EQ(second.error().code, Code::kAlreadyExists);
    EXPECT_THAT(second.error().message, HasSubstr(fmt::format("pid {}", ::getpid())));
    EXPECT_THAT(second.error().message, HasSubstr("stop it first"));
  }
  EXPECT_TRUE(InstanceLock::take(directory).has_value()) << "a file left behind locks nobody out";
  std::filesystem::remove_all(name);
}

TEST(InstanceLock, SaysWhichDirectoryItCannotMake) {
  auto lock = InstanceLock::take("/proc/none");
  ASSERT_FALSE(lock.has_value());
  EXPECT_THAT(lock.error().message, HasSubstr("/proc/none"));
}

}  // namespace
}  // namespace qmasq::vbond

// SPDX-License-Identifier: Apache-2.0
#include "vbond/kernel/features.h"

#include <dirent.h>
#include <gtest/gtest.h>
#include <sys/prctl.h>

#include <fstream>
#include <sstream>

namespace qmasq::vbond {
namespace {

int open_descriptors() {
  int count = 0;
  DIR* dir = ::opendir("/proc/self/fd");
  while (::readdir(dir) != nullptr)
    ++count;
  ::closedir(dir);
  return count;
}

TEST(Features, AgreesWithWhatTheKernelLists) {
  std::ifstream file("/proc/sys/kernel/seccomp/actions_avail");
  if (!file) GTEST_SKIP() << "no seccomp in /proc/sys here";
  std::stringstream text;
  text << file.rdbuf();
  bool listed = text.str().find("user_notif") != std::string::npos;
  EXPECT_EQ(detect_features().has(kUserNotif), listed);
}

TEST(Features, MarksNothingOnTheProcess) {
  int before = open_descriptors();
  Features features = detect_features();
  EXPECT_EQ(open_descriptors(), before);
  EXPECT_EQ(::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 0);
  EXPECT_EQ(::prctl(PR_GET_SECCOMP, 0, 0, 0, 0), 0);
  EXPECT_FALSE(features.kernel_release.empty());
}

TEST(Features, SaysWhyForEachThatIsAbsent) {
  Features features = detect_features();
  ASSERT_EQ(features.all.size(), 9U);
  for (const Feature& feature : features.all) {
    EXPECT_EQ(feature.present, feature.err == 0) << feature.name;
    EXPECT_FALSE(feature.purpose.empty()) << feature.name;
  }
  // A later one of the family implies the earlier.
  if (features.has(kSyncWakeUp)) {
    EXPECT_TRUE(features.has(kAddFdSend));
    EXPECT_TRUE(features.has(kWaitKillable));
  }
  if (features.has(kAddFdSend)) {
    EXPECT_TRUE(features.has(kAddFd));
  }
  EXPECT_EQ(features.has(kAddFd), features.names().size() > 1 && features.names()[1] == kAddFd);
  EXPECT_FALSE(features.has("no_such_feature"));
}

}  // namespace
}  // namespace qmasq::vbond

// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "cli/run/capabilities.h"
#include "cli/run/exec.h"
#include "cli/run/mounts.h"
#include "cli/run/user.h"

namespace qmasq::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(Capabilities, NothingThatReachesOutIsKept) {
  std::uint64_t kept = keep_mask(~std::uint64_t{0});
  for (int gone : {CAP_SYS_ADMIN, CAP_MKNOD, CAP_NET_ADMIN, CAP_NET_RAW, CAP_SYS_PTRACE,
                   CAP_SYS_MODULE, CAP_SYS_RAWIO, CAP_DAC_READ_SEARCH, CAP_SYS_BOOT, CAP_BPF,
                   CAP_PERFMON, CAP_SYS_CHROOT, CAP_SETFCAP, CAP_SYS_RESOURCE, CAP_LINUX_IMMUTABLE,
                   CAP_MAC_ADMIN, CAP_SYSLOG, CAP_CHECKPOINT_RESTORE}) {
    EXPECT_EQ(kept & (std::uint64_t{1} << static_cast<unsigned>(gone)), 0U) << gone;
  }
  // Nor what no kernel has yet.
  EXPECT_EQ(kept >> static_cast<unsigned>(CAP_LAST_CAP + 1), 0U);
  EXPECT_EQ(keep_mask(0), 0U);
  EXPECT_EQ(kept, keep_mask(kept));
}

TEST(MountInfo, IsReadAsProcDescribesIt) {
  auto entries = parse_mountinfo(
      "22 1 0:21 / / rw,relatime shared:1 - ext4 /dev/vda rw\n"
      "23 22 0:5 / /dev rw,nosuid shared:2 master:1 - devtmpfs devtmpfs rw,size=1k\n"
      "24 22 0:6 / /srv/my\\040root/dev rw - devtmpfs devtmpfs rw\n"
      "25 22 0:7 / /odd - no optional fields\n"
      "nonsense\n"
      "\n"
      "26 22 0:8 /x /tmp rw - tmpfs tmpfs");
  ASSERT_EQ(entries.size(), 4U);
  EXPECT_EQ(entries[1].mount_point, "/dev");
  EXPECT_EQ(entries[1].type, "devtmpfs");
  EXPECT_EQ(entries[2].mount_point, "/srv/my root/dev");
  EXPECT_EQ(entries[3].type, "tmpfs");
  EXPECT_THAT(device_directories(entries),
              ElementsAre("/dev/infiniband", "/srv/my root/dev/infiniband"));
}

TEST(MountInfo, CutOffAnywhereDoesNoHarm) {
  const std::string whole = "23 22 0:5 / /d\\040 rw shared:2 - devtmpfs devtmpfs rw\n";
  for (std::size_t i = 0; i < whole.size(); ++i) {
    EXPECT_LE(parse_mountinfo(whole.substr(0, i)).size(), 1U);
  }
}

TEST(UserText, NamesNumbersAndGroups) {
  auto root = parse_user("root");
  ASSERT_TRUE(root);
  EXPECT_EQ(root->uid, 0U);
  EXPECT_EQ(root->home, "/root");
  auto number = parse_user("54321");
  ASSERT_TRUE(number);
  EXPECT_EQ(number->uid, 54321U);
  EXPECT_EQ(number->gid, 54321U);
  auto both = parse_user("54321:54322");
  ASSERT_TRUE(both);
  EXPECT_EQ(both->gid, 54322U);
  EXPECT_THAT(both->groups, ElementsAre(54322U));
  for (const char* text :
       {"", ":", "no-such-user", "54321:no-such-group", "4294967295", "-1", "99999999999"}) {
    EXPECT_FALSE(parse_user(text)) << text;
  }
}

class FindProgram : public testing::Test {
 protected:
  FindProgram() {
    std::string pattern = testing::TempDir() + "qmasq-find-XXXXXX";
    root_ = ::mkdtemp(pattern.data());
    std::filesystem::create_directories(root_ + "/one");
    std::filesystem::create_directories(root_ + "/two/folder");
    write("/one/tool", 0644);
    write("/two/tool", 0755);
    write("/one/plain", 0644);
  }
  ~FindProgram() override { std::filesystem::remove_all(root_); }
  void write(const std::string& name, mode_t mode) {
    std::ofstream(root_ + name) << "#!/bin/sh\n";
    ::chmod((root_ + name).c_str(), mode);
  }
  std::string root_;
};

TEST_F(FindProgram, ByPathAsAShellDoes) {
  std::string path = root_ + "/one:" + root_ + "/two";
  EXPECT_EQ(find_program("tool", path).value(), root_ + "/two/tool");
  EXPECT_EQ(find_program(root_ + "/two/tool", "").value(), root_ + "/two/tool");
  EXPECT_EQ(find_program("plain", path).error().exit_code, 126);
  EXPECT_EQ(find_program("folder", path).error().exit_code, 126);
  EXPECT_EQ(find_program("missing", path).error().exit_code, 127);
  EXPECT_EQ(find_program("", path).error().exit_code, 127);
  EXPECT_EQ(find_program(root_ + "/nothing", path).error().exit_code, 127);
  EXPECT_THAT(find_program("missing", path).error().message, HasSubstr("'missing'"));
}

TEST(Execute, SaysWhyNot) {
  Failure gone = execute("/nonexistent/program", {"program"});
  EXPECT_EQ(gone.exit_code, 127);
  Failure folder = execute("/tmp", {"/tmp"});
  EXPECT_EQ(folder.exit_code, 126);
  EXPECT_THAT(folder.message, HasSubstr("/tmp"));
}

}  // namespace
}  // namespace qmasq::cli

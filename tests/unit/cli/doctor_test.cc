// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/capability.h>

#include <cerrno>
#include <filesystem>
#include <fstream>

#include "cli/doctor/machine_checks.h"
#include "tests/support/temp_dir.h"

namespace qmasq::cli {
namespace {

using ::testing::HasSubstr;

class Machine : public ::testing::Test {
 protected:
  void write(const std::string& path, const std::string& text) {
    std::filesystem::path full = root_.path() + path;
    std::filesystem::create_directories(full.parent_path());
    std::ofstream(full) << text << '\n';
  }
  void add_nic(const std::string& name, const std::string& state, const std::string& gid,
               const std::string& type) {
    std::string port = "/sys/class/infiniband/" + name + "/ports/1/";
    write(port + "state", state);
    write(port + "gids/0", "fe80:0000:0000:0000:0071:00ff:fe00:0001");
    write(port + "gid_attrs/types/0", "RoCE v2");
    write(port + "gids/1", gid);
    write(port + "gid_attrs/types/1", type);
  }
  static const Finding* find(const Findings& findings, const std::string& name) {
    for (const Finding& finding : findings) {
      if (finding.name == name) return &finding;
    }
    return nullptr;
  }
  qmasq::testing::TempDir root_;
};

TEST_F(Machine, ModulesLoadedBuiltInLoadableAbsent) {
  write("/sys/module/vxlan/refcnt", "0");
  write("/lib/modules/6.1.0/modules.builtin", "kernel/drivers/net/veth.ko");
  write("/lib/modules/6.1.0/modules.dep",
        "kernel/drivers/infiniband/core/ib_uverbs.ko.xz: kernel/x.ko\n"
        "kernel/net/bridge/bridge.ko: kernel/net/llc/llc.ko");
  Findings all = check_modules(root_.path(), "6.1.0");
  EXPECT_EQ(find(all, "vxlan")->detail, "loaded");
  EXPECT_EQ(find(all, "veth")->detail, "built in");
  EXPECT_EQ(find(all, "bridge")->health, Health::kOk);
  // Needed by the agent from its start, so loadable is not enough.
  EXPECT_EQ(find(all, "ib_uverbs")->health, Health::kFail);
  EXPECT_THAT(find(all, "ib_uverbs")->remedy, HasSubstr("modprobe ib_uverbs"));
  EXPECT_EQ(find(all, "crc32")->health, Health::kWarn);

  std::filesystem::remove_all(root_.path() + "/sys/module/vxlan");
  all = check_modules(root_.path(), "6.1.0");
  EXPECT_EQ(find(all, "vxlan")->health, Health::kFail);
  EXPECT_EQ(find(check_modules(root_.path(), "other"), "vxlan")->health, Health::kWarn);
}

TEST_F(Machine, AModuleIsNotItsNamesake) {
  write("/lib/modules/6.1.0/modules.dep", "kernel/net/my_bridge.ko:\nkernel/net/bridge2.ko:");
  EXPECT_EQ(find(check_modules(root_.path(), "6.1.0"), "bridge")->health, Health::kFail);
}

TEST_F(Machine, Crc32MattersOnlyWithoutADevice) {
  add_nic("rxe0", "4: ACTIVE", "0000:0000:0000:0000:0000:ffff:c000:0201", "RoCE v2");
  EXPECT_EQ(find(check_modules(root_.path(), "x"), "crc32"), nullptr);
  std::filesystem::remove_all(root_.path() + "/sys");
  write("/proc/crypto", "name         : crc32c\nname         : crc32\ndriver : crc32-generic");
  EXPECT_EQ(find(check_modules(root_.path(), "x"), "crc32"), nullptr);
}

TEST_F(Machine, Nics) {
  EXPECT_EQ(check_nics(root_.path()).at(0).health, Health::kFail);
  add_nic("rxe0", "4: ACTIVE", "0000:0000:0000:0000:0000:ffff:c000:0201", "RoCE v2");
  Findings good = check_nics(root_.path());
  ASSERT_EQ(good.size(), 1U);
  EXPECT_EQ(good[0].health, Health::kOk);
  EXPECT_THAT(good[0].detail, HasSubstr("192.0.2.1"));
  add_nic("rxe1", "1: DOWN", "0000:0000:0000:0000:0000:ffff:c000:0202", "RoCE v2");
  EXPECT_EQ(find(check_nics(root_.path()), "rxe1")->health, Health::kWarn);
  EXPECT_EQ(find(check_nics(root_.path()), "any"), nullptr);
}

TEST_F(Machine, ANicWithoutARoutedGidCannotCarryTraffic) {
  add_nic("mlx5_0", "4: ACTIVE", "0000:0000:0000:0000:0000:ffff:c000:0201", "IB/RoCE v1");
  Findings all = check_nics(root_.path());
  EXPECT_EQ(find(all, "mlx5_0")->health, Health::kWarn);
  EXPECT_EQ(find(all, "any")->health, Health::kFail);
}

TEST_F(Machine, RdmaMode) {
  EXPECT_TRUE(check_rdma_mode(root_.path()).empty());
  write("/sys/module/ib_core/parameters/netns_mode", "Y");
  EXPECT_EQ(check_rdma_mode(root_.path()).at(0).health, Health::kOk);
  write("/sys/module/ib_core/parameters/netns_mode", "N");
  EXPECT_EQ(check_rdma_mode(root_.path()).at(0).health, Health::kFail);
}

TEST_F(Machine, Capabilities) {
  auto bit = [](int capability) { return std::uint64_t{1} << static_cast<unsigned>(capability); };
  EXPECT_EQ(check_capabilities(~std::uint64_t{0}).at(0).health, Health::kOk);
  Findings some = check_capabilities(bit(CAP_SYS_ADMIN) | bit(CAP_SYS_PTRACE));
  EXPECT_EQ(some.at(0).health, Health::kWarn);
  EXPECT_EQ(some.at(0).detail, "missing: NET_ADMIN");
  write("/proc/self/status", "Name:\tx\nCapInh:\t0\nCapEff:\t000001ffffffffff");
  EXPECT_EQ(effective_capabilities(root_.path()), 0x1ffffffffffULL);
  EXPECT_EQ(effective_capabilities("/nonexistent"), 0U);
}

TEST(KernelFeatures, RequiredOnesFailOthersWarn) {
  vbond::Features features;
  features.kernel_release = "5.10.0";
  features.all = {{"user_notif", true, true, 0, "5.0", "verbs reach the agent"},
                  {"addfd", false, true, EINVAL, "5.9", "devices"},
                  {"sync_wake_up", false, false, EINVAL, "6.6", "speed"},
                  {"addfd_send", false, false, EBUSY, "5.14", "one step"}};
  Findings all = check_features(features);
  ASSERT_EQ(all.size(), 4U);
  EXPECT_EQ(all[0].health, Health::kOk);
  EXPECT_EQ(all[1].health, Health::kFail);
  EXPECT_EQ(all[1].remedy, "Linux 5.9 and later have it; you run 5.10.0.");
  EXPECT_EQ(all[2].health, Health::kWarn);
  EXPECT_THAT(all[3].remedy, HasSubstr("outside"));
}

}  // namespace
}  // namespace qmasq::cli

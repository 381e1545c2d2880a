// SPDX-License-Identifier: Apache-2.0
#include <dirent.h>
#include <gtest/gtest.h>

#include <atomic>
#include <future>

#include "tests/integration/intercept/host.h"

// Real processes under the real filter, served by the whole agent side over a stub NIC.
namespace qmasq::test {
namespace {

using std::chrono::milliseconds;

int own_descriptors() {
  int count = 0;
  DIR* dir = opendir("/proc/self/fd");
  while (readdir(dir) != nullptr)
    ++count;
  closedir(dir);
  return count;
}

class Native : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root: process_vm_readv, kcmp, open_tree";
  }
};

class Scenario : public Native, public ::testing::WithParamInterface<const char*> {};

TEST_P(Scenario, GoesAsItShould) {
  Host host;
  EXPECT_EQ(Tenant(host, GetParam()).wait(), 0);
  EXPECT_TRUE(eventually([&] { return host.world.metric("qmasq_vbond_attachments") == 0; }));
  EXPECT_EQ(host.nic.queue_pairs(), 0U);
  EXPECT_EQ(host.world.connections.counts().total, 0U);
  EXPECT_EQ(host.world.metric("qmasq_vbond_contexts"), 0);
  EXPECT_EQ(host.world.metric("qmasq_vbond_receivers"), 0);
  EXPECT_EQ(host.world.last_event(vbond::EventType::kDetached).command, "intercept_tenant");
}
INSTANTIATE_TEST_SUITE_P(All, Scenario,
                         ::testing::Values("verbs", "openings", "descriptors", "threads", "forks",
                                           "exec", "second-listener", "other-architectures",
                                           "hostile", "signals", "foreign-device", "sane"));

TEST_F(Native, TenThousandOpensLeaveNothing) {
  Host host;
  int before = own_descriptors();
  EXPECT_EQ(Tenant(host, "many-opens").wait(), 0);
  EXPECT_TRUE(eventually([&] { return host.world.metric("qmasq_vbond_attachments") == 0; }));
  EXPECT_EQ(host.nic.queue_pairs(), 0U);
  EXPECT_TRUE(eventually([&] { return own_descriptors() <= before; }));
}

TEST_F(Native, AProgramThatLivesOnGivesBackWhatItClosed) {
  Host host;
  Tenant tenant(host, "lives-on");
  EXPECT_EQ(tenant.read_line(), "closed");
  EXPECT_TRUE(eventually([&] { return host.nic.queue_pairs() == 0; }, milliseconds(2000)));
  EXPECT_EQ(host.interceptor.stats().attachments, 1U);
  EXPECT_EQ(host.interceptor.stats().contexts, 0U);
}

TEST_F(Native, AChildKeepsTheDeviceThatItsParentOpened) {
  Host host;
  Tenant tenant(host, "orphan");
  pid_t child = std::atoi(tenant.read_line().c_str());
  ASSERT_GT(child, 0);
  EXPECT_EQ(tenant.wait(), 0);
  // The opener is gone; several checks later the context is still there ...
  auto checked = host.world.metric("qmasq_vbond_holder_scans_total");
  EXPECT_TRUE(
      eventually([&] { return host.world.metric("qmasq_vbond_holder_scans_total") > checked; }));
  EXPECT_EQ(host.interceptor.stats().contexts, 1U);
  // ... and goes when the child closes it and sleeps on.
  EXPECT_TRUE(eventually([&] { return host.interceptor.stats().contexts == 0; }));
  EXPECT_TRUE(eventually([&] { return host.nic.queue_pairs() == 0; }));
  EXPECT_EQ(host.interceptor.stats().attachments, 1U);
  ASSERT_EQ(kill(child, SIGKILL), 0);
  EXPECT_TRUE(eventually([&] { return host.interceptor.stats().attachments == 0; }));
}

TEST_F(Native, AKillBetweenReceiveAndReply) {
  Host host;
  std::promise<void> go;
  std::shared_future<void> gate = go.get_future().share();
  std::atomic<bool> inside{false};
  host.nic.set_hook([&](const std::string& verb) {
    if (verb != "CREATE_QP") return;
    inside = true;
    gate.wait();
  });
  Tenant tenant(host, "dies-in-call");
  ASSERT_TRUE(eventually([&] { return inside.load(); }));
  tenant.kill(SIGKILL);
  EXPECT_EQ(tenant.wait(), 100 + SIGKILL);
  go.set_value();
  EXPECT_TRUE(eventually([&] { return host.world.metric("qmasq_vbond_attachments") == 0; }));
  EXPECT_EQ(host.nic.queue_pairs(), 0U);
  EXPECT_EQ(
      host.world.metric("qmasq_vbond_verbs_total", {{"verb", "CREATE_QP"}, {"verdict", "gone"}}),
      1);
  host.nic.set_hook({});
  EXPECT_EQ(Tenant(host, "verbs").wait(), 0);
}

TEST_F(Native, TwoFloodAndAThirdConnects) {
  Host host;
  Tenant one(host, "flood");
  Tenant two(host, "flood");
  EXPECT_EQ(one.read_line(), "flooding");
  EXPECT_EQ(two.read_line(), "flooding");
  EXPECT_EQ(Tenant(host, "sane").wait(), 0);
  EXPECT_TRUE(eventually([&] { return host.interceptor.stats().attachments == 2; }));
}

TEST_F(Native, TheTenantOpensWhereItMay) {
  auto options = Host::quick();
  options.tenant_opens = {"rxe0"};
  Host host(options);
  EXPECT_EQ(Tenant(host, "own-device").wait(), 0);
  EXPECT_TRUE(eventually([&] { return host.world.metric("qmasq_vbond_attachments") == 0; }));
  EXPECT_EQ(host.nic.queue_pairs(), 0U);
}

TEST_F(Native, StoppingFreesTheTenants) {
  Host host;
  Tenant tenant(host, "flood");
  EXPECT_EQ(tenant.read_line(), "flooding");
  EXPECT_TRUE(host.interceptor.stop(std::chrono::seconds(5)));
  EXPECT_EQ(tenant.wait(), 1);  // its next verb is ENOSYS
  EXPECT_EQ(host.nic.queue_pairs(), 0U);
}

}  // namespace
}  // namespace qmasq::test

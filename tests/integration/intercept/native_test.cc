// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <atomic>
#include <ctime>
#include <future>

#include "tests/integration/intercept/host.h"
#include "tests/support/own_descriptors.h"

// Real processes under the real filter, served by the whole agent side over a stub NIC.
namespace qmasq::test {
namespace {

class Native : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root: process_vm_readv, kcmp, open_tree";
  }
  // As the agent does: with the soft limit of 1024 its own descriptors run out before max_contexts.
  static void SetUpTestSuite() {
    rlimit limit{};
    ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
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
  // The event comes after the count.
  EXPECT_TRUE(eventually([&] {
    return host.world.last_event(vbond::EventType::kDetached).command == "intercept_tenant";
  }));
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
  EXPECT_TRUE(eventually([&] { return host.nic.queue_pairs() == 0; }));
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
  ASSERT_EQ(kill(child, SIGUSR1), 0);
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

qos::Policy at_most(qos::Resource resource, std::uint64_t limit) {
  qos::Policy out;
  out.quotas.limits[static_cast<std::size_t>(resource)] = limit;
  return out;
}

double completion_queues(const Host& host) {
  return host.world.metric("qmasq_vbond_quota_used",
                           {{"vpc", "blue"}, {"endpoint", "a"}, {"resource", "completion_queues"}});
}

TEST_F(Native, AQuotaIsExactOverThreadsAndFreeAfterKill) {
  Host host;
  host.world.set_policies(at_most(qos::Resource::kCompletionQueues, 20));
  for (int round = 0; round < 3; ++round) {
    Tenant tenant(host, "hoard");
    EXPECT_EQ(tenant.read_line(), "20");
    EXPECT_EQ(host.nic.completion_queues(), 20U);
    EXPECT_EQ(completion_queues(host), 20);
    tenant.kill(SIGKILL);
    EXPECT_EQ(tenant.wait(), 100 + SIGKILL);
    // The next one begins at once: what the dead one had is not in its way.
  }
  EXPECT_TRUE(eventually([&] { return host.nic.completion_queues() == 0; }));
  EXPECT_TRUE(eventually([&] { return completion_queues(host) == 0; }));
}

TEST_F(Native, AVpcsQuotaIsSharedByItsPrograms) {
  Host host;
  host.world.set_policies({}, at_most(qos::Resource::kCompletionQueues, 12));
  Tenant first(host, "hoard");
  EXPECT_EQ(first.read_line(), "12");
  Tenant second(host, "hoard");
  EXPECT_EQ(second.read_line(), "0");
  first.kill(SIGKILL);
  EXPECT_EQ(first.wait(), 100 + SIGKILL);
  Tenant third(host, "hoard");
  EXPECT_EQ(third.read_line(), "12");
}

TEST_F(Native, AnEndpointThatIsDeletedHasNothing) {
  Host host;
  host.world.set_policies(at_most(qos::Resource::kCompletionQueues, 5));
  Tenant tenant(host, "hoard");
  EXPECT_EQ(tenant.read_line(), "5");
  auto tenancy = host.world.admission.tenancy(AgentWorld::kEndpoint, "vpcs/blue/endpoints/a");
  host.world.remove_endpoint();
  host.interceptor.detach_endpoint(AgentWorld::kEndpoint);
  EXPECT_EQ(host.nic.completion_queues(), 0U);
  EXPECT_EQ(tenancy->used(), qos::Amounts{});
}

TEST_F(Native, WhoIsOverItsRateWaitsAndStoppingDoesNot) {
  Host host;
  qos::Policy slow;
  slow.verb_rates.rates[static_cast<std::size_t>(qos::VerbKind::kVerbs)] = qos::VerbRate{10, 10};
  host.world.set_policies(slow);
  Tenant tenant(host, "impatient");
  const int refused = std::atoi(tenant.read_line().c_str());
  EXPECT_GT(refused, 3);
  EXPECT_LT(refused, 150);  // 10 ms each
  EXPECT_EQ(host.world.last_event(vbond::EventType::kOverRate).err, EAGAIN);
  EXPECT_TRUE(host.interceptor.stop(std::chrono::seconds(5)));
}

TEST_F(Native, StoppingFreesTheTenants) {
  Host host;
  Tenant tenant(host, "flood");
  EXPECT_EQ(tenant.read_line(), "flooding");
  EXPECT_TRUE(host.interceptor.stop(std::chrono::seconds(5)));
  EXPECT_EQ(tenant.wait(), 1);  // its next verb is ENOSYS
  EXPECT_EQ(host.nic.queue_pairs(), 0U);
}

// Receivers are kicked until they end. A driver that waits for a command, or the installation of a
// descriptor in the tenant, must not be cut short by it: the tenant would see EINTR.
TEST_F(Native, StoppingDoesNotDisturbTheCallThatIsServed) {
  Host host;
  std::promise<void> began;
  std::atomic<bool> first = true;
  std::atomic<bool> undisturbed = false;
  host.nic.set_hook([&](const std::string&) {
    if (!first.exchange(false)) return;
    began.set_value();
    const timespec work{.tv_sec = 0, .tv_nsec = 200'000'000};
    undisturbed = nanosleep(&work, nullptr) == 0;
  });
  Tenant tenant(host, "verbs");
  ASSERT_EQ(began.get_future().wait_for(std::chrono::seconds(20)), std::future_status::ready);
  EXPECT_TRUE(host.interceptor.stop(std::chrono::seconds(5)));
  EXPECT_TRUE(undisturbed);
}

}  // namespace
}  // namespace qmasq::test

// SPDX-License-Identifier: Apache-2.0
#include "vbond/overlay/reconciler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <prometheus/registry.h>

#include <algorithm>

#include "tests/fake_netlink/fake_kernel.h"
#include "tests/fake_netlink/manual_loop.h"
#include "tests/fake_netlink/scene.h"

namespace qmasq::vbond {
namespace {

using netlink::Link;
using netlink::Operation;
using test::endpoint;
using test::host;
using test::mac_of;
using test::vpc;
using ::testing::HasSubstr;

std::vector<Link> links_of(netlink::Netlink& net) {
  auto links = net.links();
  EXPECT_TRUE(links);
  return links ? *links : std::vector<Link>{};
}

struct Agent {
  Agent(test::FakeKernel& kernel, test::ManualClock& clock)
      : metrics(registry),
        reconciler({"hosts/hostA", *parse_ip("192.0.2.1"), 4789}, kernel, clock, metrics) {}
  prometheus::Registry registry;
  OverlayMetrics metrics;
  Reconciler reconciler;
};

class ReconcilerTest : public ::testing::Test {
 protected:
  ReconcilerTest() {
    whole_.snapshot = true;
    whole_.vpcs = {blue_};
    whole_.hosts = {host(1, "hostA", "192.0.2.1"), host(2, "hostB", "192.0.2.2")};
    whole_.endpoints = {endpoint(1, blue_, "a", 1, "10.0.0.1"),
                        endpoint(2, blue_, "b", 2, "10.0.0.2")};
    tenant_ = *kernel_.create("qm-blue-a", "qmasq:endpoint:1");
  }

  // Starts as an agent does: state, then the endpoint's namespace.
  void start() {
    agent_ = std::make_unique<Agent>(kernel_, clock_);
    agent_->reconciler.apply(whole_);
  }
  Status wire() { return agent_->reconciler.wire(EndpointUid{1}, tenant_.get(), "eth0"); }

  std::unique_ptr<netlink::Netlink> overlay() {
    auto fd = kernel_.open("qm-overlay");
    EXPECT_TRUE(fd);
    return std::move(*kernel_.connect(fd->get()));
  }
  bool has_link(netlink::Netlink& net, const std::string& name) {
    auto links = net.links();
    return std::any_of(links->begin(), links->end(),
                       [&](const Link& link) { return link.name == name; });
  }
  Status run(netlink::Netlink& net, const Operation& operation) {
    return net.apply(std::span<const Operation>(&operation, 1)).front();
  }
  std::size_t entries() { return overlay()->fdb()->size(); }

  test::FakeKernel kernel_;
  test::ManualClock clock_;
  VpcView blue_ = vpc(1, "blue", 100);
  Change whole_;
  UniqueFd tenant_;
  std::unique_ptr<Agent> agent_;
};

TEST_F(ReconcilerTest, WiresAnEndpoint) {
  start();
  ASSERT_TRUE(wire()) << agent_->reconciler.problems(EndpointUid{1});
  EXPECT_EQ(agent_->reconciler.problems(EndpointUid{1}), "");
  auto net = overlay();
  EXPECT_TRUE(has_link(*net, "qmb100"));
  EXPECT_TRUE(has_link(*net, "qmx100"));
  EXPECT_TRUE(has_link(*net, "qmv1"));
  EXPECT_EQ(entries(), 3U);
  auto inside = std::move(*kernel_.connect(tenant_.get()));
  EXPECT_TRUE(has_link(*inside, "eth0"));
  EXPECT_EQ(inside->addresses()->size(), 2U);
  EXPECT_EQ(inside->neighbours()->size(), 2U);
}

TEST_F(ReconcilerTest, ADeltaTouchesOnlyWhatDiffersAndDumpsNothing) {
  start();
  ASSERT_TRUE(wire());
  kernel_.take_operations();
  int dumps = kernel_.dumps();
  Change change;
  change.endpoints = {endpoint(3, blue_, "c", 2, "10.0.0.3")};
  agent_->reconciler.apply(change);
  EXPECT_EQ(kernel_.take_operations(),
            (std::vector<std::string>{"set forwarding entry 02:71:00:00:00:03 on qmx100",
                                      "set forwarding entry 02:71:00:00:00:03 on qmx100",
                                      "set neighbour 10.0.0.3 on eth0"}));
  EXPECT_EQ(kernel_.dumps(), dumps);

  // Its host moves: one entry changes.
  change.endpoints.clear();
  change.hosts = {host(2, "hostB", "192.0.2.22")};
  agent_->reconciler.apply(change);
  EXPECT_EQ(kernel_.take_operations().size(), 2U);
  agent_->reconciler.apply(change);
  EXPECT_TRUE(kernel_.take_operations().empty());
}

TEST_F(ReconcilerTest, ARestartedAgentAdoptsWithoutTouching) {
  start();
  ASSERT_TRUE(wire());
  kernel_.take_operations();
  start();
  ASSERT_TRUE(wire());
  agent_->reconciler.in_sync();
  agent_->reconciler.resync();
  EXPECT_EQ(kernel_.take_operations(), std::vector<std::string>{});
}

TEST_F(ReconcilerTest, LeftoversGoOnlyOnceInSync) {
  start();
  ASSERT_TRUE(wire());
  agent_ = std::make_unique<Agent>(kernel_, clock_);
  Change none;
  none.snapshot = true;
  agent_->reconciler.apply(none);
  EXPECT_TRUE(has_link(*overlay(), "qmb100"));
  agent_->reconciler.in_sync();
  EXPECT_FALSE(kernel_.open("qm-overlay"));  // the last one took the namespace with it
  EXPECT_FALSE(has_link(**kernel_.connect(tenant_.get()), "eth0"));
}

TEST_F(ReconcilerTest, StaleEntriesOfAnOlderAgentGo) {
  start();
  ASSERT_TRUE(wire());
  ASSERT_TRUE(run(*overlay(), netlink::PutFdb{"qmx100", netlink::FdbEntry::Table::kDevice,
                                              mac_of(77), *parse_ip("192.0.2.77")}));
  kernel_.take_operations();
  start();
  EXPECT_THAT(kernel_.take_operations(),
              ::testing::Contains("delete forwarding entry 02:71:00:00:00:4d on qmx100"));
}

TEST_F(ReconcilerTest, AForeignLinkIsLeftAloneAndNamed) {
  UniqueFd ns = *kernel_.create("qm-overlay", "qmasq:overlay");
  auto net = std::move(*kernel_.connect(ns.get()));
  netlink::AddLink foreign;
  foreign.link.name = "qmx100";
  foreign.link.kind = netlink::LinkKind::kBridge;
  ASSERT_TRUE(run(*net, foreign));
  start();
  EXPECT_TRUE(wire());  // the local part stands
  EXPECT_THAT(agent_->reconciler.problems(EndpointUid{1}), HasSubstr("qmx100"));
  EXPECT_THAT(agent_->reconciler.problems(EndpointUid{1}), HasSubstr("left alone"));
  agent_->reconciler.in_sync();
  EXPECT_TRUE(has_link(*net, "qmx100"));
  for (const Link& link : links_of(*net)) {
    EXPECT_TRUE(link.name != "qmx100" || link.kind == netlink::LinkKind::kBridge);
  }
}

TEST_F(ReconcilerTest, AForeignNamespaceIsLeftAloneAndNamed) {
  UniqueFd ns = *kernel_.create("qm-overlay", "mine, says somebody");
  start();
  Status wired = wire();
  ASSERT_FALSE(wired);
  EXPECT_THAT(wired.error().message, HasSubstr("not made by qmasq"));
  agent_->reconciler.in_sync();
  EXPECT_EQ((*kernel_.connect(ns.get()))->links()->size(), 1U);
  EXPECT_TRUE(kernel_.open("qm-overlay"));
}

TEST_F(ReconcilerTest, AForeignInterfaceInTheNamespaceIsLeftAlone) {
  auto inside = std::move(*kernel_.connect(tenant_.get()));
  netlink::AddLink foreign;
  foreign.link.name = "eth0";
  ASSERT_TRUE(run(*inside, foreign));
  start();
  Status wired = wire();
  ASSERT_FALSE(wired);
  EXPECT_THAT(wired.error().message, HasSubstr("not made by qmasq"));
  EXPECT_TRUE(has_link(*inside, "eth0"));
}

TEST_F(ReconcilerTest, OneBadObjectDoesNotStopTheOthersAndIsTriedAgain) {
  whole_.endpoints.push_back(endpoint(3, blue_, "c", 2, "10.0.0.3"));
  kernel_.fail_next("forwarding entry 02:71:00:00:00:02 on qmx100", ENOMEM, 2);
  start();
  EXPECT_EQ(kernel_.failures_left(), 0);
  EXPECT_THAT(agent_->reconciler.problems(EndpointUid{1}), HasSubstr("02:71:00:00:00:02"));
  EXPECT_EQ(entries(), 2U);  // those of endpoint 3
  ASSERT_TRUE(agent_->reconciler.next_retry());
  EXPECT_EQ(*agent_->reconciler.next_retry(), clock_.now() + Faults::kFirst);

  kernel_.take_operations();
  agent_->reconciler.retry();
  EXPECT_TRUE(kernel_.take_operations().empty());  // not yet
  kernel_.fail_next("forwarding entry 02:71:00:00:00:02", ENOMEM, 1);
  clock_.advance(Faults::kFirst);
  agent_->reconciler.retry();
  EXPECT_EQ(kernel_.failures_left(), 0);
  EXPECT_EQ(*agent_->reconciler.next_retry(), clock_.now() + 2 * Faults::kFirst);
  clock_.advance(2 * Faults::kFirst);
  kernel_.take_operations();
  agent_->reconciler.retry();
  EXPECT_EQ(kernel_.take_operations().size(), 1U);  // the other one went in at the second try
  EXPECT_EQ(entries(), 4U);
  EXPECT_EQ(agent_->reconciler.problems(EndpointUid{1}), "");
  EXPECT_FALSE(agent_->reconciler.next_retry());
}

// Whatever operation fails once, the end is the same.
TEST_F(ReconcilerTest, EachFaultHealsAtTheNextTry) {
  start();
  ASSERT_TRUE(wire());
  std::vector<std::string> all = kernel_.take_operations();
  auto wanted_links = overlay()->links()->size();
  ASSERT_GT(all.size(), 8U);
  for (const std::string& one : all) {
    SCOPED_TRACE(one);
    test::FakeKernel fresh;
    UniqueFd tenant = *fresh.create("qm-blue-a", "qmasq:endpoint:1");
    Agent agent(fresh, clock_);
    fresh.fail_next(one, EBUSY, 1);
    agent.reconciler.apply(whole_);
    (void)agent.reconciler.wire(EndpointUid{1}, tenant.get(), "eth0");
    EXPECT_EQ(fresh.failures_left(), 0);
    for (int i = 0; i < 4 && agent.reconciler.next_retry(); ++i) {
      clock_.advance(Faults::kLast);
      agent.reconciler.retry();
    }
    EXPECT_EQ(agent.reconciler.problems(EndpointUid{1}), "");
    auto fd = fresh.open("qm-overlay");
    auto net = std::move(*fresh.connect(fd->get()));
    EXPECT_EQ(net->links()->size(), wanted_links);
    EXPECT_EQ(net->fdb()->size(), 3U);
    auto inside = std::move(*fresh.connect(tenant.get()));
    EXPECT_EQ(inside->addresses()->size(), 2U);
    EXPECT_EQ(inside->neighbours()->size(), 2U);
    for (const Link& link : links_of(*net)) {
      if (link.name == "qmx100" || link.name == "qmv1") {
        ASSERT_TRUE(link.port);
        EXPECT_FALSE(link.port->unicast_flood);
        EXPECT_TRUE(link.up);
      }
    }
  }
}

TEST_F(ReconcilerTest, ResyncPutsBackWhatSomebodyTookAway) {
  start();
  ASSERT_TRUE(wire());
  ASSERT_TRUE(run(*overlay(), netlink::DeleteLink{"qmx100"}));
  agent_->reconciler.resync();
  EXPECT_TRUE(has_link(*overlay(), "qmx100"));
  EXPECT_EQ(entries(), 3U);
  ASSERT_TRUE(run(*overlay(), netlink::DeleteLink{"qmv1"}));
  agent_->reconciler.resync();
  EXPECT_TRUE(has_link(**kernel_.connect(tenant_.get()), "eth0"));
  // An address that a tenant took away is followed, not fought.
  auto inside = std::move(*kernel_.connect(tenant_.get()));
  ASSERT_TRUE(run(*inside, netlink::DeleteAddress{"eth0", *parse_ip("10.0.0.1"), 24}));
  agent_->reconciler.resync();
  EXPECT_EQ(inside->addresses()->size(), 1U);
  ASSERT_TRUE(wire());  // asked for again: put back
  EXPECT_EQ(inside->addresses()->size(), 2U);
}

TEST_F(ReconcilerTest, AnEndpointThatGoesTakesItsPartsAndTheLastOneAll) {
  start();
  agent_->reconciler.in_sync();
  ASSERT_TRUE(wire());
  Change change;
  change.removed_endpoints = {EndpointUid{2}};
  agent_->reconciler.apply(change);
  EXPECT_EQ(entries(), 1U);
  change.removed_endpoints = {EndpointUid{1}};
  agent_->reconciler.apply(change);
  agent_->reconciler.unwire(EndpointUid{1});
  EXPECT_FALSE(kernel_.open("qm-overlay"));
  EXPECT_FALSE(has_link(**kernel_.connect(tenant_.get()), "eth0"));
}

TEST_F(ReconcilerTest, AnEndpointThatMovesHereChangesSides) {
  start();
  ASSERT_TRUE(wire());
  UniqueFd second = kernel_.make_namespace();
  Change change;
  change.endpoints = {endpoint(2, blue_, "b", 1, "10.0.0.2")};
  agent_->reconciler.apply(change);
  ASSERT_TRUE(agent_->reconciler.wire(EndpointUid{2}, second.get(), "eth0"));
  EXPECT_EQ(agent_->reconciler.problems(EndpointUid{2}), "");
  EXPECT_EQ(entries(), 2U);  // one for each port, none to another host
}

}  // namespace
}  // namespace qmasq::vbond

// SPDX-License-Identifier: Apache-2.0
// Limits through a whole agent: from the controller's stream to what limits the NIC, and back.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/integration/agent/agent_site.h"
#include "tests/integration/agent/fake_controller.h"

namespace qmasq::test {
namespace {

using qos::NodeId;

const NodeId kA = NodeId::endpoint(EndpointUid{10});

class LimitsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    controller_.change([](auto& model) {
      model.put_host(100, "hostA", "192.0.2.1");
      model.put_vpc(1, "blue", 4096);
      model.put_policy(70, "gold", 20'000'000);
      model.put_endpoint(10, 1, "a", "hostA", {"10.0.0.1"});
      model.put_endpoint(11, 1, "b", "hostA", {"10.0.0.2"});
      model.attach_policy(10, 70);
    });
    controller_.name_host("hosts/hostA", 100);
    controller_.start();
  }
  void start() {
    auto status = site_.start();
    ASSERT_TRUE(status.has_value()) << status.error().message;
    ASSERT_TRUE(site_.in_sync_at(controller_.revision()));
  }
  [[nodiscard]] std::optional<qos::Node> kernel(NodeId id) const {
    const qos::Plan plan = site_.limits.plan();
    auto found = plan.nodes.find(id);
    return found == plan.nodes.end() ? std::nullopt : std::optional(found->second);
  }
  [[nodiscard]] bool comes_to(std::uint64_t maximum_bps) const {
    return eventually([&] {
      auto node = kernel(kA);
      return node && node->maximum.value == maximum_bps;
    });
  }
  [[nodiscard]] bool reported(bool enforced, const std::string& text) {
    return controller_.wait([&](auto& heard) {
      const auto& reports = heard["hosts/hostA"].endpoint_reports;
      for (auto one = reports.rbegin(); one != reports.rend(); ++one) {
        if (one->endpoint_uid() != 10) continue;
        const auto& qos = one->status().qos();
        if (!qos.configured() || qos.enforced() != enforced) return false;
        return enforced ||
               (qos.unenforced_size() > 0 && qos.unenforced(0).find(text) != std::string::npos);
      }
      return false;
    });
  }

  testing::TempDir directory_;
  FakeController controller_{directory_.file("controller.sock"), "store-1"};
  AgentSite site_{"hostA", "unix:" + directory_.file("controller.sock"), "192.0.2.1"};
};

TEST_F(LimitsTest, APolicyReachesTheNicAndItsChangeDoes) {
  start();
  ASSERT_TRUE(comes_to(20'000'000));
  EXPECT_TRUE(reported(true, ""));
  const auto ports = kernel(kA)->ports;
  controller_.change([](auto& model) { model.put_policy(70, "gold", 10'000'000); });
  ASSERT_TRUE(comes_to(10'000'000));
  EXPECT_EQ(kernel(kA)->ports, ports);
  controller_.change([](auto& model) { model.attach_policy(10, 0); });
  ASSERT_TRUE(comes_to(2'500'000'000)) << "what the NIC has";
}

TEST_F(LimitsTest, AnswersHereAndToTheController) {
  start();
  ASSERT_TRUE(comes_to(20'000'000));
  const v1::HostQos here = site_.qos();
  ASSERT_EQ(here.nics_size(), 1) << here.ShortDebugString();
  EXPECT_EQ(here.host(), "hosts/hostA");
  EXPECT_EQ(here.nics(0).backend(), "fake");
  EXPECT_EQ(here.nics(0).rate_bps(), 2'500'000'000U);
  EXPECT_EQ(here.nics(0).nodes_size(), 5);
  v1::Query query;
  query.mutable_qos()->set_vpc_uid(1);
  controller_.ask(query);
  ASSERT_TRUE(controller_.wait([](auto& heard) { return !heard["hosts/hostA"].answers.empty(); }));
  const v1::Answer answer = controller_.heard("hosts/hostA").answers[0];
  EXPECT_EQ(answer.error(), "");
  EXPECT_EQ(answer.query_id(), 1U);
  EXPECT_EQ(answer.held_revision(), controller_.revision());
  ASSERT_EQ(answer.qos().nics_size(), 1);
  EXPECT_EQ(answer.qos().nics(0).nodes_size(), 4) << "all but what is nobody's";
  EXPECT_EQ(answer.qos().nics(0).nodes(2).policy(), "qosPolicies/gold");
}

TEST_F(LimitsTest, WhatIsNotEnforcedIsToldEverywhere) {
  site_.limits.set_foreign(true);
  start();
  EXPECT_TRUE(reported(false, "maximum of vpcs/blue/endpoints/a on rxe0: a qdisc of the site's"));
  EXPECT_TRUE(eventually([&] { return !site_.events("limit-unenforced").empty(); }));
  EXPECT_EQ(site_.events("limit-unenforced")[0].endpoint(), "vpcs/blue/endpoints/a");
  site_.limits.set_foreign(false);
  ASSERT_TRUE(comes_to(20'000'000)) << "tried again by itself";
  EXPECT_TRUE(reported(true, ""));
  EXPECT_TRUE(eventually([&] { return !site_.events("limit-enforced").empty(); }));
}

TEST_F(LimitsTest, LimitsOutliveTheAgentAndSoDoPorts) {
  start();
  ASSERT_TRUE(comes_to(20'000'000));
  const qos::Plan before = site_.limits.plan();
  site_.stop();
  EXPECT_EQ(site_.limits.plan(), before) << "a clean stop leaves them";
  const std::size_t steps = site_.limits.steps();
  controller_.change([](auto& model) { model.remove_endpoint(11); });
  start();
  ASSERT_TRUE(eventually([&] { return site_.limits.plan().nodes.size() == 4; }));
  EXPECT_EQ(kernel(kA), before.nodes.at(kA));
  EXPECT_LE(site_.limits.steps(), steps + 1) << "what is right is not touched";
  controller_.change([](auto& model) { model.remove_vpc(1); });
  EXPECT_TRUE(eventually([&] { return site_.limits.plan().nodes.empty(); }));
}

}  // namespace
}  // namespace qmasq::test

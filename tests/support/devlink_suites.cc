// SPDX-License-Identifier: Apache-2.0
#include "tests/support/devlink_suites.h"

#include <algorithm>
#include <cerrno>

namespace qmasq::test {

using qos::Backend;
using qos::Node;
using qos::NodeId;
using qos::Plan;
using qos::Step;
using qos::devlink::RateChange;
using qos::devlink::RateId;
using qos::devlink::RateObject;

namespace {

constexpr std::uint64_t kMbit = 1'000'000;
constexpr std::uint64_t kUnit = 125'000;  // 1 Mbit/s in bytes

BitsPerSecond rate_of(std::uint64_t mbit) {
  return mbit == 0 ? qos::kLeastGuarantee : BitsPerSecond{mbit * kMbit};
}

int err_of(const Status& status) {
  return status ? 0 : status.error().err;
}

template <typename T>
int err_of(const Result<T>& result) {
  return result ? 0 : result.error().err;
}

RateChange parent_of(const std::string& name) {
  return {{}, {}, {}, name};
}

}  // namespace

qos::Node nic_node(std::uint64_t mbit) {
  return {NodeId::nic(), NodeId::nic(), rate_of(0), rate_of(mbit), 0, 10, {}};
}

qos::Node other_node(std::uint64_t mbit) {
  return {NodeId::other(), NodeId::nic(), rate_of(0), rate_of(mbit), 0, 10, {}};
}

qos::Node vpc_node(std::uint64_t vpc, std::uint64_t guaranteed, std::uint64_t maximum) {
  return {NodeId::vpc(VpcUid{vpc}), NodeId::nic(), rate_of(guaranteed), rate_of(maximum), 0, 0, {}};
}

qos::Node endpoint_node(std::uint64_t endpoint, std::uint64_t vpc, std::uint64_t guaranteed,
                        std::uint64_t maximum) {
  return {NodeId::endpoint(EndpointUid{endpoint}),
          NodeId::vpc(VpcUid{vpc}),
          rate_of(guaranteed),
          rate_of(maximum),
          0,
          0,
          {}};
}

qos::Plan plan_of(const std::vector<qos::Node>& nodes) {
  Plan plan;
  for (const Node& node : nodes)
    plan.nodes.emplace(node.id, node);
  return plan;
}

void DevlinkRatesContract::SetUp() {
  world_ = GetParam()();
  ASSERT_TRUE(world_);
  rates_ = world_->connect();
  ASSERT_TRUE(rates_);
  port_ = world_->ports().front();
}

TEST_P(DevlinkRatesContract, EveryPortHasALeaf) {
  auto objects = rates_->objects();
  ASSERT_TRUE(objects) << objects.error().message;
  EXPECT_EQ(objects->size(), world_->ports().size());
  for (std::uint32_t port : world_->ports()) {
    auto object = rates_->object(RateId::leaf(port));
    ASSERT_TRUE(object) << object.error().message;
    EXPECT_EQ(object->id, RateId::leaf(port));
    EXPECT_EQ(object->tx_share, 0U);
    EXPECT_EQ(object->tx_max, 0U);
    EXPECT_EQ(object->parent, "");
    EXPECT_NE(std::find(objects->begin(), objects->end(), *object), objects->end());
  }
}

TEST_P(DevlinkRatesContract, WhatIsNotThereIsNoDevice) {
  EXPECT_EQ(err_of(rates_->object(RateId::leaf(world_->port_without_leaf()))), ENODEV);
  EXPECT_EQ(err_of(rates_->object(RateId::leaf(9999))), ENODEV);
  EXPECT_EQ(err_of(rates_->object(RateId::node("none"))), ENODEV);
  EXPECT_EQ(err_of(rates_->delete_node("none")), ENODEV);
  EXPECT_EQ(err_of(rates_->set(RateId::node("none"), {1, {}, {}, {}})), ENODEV);
  EXPECT_EQ(err_of(rates_->set(RateId::leaf(port_), parent_of("none"))), ENODEV);
}

TEST_P(DevlinkRatesContract, NodesComeAndGo) {
  ASSERT_EQ(err_of(rates_->add_node("one")), 0);
  EXPECT_EQ(err_of(rates_->add_node("one")), EEXIST);
  auto one = rates_->object(RateId::node("one"));
  ASSERT_TRUE(one);
  EXPECT_EQ(one->id, RateId::node("one"));
  EXPECT_EQ(one->tx_share, 0U);
  EXPECT_EQ(one->tx_max, 0U);
  EXPECT_EQ(one->parent, "");
  EXPECT_EQ(rates_->objects()->size(), world_->ports().size() + 1);
  EXPECT_EQ(err_of(rates_->delete_node("one")), 0);
  EXPECT_EQ(err_of(rates_->object(RateId::node("one"))), ENODEV);
}

TEST_P(DevlinkRatesContract, NamesThatCouldBePorts) {
  EXPECT_EQ(err_of(rates_->add_node("128")), EINVAL);
  EXPECT_EQ(err_of(rates_->add_node("")), EINVAL);
  EXPECT_EQ(err_of(rates_->object(RateId::node("128"))), EINVAL);
}

TEST_P(DevlinkRatesContract, RatesAreBytesInWholeMegabits) {
  ASSERT_EQ(err_of(rates_->add_node("one")), 0);
  for (const RateId& id : {RateId::leaf(port_), RateId::node("one")}) {
    ASSERT_EQ(err_of(rates_->set(id, {5 * kUnit, 10 * kUnit, {}, {}})), 0);
    auto odd = rates_->set(id, {{}, kUnit + 1, {}, {}});
    EXPECT_EQ(err_of(odd), EINVAL);
    EXPECT_NE(odd.error().message.find("not in link speed units of 1Mbps"), std::string::npos)
        << odd.error().message;
    EXPECT_EQ(err_of(rates_->set(id, {{}, 5001 * kUnit, {}, {}})), EINVAL);
    // What came before what was refused has been done.
    EXPECT_EQ(err_of(rates_->set(id, {7 * kUnit, 1, {}, {}})), EINVAL);
    auto now = rates_->object(id);
    ASSERT_TRUE(now);
    EXPECT_EQ(now->tx_share, 7 * kUnit);
    EXPECT_EQ(now->tx_max, 10 * kUnit);
    EXPECT_EQ(err_of(rates_->set(id, {0, 0, {}, {}})), 0);
    EXPECT_EQ(rates_->object(id)->tx_max, 0U);
  }
}

TEST_P(DevlinkRatesContract, AParentIsUnsetBeforeTheNext) {
  ASSERT_EQ(err_of(rates_->add_node("one")), 0);
  ASSERT_EQ(err_of(rates_->add_node("two")), 0);
  RateId leaf = RateId::leaf(port_);
  EXPECT_EQ(err_of(rates_->set(leaf, parent_of(""))), 0);
  ASSERT_EQ(err_of(rates_->set(leaf, parent_of("one"))), 0);
  EXPECT_EQ(rates_->object(leaf)->parent, "one");
  auto busy = rates_->set(leaf, parent_of("two"));
  EXPECT_EQ(err_of(busy), EBUSY);
  EXPECT_EQ(err_of(rates_->set(leaf, parent_of("one"))), EBUSY);
  auto children = rates_->delete_node("one");
  EXPECT_EQ(err_of(children), EBUSY);
  EXPECT_NE(children.error().message.find("Node has children"), std::string::npos);
  ASSERT_EQ(err_of(rates_->set(leaf, parent_of(""))), 0);
  ASSERT_EQ(err_of(rates_->set(leaf, parent_of("two"))), 0);
  EXPECT_EQ(err_of(rates_->delete_node("one")), 0);
  EXPECT_EQ(rates_->object(leaf)->parent, "two");
}

TEST_P(DevlinkRatesContract, NodesBelowNodes) {
  ASSERT_EQ(err_of(rates_->add_node("one")), 0);
  ASSERT_EQ(err_of(rates_->add_node("two")), 0);
  EXPECT_EQ(err_of(rates_->set(RateId::node("one"), parent_of("one"))), EINVAL);
  ASSERT_EQ(err_of(rates_->set(RateId::node("two"), parent_of("one"))), 0);
  EXPECT_EQ(err_of(rates_->set(RateId::node("one"), parent_of("two"))), EEXIST);
  EXPECT_EQ(err_of(rates_->delete_node("one")), EBUSY);
  EXPECT_EQ(err_of(rates_->delete_node("two")), 0);
  EXPECT_EQ(err_of(rates_->delete_node("one")), 0);
}

TEST_P(DevlinkRatesContract, AKernelThatShowsNoWeightsTakesNone) {
  auto leaf = rates_->object(RateId::leaf(port_));
  ASSERT_TRUE(leaf);
  Status set = rates_->set(RateId::leaf(port_), {{}, {}, 5, {}});
  if (leaf->tx_weight) {
    EXPECT_TRUE(err_of(set) == 0 || err_of(set) == EOPNOTSUPP) << set.error().message;
  } else {
    EXPECT_EQ(err_of(set), EINVAL);
  }
}

void DevlinkBackendSuite::SetUp() {
  world_ = GetParam()();
  ASSERT_TRUE(world_);
  site_ = world_->connect();
  ASSERT_TRUE(site_);
  std::uint64_t endpoint = 0;
  for (std::uint32_t port : world_->ports())
    port_of_[++endpoint] = port;
  vpc_of_ = {{1, 17}, {2, 17}, {3, 18}, {4, 18}};
}

std::unique_ptr<Backend> DevlinkBackendSuite::start() {
  qos::devlink::Options options;
  options.handle = world_->handle();
  options.port_of = [this](EndpointUid uid) -> std::optional<std::uint32_t> {
    auto port = port_of_.find(uid.value);
    if (port == port_of_.end()) return std::nullopt;
    return port->second;
  };
  options.endpoint_of = [this](std::uint32_t wanted) -> std::optional<EndpointUid> {
    for (const auto& [endpoint, port] : port_of_) {
      if (port == wanted) return EndpointUid{endpoint};
    }
    return std::nullopt;
  };
  auto backend = qos::devlink::make_devlink_backend(std::move(options), world_->connect());
  EXPECT_TRUE(backend) << backend.error().message;
  return backend ? std::move(*backend) : nullptr;
}

Plan DevlinkBackendSuite::readback(Backend& backend) {
  auto plan = backend.readback([this](EndpointUid uid) -> std::optional<VpcUid> {
    auto vpc = vpc_of_.find(uid.value);
    if (vpc == vpc_of_.end()) return std::nullopt;
    return VpcUid{vpc->second};
  });
  EXPECT_TRUE(plan) << plan.error().message;
  return plan ? *plan : Plan();
}

void DevlinkBackendSuite::reach(Backend& backend, const Plan& want) {
  auto steps = qos::diff(readback(backend), want);
  auto results = backend.program(steps);
  ASSERT_EQ(results.size(), steps.size());
  for (std::size_t i = 0; i < steps.size(); ++i) {
    EXPECT_TRUE(results[i]) << to_string(steps[i].node.id) << ": " << results[i].error().message;
  }
}

RateObject DevlinkBackendSuite::leaf(std::uint64_t endpoint) {
  auto object = site_->object(RateId::leaf(port_of_.at(endpoint)));
  EXPECT_TRUE(object) << object.error().message;
  return object ? *object : RateObject();
}

std::optional<RateObject> DevlinkBackendSuite::node(const std::string& name) {
  auto object = site_->object(RateId::node(name));
  if (!object) return std::nullopt;
  return *object;
}

std::size_t DevlinkBackendSuite::nodes() {
  auto objects = site_->objects();
  EXPECT_TRUE(objects);
  return static_cast<std::size_t>(std::count_if(
      objects->begin(), objects->end(),
      [](const RateObject& object) { return object.id.kind == RateId::Kind::kNode; }));
}

TEST_P(DevlinkBackendSuite, SaysWhatItCanDo) {
  auto backend = start();
  EXPECT_STREQ(backend->name(), "devlink");
  const qos::Capabilities& can = backend->capabilities();
  EXPECT_TRUE(can.guarantee && can.maximum && can.per_vpc && can.per_endpoint);
  EXPECT_FALSE(can.burst || can.counters);
  EXPECT_EQ(can.granularity, BitsPerSecond{kMbit});
  EXPECT_EQ(can.most_nodes, 2 + 2 * world_->ports().size());
  EXPECT_TRUE(backend->counters().value().empty());
  EXPECT_TRUE(readback(*backend).nodes.empty());
}

TEST_P(DevlinkBackendSuite, ProgramsATree) {
  auto backend = start();
  Plan want = plan_of({nic_node(1000), other_node(1000), vpc_node(17, 20, 100), vpc_node(18, 0, 50),
                       endpoint_node(1, 17, 15, 100), endpoint_node(2, 17, 0, 40),
                       endpoint_node(3, 18, 0, 50)});
  reach(*backend, want);
  EXPECT_EQ(nodes(), 2U);
  auto blue = node("qmasq-vpc-17");
  auto red = node("qmasq-vpc-18");
  ASSERT_TRUE(blue && red);
  EXPECT_EQ(blue->tx_share, 20 * kUnit);
  EXPECT_EQ(blue->tx_max, 100 * kUnit);
  EXPECT_EQ(blue->parent, "");
  EXPECT_EQ(red->tx_share, 0U);  // stands for none
  EXPECT_EQ(red->tx_max, 50 * kUnit);
  EXPECT_EQ(leaf(1).tx_share, 15 * kUnit);
  EXPECT_EQ(leaf(1).tx_max, 100 * kUnit);
  EXPECT_EQ(leaf(1).parent, "qmasq-vpc-17");
  EXPECT_EQ(leaf(2).tx_share, 0U);
  EXPECT_EQ(leaf(2).tx_max, 40 * kUnit);
  EXPECT_EQ(leaf(3).parent, "qmasq-vpc-18");
  EXPECT_EQ(leaf(4).parent, "");
  EXPECT_EQ(leaf(4).tx_max, 0U);
  EXPECT_EQ(readback(*backend), want);
  EXPECT_TRUE(qos::diff(readback(*backend), want).empty());
}

TEST_P(DevlinkBackendSuite, RoundsDownButNeverToNothing) {
  auto backend = start();
  Plan want = plan_of({nic_node(1000), vpc_node(17, 20, 100), endpoint_node(1, 17, 1, 1)});
  Node& vpc = want.nodes.at(NodeId::vpc(VpcUid{17}));
  vpc.guaranteed = {2'999'999};
  vpc.maximum = {10'000'001};
  Node& endpoint = want.nodes.at(NodeId::endpoint(EndpointUid{1}));
  endpoint.guaranteed = {8001};
  endpoint.maximum = {300'000};
  reach(*backend, want);
  EXPECT_EQ(node("qmasq-vpc-17")->tx_share, 2 * kUnit);
  EXPECT_EQ(node("qmasq-vpc-17")->tx_max, 10 * kUnit);
  EXPECT_EQ(leaf(1).tx_share, kUnit);
  EXPECT_EQ(leaf(1).tx_max, kUnit);
  Plan have = readback(*backend);
  EXPECT_EQ(have.nodes.at(vpc.id).maximum, BitsPerSecond{10 * kMbit});
  EXPECT_EQ(have.nodes.at(endpoint.id).maximum, BitsPerSecond{kMbit});
}

TEST_P(DevlinkBackendSuite, ChangesAndRemovals) {
  auto backend = start();
  Plan want = plan_of({nic_node(1000), vpc_node(17, 20, 100), endpoint_node(1, 17, 15, 100),
                       endpoint_node(2, 17, 0, 40)});
  reach(*backend, want);
  want.nodes.at(NodeId::endpoint(EndpointUid{1})).maximum = {30 * kMbit};
  want.nodes.at(NodeId::vpc(VpcUid{17})).guaranteed = qos::kLeastGuarantee;
  reach(*backend, want);
  EXPECT_EQ(leaf(1).tx_max, 30 * kUnit);
  EXPECT_EQ(leaf(1).tx_share, 15 * kUnit);
  EXPECT_EQ(node("qmasq-vpc-17")->tx_share, 0U);

  want.nodes.erase(NodeId::endpoint(EndpointUid{1}));
  reach(*backend, want);
  EXPECT_EQ(leaf(1), (RateObject{RateId::leaf(port_of_[1]), 0, 0, leaf(4).tx_weight, ""}));
  EXPECT_EQ(leaf(2).parent, "qmasq-vpc-17");

  reach(*backend, Plan());
  EXPECT_EQ(nodes(), 0U);
  EXPECT_EQ(leaf(2).parent, "");
  EXPECT_EQ(leaf(2).tx_max, 0U);
}

TEST_P(DevlinkBackendSuite, RemovingTheNicRemovesAllOfOurs) {
  ASSERT_TRUE(site_->add_node("site"));
  ASSERT_TRUE(site_->set(RateId::leaf(port_of_[4]), {{}, 70 * kUnit, {}, "site"}));
  auto backend = start();
  Plan want = plan_of({nic_node(1000), vpc_node(17, 20, 100), endpoint_node(1, 17, 15, 100)});
  reach(*backend, want);
  std::vector<Step> steps{{Step::Kind::kRemove, nic_node(1000)}};
  auto results = backend->program(steps);
  ASSERT_TRUE(results.at(0)) << results.at(0).error().message;
  EXPECT_EQ(leaf(1).tx_max, 0U);
  EXPECT_EQ(leaf(1).parent, "");
  EXPECT_EQ(nodes(), 1U);
  EXPECT_EQ(leaf(4).parent, "site");
  EXPECT_EQ(leaf(4).tx_max, 70 * kUnit);
  EXPECT_TRUE(readback(*backend).nodes.empty());
}

TEST_P(DevlinkBackendSuite, AfterARestartItKnowsItsOwn) {
  Plan want = plan_of({nic_node(1000), other_node(1000), vpc_node(17, 20, 100), vpc_node(18, 0, 50),
                       endpoint_node(1, 17, 15, 100), endpoint_node(3, 18, 0, 50)});
  reach(*start(), want);

  auto backend = start();
  Plan have = readback(*backend);
  EXPECT_EQ(have.nodes.size(), want.nodes.size());
  for (const Step& step : qos::diff(have, want)) {
    // The NIC's rate is nowhere in the kernel, and neither is `other`.
    EXPECT_TRUE(step.node.id == NodeId::nic() || step.node.id == NodeId::other());
    EXPECT_EQ(step.kind, Step::Kind::kChange);
  }
  reach(*backend, want);
  EXPECT_EQ(readback(*backend), want);
}

TEST_P(DevlinkBackendSuite, AfterARestartItRemovesWhatIsNobodys) {
  Plan want = plan_of({nic_node(1000), vpc_node(17, 20, 100), vpc_node(18, 0, 50),
                       endpoint_node(1, 17, 15, 100), endpoint_node(2, 17, 0, 40),
                       endpoint_node(3, 18, 0, 50)});
  reach(*start(), want);
  std::uint32_t port_of_2 = port_of_.at(2);
  port_of_.erase(2);  // endpoint 2 is gone
  vpc_of_[3] = 17;    // endpoint 3 is now of another VPC

  auto backend = start();
  Plan have = readback(*backend);
  EXPECT_EQ(have.nodes.count(NodeId::endpoint(EndpointUid{1})), 1U);
  EXPECT_EQ(have.nodes.count(NodeId::endpoint(EndpointUid{2})), 0U);
  EXPECT_EQ(have.nodes.count(NodeId::endpoint(EndpointUid{3})), 0U);
  EXPECT_EQ(have.nodes.count(NodeId::vpc(VpcUid{18})), 0U);
  reach(*backend, plan_of({nic_node(1000), vpc_node(17, 20, 100), endpoint_node(1, 17, 15, 100),
                           endpoint_node(3, 17, 0, 60)}));
  EXPECT_EQ(nodes(), 1U);
  EXPECT_EQ(leaf(3).parent, "qmasq-vpc-17");
  EXPECT_EQ(leaf(3).tx_max, 60 * kUnit);
  auto left = site_->object(RateId::leaf(port_of_2));
  ASSERT_TRUE(left);
  EXPECT_EQ(left->parent, "");
  EXPECT_EQ(left->tx_max, 0U);
}

TEST_P(DevlinkBackendSuite, AnEmptyProgramSweepsToo) {
  reach(*start(), plan_of({nic_node(1000), vpc_node(17, 20, 100), endpoint_node(1, 17, 15, 100)}));
  vpc_of_.erase(1);
  auto backend = start();
  (void)readback(*backend);
  EXPECT_TRUE(backend->program({}).empty());
  EXPECT_EQ(nodes(), 0U);
  EXPECT_EQ(leaf(1).parent, "");
  EXPECT_EQ(leaf(1).tx_share, 0U);
}

TEST_P(DevlinkBackendSuite, WhatIsTheSitesStays) {
  ASSERT_TRUE(site_->add_node("site"));
  ASSERT_TRUE(site_->add_node("qmasq-vpc-017"));  // not as we write it
  ASSERT_TRUE(site_->set(RateId::leaf(port_of_[1]), {{}, {}, {}, "site"}));
  ASSERT_TRUE(site_->set(RateId::leaf(port_of_[2]), {{}, 70 * kUnit, {}, {}}));
  auto backend = start();
  EXPECT_TRUE(readback(*backend).nodes.empty());
  auto steps = qos::diff(
      Plan(), plan_of({nic_node(1000), vpc_node(17, 20, 100), endpoint_node(1, 17, 15, 100),
                       endpoint_node(2, 17, 0, 40), endpoint_node(3, 17, 0, 40)}));
  auto results = backend->program(steps);
  ASSERT_EQ(results.size(), 5U);
  for (std::size_t i = 0; i < steps.size(); ++i) {
    bool foreign = steps[i].node.id == NodeId::endpoint(EndpointUid{1}) ||
                   steps[i].node.id == NodeId::endpoint(EndpointUid{2});
    EXPECT_EQ(results[i].has_value(), !foreign) << to_string(steps[i].node.id);
    if (!results[i] && foreign) {
      EXPECT_EQ(results[i].error().code, Code::kFailedPrecondition);
      EXPECT_NE(results[i].error().message.find("devlink port function rate set " +
                                                world_->handle() + "/"),
                std::string::npos)
          << results[i].error().message;
    }
  }
  EXPECT_EQ(leaf(1).parent, "site");
  EXPECT_EQ(leaf(1).tx_max, 0U);
  EXPECT_EQ(leaf(2).parent, "");
  EXPECT_EQ(leaf(2).tx_max, 70 * kUnit);
  EXPECT_EQ(leaf(3).tx_max, 40 * kUnit);
  // Removing what could not be added is fine, and touches nothing.
  std::vector<Step> removals{{Step::Kind::kRemove, endpoint_node(1, 17, 15, 100)},
                             {Step::Kind::kRemove, endpoint_node(2, 17, 0, 40)}};
  for (const Status& result : backend->program(removals))
    EXPECT_TRUE(result);
  EXPECT_EQ(leaf(1).parent, "site");
  EXPECT_EQ(leaf(2).tx_max, 70 * kUnit);
  EXPECT_TRUE(node("qmasq-vpc-017"));
}

TEST_P(DevlinkBackendSuite, ANodeOfTheSitesBelowOursIsSaid) {
  auto backend = start();
  Plan want = plan_of({nic_node(1000), vpc_node(17, 20, 100), endpoint_node(1, 17, 15, 100)});
  reach(*backend, want);
  ASSERT_TRUE(site_->add_node("site"));
  ASSERT_TRUE(site_->set(RateId::node("site"), parent_of("qmasq-vpc-17")));
  // And a leaf that we do not know: ours by its parent.
  ASSERT_TRUE(site_->set(RateId::leaf(port_of_[4]), {{}, 70 * kUnit, {}, "qmasq-vpc-17"}));
  std::vector<Step> steps{{Step::Kind::kRemove, endpoint_node(1, 17, 15, 100)},
                          {Step::Kind::kRemove, vpc_node(17, 20, 100)}};
  auto results = backend->program(steps);
  EXPECT_TRUE(results.at(0));
  ASSERT_FALSE(results.at(1));
  EXPECT_EQ(results.at(1).error().code, Code::kFailedPrecondition);
  EXPECT_NE(results.at(1).error().message.find("/site noparent"), std::string::npos)
      << results.at(1).error().message;
  ASSERT_TRUE(site_->set(RateId::node("site"), parent_of("")));
  results = backend->program(std::span(steps).last(1));
  EXPECT_TRUE(results.at(0)) << results.at(0).error().message;
  EXPECT_EQ(leaf(4).parent, "");
  EXPECT_TRUE(node("site"));
}

TEST_P(DevlinkBackendSuite, AnEndpointWithoutAPortFailsAlone) {
  port_of_.erase(2);
  port_of_[3] = 9999;  // one that is not there
  auto backend = start();
  (void)readback(*backend);
  auto steps = qos::diff(
      Plan(), plan_of({nic_node(1000), vpc_node(17, 20, 100), endpoint_node(1, 17, 15, 100),
                       endpoint_node(2, 17, 0, 40), endpoint_node(3, 17, 0, 40)}));
  auto results = backend->program(steps);
  ASSERT_EQ(results.size(), 5U);
  EXPECT_TRUE(results[0] && results[1] && results[2]);
  ASSERT_FALSE(results[3]);
  EXPECT_EQ(results[3].error().code, Code::kFailedPrecondition);
  EXPECT_EQ(results[3].error().message,
            "endpoint 2 has no port of " + world_->handle() + ": nothing there limits it");
  ASSERT_FALSE(results[4]);
  EXPECT_EQ(results[4].error().code, Code::kNotFound);
  EXPECT_EQ(leaf(1).tx_max, 100 * kUnit);
}

TEST_P(DevlinkBackendSuite, AnEndpointThatMovesToAnotherPort) {
  auto backend = start();
  Plan want = plan_of({nic_node(1000), vpc_node(17, 20, 100), endpoint_node(1, 17, 15, 100)});
  reach(*backend, want);
  std::uint32_t before = port_of_[1];
  std::swap(port_of_[1], port_of_[4]);
  std::vector<Step> steps{{Step::Kind::kChange, endpoint_node(1, 17, 15, 90)}};
  ASSERT_TRUE(backend->program(steps).at(0));
  EXPECT_EQ(leaf(1).tx_max, 90 * kUnit);
  EXPECT_EQ(leaf(1).parent, "qmasq-vpc-17");
  EXPECT_EQ(port_of_[4], before);
  EXPECT_EQ(leaf(4).parent, "");
  EXPECT_EQ(leaf(4).tx_max, 0U);
}

TEST_P(DevlinkBackendSuite, OnePortForOneEndpoint) {
  auto backend = start();
  reach(*backend, plan_of({nic_node(1000), vpc_node(17, 20, 100), endpoint_node(1, 17, 15, 100)}));
  port_of_[2] = port_of_[1];
  std::vector<Step> steps{{Step::Kind::kAdd, endpoint_node(2, 17, 0, 10)}};
  auto results = backend->program(steps);
  ASSERT_FALSE(results.at(0));
  EXPECT_EQ(results.at(0).error().code, Code::kFailedPrecondition);
  EXPECT_EQ(leaf(1).tx_max, 100 * kUnit);
}

TEST_P(DevlinkBackendSuite, AboveTheLinkIsTheDriversErrorAndLeavesNothing) {
  auto backend = start();
  auto steps = qos::diff(
      Plan(), plan_of({nic_node(9000), vpc_node(17, 0, 1000), endpoint_node(1, 17, 10, 9000)}));
  (void)readback(*backend);
  auto results = backend->program(steps);
  EXPECT_TRUE(results.at(0) && results.at(1));
  ASSERT_FALSE(results.at(2));
  EXPECT_EQ(results.at(2).error().err, EINVAL);
  EXPECT_NE(results.at(2).error().message.find("exceed link maximum speed"), std::string::npos)
      << results.at(2).error().message;
  EXPECT_EQ(leaf(1).tx_share, 0U);
  EXPECT_EQ(leaf(1).parent, "");
}

DevlinkQosWorld::DevlinkQosWorld(std::unique_ptr<DevlinkWorld> world) : world_(std::move(world)) {}

std::unique_ptr<Backend> DevlinkQosWorld::backend() {
  qos::devlink::Options options;
  options.handle = world_->handle();
  options.port_of = [this](EndpointUid uid) -> std::optional<std::uint32_t> {
    auto ports = world_->ports();
    if (uid.value == 0 || uid.value > ports.size()) return std::nullopt;
    return ports[uid.value - 1];
  };
  options.endpoint_of = [this](std::uint32_t port) -> std::optional<EndpointUid> {
    auto ports = world_->ports();
    auto at = std::find(ports.begin(), ports.end(), port);
    if (at == ports.end()) return std::nullopt;
    return EndpointUid{static_cast<std::uint64_t>(at - ports.begin()) + 1};
  };
  return qos::devlink::make_devlink_backend(std::move(options), world_->connect()).value();
}

bool DevlinkQosWorld::is_clean() {
  auto objects = world_->connect()->objects().value();
  return objects.size() == world_->ports().size() &&
         std::all_of(objects.begin(), objects.end(), [](const RateObject& object) {
           return object.tx_share == 0 && object.tx_max == 0 && object.parent.empty();
         });
}

std::vector<EndpointUid> DevlinkQosWorld::endpoints() {
  return {EndpointUid{1}, EndpointUid{2}, EndpointUid{3}, EndpointUid{4}};
}

Node DevlinkQosWorld::rounded(const Node& node) {
  Node round = node;
  round.burst = 0;
  round.weight = 0;
  round.ports = {};
  if (node.id == NodeId::nic() || node.id == NodeId::other()) {
    round.guaranteed = qos::kLeastGuarantee;
    round.maximum = qos::devlink::kUnlimited;
    return round;
  }
  auto down = [](BitsPerSecond rate) {
    return BitsPerSecond{std::max(rate.value / kMbit, std::uint64_t{1}) * kMbit};
  };
  if (node.guaranteed > qos::kLeastGuarantee) round.guaranteed = down(node.guaranteed);
  round.maximum = down(node.maximum);
  return round;
}

}  // namespace qmasq::test

// SPDX-License-Identifier: Apache-2.0
#include "tests/support/qos_contract.h"

#include <algorithm>

#include "qos/policy.h"

namespace qmasq::test {

using qos::Backend;
using qos::Node;
using qos::NodeId;
using qos::Plan;
using qos::Step;

namespace {

constexpr BitsPerSecond mbit(std::uint64_t number) {
  return BitsPerSecond{number * 1'000'000};
}

Node node(NodeId id, NodeId parent, BitsPerSecond guaranteed, BitsPerSecond maximum) {
  Node made;
  made.id = id;
  made.parent = parent;
  made.guaranteed = guaranteed;
  made.maximum = maximum;
  made.burst = 65536;
  made.weight = qos::kDefaultWeight;
  return made;
}

std::vector<Step> of_kind(Step::Kind kind, const std::vector<Node>& nodes) {
  std::vector<Step> steps;
  steps.reserve(nodes.size());
  for (const Node& one : nodes)
    steps.push_back({kind, one});
  return steps;
}

}  // namespace

void QosContract::SetUp() {
  world_ = GetParam()();
  if (std::string why = world_->missing(); !why.empty()) GTEST_SKIP() << why;
  endpoints_ = world_->endpoints();
  ASSERT_GE(endpoints_.size(), 4U);
  ASSERT_TRUE(world_->is_clean());
}

void QosContract::TearDown() {
  if (IsSkipped()) return;
  // Whatever a test left goes by the removal of the NIC's node.
  Plan found;
  auto backend = restarted(&found);
  auto results = backend->program(of_kind(Step::Kind::kRemove, {plan().nodes.at(NodeId::nic())}));
  for (const Status& done : results)
    EXPECT_TRUE(done) << done.error().message;
  EXPECT_TRUE(world_->is_clean());
}

Plan QosContract::plan() const {
  Plan made;
  auto put = [&](const Node& one) { made.nodes[one.id] = one; };
  BitsPerSecond rate = world_->rate();
  put(node(NodeId::nic(), NodeId::nic(), rate, rate));
  put(node(NodeId::other(), NodeId::nic(), qos::kLeastGuarantee, rate));
  put(node(NodeId::vpc(VpcUid{1}), NodeId::nic(), mbit(30), mbit(200)));
  put(node(NodeId::vpc(VpcUid{2}), NodeId::nic(), mbit(10), rate));
  for (std::size_t i = 0; i < 4; ++i) {
    Node one = node(NodeId::endpoint(endpoints_[i]), NodeId::vpc(vpc_of(endpoints_[i])),
                    mbit(i + 1), mbit(50 + i));
    one.weight = static_cast<std::uint32_t>(10 * (i + 1));
    one.ports = {static_cast<std::uint16_t>(0xc000 + 16 * i), 16};
    put(one);
  }
  return made;
}

VpcUid QosContract::vpc_of(EndpointUid endpoint) const {
  auto at = std::find(endpoints_.begin(), endpoints_.end(), endpoint);
  return VpcUid{at - endpoints_.begin() < 2 ? 1U : 2U};
}

Backend::VpcOf QosContract::known() const {
  return [this](EndpointUid endpoint) -> std::optional<VpcUid> {
    if (std::count(unknown_.begin(), unknown_.end(), endpoint) > 0 ||
        std::count(endpoints_.begin(), endpoints_.end(), endpoint) == 0) {
      return std::nullopt;
    }
    return vpc_of(endpoint);
  };
}

std::unique_ptr<Backend> QosContract::restarted(Plan* found) {
  auto backend = world_->backend();
  auto read = backend->readback(known());
  EXPECT_TRUE(read) << read.error().message;
  if (read && found != nullptr) *found = std::move(*read);
  return backend;
}

void QosContract::program(Backend& backend, const Plan& from, const Plan& to) {
  auto steps = qos::diff(from, to);
  auto results = backend.program(steps);
  ASSERT_EQ(results.size(), steps.size());
  for (std::size_t i = 0; i < results.size(); ++i) {
    ASSERT_TRUE(results[i]) << to_string(steps[i].node.id) << ": " << results[i].error().message;
  }
}

void QosContract::expect_there(const Plan& want) {
  Plan found;
  (void)restarted(&found);
  Plan rounded;
  for (const auto& [id, one] : want.nodes)
    rounded.nodes[id] = world_->rounded(one);
  for (const auto& [id, one] : rounded.nodes) {
    ASSERT_TRUE(found.nodes.contains(id)) << to_string(id) << " is missing";
    const Node& there = found.nodes.at(id);
    EXPECT_EQ(there.parent, one.parent) << to_string(id);
    EXPECT_EQ(there.guaranteed, one.guaranteed) << to_string(id);
    EXPECT_EQ(there.maximum, one.maximum) << to_string(id);
    EXPECT_EQ(there.burst, one.burst) << to_string(id);
    EXPECT_EQ(there.weight, one.weight) << to_string(id);
    EXPECT_EQ(there.ports, one.ports) << to_string(id);
  }
  EXPECT_EQ(found.nodes.size(), rounded.nodes.size());
}

TEST_P(QosContract, NothingIsThereAtFirst) {
  Plan found;
  auto backend = restarted(&found);
  EXPECT_TRUE(found.nodes.empty());
  EXPECT_TRUE(backend->program({}).empty());
  EXPECT_TRUE(world_->is_clean());
}

TEST_P(QosContract, ProgramsNothingBeforeItHasReadBack) {
  auto backend = world_->backend();
  auto results = backend->program(qos::diff({}, plan()));
  ASSERT_EQ(results.size(), plan().nodes.size());
  for (const Status& done : results)
    EXPECT_EQ(done.error().code, Code::kFailedPrecondition);
  EXPECT_TRUE(world_->is_clean());
}

TEST_P(QosContract, WhatIsProgrammedIsReadBackByTheNextAgent) {
  auto backend = restarted();
  program(*backend, {}, plan());
  expect_there(plan());
}

TEST_P(QosContract, EqualPlansNeedNoStepAfterARestart) {
  auto backend = restarted();
  program(*backend, {}, plan());
  Plan found;
  backend = restarted(&found);
  Plan rounded;
  for (const auto& [id, one] : plan().nodes)
    rounded.nodes[id] = world_->rounded(one);
  EXPECT_TRUE(qos::diff(found, rounded).empty());
}

TEST_P(QosContract, ChangesLimitsInPlace) {
  auto backend = restarted();
  program(*backend, {}, plan());
  Plan changed = plan();
  changed.nodes.at(NodeId::nic()).maximum = changed.nodes.at(NodeId::nic()).guaranteed =
      BitsPerSecond{world_->rate().value / 2};
  Node& vpc = changed.nodes.at(NodeId::vpc(VpcUid{1}));
  vpc.guaranteed = mbit(31);
  vpc.maximum = mbit(100);
  Node& endpoint = changed.nodes.at(NodeId::endpoint(endpoints_[0]));
  endpoint.guaranteed = mbit(5);
  endpoint.maximum = mbit(20);
  program(*backend, plan(), changed);
  expect_there(changed);
  // And by an agent that did not make them.
  backend = restarted();
  program(*backend, changed, plan());
  expect_there(plan());
}

TEST_P(QosContract, ChangesBurstAndWeight) {
  auto backend = restarted();
  const auto& capabilities = backend->capabilities();
  if (!capabilities.burst && !capabilities.weight) return;  // promised neither
  program(*backend, {}, plan());
  Plan changed = plan();
  for (auto& [id, one] : changed.nodes) {
    if (capabilities.burst) one.burst = 131072;
    if (capabilities.weight) one.weight = 7;
  }
  program(*backend, plan(), changed);
  expect_there(changed);
}

TEST_P(QosContract, RatesAreRoundedDownAndNeverToNothing) {
  auto backend = restarted();
  Plan odd = plan();
  Node& one = odd.nodes.at(NodeId::endpoint(endpoints_[0]));
  one.guaranteed = qos::kLeastGuarantee;
  one.maximum = BitsPerSecond{20'000'007};
  program(*backend, {}, odd);
  Plan found;
  (void)restarted(&found);
  const Node& there = found.nodes.at(one.id);
  EXPECT_GT(there.guaranteed.value, 0U);
  EXPECT_GT(there.maximum.value, 0U);
  std::uint64_t granularity = backend->capabilities().granularity.value;
  EXPECT_EQ(there.maximum.value,
            std::max<std::uint64_t>(one.maximum.value / granularity * granularity, granularity));
}

TEST_P(QosContract, NodesComeAndGoByThemselves) {
  auto backend = restarted();
  Plan part = plan();
  part.nodes.erase(NodeId::endpoint(endpoints_[1]));
  part.nodes.erase(NodeId::endpoint(endpoints_[2]));
  part.nodes.erase(NodeId::endpoint(endpoints_[3]));
  part.nodes.erase(NodeId::vpc(VpcUid{2}));
  program(*backend, {}, part);
  expect_there(part);
  program(*backend, part, plan());
  expect_there(plan());
  program(*backend, plan(), part);
  expect_there(part);
}

TEST_P(QosContract, AnEndpointMayComeAgainWithOtherPorts) {
  auto backend = restarted();
  program(*backend, {}, plan());
  Plan changed = plan();
  changed.nodes.at(NodeId::endpoint(endpoints_[0])).ports = {0xd000, 4};
  // Blocks of those that go are free for others at once.
  changed.nodes.at(NodeId::endpoint(endpoints_[1])).ports = {0xc000, 16};
  program(*backend, plan(), changed);
  expect_there(changed);
}

TEST_P(QosContract, RemovingTheNicRemovesAll) {
  auto backend = restarted();
  program(*backend, {}, plan());
  EXPECT_FALSE(world_->is_clean());
  auto results = backend->program(of_kind(Step::Kind::kRemove, {plan().nodes.at(NodeId::nic())}));
  ASSERT_EQ(results.size(), 1U);
  EXPECT_TRUE(results[0]);
  EXPECT_TRUE(world_->is_clean());
  expect_there({});
  // And it can be made again.
  program(*backend, {}, plan());
  expect_there(plan());
}

TEST_P(QosContract, RemovingAllByStepsLeavesNothing) {
  auto backend = restarted();
  program(*backend, {}, plan());
  program(*backend, plan(), {});
  EXPECT_TRUE(world_->is_clean());
}

TEST_P(QosContract, LeftoversOfEndpointsThatAreGoneAreRemoved) {
  auto backend = restarted();
  program(*backend, {}, plan());
  unknown_ = {endpoints_[1], endpoints_[2], endpoints_[3]};
  Plan rest = plan();
  for (EndpointUid one : unknown_)
    rest.nodes.erase(NodeId::endpoint(one));
  rest.nodes.erase(NodeId::vpc(VpcUid{2}));
  expect_there(rest);
  // Reading back alone removes nothing.
  unknown_.clear();
  expect_there(plan());
  unknown_ = {endpoints_[1], endpoints_[2], endpoints_[3]};
  backend = restarted();
  EXPECT_TRUE(backend->program({}).empty());
  unknown_.clear();
  expect_there(rest);
  // Whoever comes then finds the place free.
  backend = restarted();
  program(*backend, rest, plan());
  expect_there(plan());
}

TEST_P(QosContract, AStepThatFailsDoesNotStopOthers) {
  auto backend = restarted();
  Plan all = plan();
  program(*backend, {}, all);
  Node wrong = all.nodes.at(NodeId::endpoint(endpoints_[0]));
  wrong.id = NodeId::endpoint(endpoints_[1]);
  wrong.maximum = BitsPerSecond{0};
  wrong.guaranteed = BitsPerSecond{0};
  wrong.parent = NodeId::vpc(VpcUid{77});
  Node right = all.nodes.at(NodeId::vpc(VpcUid{1}));
  right.maximum = mbit(123);
  auto results = backend->program(of_kind(Step::Kind::kChange, {wrong, right}));
  ASSERT_EQ(results.size(), 2U);
  ASSERT_FALSE(results[0]);
  EXPECT_FALSE(results[0].error().message.empty());
  EXPECT_TRUE(results[1]) << results[1].error().message;
  all.nodes.at(right.id) = right;
  expect_there(all);
}

TEST_P(QosContract, WhatNeedsAMissingParentFails) {
  auto backend = restarted();
  Plan part = plan();
  part.nodes.erase(NodeId::vpc(VpcUid{1}));
  auto results = backend->program(qos::diff({}, part));
  auto steps = qos::diff({}, part);
  for (std::size_t i = 0; i < steps.size(); ++i) {
    bool orphan = steps[i].node.parent == NodeId::vpc(VpcUid{1});
    EXPECT_EQ(results[i].has_value(), !orphan) << to_string(steps[i].node.id);
  }
  part.nodes.erase(NodeId::endpoint(endpoints_[0]));
  part.nodes.erase(NodeId::endpoint(endpoints_[1]));
  expect_there(part);
}

TEST_P(QosContract, CountersOfAllNodesThatAreProgrammed) {
  auto backend = restarted();
  auto none = backend->counters();
  ASSERT_TRUE(none) << none.error().message;
  EXPECT_TRUE(none->empty());
  program(*backend, {}, plan());
  auto counters = backend->counters();
  ASSERT_TRUE(counters) << counters.error().message;
  if (!backend->capabilities().counters) {
    EXPECT_TRUE(counters->empty());
    return;
  }
  EXPECT_EQ(counters->size(), plan().nodes.size());
  for (const auto& [id, one] : plan().nodes)
    EXPECT_TRUE(counters->contains(id)) << to_string(id);
}

}  // namespace qmasq::test

// SPDX-License-Identifier: Apache-2.0
#include "qos/plan.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

#include "tests/unit/qos/values.h"

namespace qmasq::qos {
namespace {

constexpr std::uint32_t kSeed = 20261127;

Node node(NodeId id, NodeId parent, std::uint64_t guaranteed = 1'000'000) {
  Node out;
  out.id = id;
  out.parent = parent;
  out.guaranteed = BitsPerSecond{guaranteed};
  out.maximum = BitsPerSecond{10'000'000};
  out.burst = 16384;
  out.weight = 10;
  if (id.kind == NodeId::Kind::kEndpoint)
    out.ports = {static_cast<std::uint16_t>(0xc000 + id.uid * 16), 16};
  return out;
}

void put(Plan& plan, const Node& value) {
  plan.nodes[value.id] = value;
}

const NodeId kVpc1 = NodeId::vpc(VpcUid{1});
const NodeId kVpc2 = NodeId::vpc(VpcUid{2});
NodeId endpoint(std::uint64_t uid) {
  return NodeId::endpoint(EndpointUid{uid});
}

// VPC 1 with the endpoints 11 and 12, VPC 2 with 21.
Plan small_plan() {
  Plan plan;
  put(plan, node(NodeId::nic(), NodeId::nic()));
  put(plan, node(NodeId::other(), NodeId::nic()));
  put(plan, node(kVpc1, NodeId::nic()));
  put(plan, node(kVpc2, NodeId::nic()));
  put(plan, node(endpoint(11), kVpc1));
  put(plan, node(endpoint(12), kVpc1));
  put(plan, node(endpoint(21), kVpc2));
  return plan;
}

std::vector<std::string> names(const std::vector<Step>& steps) {
  std::vector<std::string> out;
  for (const Step& step : steps) {
    const char* kind = step.kind == Step::Kind::kAdd      ? "add "
                       : step.kind == Step::Kind::kChange ? "change "
                                                          : "remove ";
    out.push_back(kind + to_string(step.node.id));
  }
  return out;
}
using Names = std::vector<std::string>;

TEST(Plan, NamesNodes) {
  EXPECT_EQ(to_string(NodeId::nic()), "nic");
  EXPECT_EQ(to_string(NodeId::other()), "other");
  EXPECT_EQ(to_string(kVpc1), "vpc 1");
  EXPECT_EQ(to_string(endpoint(17)), "endpoint 17");
}

TEST(Plan, DiffOfEqualsIsEmpty) {
  EXPECT_TRUE(diff({}, {}).empty());
  EXPECT_TRUE(diff(small_plan(), small_plan()).empty());
}

TEST(Plan, ParentsComeFirstAndGoLast) {
  EXPECT_EQ(names(diff({}, small_plan())),
            (Names{"add nic", "add other", "add vpc 1", "add vpc 2", "add endpoint 11",
                   "add endpoint 12", "add endpoint 21"}));
  EXPECT_EQ(names(diff(small_plan(), {})),
            (Names{"remove endpoint 21", "remove endpoint 12", "remove endpoint 11", "remove vpc 2",
                   "remove vpc 1", "remove other", "remove nic"}));
}

TEST(Plan, OnlyWhatDiffersIsTouched) {
  Plan want = small_plan();
  want.nodes[endpoint(12)].weight = 20;
  want.nodes[kVpc2].burst = 4096;
  auto steps = diff(small_plan(), want);
  EXPECT_EQ(names(steps), (Names{"change vpc 2", "change endpoint 12"}));
  EXPECT_EQ(steps[1].node, want.nodes[endpoint(12)]);
}

TEST(Plan, RemovedNodesHaveWhatTheyHad) {
  Plan want = small_plan();
  want.nodes.erase(endpoint(11));
  auto steps = diff(small_plan(), want);
  ASSERT_EQ(names(steps), (Names{"remove endpoint 11"}));
  EXPECT_EQ(steps[0].node, small_plan().nodes[endpoint(11)]);
}

TEST(Plan, AnotherParentOrOtherPortsAreAnotherNode) {
  Plan want = small_plan();
  want.nodes[endpoint(21)].parent = kVpc1;
  want.nodes.erase(kVpc2);
  want.nodes[endpoint(11)].ports = {0xd000, 4};
  EXPECT_EQ(names(diff(small_plan(), want)),
            (Names{"remove endpoint 21", "remove endpoint 11", "remove vpc 2", "add endpoint 11",
                   "add endpoint 21"}));
}

Plan random_plan(std::mt19937& random) {
  Plan plan;
  if (random() % 10 == 0) return plan;
  auto with = [&](NodeId id, NodeId parent) {
    Node out = node(id, parent, 8000 * (1 + random() % 2));
    out.weight = 1 + random() % 2;
    put(plan, out);
  };
  with(NodeId::nic(), NodeId::nic());
  with(NodeId::other(), NodeId::nic());
  for (std::uint64_t vpc = 1; vpc <= 4; ++vpc) {
    if (random() % 2 == 0) with(NodeId::vpc(VpcUid{vpc}), NodeId::nic());
  }
  for (std::uint64_t uid = 1; uid <= 12; ++uid) {
    const NodeId parent = NodeId::vpc(VpcUid{1 + random() % 4});
    if (!plan.nodes.contains(parent)) continue;
    with(endpoint(uid), parent);
    if (random() % 4 == 0) plan.nodes[endpoint(uid)].ports.count = 4;
  }
  return plan;
}

TEST(Plan, StepsLeadFromAnyPlanToAnyOtherAndKeepTheTreeWhole) {
  std::mt19937 random(kSeed);
  for (int round = 0; round < 20'000; ++round) {
    const Plan have = random_plan(random);
    const Plan want = random_plan(random);
    const auto steps = diff(have, want);
    Plan at = have;
    std::size_t replaced = 0;
    for (auto step = steps.begin(); step != steps.end(); ++step) {
      const bool there = at.nodes.contains(step->node.id);
      ASSERT_EQ(there, step->kind != Step::Kind::kAdd);
      if (there && step->kind == Step::Kind::kRemove) {
        ASSERT_EQ(at.nodes[step->node.id], step->node);
        if (want.nodes.contains(step->node.id)) ++replaced;
      }
      apply(step, step + 1, at);
      ASSERT_EQ(test::fault_of_tree(at), "");
    }
    ASSERT_EQ(at, want);
    std::size_t differing = 0;
    for (const auto& [id, value] : have.nodes) {
      auto found = want.nodes.find(id);
      differing += found == want.nodes.end() || found->second != value ? 1 : 0;
    }
    for (const auto& [id, value] : want.nodes)
      differing += have.nodes.contains(id) ? 0 : 1;
    ASSERT_EQ(steps.size(), differing + replaced) << "minimal";
    ASSERT_TRUE(diff(at, want).empty());
    at = have;
    apply(steps.begin(), steps.end(), at);
    ASSERT_EQ(at, want);
  }
}

}  // namespace
}  // namespace qmasq::qos

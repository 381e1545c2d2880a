// SPDX-License-Identifier: Apache-2.0
#include "qos/backends/devlink/backend.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <random>

#include "tests/support/devlink_suites.h"
#include "tests/support/fake_devlink.h"

// What only a fake can be brought to. The rest: tests/support/devlink_suites.cc.
namespace qmasq::qos::devlink {
namespace {

using test::endpoint_node;
using test::FakeDevlink;
using test::nic_node;
using test::plan_of;
using test::vpc_node;

constexpr std::uint64_t kUnit = 125'000;  // 1 Mbit/s in bytes

class DevlinkBackendTest : public ::testing::Test {
 protected:
  void make(const FakeDevlink::Options& options = {}) {
    device_ = std::make_unique<FakeDevlink>(options);
    for (std::size_t i = 0; i < options.ports.size(); ++i)
      port_of_[i + 1] = options.ports[i];
    restart();
  }
  void restart() {
    Options options;
    options.handle = "netdevsim/netdevsim10";
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
    backend_ = make_devlink_backend(std::move(options), device_->connect()).value();
  }
  // Endpoints belong where the last plan has them.
  Plan readback() {
    return backend_
        ->readback([this](EndpointUid uid) -> std::optional<VpcUid> {
          auto node = want_.nodes.find(NodeId::endpoint(uid));
          if (node == want_.nodes.end()) return std::nullopt;
          return VpcUid{node->second.parent.uid};
        })
        .value();
  }
  std::vector<Status> reach(const Plan& want) {
    want_ = want;
    auto steps = diff(readback(), want);
    device_->take_changes();
    return backend_->program(steps);
  }
  RateObject leaf(std::uint64_t endpoint) {
    return device_->connect()->object(RateId::leaf(port_of_.at(endpoint))).value();
  }
  // What there is in the kernel is what `want` says, and no more.
  void expect_exactly(const Plan& want, const std::string& when) {
    auto objects = device_->connect()->objects().value();
    std::size_t nodes = 0;
    for (const RateObject& object : objects) {
      const Node* node = nullptr;
      if (object.id.kind == RateId::Kind::kNode) {
        ++nodes;
        for (const auto& [id, candidate] : want.nodes) {
          if (id.kind == NodeId::Kind::kVpc &&
              object.id.name == "qmasq-vpc-" + std::to_string(id.uid)) {
            node = &candidate;
          }
        }
        EXPECT_TRUE(node) << when << ": " << object.id.name;
      } else {
        for (const auto& [endpoint, port] : port_of_) {
          auto found = want.nodes.find(NodeId::endpoint(EndpointUid{endpoint}));
          if (port == object.id.port && found != want.nodes.end()) node = &found->second;
        }
      }
      std::uint64_t share =
          node == nullptr || node->guaranteed <= kLeastGuarantee ? 0 : node->guaranteed.value / 8;
      EXPECT_EQ(object.tx_share, share) << when << ": " << to_string(object.id);
      EXPECT_EQ(object.tx_max, node == nullptr ? 0 : node->maximum.value / 8)
          << when << ": " << to_string(object.id);
      std::string parent = node == nullptr || object.id.kind == RateId::Kind::kNode
                               ? ""
                               : "qmasq-vpc-" + std::to_string(node->parent.uid);
      EXPECT_EQ(object.parent, parent) << when << ": " << to_string(object.id);
    }
    auto vpcs = std::count_if(want.nodes.begin(), want.nodes.end(), [](const auto& entry) {
      return entry.first.kind == NodeId::Kind::kVpc;
    });
    EXPECT_EQ(nodes, static_cast<std::size_t>(vpcs)) << when;
  }

  std::unique_ptr<FakeDevlink> device_;
  std::unique_ptr<Backend> backend_;
  std::map<std::uint64_t, std::uint32_t> port_of_;
  Plan want_;
};

TEST_F(DevlinkBackendTest, TheMarkComesFirstAndGoesLast) {
  make();
  Plan want = plan_of({nic_node(1000), vpc_node(17, 20, 100), endpoint_node(1, 17, 15, 30)});
  for (const Status& result : reach(want))
    EXPECT_TRUE(result);
  EXPECT_EQ(device_->take_changes(),
            (std::vector<std::string>{
                "add node qmasq-vpc-17", "set node qmasq-vpc-17 share=2500000 max=12500000",
                "set port 128 parent=qmasq-vpc-17", "set port 128 share=1875000 max=3750000"}));
  for (const Status& result : reach(Plan()))
    EXPECT_TRUE(result);
  // In the order in which the kernel takes one message.
  EXPECT_EQ(device_->take_changes(), (std::vector<std::string>{"set port 128 share=0 max=0 parent=",
                                                               "delete node qmasq-vpc-17"}));
}

TEST_F(DevlinkBackendTest, OnlyWhatDiffersIsSent) {
  make();
  Plan want = plan_of({nic_node(1000), vpc_node(17, 20, 100), endpoint_node(1, 17, 15, 30)});
  for (const Status& result : reach(want))
    EXPECT_TRUE(result);
  want.nodes.at(NodeId::endpoint(EndpointUid{1})).maximum = {31'000'000};
  for (const Status& result : reach(want))
    EXPECT_TRUE(result);
  EXPECT_EQ(device_->take_changes(), std::vector<std::string>{"set port 128 max=3875000"});
  for (const Status& result : reach(want))
    EXPECT_TRUE(result);
  EXPECT_TRUE(device_->take_changes().empty());
}

// After a restart the ports of endpoints are not known: each is removed and added.
TEST_F(DevlinkBackendTest, ARemovalAndAnAdditionLeaveTheLimitsOn) {
  make();
  Plan want = plan_of({nic_node(1000), vpc_node(17, 20, 100), endpoint_node(1, 17, 15, 30)});
  want.nodes.at(NodeId::endpoint(EndpointUid{1})).ports = {0xc000, 16};
  for (const Status& result : reach(want))
    EXPECT_TRUE(result);
  restart();
  auto results = reach(want);
  EXPECT_GE(results.size(), 2U);
  for (const Status& result : results)
    EXPECT_TRUE(result);
  EXPECT_TRUE(device_->take_changes().empty());
  EXPECT_EQ(readback(), want);
}

TEST_F(DevlinkBackendTest, AnEndpointThatMovesToAnotherVpc) {
  make();
  Plan want = plan_of({nic_node(1000), vpc_node(17, 20, 100), vpc_node(18, 0, 50),
                       endpoint_node(1, 17, 15, 30), endpoint_node(2, 18, 0, 30)});
  for (const Status& result : reach(want))
    EXPECT_TRUE(result);
  want.nodes.at(NodeId::endpoint(EndpointUid{1})).parent = NodeId::vpc(VpcUid{18});
  auto steps = diff(readback(), want);
  for (const Status& result : backend_->program(steps))
    EXPECT_TRUE(result);
  expect_exactly(want, "moved");
}

TEST_F(DevlinkBackendTest, WithoutGuarantees) {
  FakeDevlink::Options options;
  options.share = false;
  make(options);
  EXPECT_TRUE(backend_->capabilities().guarantee);
  Plan want = plan_of({nic_node(1000), vpc_node(17, 0, 100), endpoint_node(1, 17, 0, 30)});
  for (const Status& result : reach(want))
    EXPECT_TRUE(result);
  EXPECT_TRUE(backend_->capabilities().guarantee);  // nobody has asked yet
  want.nodes.at(NodeId::endpoint(EndpointUid{1})).guaranteed = {10'000'000};
  want.nodes.at(NodeId::endpoint(EndpointUid{1})).maximum = {20'000'000};
  for (const Status& result : reach(want))
    EXPECT_TRUE(result) << result.error().message;
  EXPECT_FALSE(backend_->capabilities().guarantee);
  EXPECT_EQ(leaf(1).tx_max, 20 * kUnit);
  for (const Status& result : reach(Plan()))
    EXPECT_TRUE(result);
  expect_exactly(Plan(), "removed");
}

TEST_F(DevlinkBackendTest, WithoutMaxima) {
  FakeDevlink::Options options;
  options.maximum = false;
  make(options);
  auto results =
      reach(plan_of({nic_node(1000), vpc_node(17, 0, 100), endpoint_node(1, 17, 0, 30)}));
  EXPECT_TRUE(results.at(0));
  ASSERT_FALSE(results.at(1));
  EXPECT_EQ(results.at(1).error().code, Code::kUnsupported);
  EXPECT_FALSE(results.at(2));  // its VPC is not there
  EXPECT_EQ(results.at(2).error().code, Code::kFailedPrecondition);
}

TEST_F(DevlinkBackendTest, WithoutNodes) {
  FakeDevlink::Options options;
  options.nodes = false;
  make(options);
  auto results = reach(plan_of({nic_node(1000), vpc_node(17, 0, 100)}));
  ASSERT_FALSE(results.at(1));
  EXPECT_EQ(results.at(1).error().code, Code::kUnsupported);
  EXPECT_EQ(results.at(1).error().message,
            "netdevsim/netdevsim10 takes no rate nodes: it needs a driver that has them and "
            "switchdev mode (devlink dev eswitch show netdevsim/netdevsim10): Rate nodes aren't "
            "supported: Operation not supported");
}

TEST_F(DevlinkBackendTest, WeightsWhereTheDriverHasThem) {
  FakeDevlink::Options options;
  options.weights_in_kernel = true;
  options.weights = true;
  options.least_weight = 1;
  make(options);
  EXPECT_TRUE(backend_->capabilities().weight);
  Plan want = plan_of({nic_node(1000), vpc_node(17, 0, 100), endpoint_node(1, 17, 0, 30)});
  want.nodes.at(NodeId::vpc(VpcUid{17})).weight = 10;
  want.nodes.at(NodeId::endpoint(EndpointUid{1})).weight = 70;
  for (const Status& result : reach(want))
    EXPECT_TRUE(result) << result.error().message;
  EXPECT_EQ(leaf(1).tx_weight, 70U);
  EXPECT_EQ(readback().nodes.at(NodeId::endpoint(EndpointUid{1})).weight, 70U);
  for (const Status& result : reach(Plan()))
    EXPECT_TRUE(result);
  EXPECT_EQ(leaf(1).tx_weight, 1U);  // such a driver knows no way back to none
  expect_exactly(Plan(), "removed");
}

TEST_F(DevlinkBackendTest, WeightsThatOnlyTheKernelHas) {
  FakeDevlink::Options options;
  options.weights_in_kernel = true;
  make(options);
  EXPECT_TRUE(backend_->capabilities().weight);
  Plan want = plan_of({nic_node(1000), vpc_node(17, 10, 100), endpoint_node(1, 17, 10, 30)});
  for (auto& [id, node] : want.nodes)
    node.weight = 10;
  for (const Status& result : reach(want))
    EXPECT_TRUE(result) << result.error().message;
  EXPECT_FALSE(backend_->capabilities().weight);
  EXPECT_TRUE(backend_->capabilities().guarantee);
  expect_exactly(want, "programmed");
  EXPECT_TRUE(diff(readback(), want).empty());
}

TEST_F(DevlinkBackendTest, APortThatGoesWithItsFunction) {
  make();
  Plan want = plan_of({nic_node(1000), vpc_node(17, 0, 100), endpoint_node(1, 17, 0, 30)});
  for (const Status& result : reach(want))
    EXPECT_TRUE(result);
  device_->remove_port(port_of_[1]);
  std::vector<Step> change{{Step::Kind::kChange, endpoint_node(1, 17, 0, 40)}};
  auto results = backend_->program(change);
  ASSERT_FALSE(results.at(0));
  EXPECT_EQ(results.at(0).error().code, Code::kNotFound);
  for (const Status& result : reach(Plan()))
    EXPECT_TRUE(result) << result.error().message;
  expect_exactly(Plan(), "removed");
  // And comes back as new.
  device_->add_port(port_of_[1]);
  for (const Status& result : reach(want))
    EXPECT_TRUE(result);
  expect_exactly(want, "again");
}

// Whatever fails, with whatever error: the next attempt, and one after a restart, get there.
TEST_F(DevlinkBackendTest, EveryFailureIsMended) {
  Plan first = plan_of({nic_node(1000), vpc_node(17, 20, 100), vpc_node(18, 0, 50),
                        endpoint_node(1, 17, 15, 100), endpoint_node(2, 17, 0, 40),
                        endpoint_node(3, 18, 0, 50)});
  Plan second = plan_of({nic_node(1000), vpc_node(17, 10, 90), vpc_node(19, 5, 50),
                         endpoint_node(1, 17, 5, 80), endpoint_node(3, 19, 5, 50),
                         endpoint_node(4, 19, 0, 20)});
  struct Failure {
    int err;
    int times;
  };
  for (bool restarted : {false, true}) {
    for (const Failure& failure :
         {Failure{EIO, 1}, Failure{EIO, 3}, Failure{ENOMEM, 100}, Failure{EPERM, 1}}) {
      for (const auto& [from, to] : {std::pair{Plan(), first}, {first, second}, {second, Plan()}}) {
        for (int after = 0; after < 16; ++after) {
          make();
          for (const Status& result : reach(from))
            ASSERT_TRUE(result);
          device_->fail_next(failure.err, after, failure.times);
          auto results = reach(to);
          bool met = device_->failures_left() < failure.times;
          bool failed = std::any_of(results.begin(), results.end(),
                                    [](const Status& status) { return !status; });
          // Not the other way round: what is swept is nobody's step.
          EXPECT_TRUE(met || !failed);
          device_->fail_next(0, 0, 0);
          if (restarted) restart();
          std::string when = "failure " + std::to_string(after);
          for (const Status& result : reach(to)) {
            EXPECT_TRUE(result) << when << ": " << result.error().message;
          }
          expect_exactly(to, when);
        }
      }
    }
  }
}

// Random plans against what the kernel must have then.
TEST_F(DevlinkBackendTest, AnyPlanAfterAnyOther) {
  FakeDevlink::Options options;
  options.ports.clear();
  for (std::uint32_t port = 1; port <= 12; ++port)
    options.ports.push_back(port * 7);
  make(options);
  std::mt19937 random(7);
  auto upto = [&](std::uint64_t most) {
    return std::uniform_int_distribution<std::uint64_t>(0, most)(random);
  };
  for (int round = 0; round < 400; ++round) {
    Plan want;
    if (upto(9) != 0) {
      want.nodes.emplace(NodeId::nic(), nic_node(1000));
      for (std::uint64_t endpoint = 1; endpoint <= 12; ++endpoint) {
        if (upto(2) == 0) continue;
        std::uint64_t vpc = 1 + upto(3);
        want.nodes.emplace(NodeId::vpc(VpcUid{vpc}), vpc_node(vpc, upto(3) * 50, 200 + upto(3)));
        Node node = endpoint_node(endpoint, vpc, upto(2) * 5, 10 + upto(3));
        node.ports = {static_cast<std::uint16_t>(upto(1) * 16), 16};
        want.nodes.emplace(node.id, node);
      }
    }
    if (upto(4) == 0) restart();
    for (const Status& result : reach(want))
      ASSERT_TRUE(result) << result.error().message;
    expect_exactly(want, "round " + std::to_string(round));
    EXPECT_TRUE(diff(readback(), want).empty());
    if (HasFailure()) break;
  }
}

TEST_F(DevlinkBackendTest, HandlesThatAreNone) {
  for (const char* text : {"", "pci", "/x", "pci/", "pci/0000 3"}) {
    auto handle = parse_handle(text);
    ASSERT_FALSE(handle) << text;
    EXPECT_EQ(handle.error().code, Code::kInvalidArgument);
    EXPECT_EQ(handle.error().field, "handle");
  }
  EXPECT_EQ(parse_handle("pci/0000:03:00.0").value(), (Handle{"pci", "0000:03:00.0"}));
  EXPECT_EQ(to_string(Handle{"auxiliary", "mlx5_core.sf.4"}), "auxiliary/mlx5_core.sf.4");
}

}  // namespace
}  // namespace qmasq::qos::devlink

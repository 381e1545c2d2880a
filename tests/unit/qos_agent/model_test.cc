// SPDX-License-Identifier: Apache-2.0
// Whatever comes in whatever order, what is programmed in the end is what the planner says of the
// state alone.
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>

#include "qos/planner.h"
#include "tests/unit/qos_agent/qos_world.h"

namespace qmasq::test {
namespace {

using qos::NodeId;
using std::chrono::seconds;
using vbond::Change;

class Model {
 public:
  explicit Model(unsigned seed) : random_(seed) {
    for (const char* device : {"rxe0", "rxe1"})
      world_.nics[device] = nic(device);
    world_.start();
  }

  void step() {
    switch (pick(15)) {
      case 0:
      case 1:
        return put_policy();
      case 2:
        return remove_policy();
      case 3:
      case 4:
        return put_vpc();
      case 5:
      case 6:
      case 7:
        return put_endpoint();
      case 8:
        return remove_endpoint();
      case 9:
        return remove_vpc();
      case 10:
        return toggle_nic();
      case 11:
        return set_rate();
      case 12:
        return disturb();
      case 13:
        return restart();
      default:
        world_.loop->pass_time(seconds(pick(40)));
    }
  }

  // Failures end, and time passes.
  void settle() {
    for (auto& [device, kernel] : world_.kernels) {
      kernel.set_foreign(false);
      for (const auto& [id, times] : failing_)
        kernel.fail_next(id, 0);
      kernel.fail_readbacks(0);
      kernel.fail_counters(0);
    }
    world_.refusals.clear();
    world_.come_in_sync();
    world_.loop->pass_time(seconds(200));
  }

  void check() {
    for (const char* device : {"rxe0", "rxe1"}) {
      const qos::Plan have = world_.kernel(device);
      if (!world_.nics.contains(device)) {
        // A NIC that went while nothing was in sync, or between two agents, keeps what it had until
        // it comes back: there is nobody to ask.
        continue;
      }
      ASSERT_EQ(have, planned(device)) << device;
      std::set<std::uint16_t> ports;
      for (const auto& [id, node] : have.nodes) {
        for (std::uint16_t i = 0; i < node.ports.count; ++i)
          ASSERT_TRUE(ports.insert(static_cast<std::uint16_t>(node.ports.first + i)).second);
      }
      const v1::HostQos all = world_.qos->describe({});
      for (const auto& one : all.nics()) {
        if (one.device() != device || one.rate_bps() == 0) continue;
        ASSERT_EQ(one.message(), "");
        for (const auto& node : one.nodes()) {
          for (const std::string& why : node.unenforced())
            ASSERT_NE(why.find("add up to more"), std::string::npos) << why;
        }
      }
    }
  }

  QosWorld& world() { return world_; }

 private:
  unsigned pick(unsigned below) { return static_cast<unsigned>(random_() % below); }
  std::uint64_t any_policy() { return pick(3) == 0 || policies_.empty() ? 0 : 70 + pick(4); }

  qos::Plan planned(const std::string& device) {
    std::uint64_t rate = world_.nics.at(device).rate_bps;
    if (auto found = rates_.find(device); found != rates_.end()) rate = found->second * 1'000'000;
    qos::Planner planner;
    planner.set_rate(BitsPerSecond{rate});
    auto bandwidth = [&](QosPolicyUid uid) {
      auto found = policies_.find(uid.value);
      return found == policies_.end() ? qos::Bandwidth{} : found->second.bandwidth;
    };
    for (const auto& [uid, one] : vpcs_)
      planner.put_vpc(one.uid, bandwidth(one.qos_policy));
    for (const auto& [uid, one] : endpoints_) {
      if (one.host != kHere) continue;
      auto marks = world_.wire->marks({one.uid, EndpointUid{1}, Qpn{1}, Qpn{1}});
      const auto node = world_.node(one.name, device);
      EXPECT_NE(node.port_count(), 0U) << one.name;
      EXPECT_TRUE(marks.has_value());
      const qos::PortBlock ports{static_cast<std::uint16_t>(node.first_port()),
                                 static_cast<std::uint16_t>(node.port_count())};
      const std::uint16_t port = vbond::udp_source_port(marks->flow_label);
      EXPECT_TRUE(port >= ports.first && port < ports.first + ports.count) << one.name;
      planner.put_endpoint(one.uid, one.vpc, bandwidth(one.qos_policy), ports);
    }
    return planner.plan();
  }

  void put_policy() {
    Change change;
    qos::Policy one = policy(70 + pick(4), pick(3) * 10, 0);
    if (pick(2) == 0) one.bandwidth.maximum = BitsPerSecond{(20 + pick(50)) * 1'000'000ULL};
    one.bandwidth.weight = 1 + pick(100);
    if (pick(3) == 0) one.bandwidth.burst = 4096 + pick(100'000);
    policies_[one.uid.value] = one;
    change.policies = {one};
    send(change);
  }
  void remove_policy() {
    Change change;
    const std::uint64_t uid = 70 + pick(4);
    policies_.erase(uid);
    change.removed_policies = {QosPolicyUid{uid}};
    send(change);
  }
  void put_vpc() {
    Change change;
    const auto one = vpc(1 + pick(3), any_policy());
    vpcs_[one.uid.value] = one;
    change.vpcs = {one};
    send(change);
  }
  void remove_vpc() {
    if (pick(3) != 0) return;
    Change change;
    const std::uint64_t uid = 1 + pick(3);
    vpcs_.erase(uid);
    std::erase_if(endpoints_, [&](const auto& entry) { return entry.second.vpc.value == uid; });
    change.removed_vpcs = {VpcUid{uid}};
    send(change);
  }
  void put_endpoint() {
    if (vpcs_.empty()) return;
    auto in = vpcs_.begin();
    std::advance(in, pick(static_cast<unsigned>(vpcs_.size())));
    Change change;
    const auto one = endpoint(in->first * 100 + pick(8), in->first, any_policy(),
                              pick(4) == 0 ? kElsewhere : kHere);
    endpoints_[one.uid.value] = one;
    change.endpoints = {one};
    send(change);
  }
  void remove_endpoint() {
    if (endpoints_.empty()) return;
    auto one = endpoints_.begin();
    std::advance(one, pick(static_cast<unsigned>(endpoints_.size())));
    Change change;
    change.removed_endpoints = {one->second.uid};
    endpoints_.erase(one);
    send(change);
  }
  void toggle_nic() {
    const std::string device = pick(2) == 0 ? "rxe0" : "rxe1";
    if (world_.nics.erase(device) == 0) world_.nics[device] = nic(device, 50 + pick(100));
    if (pick(3) == 0) world_.refusals.emplace(device, Error{Code::kUnavailable, "busy", 0, ""});
    world_.tell_nics();
    if (pick(2) == 0) world_.loop->run();
  }
  vbond::HostView host() const {
    vbond::HostView out;
    out.uid = kHere;
    for (const auto& [device, mbit] : rates_) {
      out.nics.push_back({device, {}, BitsPerSecond{mbit * 1'000'000}, true});
    }
    return out;
  }
  void set_rate() {
    const std::string device = pick(2) == 0 ? "rxe0" : "rxe1";
    if (rates_.erase(device) == 0) rates_[device] = 30 + pick(100);
    Change change;
    change.hosts = {host()};
    send(change);
  }
  void disturb() {
    FakeLimits& kernel = world_.kernels[pick(2) == 0 ? "rxe0" : "rxe1"];
    const NodeId some[] = {NodeId::nic(), NodeId::other(), NodeId::vpc(VpcUid{1 + pick(3)}),
                           NodeId::endpoint(EndpointUid{(1 + pick(3)) * 100 + pick(8)})};
    const NodeId id = some[pick(4)];
    switch (pick(6)) {
      case 0:
        return kernel.wipe();
      case 1:
        return kernel.set_foreign(pick(2) == 0);
      case 2:
        return kernel.fail_readbacks(static_cast<int>(pick(3)));
      case 3:
        return kernel.fail_counters(1);
      default:
        failing_[id] = 1;
        return kernel.fail_next(id, static_cast<int>(1 + pick(4)));
    }
  }
  Change snapshot() const {
    Change out;
    out.snapshot = true;
    for (const auto& [uid, one] : policies_)
      out.policies.push_back(one);
    for (const auto& [uid, one] : vpcs_)
      out.vpcs.push_back(one);
    for (const auto& [uid, one] : endpoints_)
      out.endpoints.push_back(one);
    out.hosts = {host()};
    return out;
  }
  void restart() {
    world_.start();
    if (pick(2) == 0) world_.loop->run();
    world_.apply(snapshot());
    if (pick(2) == 0) world_.come_in_sync();
  }
  void send(const Change& change) {
    if (pick(10) == 0) {
      world_.apply(snapshot());
    } else {
      world_.apply(change);
      if (pick(10) == 0) world_.apply(change);
    }
  }

  std::mt19937 random_;
  QosWorld world_;
  std::map<std::uint64_t, qos::Policy> policies_;
  std::map<std::uint64_t, vbond::VpcView> vpcs_;
  std::map<std::uint64_t, vbond::EndpointView> endpoints_;
  std::map<std::string, std::uint64_t> rates_;  // Mbit/s
  std::map<NodeId, int> failing_;
};

class QosModel : public ::testing::TestWithParam<unsigned> {};

TEST_P(QosModel, EndsAsThePlannerSays) {
  Model model(GetParam());
  model.world().come_in_sync();
  for (int round = 0; round < 20; ++round) {
    for (int i = 0; i < 25; ++i)
      model.step();
    model.settle();
    model.check();
    if (HasFatalFailure() || HasNonfatalFailure())
      FAIL() << "seed " << GetParam() << ", round " << round;
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, QosModel, ::testing::Range(1U, 31U));

}  // namespace
}  // namespace qmasq::test

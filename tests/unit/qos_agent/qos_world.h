// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <prometheus/registry.h>
#include <spdlog/spdlog.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "qmasq/v1/qos.pb.h"
#include "tests/fake_netlink/manual_loop.h"
#include "tests/support/fake_qos_backend.h"
#include "tests/support/metric_values.h"
#include "vbond/events/event_log.h"
#include "vbond/nic/fake_nic_source.h"
#include "vbond/qos/hw_counters.h"
#include "vbond/qos/policy_table.h"
#include "vbond/qos/qos_manager.h"
#include "vbond/rename/port_block_policy.h"
#include "vbond/state/sync_state.h"

namespace qmasq::test {

inline constexpr HostUid kHere{1};
inline constexpr HostUid kElsewhere{2};

inline vbond::VpcView vpc(std::uint64_t uid, std::uint64_t policy = 0) {
  vbond::VpcView out;
  out.uid = VpcUid{uid};
  out.name = "vpcs/v" + std::to_string(uid);
  out.vni = Vni{static_cast<std::uint32_t>(uid)};
  out.qos_policy = QosPolicyUid{policy};
  return out;
}

inline vbond::EndpointView endpoint(std::uint64_t uid, std::uint64_t in, std::uint64_t policy = 0,
                                    HostUid host = kHere) {
  vbond::EndpointView out;
  out.uid = EndpointUid{uid};
  out.vpc = VpcUid{in};
  out.name = "vpcs/v" + std::to_string(in) + "/endpoints/e" + std::to_string(uid);
  out.host = host;
  out.qos_policy = QosPolicyUid{policy};
  return out;
}

// Rates in Mbit/s; 0: none.
inline qos::Policy policy(std::uint64_t uid, std::uint64_t guaranteed, std::uint64_t maximum) {
  qos::Policy out;
  out.uid = QosPolicyUid{uid};
  out.id = "p" + std::to_string(uid);
  if (guaranteed != 0) out.bandwidth.guaranteed = BitsPerSecond{guaranteed * 1'000'000};
  if (maximum != 0) out.bandwidth.maximum = BitsPerSecond{maximum * 1'000'000};
  return out;
}

inline vbond::Nic nic(const std::string& device, std::uint64_t mbit = 100) {
  vbond::Nic out = vbond::FakeNicSource::soft_roce(device, *parse_ip("192.0.2.1"));
  out.netdev = "net-" + device;
  out.primary = out.gids[1];
  out.rate_bps = mbit * 1'000'000;
  return out;
}

class FakeHwCounters final : public vbond::HwCounters {
 public:
  std::map<std::string, std::uint64_t> read(const std::string& device, std::uint32_t) override {
    return values[device];
  }
  std::map<std::string, std::map<std::string, std::uint64_t>> values;
};

// The limits of an agent, on kernels in memory that outlive it.
class QosWorld {
 public:
  QosWorld() {
    spdlog::set_level(spdlog::level::err);
    start();
  }

  // The agent comes up (again), knowing nothing but its NICs.
  void start() {
    qos.reset();
    loop = std::make_unique<ManualLoop>(clock);
    policies = std::make_unique<vbond::PolicyTable>();
    wire = std::make_unique<vbond::PortBlockPolicy>();
    registry = std::make_unique<prometheus::Registry>();
    qos = std::make_unique<vbond::QosManager>(
        vbond::QosManager::Options{"hosts/hostA"},
        vbond::QosManager::Parts{*policies, *wire, sync, *loop, clock, events, *registry, &hw,
                                 [](v1::HostQos&) {}, [this] { ++reports; }},
        [this](const vbond::Nic& nic,
               const vbond::PolicyTable&) -> Result<std::unique_ptr<qos::Backend>> {
          if (auto why = refusals.find(nic.device); why != refusals.end())
            return tl::unexpected(why->second);
          return kernels[nic.device].backend();
        });
    policies->set_host(kHere);
    qos->set_host(kHere);
    tell_nics();
  }
  void tell_nics() {
    vbond::HostNics now;
    for (const auto& [device, one] : nics)
      now.nics.push_back(one);
    qos->update_nics(now);
  }
  void apply(const vbond::Change& change) {
    // The first one waits for the loop.
    loop->inline_posts = true;
    policies->apply(change);
    qos->apply(change);
    loop->inline_posts = false;
    loop->run();
  }
  void come_in_sync() {
    qos->in_sync();
    loop->run();
  }

  [[nodiscard]] qos::Plan kernel(const std::string& device = "rxe0") {
    return kernels[device].plan();
  }
  // Node of HostQos by name; none: empty message.
  [[nodiscard]] v1::QosNode node(const std::string& name, const std::string& device = "rxe0") {
    const v1::HostQos all = qos->describe({});
    for (const auto& one : all.nics()) {
      if (one.device() != device) continue;
      for (const auto& node : one.nodes()) {
        if (node.name() == name) return node;
      }
    }
    return {};
  }
  [[nodiscard]] std::vector<vbond::Event> events_of(vbond::EventType type) const {
    std::vector<vbond::Event> out;
    for (auto& event : events.read(0, 10'000, std::chrono::milliseconds(0))) {
      if (event.type == type) out.push_back(std::move(event));
    }
    return out;
  }
  [[nodiscard]] std::optional<double> metric(const std::string& name,
                                             const std::map<std::string, std::string>& labels) {
    return test::metric_value(*registry, name, labels);
  }

  ManualClock clock;
  vbond::EventLog events{clock, 10'000};
  vbond::SyncState sync;
  FakeHwCounters hw;
  std::map<std::string, FakeLimits> kernels;
  std::map<std::string, Error> refusals;
  std::map<std::string, vbond::Nic> nics{{"rxe0", nic("rxe0")}};
  int reports = 0;
  std::unique_ptr<ManualLoop> loop;
  std::unique_ptr<vbond::PolicyTable> policies;
  std::unique_ptr<vbond::PortBlockPolicy> wire;
  std::unique_ptr<prometheus::Registry> registry;
  std::unique_ptr<vbond::QosManager> qos;
};

}  // namespace qmasq::test

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/net_types.h"
#include "common/result.h"
#include "qos/backend.h"
#include "vbond/netlink/loop.h"
#include "vbond/nic/nic_watcher.h"
#include "vbond/qos/policy_table.h"
#include "vbond/state/change.h"
#include "vbond/state/reports.h"

namespace prometheus {
class Registry;
}
namespace qmasq::v1 {
class HostQos;
}

namespace qmasq::vbond {

class EventLog;
class HwCounters;
class PortBlockPolicy;
class SyncState;

// Makes the limits of this host hold, and says where they do not. Follows the state behind
// PolicyTable, and the NICs.
//
// In apply(), on sync's thread: ports for every endpoint (PortDesk), so that whoever connects finds
// some. Before the first ones are given the kernel is asked which ports the packets of a former
// agent's time carry: apply() waits for that, and for nothing else. All other work is on the loop's
// thread: NICs, planning, programming, once a second the counters, now and then a look whether the
// kernel still has what it was given. Of changes that come faster than that only the sum counts.
// Nothing is programmed, so nothing removed, before the agent is in sync; what was there from
// before stays until then. A clean stop leaves all limits where they are.
class QosManager final : public ChangeObserver {
 public:
  // What limits a NIC. An error says why nothing does: kUnsupported for good, as long as the NIC is
  // what it is; others are tried again. On the loop's thread; the table outlives the backend.
  using BackendFor =
      std::function<Result<std::unique_ptr<qos::Backend>>(const Nic&, const PolicyTable&)>;
  struct Options {
    std::string host;  // "hosts/hostA"
    std::chrono::milliseconds sample{1000};
    std::chrono::milliseconds inspect{30'000};
  };
  // Nothing is owned; all outlive the manager, and the loop is stopped before it goes.
  struct Parts {
    PolicyTable& policies;
    PortBlockPolicy& wire;
    const SyncState& sync;
    netlink::Loop& loop;
    const Clock& clock;
    EventLog& events;
    prometheus::Registry& registry;
    HwCounters* hw = nullptr;  // null: none are shown
    // Adds quotas and verb rates to describe(); any thread.
    std::function<void(v1::HostQos&)> add_use = [](v1::HostQos&) {};
    std::function<void()> changed = [] {};  // on the loop's thread: report_of() of some may differ
  };
  // Sets a listener of `parts.policies`.
  QosManager(Options options, Parts parts, BackendFor backend_for);
  ~QosManager() override;

  // As PolicyTable's.
  void set_host(HostUid uid);
  [[nodiscard]] Status check(const Change& change) override;
  void apply(const Change& change) override;
  // Sync's thread: all state has been applied at least once since the start.
  void in_sync();
  // Any thread: the NICs there are, whenever they change.
  void update_nics(const HostNics& now);

  // Any thread.
  [[nodiscard]] LimitReport report_of(EndpointUid endpoint) const;
  // `only`: nodes of this VPC (and the NIC's), quotas and rates of it; 0: all.
  [[nodiscard]] v1::HostQos describe(VpcUid only) const;

 private:
  // Empty: no endpoint of it is here.
  [[nodiscard]] std::string vpc_name(VpcUid uid) const;

  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace qmasq::vbond

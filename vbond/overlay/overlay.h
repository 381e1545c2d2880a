// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/net_types.h"
#include "common/result.h"
#include "vbond/netlink/loop.h"
#include "vbond/netlink/netlink.h"
#include "vbond/state/change.h"

namespace prometheus {
class Registry;
}

namespace qmasq::vbond {

// The built-in overlay: gives endpoints of this host their Ethernet side. In a network namespace of
// its own ("qm-overlay": no address, no route, so nothing of a tenant can reach the host's IP
// stack or its packet filter) it keeps, for each VPC with an endpoint here, the bridge qmb<vni>,
// the VXLAN device qmx<vni> whose UDP socket is in the agent's namespace, and for each endpoint
// that Binder wired the veth port qmv<uid>. Forwarding entries come from the controller's map,
// permanent neighbours are put into the tenants' namespaces, nothing is learnt and nothing flooded.
//
// State lives on the loop's thread. apply() hands a copy over and returns. What cannot be done is
// kept for each object with its reason, tried again (1 s doubled up to 1 min), and told to the
// listener; the rest goes on. A restarted agent diffs what it finds and touches only what differs;
// leftovers of VPCs are removed once in_sync() was called. Objects with our names and without our
// mark are left alone and reported.
//
// Metrics: docs/metrics.md, "vBond: overlay".
class Overlay final : public ChangeObserver {
 public:
  struct Options {
    std::string host;                   // "hosts/hostA": whose endpoints are local
    std::optional<IpAddress> underlay;  // source of VXLAN packets; none: as the controller has it
    std::uint16_t port = 4789;          // UDP, of VXLAN on all hosts
    std::chrono::milliseconds resync = std::chrono::minutes(1);  // look at the kernel that often
  };
  // All references outlive it; the loop is stopped before it goes.
  Overlay(Options options, netlink::Namespaces& namespaces, netlink::Loop& loop, const Clock& clock,
          prometheus::Registry& registry);
  ~Overlay() override;

  [[nodiscard]] Status check(const Change& change) override;
  void apply(const Change& change) override;
  // Any thread: all state has been applied at least once since the start.
  void in_sync();

  // For Binder, on the loop's thread.
  // Called when problems() of some endpoint may have changed.
  void set_listener(std::function<void()> listener);
  // Plugs the endpoint's namespace in: `interface` in `netns` becomes one end of a veth pair, with
  // the endpoint's MAC, addresses and neighbours. Idempotent; follows the endpoint until unwire().
  // An error: the interface is not there or lacks an address. Lesser faults: problems().
  [[nodiscard]] Status wire(EndpointUid endpoint, int netns, const std::string& interface);
  void unwire(EndpointUid endpoint);
  // The interface was down: what the kernel forgot with that is put back.
  void look_again(EndpointUid endpoint);
  // What is wrong with this endpoint's network now, for people; empty: nothing.
  [[nodiscard]] std::string problems(EndpointUid endpoint) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// What the overlay needs of this machine. Tries it in a namespace that is gone afterwards.
struct PrecheckItem {
  std::string what;  // "network namespaces", "bridge devices", "vxlan devices", "veth devices"
  bool ok = false;
  std::string advice;  // when not ok: the reason, and what to do about it
};
[[nodiscard]] std::vector<PrecheckItem> precheck_overlay();

}  // namespace qmasq::vbond

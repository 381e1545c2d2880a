// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <set>
#include <string>

#include "common/clock.h"
#include "common/net_types.h"
#include "common/result.h"
#include "vbond/netlink/loop.h"
#include "vbond/netlink/netlink.h"
#include "vbond/nic/nic_watcher.h"
#include "vbond/rename/endpoint_table.h"
#include "vbond/state/change.h"

namespace qmasq::vbond {

// Keeps, on the interface of each NIC, one IPv6 address for each VPC that has an endpoint here,
// from which the kernel makes the VPC's entry in the NIC's GID table (nic/vpc_gid.h). What was made
// is left to the next agent when this one ends: queue pairs use it. Addresses of VPCs that are gone
// are taken away once all state is known; a queue pair that still has one keeps its table entry.
//
// State lives on the loop's thread; what could not be done is tried again every second.
class VpcAddresses final : public ChangeObserver {
 public:
  struct Options {
    IpPrefix given;  // --vpc-gids
    std::chrono::milliseconds retry{1000};
    std::chrono::milliseconds resync = std::chrono::minutes(1);  // look at the kernel that often
  };
  // Called on the loop's thread with the VPCs that were given addresses, all of them.
  using Listener = std::function<void(std::set<Vni>)>;

  // All references outlive it; the loop is stopped before it goes. `endpoints` follows the same
  // changes, before this.
  VpcAddresses(Options options, const EndpointTable& endpoints, netlink::Namespaces& namespaces,
               netlink::Loop& loop, const Clock& clock, Listener listener);
  ~VpcAddresses() override;

  [[nodiscard]] Status check(const Change& change) override;
  void apply(const Change& change) override;
  // Any thread.
  void set_nics(const HostNics& nics);
  // Any thread: all state has been applied at least once since the start.
  void in_sync();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace qmasq::vbond

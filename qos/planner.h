// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "common/net_types.h"
#include "qos/plan.h"
#include "qos/policy.h"

namespace qmasq::qos {

// A guarantee that could not be planned in full, and what it came to. `asked` is what policies
// promise: an endpoint's own, a VPC's own or the sum of its endpoints' if that is more. Least
// guarantees of others count against it, so that a NIC promised to the last bit falls short by
// them.
struct Shortfall {
  NodeId node;
  BitsPerSecond asked;
  BitsPerSecond planned;
  bool operator==(const Shortfall&) const = default;
};

// Turns policies, attachments and a NIC's rate into a Plan, one change at a time: a change costs
// what it touches, not what there is. What the plan is depends on the state alone, not on the order
// in which it came.
//
// Rules. All in whole bits per second; rates above 10 Tbit are taken as 10 Tbit. Least: what a node
// needs so that nobody starves: of an endpoint and of `other` kLeastGuarantee, of a VPC that of its
// endpoints together, of the NIC that of all.
//
//   maximum     NIC: its rate. VPC: its policy's, but not more than the NIC's. Endpoint: its
//               policy's, but not more than its VPC's. None in the policy: that of the parent. But
//               never less than its least: with more than 2500 endpoints of one VPC on one host its
//               maximum of 20 Mbit gives way.
//   claim       Endpoint: its policy's guarantee, at most its policy's maximum, at least its least.
//               VPC: its policy's guarantee, or the sum of its endpoints' claims if that is more;
//               at most its maximum.
//   guaranteed  NIC: its maximum. `other`: its least. Else the claim, if the claims of all children
//               of the parent fit in what that is guaranteed. If not, each keeps its least, and
//               what it claims beyond is scaled in proportion, rounded down: a tree whose children
//               promise more than the parent has keeps nobody's promise (Shortfall).
//   burst       The policy's, or 10 ms of `maximum` as planned, at least 16 KiB.
//   weight      The policy's, 1 to 100. NIC and `other`: the default.
//
// So children are never guaranteed more than their parent, and always guaranteed <= maximum <= the
// parent's maximum.
//
// Pure, not thread-safe.
class Planner {
 public:
  Planner();
  ~Planner();
  Planner(Planner&&) noexcept;
  Planner& operator=(Planner&&) noexcept;

  // 0: unknown; then there is no plan.
  void set_rate(BitsPerSecond rate);
  void put_vpc(VpcUid uid, const Bandwidth& bandwidth);
  void remove_vpc(VpcUid uid);  // and its endpoints
  // REQUIRES: ports.count > 0, not shared with another endpoint. A VPC that was not put has no
  // policy.
  void put_endpoint(EndpointUid uid, VpcUid vpc, const Bandwidth& bandwidth, PortBlock ports);
  void remove_endpoint(EndpointUid uid);

  // Nodes of VPCs without endpoints are not in the plan.
  [[nodiscard]] Plan plan() const;
  // What to do since the last call (or since nothing was programmed), in the order of diff().
  [[nodiscard]] std::vector<Step> take_changes();
  // The kernel has this, whatever was taken: the next take_changes() starts from there.
  void assume(const Plan& programmed);
  // In order of nodes.
  [[nodiscard]] std::vector<Shortfall> shortfalls() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace qmasq::qos

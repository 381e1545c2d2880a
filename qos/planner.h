// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "common/net_types.h"
#include "qos/plan.h"
#include "qos/policy.h"

namespace qmasq::qos {

// A guarantee that could not be planned in full, and what it came to.
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
// Rules. A VPC's node has as guarantee its policy's, or the sum of its endpoints' if that is more;
// as maximum its policy's or the NIC's rate. An endpoint's maximum is its policy's or its VPC's.
// Guarantees of children that add up to more than their parent has are scaled down in proportion
// (Shortfall): a tree whose children promise more than the parent has keeps nobody's promise.
// Weights are the policies'. Burst: qos.proto. `other` has the least guarantee, the NIC's rate as
// maximum and the default weight.
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

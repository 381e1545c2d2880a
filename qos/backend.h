// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/net_types.h"
#include "common/result.h"
#include "qos/plan.h"

// The contract between the planner and what limits a NIC. One suite, tests/support/qos_contract.h,
// runs on every backend and on its fake.
namespace qmasq::qos {

// What a backend can do. Limits that are not here are configured and not enforced, and everybody is
// told.
struct Capabilities {
  bool guarantee = false;
  bool maximum = false;
  bool burst = false;
  bool weight = false;
  // Which levels it tells apart.
  bool per_vpc = false;
  bool per_endpoint = false;
  bool counters = false;
  // Rates are rounded to a multiple of this, down, but never to 0. All limits are of egress.
  BitsPerSecond granularity{1};
  std::size_t most_nodes = 0;
  bool operator==(const Capabilities&) const = default;
};

// Of Ethernet frames, since the node was added. May start from 0 again when a node is changed.
struct Counters {
  std::uint64_t bytes = 0;
  std::uint64_t packets = 0;
  std::uint64_t drops = 0;
  std::uint64_t overlimits = 0;
  std::uint64_t backlog = 0;  // bytes that wait now
  bool operator==(const Counters&) const = default;
};

// Limits one NIC. For one thread at a time. Errors carry the errno and the kernel's own words.
//
// What it makes in the kernel has a mark by which it knows its own after a restart; what has none
// is the site's: never changed, never removed, and where it is in the way program() says so
// (kFailedPrecondition, with what to do).
class Backend {
 public:
  virtual ~Backend() = default;
  [[nodiscard]] virtual const char* name() const = 0;  // "tc", "devlink"
  [[nodiscard]] virtual const Capabilities& capabilities() const = 0;

  // Who the VPC of an endpoint is, where the kernel knows only the latter. Nothing: gone.
  using VpcOf = std::function<std::optional<VpcUid>(EndpointUid)>;
  // What of ours the kernel has, as far as it can be told: rates as rounded. What is left of nodes
  // that cannot be told any more (their endpoint is gone) is removed by the next program().
  [[nodiscard]] virtual Result<Plan> readback(const VpcOf& vpc_of) = 0;

  // Steps in order, each on its own: one that fails does not stop those after it, unless they need
  // it. Result i is of step i. REQUIRES: readback() was called once. The first node ever added is
  // the NIC's; removing it removes all that is ours.
  [[nodiscard]] virtual std::vector<Status> program(std::span<const Step> steps) = 0;

  // Of all nodes that are programmed. Empty without capabilities().counters.
  [[nodiscard]] virtual Result<std::map<NodeId, Counters>> counters() = 0;
};

}  // namespace qmasq::qos

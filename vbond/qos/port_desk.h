// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <vector>

#include "common/clock.h"
#include "common/net_types.h"
#include "qos/port_blocks.h"
#include "vbond/qos/policy_table.h"
#include "vbond/rename/port_block_policy.h"

namespace qmasq::vbond {

// Gives every endpoint of this host its block of UDP source ports as soon as it is known, and tells
// the wire policy. A block whose endpoint went is kept back for kRest: its queue pairs may still be
// on their way out. When all are taken, what rests goes first; who then gets none waits.
// Thread-safe.
class PortDesk {
 public:
  static constexpr std::chrono::seconds kRest{10};

  // Both must outlive this.
  PortDesk(PortBlockPolicy& wire, const Clock& clock) : wire_(wire), clock_(clock) {}

  // What the endpoint's packets carried before a restart; before it is given another.
  void adopt(EndpointUid endpoint, qos::PortBlock block);
  // Endpoints that came, changed, or went.
  void follow(const PolicyTable::Changed& changed);
  // Takes back what rested long enough. Who waited and got a block now.
  [[nodiscard]] std::vector<EndpointUid> settle();

  // Nothing: it waits, or is not here.
  [[nodiscard]] std::optional<qos::PortBlock> find(EndpointUid endpoint) const;
  [[nodiscard]] std::size_t waiting() const;

 private:
  using Entries = std::vector<PortBlockPolicy::Entry>;
  // REQUIRES of these: mutex_ held.
  [[nodiscard]] std::optional<qos::PortBlock> take(EndpointUid endpoint);
  void serve(EndpointUid endpoint, Entries& entries);

  PortBlockPolicy& wire_;
  const Clock& clock_;
  mutable std::mutex mutex_;  // guards all below
  qos::PortBlocks blocks_;
  std::map<EndpointUid, std::uint8_t> here_;  // traffic class
  std::set<EndpointUid> waiting_;
  std::map<EndpointUid, std::chrono::steady_clock::time_point> resting_;  // since when
};

}  // namespace qmasq::vbond

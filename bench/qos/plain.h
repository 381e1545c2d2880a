// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>

#include "qos/plan.h"
#include "qos/policy.h"

namespace qmasq::bench {

// The plain alternative: holds what there is, and plans all of it each time it is asked, by the
// rules in qos/planner.h. What changed is then for diff() to find.
struct Plain {
  struct Endpoint {
    qos::Bandwidth bandwidth;
    qos::PortBlock ports;
  };
  struct Vpc {
    qos::Bandwidth bandwidth;
    std::map<std::uint64_t, Endpoint> endpoints;
  };
  std::uint64_t rate = 0;
  std::map<std::uint64_t, Vpc> vpcs;

  [[nodiscard]] qos::Plan plan() const;
};

}  // namespace qmasq::bench

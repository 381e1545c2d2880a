// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "common/net_types.h"
#include "controller/watch/watch.h"
#include "qmasq/v1/sync.pb.h"

namespace qmasq::controller {

// Asks agents what only they know. Blocks the caller until all have answered, at most some two
// seconds. Any thread but the watch's.
class FleetQueries {
 public:
  // `watch` must outlive this.
  explicit FleetQueries(Watch& watch) : watch_(watch) {}

  // In the order of `hosts`; an agent that is away or late has an error in its answer.
  [[nodiscard]] std::vector<v1::Answer> ask(const std::vector<HostUid>& hosts,
                                            const v1::Query& query);
  // Of all hosts with endpoints in the VPC.
  [[nodiscard]] v1::Impact impact(VpcUid vpc, const v1::ImpactQuery& question);

 private:
  Watch& watch_;
};

}  // namespace qmasq::controller

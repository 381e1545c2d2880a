// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <unordered_map>

#include "common/result.h"
#include "controller/model/interval_set.h"
#include "controller/model/types.h"

namespace qmasq::controller {

// Lowest that the controller gives itself; those below are for people to choose.
inline constexpr std::uint32_t kFirstAutoVni = 4096;

// Finds the lowest free VNI and the lowest free address of a range. Follows the store's commits; it
// answers in logarithmic time however full a range is. It only proposes: the transaction that uses
// the answer verifies it. Pure, not thread-safe: used under the store's writer lock, where commits
// are announced too.
class Allocator {
 public:
  void apply(const Commit& commit);

  [[nodiscard]] Result<Vni> lowest_vni() const;
  // Of the first range of the VPC.
  [[nodiscard]] Result<IpAddress> lowest_address(const Vpc& vpc) const;

 private:
  IntervalSet vnis_;
  std::unordered_map<VpcUid, IntervalSet> addresses_;
};

// 02:71 and the low four bytes of the uid; `attempt` > 0 gives others, for when that one is taken.
[[nodiscard]] Mac derived_mac(EndpointUid uid, std::uint32_t attempt);

}  // namespace qmasq::controller

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <vector>

#include "common/net_types.h"
#include "common/rate.h"
#include "qos/policy.h"

// Whether guarantees fit, before anybody is promised anything. The rules are Planner's. Pure.
namespace qmasq::qos {

struct FitVpc {
  VpcUid vpc;
  Bandwidth bandwidth;
  struct Endpoint {
    EndpointUid endpoint;
    Bandwidth bandwidth;
  };
  std::vector<Endpoint> endpoints;  // on this host
};

// What a host's VPCs are promised of each NIC together: each VPC's guarantee, or the sum of its
// endpoints' there if that is more.
[[nodiscard]] BitsPerSecond promised(std::span<const FitVpc> vpcs);
// The same of one VPC.
[[nodiscard]] BitsPerSecond promised(const FitVpc& vpc);

}  // namespace qmasq::qos

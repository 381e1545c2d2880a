// SPDX-License-Identifier: Apache-2.0
#include "bench/qos/plain.h"

#include <algorithm>
#include <vector>

namespace qmasq::bench {
namespace {

using qos::Bandwidth;
using qos::Node;
using qos::NodeId;

constexpr std::uint64_t kLeast = qos::kLeastGuarantee.value;

std::uint64_t asked(const Bandwidth& bandwidth) {
  return bandwidth.guaranteed ? bandwidth.guaranteed->value : 0;
}

std::uint64_t most(const Bandwidth& bandwidth, std::uint64_t parent, std::uint64_t least) {
  return std::max(bandwidth.maximum ? std::min(bandwidth.maximum->value, parent) : parent, least);
}

std::uint64_t claim_of(const Bandwidth& bandwidth) {
  std::uint64_t claim = asked(bandwidth);
  if (bandwidth.maximum) claim = std::min(claim, bandwidth.maximum->value);
  return std::max(claim, kLeast);
}

// Beyond the least guarantees.
std::uint64_t share(std::uint64_t claim, std::uint64_t claims, std::uint64_t budget) {
  if (claims <= budget) return claim;
  __extension__ using Wide = unsigned __int128;
  return static_cast<std::uint64_t>(Wide{claim} * budget / claims);
}

void put(qos::Plan& plan, NodeId id, NodeId parent, std::uint64_t guaranteed, std::uint64_t maximum,
         const Bandwidth& bandwidth, qos::PortBlock ports = {}) {
  Node node;
  node.id = id;
  node.parent = parent;
  node.guaranteed.value = guaranteed;
  node.maximum.value = maximum;
  node.burst = bandwidth.burst.value_or(std::max<std::uint64_t>(16384, maximum / 800));
  node.weight = bandwidth.weight;
  node.ports = ports;
  plan.nodes.emplace(id, node);
}

}  // namespace

qos::Plan Plain::plan() const {
  qos::Plan plan;
  std::uint64_t leasts = 0;
  for (const auto& [uid, vpc] : vpcs)
    leasts += vpc.endpoints.size() * kLeast;
  if (rate == 0 || leasts == 0) return plan;
  const std::uint64_t nic = std::max(rate, leasts + kLeast);
  put(plan, NodeId::nic(), NodeId::nic(), nic, nic, {});
  put(plan, NodeId::other(), NodeId::nic(), kLeast, nic, {});

  struct Claim {
    std::uint64_t maximum = 0;
    std::uint64_t own = 0;
    std::uint64_t of_endpoints = 0;
  };
  std::vector<Claim> claims;
  std::uint64_t sum = 0;
  for (const auto& [uid, vpc] : vpcs) {
    const std::uint64_t least = vpc.endpoints.size() * kLeast;
    Claim claim;
    for (const auto& [member, endpoint] : vpc.endpoints)
      claim.of_endpoints += claim_of(endpoint.bandwidth);
    claim.maximum = most(vpc.bandwidth, nic, least);
    claim.own = std::min(std::max(asked(vpc.bandwidth), claim.of_endpoints), claim.maximum);
    sum += vpc.endpoints.empty() ? 0 : claim.own;
    claims.push_back(claim);
  }
  auto claim = claims.begin();
  for (const auto& [uid, vpc] : vpcs) {
    const Claim& own = *claim++;
    if (vpc.endpoints.empty()) continue;
    const NodeId id = NodeId::vpc(VpcUid{uid});
    const std::uint64_t least = vpc.endpoints.size() * kLeast;
    const std::uint64_t budget = share(own.own - least, sum - leasts, nic - kLeast - leasts);
    put(plan, id, NodeId::nic(), least + budget, own.maximum, vpc.bandwidth);
    for (const auto& [member, endpoint] : vpc.endpoints) {
      const std::uint64_t beyond = claim_of(endpoint.bandwidth) - kLeast;
      put(plan, NodeId::endpoint(EndpointUid{member}), id,
          kLeast + share(beyond, own.of_endpoints - least, budget),
          most(endpoint.bandwidth, own.maximum, kLeast), endpoint.bandwidth, endpoint.ports);
    }
  }
  return plan;
}

}  // namespace qmasq::bench

// SPDX-License-Identifier: Apache-2.0
#include "controller/model/allocator.h"

#include <fmt/format.h>

#include "common/resource_name.h"
#include "controller/model/address_rules.h"

namespace qmasq::controller {

void Allocator::apply(const Commit& commit) {
  for (const auto& [before, after] : commit.vpcs) {
    if (before) vnis_.erase(before->vni.value);
    if (after) vnis_.insert(after->vni.value);
    if (before && !after) addresses_.erase(before->uid);
  }
  // All that went before all that came: an address may move between endpoints in one commit.
  for (const auto& [before, after] : commit.endpoints) {
    if (!before) continue;
    auto pool = addresses_.find(before->vpc);
    if (pool == addresses_.end()) continue;
    for (const auto& address : before->addresses)
      pool->second.erase(to_number(address));
    if (pool->second.empty()) addresses_.erase(pool);
  }
  for (const auto& [before, after] : commit.endpoints) {
    if (!after) continue;
    auto& pool = addresses_[after->vpc];
    for (const auto& address : after->addresses)
      pool.insert(to_number(address));
  }
}

Result<Vni> Allocator::lowest_vni() const {
  auto vni = vnis_.lowest_missing(kFirstAutoVni, kMaxVni);
  if (!vni) {
    return fail(Code::kResourceExhausted,
                fmt::format("all VNIs from {} to {} are taken: choose a lower one, or delete VPCs",
                            kFirstAutoVni, kMaxVni),
                "vpc.vni");
  }
  return Vni{static_cast<std::uint32_t>(*vni)};
}

Result<IpAddress> Allocator::lowest_address(const Vpc& vpc) const {
  if (vpc.ranges.empty()) return fail(Code::kInternal, "a VPC without a range");
  auto [first, last] = usable_bounds(vpc.ranges.front());
  auto pool = addresses_.find(vpc.uid);
  if (pool == addresses_.end()) return from_number(first);
  auto address = pool->second.lowest_missing(first, last);
  if (!address) {
    return fail(Code::kResourceExhausted,
                fmt::format("no free address is left in {}, the first range of {}: choose an "
                            "address of another range, or delete endpoints",
                            to_string(vpc.ranges.front()), vpc_name(vpc.id)),
                "endpoint.addresses");
  }
  return from_number(*address);
}

Mac derived_mac(EndpointUid uid, std::uint32_t attempt) {
  // An odd multiplier walks through all values of 32 bits.
  auto low = static_cast<std::uint32_t>(uid.value) + attempt * 0x9E3779B1U;
  return Mac{{0x02, 0x71, static_cast<std::uint8_t>(low >> 24U),
              static_cast<std::uint8_t>(low >> 16U), static_cast<std::uint8_t>(low >> 8U),
              static_cast<std::uint8_t>(low)}};
}

}  // namespace qmasq::controller

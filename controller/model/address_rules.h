// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/net_types.h"
#include "common/result.h"
#include "controller/model/interval_set.h"

// Which ranges a VPC may have and which addresses an endpoint may have in them. Pure.
namespace qmasq::controller {

inline constexpr std::size_t kMaxRanges = 64;
// As many as the virtual GID table has room for beside the link-local entry.
inline constexpr std::size_t kMaxAddresses = 62;

// Addresses as numbers; IPv4 in its v4-mapped place, as everywhere.
[[nodiscard]] U128 to_number(const IpAddress& address);
[[nodiscard]] IpAddress from_number(U128 number);
// First and last address of a range.
[[nodiscard]] std::pair<U128, U128> bounds(const IpPrefix& range);
// The same without its network and broadcast address (IPv4, /30 and wider) or its all-zero address
// (IPv6, /126 and wider).
[[nodiscard]] std::pair<U128, U128> usable_bounds(const IpPrefix& range);

// Parses; refuses none or too many, ranges that no tenant may have (multicast, loopback,
// link-local) and two that overlap. `field` names the list ("vpc.ranges"); errors name its element.
[[nodiscard]] Result<std::vector<IpPrefix>> check_ranges(std::span<const std::string> texts,
                                                         std::string_view field);

// An address of an endpoint in a VPC with these ranges.
[[nodiscard]] Status check_address(const IpAddress& address, std::span<const IpPrefix> ranges,
                                   std::string_view field);

// Parses; refuses too many, an address twice, and what check_address refuses. Empty stays empty.
[[nodiscard]] Result<std::vector<IpAddress>> check_addresses(std::span<const std::string> texts,
                                                             std::span<const IpPrefix> ranges,
                                                             std::string_view field);

// All that is in no range, as ascending number intervals: where no endpoint's address may be after
// the VPC's ranges change.
[[nodiscard]] std::vector<std::pair<U128, U128>> gaps_between(std::span<const IpPrefix> ranges);
// Addresses inside ranges that no endpoint may have.
[[nodiscard]] std::vector<U128> reserved_in(std::span<const IpPrefix> ranges);

}  // namespace qmasq::controller

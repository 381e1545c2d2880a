// SPDX-License-Identifier: Apache-2.0
#include "vbond/nic/vpc_gid.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace qmasq::vbond {
namespace {

constexpr std::size_t kPrefixBytes = kVpcPrefixBits / 8;
constexpr std::size_t kUnderlayAt = 8;  // where the IPv4 address goes

bool has_prefix(const Gid& gid, const Gid& prefix) {
  return std::equal(prefix.raw.begin(), prefix.raw.begin() + kPrefixBytes, gid.raw.begin()) &&
         gid.raw[kPrefixBytes] == 0;
}

Vni vni_of(const Gid& gid) {
  return Vni{(std::uint32_t{gid.raw[13]} << 16U) | (std::uint32_t{gid.raw[14]} << 8U) |
             gid.raw[15]};
}

}  // namespace

Gid vpc_gid(const Gid& prefix, Vni vni) {
  Gid out = prefix;
  out.raw[13] = static_cast<std::uint8_t>(vni.value >> 16U);
  out.raw[14] = static_cast<std::uint8_t>(vni.value >> 8U);
  out.raw[15] = static_cast<std::uint8_t>(vni.value);
  return out;
}

Status check_vpc_prefix(const IpPrefix& given) {
  const IpAddress& address = given.address;
  if (address.is_v4() || address.is_unspecified() || address.is_multicast() ||
      address.is_link_local() || address.is_loopback()) {
    return fail(Code::kInvalidArgument,
                fmt::format("{} is no IPv6 range for hosts: take one of fd00::/8, as in "
                            "fd12:3456:789a:1::/64",
                            to_string(given)));
  }
  if (given.length != 64 && given.length != kVpcPrefixBits) {
    return fail(Code::kInvalidArgument,
                fmt::format("{}: give the /64 that all hosts share, or this host's own /96",
                            to_string(given)));
  }
  return {};
}

Result<Gid> own_vpc_prefix(const IpPrefix& given, const IpAddress& underlay) {
  QMASQ_TRY(check_vpc_prefix(given));
  Gid out = Gid::from_ip(given.address);
  if (given.length == kVpcPrefixBits) return out;
  if (!underlay.is_v4()) {
    return fail(Code::kInvalidArgument,
                fmt::format("{} with the IPv6 underlay address {}: give each host a /96 of its own",
                            to_string(given), to_string(underlay)));
  }
  std::copy(underlay.bytes.begin() + kPrefixBytes, underlay.bytes.end(),
            out.raw.begin() + kUnderlayAt);
  return out;
}

void take_vpc_gids(Nic& nic, const Gid& prefix) {
  nic.vpc_prefix = prefix;
  nic.vpc_gids.clear();
  std::vector<PhysicalGid> others;
  for (const PhysicalGid& entry : nic.gids) {
    if (!has_prefix(entry.gid, prefix)) {
      others.push_back(entry);
    } else if (entry.type == GidType::kRoceV2) {
      nic.vpc_gids.push_back({vni_of(entry.gid), entry.index});
    }
  }
  nic.gids = std::move(others);
  std::sort(nic.vpc_gids.begin(), nic.vpc_gids.end(),
            [](const VpcGid& a, const VpcGid& b) { return a.vni < b.vni; });
}

std::optional<std::uint32_t> vpc_gid_index(const Nic& nic, Vni vni) {
  auto found =
      std::lower_bound(nic.vpc_gids.begin(), nic.vpc_gids.end(), vni,
                       [](const VpcGid& entry, const Vni& wanted) { return entry.vni < wanted; });
  if (found == nic.vpc_gids.end() || found->vni != vni) return std::nullopt;
  return found->index;
}

}  // namespace qmasq::vbond

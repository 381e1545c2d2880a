// SPDX-License-Identifier: Apache-2.0
#include "vbond/vpc_gids/plan.h"

#include <algorithm>

#include "vbond/nic/vpc_gid.h"

namespace qmasq::vbond {

std::vector<netlink::Operation> plan_vpc_addresses(const VpcAddressSite& site,
                                                   const std::string& interface,
                                                   const std::set<Vni>& wanted,
                                                   std::span<const netlink::Address> actual,
                                                   bool sweep) {
  const IpPrefix own{site.prefix.address(), kVpcPrefixBits};
  std::set<IpAddress> addresses;
  for (const Vni& vni : wanted)
    addresses.insert(vpc_gid(site.prefix, vni).address());
  std::vector<netlink::Operation> out;
  for (const netlink::Address& address : actual) {
    const bool stays = addresses.contains(address.ip) && address.prefix == site.length;
    if (stays) {
      addresses.erase(address.ip);
    } else if (sweep && address.protocol == netlink::kProtocol && own.contains(address.ip)) {
      out.emplace_back(netlink::DeleteAddress{interface, address.ip, address.prefix});
    }
  }
  for (const IpAddress& address : addresses)
    out.emplace_back(netlink::AddAddress{interface, address, site.length});
  return out;
}

}  // namespace qmasq::vbond

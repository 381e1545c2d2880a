// SPDX-License-Identifier: Apache-2.0
#include "vbond/bond/judge.h"

#include <algorithm>

namespace qmasq::vbond {

BondStatus judge(const EndpointView& endpoint, const std::string& interface,
                 std::span<const netlink::Link> links, std::span<const netlink::Address> addresses,
                 const std::string& problems) {
  constexpr std::size_t kShown = 4;  // a tenant may own the namespace and fill it with addresses
  BondStatus status;
  status.interface = interface;
  status.state = BondState::kBound;
  auto say = [&](const std::string& text) {
    if (!status.message.empty()) status.message += "; ";
    status.message += text;
  };
  auto degrade = [&](const std::string& text) {
    status.state = BondState::kDegraded;
    say(text);
  };

  auto link = std::find_if(links.begin(), links.end(), [&](const netlink::Link& candidate) {
    return candidate.name == interface;
  });
  if (link == links.end()) {
    degrade("interface " + interface + " is missing");
    if (!problems.empty()) say(problems);
    return status;
  }
  if (!link->up) degrade("interface " + interface + " is down");
  if (link->mac != endpoint.mac) {
    degrade("interface " + interface + " has MAC " + to_string(link->mac) + ", not " +
            to_string(endpoint.mac));
  }
  auto carried = [&](const IpAddress& ip) {
    return std::any_of(addresses.begin(), addresses.end(), [&](const netlink::Address& address) {
      return address.link == link->index && address.ip == ip;
    });
  };
  for (const IpAddress& ip : endpoint.addresses) {
    if (carried(ip)) {
      status.observed_addresses.push_back(ip);
    } else {
      degrade("address " + to_string(ip) + " is not on " + interface);
    }
  }
  std::size_t foreign = 0;
  for (const netlink::Address& address : addresses) {
    if (address.link != link->index || address.ip.is_link_local()) continue;
    if (std::count(endpoint.addresses.begin(), endpoint.addresses.end(), address.ip) > 0) continue;
    if (++foreign <= kShown) {
      say("address " + to_string(address.ip) + " on " + interface +
          " is not the endpoint's: ignored");
    }
  }
  if (foreign > kShown) say("and " + std::to_string(foreign - kShown) + " more such addresses");
  if (!problems.empty()) degrade(problems);
  return status;
}

}  // namespace qmasq::vbond

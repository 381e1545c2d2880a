// SPDX-License-Identifier: Apache-2.0
#include "vbond/netlink/encode.h"

#include <linux/if_addr.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>

namespace qmasq::vbond::netlink {
namespace {

constexpr std::uint16_t kAsk = NLM_F_REQUEST | NLM_F_ACK;
constexpr std::uint16_t kMake = kAsk | NLM_F_CREATE | NLM_F_EXCL;
constexpr std::uint16_t kPut = kAsk | NLM_F_CREATE | NLM_F_REPLACE;

unsigned char family_of(const IpAddress& ip) {
  return ip.is_v4() ? AF_INET : AF_INET6;
}

void add_common(MessageBuilder& message, const Link& link, int target) {
  message.text(IFLA_IFNAME, link.name);
  if (link.mtu != 0) message.u32(IFLA_MTU, link.mtu);
  if (!link.mac.is_zero()) message.mac(IFLA_ADDRESS, link.mac);
  if (link.group != 0) message.u32(IFLA_GROUP, link.group);
  if (target >= 0) message.u32(IFLA_NET_NS_FD, static_cast<std::uint32_t>(target));
}

void add_bridge(MessageBuilder& message) {
  message.u32(IFLA_BR_STP_STATE, 0);
  message.u32(IFLA_BR_FORWARD_DELAY, 0);
  message.u8(IFLA_BR_MCAST_SNOOPING, 0);
  // Without a default VLAN, or each forwarding entry would be made twice.
  std::uint16_t none = 0;
  message.add(IFLA_BR_VLAN_DEFAULT_PVID, &none, sizeof none);
}

void add_vxlan(MessageBuilder& message, const VxlanOptions& options) {
  message.u32(IFLA_VXLAN_ID, options.vni.value);
  message.ip(options.local.is_v4() ? IFLA_VXLAN_LOCAL : IFLA_VXLAN_LOCAL6, options.local);
  message.be16(IFLA_VXLAN_PORT, options.port);
  message.u8(IFLA_VXLAN_LEARNING, options.learning ? 1 : 0);
}

void add_port(MessageBuilder& message, const BridgePort& port) {
  message.u8(IFLA_BRPORT_LEARNING, port.learning ? 1 : 0);
  message.u8(IFLA_BRPORT_UNICAST_FLOOD, port.unicast_flood ? 1 : 0);
  message.u8(IFLA_BRPORT_MCAST_FLOOD, port.multicast_flood ? 1 : 0);
  message.u8(IFLA_BRPORT_BCAST_FLOOD, port.broadcast_flood ? 1 : 0);
  message.u8(IFLA_BRPORT_NEIGH_SUPPRESS, port.neighbour_suppress ? 1 : 0);
  message.u8(IFLA_BRPORT_LOCKED, port.locked ? 1 : 0);
}

MessageBuilder neighbour_message(std::uint16_t type, std::uint16_t flags, const IpAddress& ip,
                                 int index) {
  ndmsg head{};
  head.ndm_family = family_of(ip);
  head.ndm_ifindex = index;
  head.ndm_state = NUD_PERMANENT;
  MessageBuilder message(type, flags, head);
  message.ip(NDA_DST, ip);
  return message;
}

MessageBuilder fdb_message(std::uint16_t type, std::uint16_t flags, FdbEntry::Table table,
                           const Mac& mac, const std::optional<IpAddress>& remote, int index) {
  bool device = table == FdbEntry::Table::kDevice;
  ndmsg head{};
  head.ndm_family = AF_BRIDGE;
  head.ndm_ifindex = index;
  head.ndm_flags = device ? NTF_SELF : NTF_MASTER;
  // NUD_PERMANENT in a bridge's table would be an address of the machine itself.
  head.ndm_state = device ? NUD_PERMANENT : NUD_NOARP;
  MessageBuilder message(type, flags, head);
  message.mac(NDA_LLADDR, mac);
  if (device && remote) message.ip(NDA_DST, *remote);
  return message;
}

}  // namespace

MessageBuilder encode(const AddLink& operation) {
  const Link& link = operation.link;
  MessageBuilder message(RTM_NEWLINK, kMake, ifinfomsg{});
  add_common(message, link, operation.target);
  message.nest(IFLA_LINKINFO, [&](MessageBuilder& info) {
    switch (link.kind) {
      case LinkKind::kBridge:
        info.text(IFLA_INFO_KIND, "bridge");
        info.nest(IFLA_INFO_DATA, add_bridge);
        break;
      case LinkKind::kVxlan:
        info.text(IFLA_INFO_KIND, "vxlan");
        info.nest(IFLA_INFO_DATA, [&](MessageBuilder& data) {
          add_vxlan(data, link.vxlan.value_or(VxlanOptions{}));
        });
        break;
      case LinkKind::kVeth:
        info.text(IFLA_INFO_KIND, "veth");
        info.nest(IFLA_INFO_DATA, [&](MessageBuilder& data) {
          data.nest(VETH_INFO_PEER, [&](MessageBuilder& peer) {
            ifinfomsg head{};
            peer.raw(&head, sizeof head);
            if (operation.peer) add_common(peer, *operation.peer, operation.peer_target);
          });
        });
        break;
      case LinkKind::kOther:
      case LinkKind::kLoopback:
        info.text(IFLA_INFO_KIND, "dummy");
        break;
    }
  });
  return message;
}

MessageBuilder encode(const DeleteLink& operation) {
  MessageBuilder message(RTM_DELLINK, kAsk, ifinfomsg{});
  message.text(IFLA_IFNAME, operation.name);
  return message;
}

std::vector<SetLinkStep> encode(const SetLink& operation, int index, int master) {
  std::vector<SetLinkStep> steps;
  ifinfomsg head{};
  head.ifi_index = index;
  if (operation.mtu || operation.mac || operation.alias || operation.master) {
    MessageBuilder message(RTM_NEWLINK, kAsk, head);
    if (operation.mtu) message.u32(IFLA_MTU, *operation.mtu);
    if (operation.mac) message.mac(IFLA_ADDRESS, *operation.mac);
    if (operation.alias) message.text(IFLA_IFALIAS, *operation.alias);
    if (operation.master) message.u32(IFLA_MASTER, static_cast<std::uint32_t>(master));
    steps.push_back({std::move(message), false});
  }
  if (operation.no_link_local) {
    MessageBuilder message(RTM_NEWLINK, kAsk, head);
    message.nest(IFLA_AF_SPEC, [](MessageBuilder& spec) {
      spec.nest(AF_INET6, [](MessageBuilder& inet6) {
        inet6.u8(IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
      });
    });
    steps.push_back({std::move(message), true});
  }
  if (operation.port) {
    MessageBuilder message(RTM_NEWLINK, kAsk, head);
    message.nest(IFLA_LINKINFO, [&](MessageBuilder& info) {
      info.text(IFLA_INFO_SLAVE_KIND, "bridge");
      info.nest(IFLA_INFO_SLAVE_DATA,
                [&](MessageBuilder& data) { add_port(data, *operation.port); });
    });
    steps.push_back({std::move(message), false});
  }
  if (operation.up) {
    head.ifi_change = IFF_UP;
    head.ifi_flags = *operation.up ? IFF_UP : 0;
    steps.push_back({MessageBuilder(RTM_NEWLINK, kAsk, head), false});
  }
  return steps;
}

MessageBuilder encode(const AddAddress& operation, int index) {
  ifaddrmsg head{};
  head.ifa_family = family_of(operation.ip);
  head.ifa_prefixlen = operation.prefix;
  head.ifa_index = static_cast<std::uint32_t>(index);
  MessageBuilder message(RTM_NEWADDR, kPut, head);
  message.ip(IFA_LOCAL, operation.ip).ip(IFA_ADDRESS, operation.ip).u8(IFA_PROTO, kProtocol);
  if (!operation.ip.is_v4()) message.u32(IFA_FLAGS, IFA_F_NODAD);
  return message;
}

MessageBuilder encode(const DeleteAddress& operation, int index) {
  ifaddrmsg head{};
  head.ifa_family = family_of(operation.ip);
  head.ifa_prefixlen = operation.prefix;
  head.ifa_index = static_cast<std::uint32_t>(index);
  MessageBuilder message(RTM_DELADDR, kAsk, head);
  message.ip(IFA_LOCAL, operation.ip).ip(IFA_ADDRESS, operation.ip);
  return message;
}

MessageBuilder encode(const PutNeighbour& operation, int index) {
  MessageBuilder message = neighbour_message(RTM_NEWNEIGH, kPut, operation.ip, index);
  message.mac(NDA_LLADDR, operation.mac).u8(NDA_PROTOCOL, kProtocol);
  return message;
}

MessageBuilder encode(const DeleteNeighbour& operation, int index) {
  return neighbour_message(RTM_DELNEIGH, kAsk, operation.ip, index);
}

MessageBuilder encode(const PutFdb& operation, int index) {
  return fdb_message(RTM_NEWNEIGH, kPut, operation.table, operation.mac, operation.remote, index);
}

MessageBuilder encode(const DeleteFdb& operation, int index) {
  return fdb_message(RTM_DELNEIGH, kAsk, operation.table, operation.mac, operation.remote, index);
}

}  // namespace qmasq::vbond::netlink

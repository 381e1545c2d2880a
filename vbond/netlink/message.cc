// SPDX-License-Identifier: Apache-2.0
#include "vbond/netlink/message.h"

#include <arpa/inet.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>

#include <algorithm>
#include <string_view>

namespace qmasq::vbond::netlink {
namespace {

constexpr std::size_t align4(std::size_t size) {
  return (size + 3U) & ~std::size_t{3};
}

// Copies a fixed structure out of the front; none when the payload is shorter.
template <typename T>
std::optional<T> front(Bytes bytes) {
  if (bytes.size() < sizeof(T)) return std::nullopt;
  T value;
  std::memcpy(&value, bytes.data(), sizeof(T));
  return value;
}

template <typename T>
Bytes after(Bytes bytes) {
  return bytes.subspan(std::min(align4(sizeof(T)), bytes.size()));
}

// Numbers must have exactly their size: a longer attribute is not what we think it is.
template <typename T>
void take(Bytes bytes, T& value) {
  if (bytes.size() == sizeof(T)) std::memcpy(&value, bytes.data(), sizeof(T));
}

bool truth(Bytes bytes) {
  std::uint8_t value = 0;
  take(bytes, value);
  return value != 0;
}

std::string text_of(Bytes bytes) {
  const char* begin = reinterpret_cast<const char*>(bytes.data());
  return {begin, std::find(begin, begin + bytes.size(), '\0')};
}

void take_mac(Bytes bytes, Mac& mac) {
  if (bytes.size() == mac.bytes.size()) std::memcpy(mac.bytes.data(), bytes.data(), bytes.size());
}

std::optional<IpAddress> ip_of(Bytes bytes) {
  if (bytes.size() == 4) {
    std::uint32_t v4 = 0;
    take(bytes, v4);
    return IpAddress::from_v4(ntohl(v4));
  }
  IpAddress ip;
  if (bytes.size() != ip.bytes.size()) return std::nullopt;
  std::memcpy(ip.bytes.data(), bytes.data(), bytes.size());
  return ip;
}

LinkKind kind_of(std::string_view name) {
  if (name == "bridge") return LinkKind::kBridge;
  if (name == "vxlan") return LinkKind::kVxlan;
  if (name == "veth") return LinkKind::kVeth;
  return LinkKind::kOther;
}

VxlanOptions parse_vxlan(Bytes data) {
  VxlanOptions options;
  for_each_attribute(data, [&](std::uint16_t type, Bytes value) {
    switch (type) {
      case IFLA_VXLAN_ID:
        take(value, options.vni.value);
        break;
      case IFLA_VXLAN_LOCAL:
      case IFLA_VXLAN_LOCAL6:
        options.local = ip_of(value).value_or(IpAddress{});
        break;
      case IFLA_VXLAN_PORT: {
        std::uint16_t port = 0;
        take(value, port);
        options.port = ntohs(port);
        break;
      }
      case IFLA_VXLAN_LEARNING:
        options.learning = truth(value);
        break;
      default:
        break;
    }
  });
  return options;
}

BridgePort parse_port(Bytes data) {
  BridgePort port;
  for_each_attribute(data, [&](std::uint16_t type, Bytes value) {
    switch (type) {
      case IFLA_BRPORT_LEARNING:
        port.learning = truth(value);
        break;
      case IFLA_BRPORT_UNICAST_FLOOD:
        port.unicast_flood = truth(value);
        break;
      case IFLA_BRPORT_MCAST_FLOOD:
        port.multicast_flood = truth(value);
        break;
      case IFLA_BRPORT_BCAST_FLOOD:
        port.broadcast_flood = truth(value);
        break;
      case IFLA_BRPORT_NEIGH_SUPPRESS:
        port.neighbour_suppress = truth(value);
        break;
      case IFLA_BRPORT_LOCKED:
        port.locked = truth(value);
        break;
      default:
        break;
    }
  });
  return port;
}

void parse_link_info(Bytes info, Link& link) {
  std::string slave_kind;
  Bytes data;
  Bytes slave_data;
  for_each_attribute(info, [&](std::uint16_t type, Bytes value) {
    switch (type) {
      case IFLA_INFO_KIND:
        link.kind = kind_of(text_of(value));
        break;
      case IFLA_INFO_DATA:
        data = value;
        break;
      case IFLA_INFO_SLAVE_KIND:
        slave_kind = text_of(value);
        break;
      case IFLA_INFO_SLAVE_DATA:
        slave_data = value;
        break;
      default:
        break;
    }
  });
  if (link.kind == LinkKind::kVxlan) link.vxlan = parse_vxlan(data);
  if (slave_kind == "bridge") link.port = parse_port(slave_data);
}

}  // namespace

void MessageBuilder::start(std::uint16_t type, std::uint16_t flags, const void* header,
                           std::size_t size) {
  nlmsghdr front{};
  front.nlmsg_type = type;
  front.nlmsg_flags = flags;
  raw(&front, sizeof front);
  raw(header, size);
}

MessageBuilder& MessageBuilder::raw(const void* data, std::size_t size) {
  std::size_t at = bytes_.size();
  bytes_.resize(at + align4(size));
  if (size > 0) std::memcpy(bytes_.data() + at, data, size);
  return *this;
}

MessageBuilder& MessageBuilder::add(std::uint16_t type, const void* data, std::size_t size) {
  rtattr head{};
  head.rta_type = type;
  head.rta_len = static_cast<std::uint16_t>(sizeof head + size);
  raw(&head, sizeof head);
  return raw(data, size);
}

MessageBuilder& MessageBuilder::be16(std::uint16_t type, std::uint16_t host_order) {
  std::uint16_t value = htons(host_order);
  return add(type, &value, sizeof value);
}

MessageBuilder& MessageBuilder::text(std::uint16_t type, const std::string& value) {
  return add(type, value.c_str(), value.size() + 1);
}

MessageBuilder& MessageBuilder::ip(std::uint16_t type, const IpAddress& value) {
  if (value.is_v4()) return add(type, value.bytes.data() + 12, 4);
  return add(type, value.bytes.data(), value.bytes.size());
}

std::size_t MessageBuilder::open(std::uint16_t type) {
  std::size_t at = bytes_.size();
  add(static_cast<std::uint16_t>(type | NLA_F_NESTED), nullptr, 0);
  return at;
}

void MessageBuilder::close(std::size_t at) {
  auto length = static_cast<std::uint16_t>(bytes_.size() - at);
  std::memcpy(bytes_.data() + at, &length, sizeof length);
}

std::vector<std::byte> MessageBuilder::finish(std::uint32_t sequence) {
  nlmsghdr front{};
  std::memcpy(&front, bytes_.data(), sizeof front);
  front.nlmsg_len = static_cast<std::uint32_t>(bytes_.size());
  front.nlmsg_seq = sequence;
  std::memcpy(bytes_.data(), &front, sizeof front);
  return std::move(bytes_);
}

Result<std::vector<Message>> split_messages(Bytes datagram) {
  std::vector<Message> messages;
  while (!datagram.empty()) {
    auto head = front<nlmsghdr>(datagram);
    if (!head || head->nlmsg_len < sizeof(nlmsghdr) || head->nlmsg_len > datagram.size()) {
      return fail(Code::kInternal, "netlink: message length does not fit its datagram");
    }
    messages.push_back({head->nlmsg_type, head->nlmsg_flags, head->nlmsg_seq,
                        datagram.subspan(sizeof(nlmsghdr), head->nlmsg_len - sizeof(nlmsghdr))});
    datagram = datagram.subspan(std::min(align4(head->nlmsg_len), datagram.size()));
  }
  return messages;
}

bool for_each_attribute(Bytes attributes, const std::function<void(std::uint16_t, Bytes)>& visit) {
  while (!attributes.empty()) {
    auto head = front<rtattr>(attributes);
    if (!head || head->rta_len < sizeof(rtattr) || head->rta_len > attributes.size()) return false;
    visit(static_cast<std::uint16_t>(head->rta_type & NLA_TYPE_MASK),
          attributes.subspan(sizeof(rtattr), head->rta_len - sizeof(rtattr)));
    attributes = attributes.subspan(std::min(align4(head->rta_len), attributes.size()));
  }
  return true;
}

Result<Link> parse_link(Bytes payload) {
  auto head = front<ifinfomsg>(payload);
  if (!head) return fail(Code::kInternal, "netlink: link message too short");
  Link link;
  link.index = head->ifi_index;
  link.up = (head->ifi_flags & IFF_UP) != 0;
  if ((head->ifi_flags & IFF_LOOPBACK) != 0) link.kind = LinkKind::kLoopback;
  bool whole = for_each_attribute(after<ifinfomsg>(payload), [&](std::uint16_t type, Bytes value) {
    switch (type) {
      case IFLA_IFNAME:
        link.name = text_of(value);
        break;
      case IFLA_ADDRESS:
        take_mac(value, link.mac);
        break;
      case IFLA_MTU:
        take(value, link.mtu);
        break;
      case IFLA_MASTER:
        take(value, link.master);
        break;
      case IFLA_GROUP:
        take(value, link.group);
        break;
      case IFLA_IFALIAS:
        link.alias = text_of(value);
        break;
      case IFLA_LINKINFO:
        parse_link_info(value, link);
        break;
      default:
        break;
    }
  });
  if (!whole) return fail(Code::kInternal, "netlink: attributes of a link do not fit");
  return link;
}

Result<Address> parse_address(Bytes payload) {
  auto head = front<ifaddrmsg>(payload);
  if (!head) return fail(Code::kInternal, "netlink: address message too short");
  Address address;
  address.link = static_cast<int>(head->ifa_index);
  address.prefix = head->ifa_prefixlen;
  std::optional<IpAddress> local;
  std::optional<IpAddress> peer;
  bool whole = for_each_attribute(after<ifaddrmsg>(payload), [&](std::uint16_t type, Bytes value) {
    if (type == IFA_LOCAL) local = ip_of(value);
    if (type == IFA_ADDRESS) peer = ip_of(value);
    if (type == IFA_PROTO) take(value, address.protocol);
  });
  // IFA_ADDRESS is the far end of a point-to-point address when IFA_LOCAL is there too.
  if (!local) local = peer;
  if (!whole || !local) return fail(Code::kInternal, "netlink: address message without address");
  address.ip = *local;
  return address;
}

Result<std::optional<Neighbour>> parse_neighbour(Bytes payload) {
  auto head = front<ndmsg>(payload);
  if (!head) return fail(Code::kInternal, "netlink: neighbour message too short");
  if (head->ndm_family != AF_INET && head->ndm_family != AF_INET6) return std::nullopt;
  Neighbour neighbour;
  neighbour.link = head->ndm_ifindex;
  neighbour.permanent = (head->ndm_state & NUD_PERMANENT) != 0;
  std::optional<IpAddress> ip;
  bool whole = for_each_attribute(after<ndmsg>(payload), [&](std::uint16_t type, Bytes value) {
    if (type == NDA_DST) ip = ip_of(value);
    if (type == NDA_LLADDR) take_mac(value, neighbour.mac);
    if (type == NDA_PROTOCOL) take(value, neighbour.protocol);
  });
  if (!whole) return fail(Code::kInternal, "netlink: attributes of a neighbour do not fit");
  if (!ip) return std::nullopt;
  neighbour.ip = *ip;
  return neighbour;
}

Result<std::optional<FdbEntry>> parse_fdb(Bytes payload) {
  auto head = front<ndmsg>(payload);
  if (!head) return fail(Code::kInternal, "netlink: forwarding message too short");
  if (head->ndm_family != AF_BRIDGE) return std::nullopt;
  FdbEntry entry;
  entry.link = head->ndm_ifindex;
  // A bridge's own table comes without NTF_SELF, that of the device itself with it.
  entry.table =
      (head->ndm_flags & NTF_SELF) != 0 ? FdbEntry::Table::kDevice : FdbEntry::Table::kBridge;
  bool permanent = (head->ndm_state & NUD_PERMANENT) != 0;
  bool fixed = (head->ndm_state & NUD_NOARP) != 0;
  entry.local = permanent && entry.table == FdbEntry::Table::kBridge;
  entry.fixed = entry.table == FdbEntry::Table::kBridge ? fixed : (fixed || permanent);
  bool of_vlan = false;
  bool has_mac = false;
  bool whole = for_each_attribute(after<ndmsg>(payload), [&](std::uint16_t type, Bytes value) {
    if (type == NDA_LLADDR) {
      take_mac(value, entry.mac);
      has_mac = value.size() == entry.mac.bytes.size();
    }
    if (type == NDA_DST) entry.remote = ip_of(value);
    if (type == NDA_VLAN) {
      std::uint16_t vlan = 0;
      take(value, vlan);
      of_vlan = vlan != 0;
    }
  });
  if (!whole) return fail(Code::kInternal, "netlink: attributes of a forwarding entry do not fit");
  if (of_vlan || !has_mac) return std::nullopt;
  return entry;
}

Result<Ack> parse_ack(const Message& message) {
  auto error = front<nlmsgerr>(message.payload);
  if (!error) return fail(Code::kInternal, "netlink: acknowledgement too short");
  Ack ack;
  ack.err = error->error < 0 && error->error > -4096 ? -error->error : 0;
  if (error->error != 0 && ack.err == 0) ack.err = EIO;
  if ((message.flags & NLM_F_ACK_TLVS) == 0) return ack;
  // The request follows whole unless the kernel capped it; the attributes come after it.
  std::size_t skip = sizeof(nlmsgerr);
  if ((message.flags & NLM_F_CAPPED) == 0 && error->msg.nlmsg_len > sizeof(nlmsghdr)) {
    skip += align4(error->msg.nlmsg_len - sizeof(nlmsghdr));
  }
  if (skip > message.payload.size()) return ack;
  for_each_attribute(message.payload.subspan(skip), [&](std::uint16_t type, Bytes value) {
    if (type == NLMSGERR_ATTR_MSG) ack.text = text_of(value);
  });
  return ack;
}

}  // namespace qmasq::vbond::netlink

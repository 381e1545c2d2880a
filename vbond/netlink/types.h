// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "common/net_types.h"

// What rtnetlink(7) says and takes, as far as the agent uses it. Values: copy freely, any thread.
namespace qmasq::vbond::netlink {

// Marks of what the agent made. A link carries the group (given in the very request that creates
// it, so there is no moment without it) and an alias "qmasq:<kind>:<number>" for people; addresses
// and neighbours carry the protocol number (IFA_PROTO, NDA_PROTOCOL).
inline constexpr std::uint32_t kLinkGroup = 0x716d6173;  // "qmas"
inline constexpr std::uint8_t kProtocol = 113;           // not assigned in rtnetlink.h
inline constexpr std::size_t kMaxLinkName = 15;

enum class LinkKind : std::uint8_t { kOther, kLoopback, kBridge, kVxlan, kVeth };

struct VxlanOptions {
  Vni vni;
  IpAddress local;
  std::uint16_t port = 0;  // host order
  bool learning = false;
  bool operator==(const VxlanOptions&) const = default;
};

// Flags of a link as a port of its bridge (IFLA_BRPORT_*).
struct BridgePort {
  bool learning = true;
  bool unicast_flood = true;
  bool multicast_flood = true;
  bool broadcast_flood = true;
  bool neighbour_suppress = false;
  bool locked = false;  // drops what comes from a source address not in the table for this port
  bool operator==(const BridgePort&) const = default;
};

struct Link {
  int index = 0;  // the kernel's; 0 in what is asked for
  std::string name;
  LinkKind kind = LinkKind::kOther;
  Mac mac;                // zero in what is asked for: the kernel chooses
  std::uint32_t mtu = 0;  // bytes; 0 in what is asked for: the kernel chooses
  bool up = false;
  int master = 0;  // index of the bridge that this is a port of, or 0
  std::uint32_t group = 0;
  std::string alias;
  std::optional<VxlanOptions> vxlan;
  std::optional<BridgePort> port;
  bool operator==(const Link&) const = default;
};

struct Address {
  int link = 0;
  IpAddress ip;
  std::uint8_t prefix = 0;  // bits of the family's own width
  std::uint8_t protocol = 0;
  bool operator==(const Address&) const = default;
};

struct Neighbour {
  int link = 0;
  IpAddress ip;
  Mac mac;
  bool permanent = false;
  std::uint8_t protocol = 0;
  bool operator==(const Neighbour&) const = default;
};

// One entry of a forwarding table: that of a bridge (which port has the MAC) or a VXLAN device's
// own (at which underlay address the MAC is).
struct FdbEntry {
  enum class Table : std::uint8_t { kBridge, kDevice };
  int link = 0;
  Table table = Table::kBridge;
  Mac mac;
  std::optional<IpAddress> remote;  // kDevice only
  bool fixed = false;               // set by an administrator, never aged: what the agent makes
  bool local = false;               // an address of the machine itself; the kernel's own
  bool operator==(const FdbEntry&) const = default;
};

// Changes. They name links, not indexes: an index can be that of another link by the time the
// change runs.
struct AddLink {
  Link link;  // name, kind, mac, mtu, group, vxlan; the rest is SetLink's
  // The namespace to make it in (a descriptor that the caller keeps open), -1: that of the socket.
  // kOther makes a dummy device (tests). A VXLAN device sends and receives in the namespace of the
  // socket, wherever it is put.
  int target = -1;
  // The other end of a veth pair: name, mac, mtu, group; and its namespace.
  std::optional<Link> peer;
  int peer_target = -1;
};

struct SetLink {
  std::string name;
  std::optional<std::uint32_t> mtu;
  std::optional<Mac> mac;
  std::optional<std::string> alias;
  std::optional<std::string> master;  // "": of none
  std::optional<BridgePort> port;     // REQUIRES: the link is a port once `master` is done
  bool no_link_local = false;         // the kernel makes no fe80:: address when it comes up
  std::optional<bool> up;
};

struct DeleteLink {
  std::string name;
};

struct AddAddress {
  std::string link;
  IpAddress ip;
  std::uint8_t prefix = 0;  // IPv6 comes without duplicate address detection
};
struct DeleteAddress {
  std::string link;
  IpAddress ip;
  std::uint8_t prefix = 0;
};

// Put: makes, or replaces what is there.
struct PutNeighbour {
  std::string link;
  IpAddress ip;
  Mac mac;
};
struct DeleteNeighbour {
  std::string link;
  IpAddress ip;
};

struct PutFdb {
  std::string link;
  FdbEntry::Table table = FdbEntry::Table::kBridge;
  Mac mac;
  std::optional<IpAddress> remote;  // kDevice only
};
struct DeleteFdb {
  std::string link;
  FdbEntry::Table table = FdbEntry::Table::kBridge;
  Mac mac;
  std::optional<IpAddress> remote;
};

using Operation = std::variant<AddLink, SetLink, DeleteLink, AddAddress, DeleteAddress,
                               PutNeighbour, DeleteNeighbour, PutFdb, DeleteFdb>;

// For errors and logs: "add link qmx100", "set neighbour 10.0.0.2 on eth0".
[[nodiscard]] std::string describe(const Operation& operation);
// The link that it is about.
[[nodiscard]] const std::string& link_of(const Operation& operation);

}  // namespace qmasq::vbond::netlink

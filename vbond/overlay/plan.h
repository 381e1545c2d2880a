// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <compare>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "common/net_types.h"
#include "vbond/netlink/types.h"
#include "vbond/overlay/state.h"

// What should be in the kernel, and what to do about the difference: functions of values, no I/O.
namespace qmasq::vbond {

inline constexpr const char* kOverlayNamespace = "qm-overlay";
inline constexpr const char* kOverlayMark = "qmasq:overlay";

// Names of links. qmb<vni>, qmx<vni>; qmv<uid> in base 36, which fits 15 characters up to 36^12.
[[nodiscard]] std::string bridge_name(Vni vni);
[[nodiscard]] std::string vxlan_name(Vni vni);
[[nodiscard]] std::string port_name(EndpointUid endpoint);

// What VXLAN adds to a packet: inner Ethernet, VXLAN, UDP and outer IP headers.
[[nodiscard]] std::uint32_t vxlan_overhead(const IpAddress& underlay);  // bytes: 50 or 70

// This machine.
struct OverlaySite {
  HostUid self;
  IpAddress underlay;              // unspecified: not known yet
  std::uint32_t underlay_mtu = 0;  // bytes; 0: not known
  std::uint16_t port = 4789;
  bool operator==(const OverlaySite&) const = default;
};

// An endpoint that Binder wired.
struct OverlayPlug {
  EndpointUid endpoint;
  std::string interface;
};

struct FdbRow {
  std::string link;
  netlink::FdbEntry::Table table = netlink::FdbEntry::Table::kBridge;
  Mac mac;
  std::optional<IpAddress> remote;
  auto operator<=>(const FdbRow&) const = default;
};
struct NeighbourRow {
  IpAddress ip;
  Mac mac;
  auto operator<=>(const NeighbourRow&) const = default;
};
struct AddressRow {
  IpAddress ip;
  std::uint8_t prefix = 0;
  auto operator<=>(const AddressRow&) const = default;
};

struct LinkPlan {
  netlink::Link link;  // index and master are not used
  std::string master;
  bool operator==(const LinkPlan&) const = default;
};
struct PlugPlan {
  EndpointUid endpoint;
  std::string port;      // in the overlay's namespace
  netlink::Link tenant;  // in the tenant's
  std::vector<AddressRow> addresses;
  bool operator==(const PlugPlan&) const = default;
};

struct VpcPlan {
  std::vector<LinkPlan> links;  // bridge, VXLAN device, ports: in the order of making
  std::vector<PlugPlan> plugs;
  std::vector<FdbRow> fdb;  // sorted
  // Sorted; the same in each tenant's namespace, its own addresses among them: they do no harm.
  std::shared_ptr<const std::vector<NeighbourRow>> neighbours;
  std::vector<std::string> warnings;  // for people
};

// None when the VPC has no endpoint on this host.
[[nodiscard]] std::optional<VpcPlan> plan_vpc(const OverlaySite& site, const OverlayState& state,
                                              const OverlayVpc& vpc,
                                              std::span<const OverlayPlug> plugs);

// What to do about one link.
struct LinkAction {
  enum class Kind : std::uint8_t {
    kKeep,
    kSet,      // `set` mends it
    kMake,     // it is not there
    kRemake,   // it is ours and differs in what cannot be changed
    kForeign,  // the name is taken by what we did not make: hands off
  };
  Kind kind = Kind::kKeep;
  netlink::SetLink set;  // kSet: what differs; kMake, kRemake: all that creation does not do
  std::string reason;    // kForeign
};
// `actual` are all links of the namespace.
[[nodiscard]] LinkAction diff_link(const LinkPlan& wanted, std::span<const netlink::Link> actual);

// Both sorted. Deletes come first.
[[nodiscard]] std::vector<netlink::Operation> diff_fdb(std::span<const FdbRow> wanted,
                                                       std::span<const FdbRow> actual);
[[nodiscard]] std::vector<netlink::Operation> diff_neighbours(const std::string& interface,
                                                              std::span<const NeighbourRow> wanted,
                                                              std::span<const NeighbourRow> actual);
// `actual`: of that interface. Removes only what carries our protocol number.
[[nodiscard]] std::vector<netlink::Operation> diff_addresses(
    const std::string& interface, std::span<const AddressRow> wanted,
    std::span<const netlink::Address> actual);

// Links that carry our mark and are not in `wanted`: ports first.
[[nodiscard]] std::vector<netlink::Operation> leftovers(const std::set<std::string>& wanted,
                                                        std::span<const netlink::Link> actual);

// Rows of what the kernel told, sorted: entries of links named in `links` that an administrator
// set.
[[nodiscard]] std::vector<FdbRow> rows_of(std::span<const netlink::FdbEntry> entries,
                                          std::span<const netlink::Link> links);
// Permanent ones with our protocol number, of that interface, sorted.
[[nodiscard]] std::vector<NeighbourRow> rows_of(std::span<const netlink::Neighbour> neighbours,
                                                int interface);

}  // namespace qmasq::vbond

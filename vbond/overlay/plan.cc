// SPDX-License-Identifier: Apache-2.0
#include "vbond/overlay/plan.h"

#include <algorithm>
#include <map>
#include <tuple>
#include <unordered_map>
#include <utility>

namespace qmasq::vbond {
namespace {

using netlink::BridgePort;
using netlink::FdbEntry;
using netlink::Link;
using netlink::LinkKind;
using netlink::Operation;

constexpr std::uint32_t kUsualMtu = 1500;  // where the underlay's is not known

std::string base36(std::uint64_t value) {
  std::string digits;
  do {
    digits.push_back("0123456789abcdefghijklmnopqrstuvwxyz"[value % 36]);
    value /= 36;
  } while (value != 0);
  std::reverse(digits.begin(), digits.end());
  return digits;
}

// Nothing is learnt, nothing flooded: a frame goes where the tables say or nowhere.
BridgePort quiet_port() {
  BridgePort port;
  port.learning = false;
  port.unicast_flood = false;
  port.multicast_flood = false;
  port.broadcast_flood = false;
  return port;
}

BridgePort tenant_port() {
  BridgePort port = quiet_port();
  port.locked = true;  // only the endpoint's own MAC may send
  return port;
}

Link marked(std::string name, LinkKind kind, std::string alias) {
  Link link;
  link.name = std::move(name);
  link.kind = kind;
  link.group = netlink::kLinkGroup;
  link.alias = std::move(alias);
  link.up = true;
  return link;
}

std::uint8_t prefix_of(const VpcView& vpc, const IpAddress& ip) {
  for (const IpPrefix& range : vpc.ranges) {
    if (range.contains(ip)) return range.length;
  }
  return ip.is_v4() ? 32 : 128;
}

bool has_v6(const VpcView& vpc) {
  return std::any_of(vpc.ranges.begin(), vpc.ranges.end(),
                     [](const IpPrefix& range) { return !range.address.is_v4(); });
}

std::uint32_t mtu_of(const OverlaySite& site, const VpcView& vpc,
                     std::vector<std::string>& warnings) {
  std::uint32_t underlay = site.underlay_mtu != 0 ? site.underlay_mtu : kUsualMtu;
  std::uint32_t overhead = vxlan_overhead(site.underlay);
  std::uint32_t most = underlay > overhead ? underlay - overhead : 0;
  if (vpc.mtu == 0) return most;
  if (site.underlay_mtu != 0 && vpc.mtu > most) {
    warnings.push_back("mtu " + std::to_string(vpc.mtu) + " of " + vpc.name + " is more than the " +
                       std::to_string(most) + " that this host's underlay carries");
  }
  return vpc.mtu;
}

template <typename Row, typename Key>
void unique_by(std::vector<Row>& rows, Key key) {
  std::sort(rows.begin(), rows.end());
  rows.erase(std::unique(rows.begin(), rows.end(),
                         [&](const Row& a, const Row& b) { return key(a) == key(b); }),
             rows.end());
}

auto key_of(const FdbRow& row) {
  return std::tie(row.link, row.table, row.mac);
}
const IpAddress& key_of(const NeighbourRow& row) {
  return row.ip;
}

// Both sorted by key, keys unique.
template <typename Row, typename Put, typename Delete>
std::vector<Operation> merge(std::span<const Row> wanted, std::span<const Row> actual, Put put,
                             Delete remove) {
  std::vector<Operation> operations;
  std::vector<Operation> puts;
  auto want = wanted.begin();
  auto have = actual.begin();
  while (want != wanted.end() || have != actual.end()) {
    if (have == actual.end() || (want != wanted.end() && key_of(*want) < key_of(*have))) {
      puts.push_back(put(*want++));
    } else if (want == wanted.end() || key_of(*have) < key_of(*want)) {
      operations.push_back(remove(*have++));
    } else {
      if (*want != *have) puts.push_back(put(*want));
      ++want;
      ++have;
    }
  }
  operations.insert(operations.end(), std::make_move_iterator(puts.begin()),
                    std::make_move_iterator(puts.end()));
  return operations;
}

PlugPlan plan_plug(const OverlayVpc& vpc, const OverlayPlug& plug, const OverlayEndpoint& endpoint,
                   std::uint32_t mtu) {
  PlugPlan plan;
  plan.endpoint = plug.endpoint;
  plan.port = port_name(plug.endpoint);
  plan.tenant = marked(plug.interface, LinkKind::kVeth,
                       "qmasq:interface:" + std::to_string(plug.endpoint.value));
  plan.tenant.mac = endpoint.mac;
  plan.tenant.mtu = mtu;
  for (const IpAddress& ip : endpoint.addresses) {
    plan.addresses.push_back({ip, prefix_of(vpc.view, ip)});
  }
  // As the kernel would make it, and without its second of duplicate address detection.
  plan.addresses.push_back({Gid::link_local(endpoint.mac).address(), 64});
  return plan;
}

}  // namespace

std::string bridge_name(Vni vni) {
  return "qmb" + std::to_string(vni.value);
}
std::string vxlan_name(Vni vni) {
  return "qmx" + std::to_string(vni.value);
}
std::string port_name(EndpointUid endpoint) {
  return "qmv" + base36(endpoint.value);
}

std::uint32_t vxlan_overhead(const IpAddress& underlay) {
  return underlay.is_unspecified() || underlay.is_v4() ? 50 : 70;
}

std::optional<VpcPlan> plan_vpc(const OverlaySite& site, const OverlayState& state,
                                const OverlayVpc& vpc, std::span<const OverlayPlug> plugs) {
  bool local = std::any_of(vpc.endpoints.begin(), vpc.endpoints.end(),
                           [&](const auto& entry) { return entry.second.host == site.self; });
  if (!local || site.self == HostUid{}) return std::nullopt;

  VpcPlan plan;
  const Vni vni = vpc.view.vni;
  const std::string number = std::to_string(vni.value);
  const std::string bridge = bridge_name(vni);
  const std::string vxlan = vxlan_name(vni);
  const bool has_underlay = !site.underlay.is_unspecified();
  const std::uint32_t mtu = mtu_of(site, vpc.view, plan.warnings);

  plan.links.push_back({marked(bridge, LinkKind::kBridge, "qmasq:bridge:" + number), ""});
  if (has_underlay) {
    Link link = marked(vxlan, LinkKind::kVxlan, "qmasq:vxlan:" + number);
    link.mtu = mtu;
    link.vxlan = netlink::VxlanOptions{vni, site.underlay, site.port, false};
    link.port = quiet_port();
    plan.links.push_back({std::move(link), bridge});
  } else {
    plan.warnings.push_back("no underlay address of this host is known: nothing reaches others");
  }

  for (const OverlayPlug& plug : plugs) {
    auto it = vpc.endpoints.find(plug.endpoint);
    if (it == vpc.endpoints.end() || it->second.host != site.self) continue;
    PlugPlan made = plan_plug(vpc, plug, it->second, mtu);
    Link port =
        marked(made.port, LinkKind::kVeth, "qmasq:port:" + std::to_string(plug.endpoint.value));
    port.mtu = mtu;
    port.port = tenant_port();
    plan.links.push_back({std::move(port), bridge});
    plan.fdb.push_back({made.port, FdbEntry::Table::kBridge, it->second.mac, std::nullopt});
    plan.plugs.push_back(std::move(made));
  }

  auto neighbours = std::make_shared<std::vector<NeighbourRow>>();
  const bool v6 = has_v6(vpc.view);
  std::size_t homeless = 0;
  for (const auto& [uid, endpoint] : vpc.endpoints) {
    for (const IpAddress& ip : endpoint.addresses)
      neighbours->push_back({ip, endpoint.mac});
    if (v6) neighbours->push_back({Gid::link_local(endpoint.mac).address(), endpoint.mac});
    if (endpoint.host == site.self || !has_underlay) continue;
    IpAddress remote = state.underlay_of(endpoint.host);
    // VXLAN has one address family on a device.
    if (remote.is_unspecified() || remote.is_v4() != site.underlay.is_v4()) {
      ++homeless;
      continue;
    }
    plan.fdb.push_back({vxlan, FdbEntry::Table::kBridge, endpoint.mac, std::nullopt});
    plan.fdb.push_back({vxlan, FdbEntry::Table::kDevice, endpoint.mac, remote});
  }
  if (homeless > 0) {
    plan.warnings.push_back(std::to_string(homeless) +
                            " endpoints are on hosts without an underlay address of this family");
  }
  unique_by(plan.fdb, [](const FdbRow& row) { return key_of(row); });
  unique_by(*neighbours, [](const NeighbourRow& row) { return row.ip; });
  plan.neighbours = std::move(neighbours);
  return plan;
}

LinkAction diff_link(const LinkPlan& wanted, std::span<const Link> actual) {
  LinkAction action;
  const Link& want = wanted.link;
  netlink::SetLink& set = action.set;
  set.name = want.name;
  auto found = std::find_if(actual.begin(), actual.end(),
                            [&](const Link& link) { return link.name == want.name; });
  bool there = found != actual.end();
  if (there && found->group != netlink::kLinkGroup) {
    action.kind = LinkAction::Kind::kForeign;
    action.reason = "link " + want.name + " is there and was not made by qmasq: it is left alone";
    return action;
  }
  if (!there || found->kind != want.kind || (want.vxlan && found->vxlan != want.vxlan)) {
    action.kind = there ? LinkAction::Kind::kRemake : LinkAction::Kind::kMake;
    set.alias = want.alias;
    if (!wanted.master.empty()) set.master = wanted.master;
    set.port = want.port;
    set.no_link_local = true;
    set.up = want.up;
    return action;
  }
  std::string master;
  for (const Link& link : actual) {
    if (found->master != 0 && link.index == found->master) master = link.name;
  }
  if (want.mtu != 0 && found->mtu != want.mtu) set.mtu = want.mtu;
  if (!want.mac.is_zero() && found->mac != want.mac) set.mac = want.mac;
  if (found->alias != want.alias) set.alias = want.alias;
  if (master != wanted.master) set.master = wanted.master;
  if (want.port && found->port != want.port) set.port = want.port;
  if (found->up != want.up) {
    set.up = want.up;
    set.no_link_local = true;
  }
  bool same = !set.mtu && !set.mac && !set.alias && !set.master && !set.port && !set.up;
  action.kind = same ? LinkAction::Kind::kKeep : LinkAction::Kind::kSet;
  return action;
}

std::vector<Operation> diff_fdb(std::span<const FdbRow> wanted, std::span<const FdbRow> actual) {
  return merge(
      wanted, actual,
      [](const FdbRow& row) {
        return netlink::PutFdb{row.link, row.table, row.mac, row.remote};
      },
      [](const FdbRow& row) {
        return netlink::DeleteFdb{row.link, row.table, row.mac, row.remote};
      });
}

std::vector<Operation> diff_neighbours(const std::string& interface,
                                       std::span<const NeighbourRow> wanted,
                                       std::span<const NeighbourRow> actual) {
  return merge(
      wanted, actual,
      [&](const NeighbourRow& row) {
        return netlink::PutNeighbour{interface, row.ip, row.mac};
      },
      [&](const NeighbourRow& row) {
        return netlink::DeleteNeighbour{interface, row.ip};
      });
}

std::vector<Operation> diff_addresses(const std::string& interface,
                                      std::span<const AddressRow> wanted,
                                      std::span<const netlink::Address> actual) {
  std::vector<Operation> operations;
  auto is = [](const AddressRow& row, const netlink::Address& address) {
    return row.ip == address.ip && row.prefix == address.prefix;
  };
  for (const netlink::Address& address : actual) {
    bool keep = address.protocol != netlink::kProtocol ||
                std::any_of(wanted.begin(), wanted.end(),
                            [&](const AddressRow& row) { return is(row, address); });
    if (!keep) {
      operations.emplace_back(netlink::DeleteAddress{interface, address.ip, address.prefix});
    }
  }
  for (const AddressRow& row : wanted) {
    bool there = std::any_of(actual.begin(), actual.end(),
                             [&](const netlink::Address& address) { return is(row, address); });
    if (!there) operations.emplace_back(netlink::AddAddress{interface, row.ip, row.prefix});
  }
  return operations;
}

std::vector<Operation> leftovers(const std::set<std::string>& wanted,
                                 std::span<const Link> actual) {
  std::vector<Operation> ports;
  std::vector<Operation> others;
  for (const Link& link : actual) {
    if (link.group != netlink::kLinkGroup || wanted.count(link.name) > 0) continue;
    auto& list = link.kind == LinkKind::kVeth ? ports : others;
    list.emplace_back(netlink::DeleteLink{link.name});
  }
  ports.insert(ports.end(), others.begin(), others.end());
  return ports;
}

std::vector<FdbRow> rows_of(std::span<const FdbEntry> entries, std::span<const Link> links) {
  std::unordered_map<int, const Link*> by_index;
  for (const Link& link : links)
    by_index[link.index] = &link;
  std::vector<FdbRow> rows;
  for (const FdbEntry& entry : entries) {
    auto it = by_index.find(entry.link);
    if (it == by_index.end() || !entry.fixed || entry.local) continue;
    bool device = entry.table == FdbEntry::Table::kDevice;
    // Other devices list the multicast addresses they listen to.
    if (device && (it->second->kind != LinkKind::kVxlan || !entry.remote)) continue;
    rows.push_back({it->second->name, entry.table, entry.mac, entry.remote});
  }
  unique_by(rows, [](const FdbRow& row) { return key_of(row); });
  return rows;
}

std::vector<NeighbourRow> rows_of(std::span<const netlink::Neighbour> neighbours, int interface) {
  std::vector<NeighbourRow> rows;
  for (const netlink::Neighbour& neighbour : neighbours) {
    if (neighbour.link != interface || neighbour.protocol != netlink::kProtocol ||
        !neighbour.permanent) {
      continue;
    }
    rows.push_back({neighbour.ip, neighbour.mac});
  }
  unique_by(rows, [](const NeighbourRow& row) { return row.ip; });
  return rows;
}

}  // namespace qmasq::vbond

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "common/net_types.h"
#include "common/result.h"
#include "vbond/state/change.h"
#include "vbond/state/sync_state.h"

namespace qmasq::vbond {

class PeerMap;

// An endpoint of this host with all that is answered from it. Immutable, shared.
struct LocalEndpoint {
  EndpointUid uid;
  HostUid host;      // this one
  std::string name;  // "vpcs/blue/endpoints/a"
  VpcUid vpc;
  std::string vpc_name;  // "vpcs/blue"
  Vni vni;
  std::vector<IpPrefix> ranges;
  std::uint32_t mtu = 0;  // bytes; 0: from the underlay
  Mac mac;
  std::vector<IpAddress> addresses;
  // The virtual GID table, equal on every host and NIC: index 0 the link-local of the virtual MAC,
  // then one RoCE v2 entry for each VPC address in order. At most kMaxGids: sgid_index of an
  // address vector has 8 bits.
  std::vector<Gid> gids;
  // What node_guid and sys_image_guid say instead of the NIC's own, which tell its MAC: EUI-64 of
  // the virtual MAC, network order.
  std::array<std::uint8_t, 8> guid{};
  // Who may run programs on it, beside root and the group qmasq.
  std::vector<std::uint32_t> user_ids;
  std::vector<std::uint32_t> group_ids;
  // The Ethernet side in the tenant's namespace once it is bound, or empty and 0.
  std::string interface;
  std::uint32_t ifindex = 0;

  static constexpr std::size_t kMaxGids = 256;
  bool operator==(const LocalEndpoint&) const = default;
};
using EndpointPtr = std::shared_ptr<const LocalEndpoint>;

// The endpoints of this host. Follows the state (apply from sync's thread), read from any thread.
class EndpointTable final : public ChangeObserver {
 public:
  // `peers` and `sync` are asked only to explain why a name is not here; `peers` must follow the
  // same state. Not owned, must outlive this.
  EndpointTable(const PeerMap& peers, const SyncState& sync) : peers_(peers), sync_(sync) {}

  // Who we are: said by the controller in its Welcome, before the first apply(). A uid other than
  // the one held drops all endpoints; the controller sends a snapshot then.
  void set_host(HostUid uid, std::string name);
  // The interface that carries the endpoint, from bond/; empty and 0 when unbound. Unknown uid:
  // ignored.
  void set_interface(EndpointUid uid, std::string interface, std::uint32_t ifindex);

  // Null: not an endpoint of this host (now).
  [[nodiscard]] EndpointPtr find(EndpointUid uid) const;
  // "vpcs/blue/endpoints/a", "blue/a", or "a" where only one endpoint of this host has that id.
  // kFailedPrecondition: not in sync yet, or the endpoint is on another host (named).
  // kInvalidArgument: no such form, or ambiguous (candidates listed). kNotFound: unknown.
  [[nodiscard]] Result<EndpointPtr> find(std::string_view reference) const;
  // In order of names.
  [[nodiscard]] std::vector<EndpointPtr> list() const;

  // Called after each change of a local endpoint, with null when it went; from the thread that
  // made the change, without a lock held. Set it before the first apply().
  using Listener = std::function<void(EndpointUid, const EndpointPtr&)>;
  void set_listener(Listener listener) { listener_ = std::move(listener); }

  [[nodiscard]] Status check(const Change& change) override;
  void apply(const Change& change) override;

 private:
  struct Interface {
    std::string name;
    std::uint32_t index = 0;
  };
  using Changed = std::unordered_map<EndpointUid, EndpointPtr>;

  // REQUIRES of these two: mutex_ held.
  void remove(EndpointUid uid, Changed& changed);
  [[nodiscard]] EndpointPtr make(const EndpointView& view) const;
  void tell(const Changed& changed) const;

  const PeerMap& peers_;
  const SyncState& sync_;
  Listener listener_;
  mutable std::shared_mutex mutex_;  // guards all below
  HostUid host_;
  std::string host_name_;
  std::unordered_map<VpcUid, VpcView> vpcs_;
  std::unordered_map<EndpointUid, EndpointView> views_;  // of this host
  std::unordered_map<EndpointUid, EndpointPtr> endpoints_;
  std::unordered_map<EndpointUid, Interface> interfaces_;
};

}  // namespace qmasq::vbond

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <optional>

#include "common/net_types.h"
#include "conntrack/types.h"
#include "vbond/state/change.h"

namespace qmasq::fuzz {

// What the controller has said, and what follows from it, in the plainest words of
// docs/security-groups.md: no index, no cache, nothing of the product's but its values. Copied when
// a change is to be compared with what was before.
class Oracle {
 public:
  static constexpr VpcUid kBlue{1};
  static constexpr VpcUid kRed{2};
  static constexpr HostUid kHere{1};
  static constexpr std::uint64_t kHosts = 3;

  // Of both VPCs, which use the same addresses. On this host: blue/a, blue/d and red/a.
  Oracle();

  // All of it, as a snapshot.
  [[nodiscard]] vbond::Change snapshot() const;

  // What `id` is at first.
  [[nodiscard]] static vbond::EndpointView at_first(EndpointUid id);
  // Into the oracle, and as a change for the agent.
  [[nodiscard]] vbond::Change put(const vbond::EndpointView& endpoint);
  [[nodiscard]] vbond::Change put(const conntrack::Group& group);
  [[nodiscard]] vbond::Change remove(EndpointUid id);
  [[nodiscard]] vbond::Change remove(SecurityGroupUid id);

  [[nodiscard]] static Gid physical(HostUid host);
  [[nodiscard]] const vbond::EndpointView* find(EndpointUid id) const;
  // Whose virtual GID that is in the VPC.
  [[nodiscard]] const vbond::EndpointView* owner(VpcUid vpc, const Gid& gid) const;

  // What each may do to the memory of the other; nothing: the connection is forbidden.
  struct Admitted {
    conntrack::Operations on_own;
  };
  [[nodiscard]] std::optional<Admitted> judge(EndpointUid own, const Gid& own_gid, EndpointUid peer,
                                              const Gid& peer_gid,
                                              conntrack::Transport transport) const;
  // Some peer on the host with that physical GID may be connected to.
  [[nodiscard]] bool any(EndpointUid own, const Gid& physical_gid,
                         conntrack::Transport transport) const;
  // No rule of the endpoint speaks for datagrams.
  [[nodiscard]] bool never_datagrams(EndpointUid own) const;

  std::map<std::uint64_t, vbond::EndpointView> endpoints;
  std::map<std::uint64_t, conntrack::Group> groups;

 private:
  struct Side {
    bool admits = false;
    conntrack::Operations operations;
  };
  [[nodiscard]] Side side(conntrack::Direction direction, conntrack::Transport transport,
                          const vbond::EndpointView& own, const vbond::EndpointView& peer,
                          const IpAddress& peer_address) const;
  std::uint64_t revision_ = 1;
};

[[nodiscard]] std::vector<Gid> gids_of(const vbond::EndpointView& endpoint);

}  // namespace qmasq::fuzz

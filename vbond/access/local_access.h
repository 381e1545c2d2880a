// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "common/result.h"
#include "vbond/access/local_peer.h"
#include "vbond/access/tenancy.h"
#include "vbond/rename/endpoint_table.h"

namespace qmasq::vbond {

// The host's group that may do all at the agent's sockets, where there is one.
inline constexpr const char* kAdminGroup = "qmasq";

// Number of a group of this host; none: there is no such group.
[[nodiscard]] std::optional<gid_t> group_id(const char* name);

// Who of this host may run programs on which endpoint, and see it: root and the group qmasq all of
// them, the users and groups that an endpoint names (Endpoint.user_ids, group_ids) that one, a
// tenant's program none. Asked anew each time, since endpoints change. Any thread.
class LocalAccess {
 public:
  struct Seams {
    std::function<bool(pid_t)> may_be_tenant = vbond::may_be_tenant;
    std::function<std::optional<gid_t>()> admin_group = [] { return group_id(kAdminGroup); };
  };
  // Not owned.
  LocalAccess(const EndpointTable& endpoints, const SyncState& sync)
      : LocalAccess(endpoints, sync, Seams{}) {}
  LocalAccess(const EndpointTable& endpoints, const SyncState& sync, Seams seams);

  // kPermissionDenied for what may be a tenant's program.
  [[nodiscard]] Status admit(const LocalPeer& peer) const;

  [[nodiscard]] bool is_admin(const LocalPeer& peer) const;
  [[nodiscard]] bool may_use(const LocalPeer& peer, const LocalEndpoint& endpoint) const;

  // As EndpointTable::find, of those that the peer may use; of others it does not say whether they
  // are there (kPermissionDenied).
  [[nodiscard]] Result<EndpointPtr> find(const LocalPeer& peer, std::string_view reference) const;

  // What a peer is shown.
  struct Sight {
    bool all = false;
    std::set<std::string, std::less<>> endpoints;  // names of those it may use, if not all
    [[nodiscard]] bool sees(std::string_view endpoint) const {
      return all || endpoints.count(endpoint) != 0;
    }
    // `parent`: of an endpoint or VPC, or empty for all.
    [[nodiscard]] bool sees_any_of(std::string_view parent) const;
  };
  [[nodiscard]] Sight sight_of(const LocalPeer& peer) const;

 private:
  const EndpointTable& endpoints_;
  const SyncState& sync_;
  const Seams seams_;
};

// "user 1000"
[[nodiscard]] std::string describe(const LocalPeer& peer);

}  // namespace qmasq::vbond

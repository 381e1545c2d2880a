// SPDX-License-Identifier: Apache-2.0
#include "vbond/access/local_access.h"

#include <fmt/format.h>
#include <grp.h>

#include <algorithm>
#include <cerrno>
#include <utility>
#include <vector>

#include "common/resource_name.h"

namespace qmasq::vbond {
namespace {

bool in_group(const LocalPeer& peer, gid_t group) {
  return peer.gid == group ||
         std::find(peer.groups.begin(), peer.groups.end(), group) != peer.groups.end();
}

bool is_named(const EndpointName& want, const LocalEndpoint& endpoint) {
  auto name = parse_endpoint_name(endpoint.name);
  return name && name->endpoint == want.endpoint && (want.vpc.empty() || name->vpc == want.vpc);
}

}  // namespace

std::optional<gid_t> group_id(const char* name) {
  std::vector<char> buffer(1024);
  for (;;) {
    group entry{};
    group* found = nullptr;
    int err = ::getgrnam_r(name, &entry, buffer.data(), buffer.size(), &found);
    if (err == ERANGE && buffer.size() < (std::size_t{1} << 22U)) {
      buffer.resize(buffer.size() * 4);
      continue;
    }
    if (err != 0 || found == nullptr) return {};
    return entry.gr_gid;
  }
}

std::string describe(const LocalPeer& peer) {
  return fmt::format("user {}", peer.uid);
}

LocalAccess::LocalAccess(const EndpointTable& endpoints, const SyncState& sync, Seams seams)
    : endpoints_(endpoints), sync_(sync), seams_(std::move(seams)) {}

Status LocalAccess::admit(const LocalPeer& peer) const {
  if (!seams_.may_be_tenant(peer.pid)) return {};
  return fail(Code::kPermissionDenied,
              fmt::format("process {} is a program of an endpoint (one under `qmasq run`), or a "
                          "sandbox like it: these may not use the agent's sockets",
                          peer.pid));
}

bool LocalAccess::is_admin(const LocalPeer& peer) const {
  if (peer.uid == 0) return true;
  auto group = seams_.admin_group();
  // Group 0 named qmasq would open this to more than it says.
  return group && *group != 0 && in_group(peer, *group);
}

bool LocalAccess::may_use(const LocalPeer& peer, const LocalEndpoint& endpoint) const {
  const auto& users = endpoint.user_ids;
  const auto& groups = endpoint.group_ids;
  return std::find(users.begin(), users.end(), peer.uid) != users.end() ||
         std::any_of(groups.begin(), groups.end(),
                     [&](gid_t group) { return in_group(peer, group); }) ||
         is_admin(peer);
}

Result<EndpointPtr> LocalAccess::find(const LocalPeer& peer, std::string_view reference) const {
  // Before the first state nobody knows who may what.
  if (!sync_.in_sync() || is_admin(peer)) return endpoints_.find(reference);
  QMASQ_ASSIGN(EndpointName want, parse_endpoint_reference(reference));
  EndpointPtr found;
  for (const EndpointPtr& endpoint : endpoints_.list()) {
    if (!is_named(want, *endpoint) || !may_use(peer, *endpoint)) continue;
    if (found != nullptr) {
      return fail(Code::kInvalidArgument, fmt::format("endpoint '{}' is ambiguous: {}, {}",
                                                      reference, found->name, endpoint->name));
    }
    found = endpoint;
  }
  if (found != nullptr) return found;
  return fail(Code::kPermissionDenied,
              fmt::format("no endpoint '{}' on this host is for {}: an admin lets it in with "
                          "`qmasq endpoint update {} --user {}`",
                          reference, describe(peer), reference, peer.uid));
}

bool LocalAccess::Sight::sees_any_of(std::string_view parent) const {
  return all || std::any_of(endpoints.begin(), endpoints.end(), [&](const std::string& name) {
           return parent.empty() || name == parent ||
                  (name.starts_with(parent) && name[parent.size()] == '/');
         });
}

LocalAccess::Sight LocalAccess::sight_of(const LocalPeer& peer) const {
  Sight sight;
  sight.all = is_admin(peer);
  if (sight.all) return sight;
  for (const EndpointPtr& endpoint : endpoints_.list()) {
    if (may_use(peer, *endpoint)) sight.endpoints.insert(endpoint->name);
  }
  return sight;
}

}  // namespace qmasq::vbond

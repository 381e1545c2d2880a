// SPDX-License-Identifier: Apache-2.0
#include "vbond/agent/attach_planner.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "vbond/agent/endpoint_files.h"

namespace qmasq::vbond {

AttachPlanner::AttachPlanner(Parts parts, Options options)
    : parts_(std::move(parts)), options_(std::move(options)) {}

Result<AttachHandler::Offer> AttachPlanner::offer(const std::string& endpoint,
                                                  const AttachPeer& peer) {
  QMASQ_TRY(parts_.access.admit(peer));
  QMASQ_ASSIGN(EndpointPtr found, parts_.access.find(peer, endpoint));
  auto nics = parts_.nics.list();
  if (std::none_of(nics.begin(), nics.end(), [](const NicPtr& nic) { return nic->primary; })) {
    return fail(Code::kFailedPrecondition,
                "this host has no NIC that can carry RDMA of tenants now: see `qmasq doctor`");
  }
  if (!parts_.await_vpc(found->vni)) {
    return fail(Code::kUnavailable,
                fmt::format("a NIC of this host has no GID of {} yet: see `qmasq doctor`",
                            found->vpc_name));
  }
  QMASQ_ASSIGN(Prepared prepared, prepare(*found));

  Offer out;
  out.endpoint = found->uid;
  out.netns = std::move(prepared.bound.netns);
  out.terms.endpoint = found->name;
  out.terms.reserved_first = options_.reserved_first;
  out.terms.reserved_count = options_.reserved_count;
  // With devices of both kinds doorbells are trapped: an injected descriptor needs it, and one of
  // the tenant's own at such a number is let through.
  out.terms.tenant_opens = std::all_of(nics.begin(), nics.end(), [&](const NicPtr& nic) {
    return options_.tenant_opens.count(nic->device) != 0;
  });
  for (const StagedMount& mount : prepared.mounts) {
    out.terms.mounts.push_back({mount.source, mount.target, true, false});
  }
  add_device_mounts(out.terms);
  for (const std::string& directory : options_.hidden) {
    struct stat info {};
    if (::stat(directory.c_str(), &info) == 0 && S_ISDIR(info.st_mode)) {
      out.terms.mounts.push_back({"", directory, true, true});
    }
  }
  return out;
}

Result<AttachPlanner::Prepared> AttachPlanner::prepare(const LocalEndpoint& endpoint) {
  auto bound = parts_.bind(endpoint.uid);
  if (!bound) return with_context(bound.error(), "cannot bind " + endpoint.name);
  QMASQ_ASSIGN(std::uint32_t index, parts_.interface_index(bound->netns.get(), bound->interface));
  parts_.endpoints.set_interface(endpoint.uid, bound->interface, index);
  auto mounts = parts_.files.prepare(endpoint.uid);
  if (!mounts) return with_context(mounts.error(), "cannot show the GIDs of " + endpoint.name);
  return Prepared{std::move(*bound), std::move(*mounts)};
}

Status AttachPlanner::restore(EndpointUid endpoint) {
  const EndpointPtr found = parts_.endpoints.find(endpoint);
  if (!found) return {};  // it is not of this host any more
  if (auto prepared = prepare(*found); !prepared) return tl::unexpected(prepared.error());
  return {};
}

void AttachPlanner::add_device_mounts(AttachTerms& terms) const {
  struct stat info {};
  const std::string& directory = options_.device_directory;
  // No NIC was ever here: there is nothing to hide.
  if (::stat(directory.c_str(), &info) != 0) return;
  // Over itself, so that libibverbs finds the nodes it expects and opens none of them.
  terms.mounts.push_back({directory, directory, true, true});
  for (const NicPtr& nic : parts_.nics.list()) {
    if (options_.tenant_opens.count(nic->device) == 0) continue;
    std::string node = parts_.node_of(nic->device);
    if (node.empty()) continue;
    std::string path = fmt::format("{}/{}", directory, node);
    terms.mounts.push_back({path, path, false, false});
  }
}

Status AttachPlanner::attached(EndpointUid endpoint, const AttachPeer& peer,
                               std::unique_ptr<NotificationPort> port) {
  // It may have lost its users, or its life, since it was offered.
  EndpointPtr found = parts_.endpoints.find(endpoint);
  if (found == nullptr) {
    return fail(Code::kNotFound, "the endpoint was deleted or moved to another host");
  }
  if (!parts_.access.may_use(peer, *found)) {
    return fail(Code::kPermissionDenied,
                fmt::format("{} is no longer for {}", found->name, describe(peer)));
  }
  return parts_.attach(std::move(port), endpoint, peer.pid, peer.command, peer.kept_below);
}

}  // namespace qmasq::vbond

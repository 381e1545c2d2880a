// SPDX-License-Identifier: Apache-2.0
// The way back: what a tenant reads about its QPs, ports and devices.
#include <fmt/format.h>

#include <cerrno>

#include "vbond/rename/endpoint_table.h"
#include "vbond/rename/nic_table.h"
#include "vbond/rename/renamer.h"

namespace qmasq::vbond {
namespace {

// What of an address vector could tell of the host goes, whatever it is. rxe, for one, keeps the
// old address vector over RESET and shows it in QUERY_QP.
void wipe(uverbs::QpDest& dest) {
  dest.dgid = Gid{};
  dest.flow_label = 0;
  dest.dlid = 0;
  dest.sgid_index = 0;
  dest.hop_limit = 0;
  dest.traffic_class = 0;
  dest.sl = 0;
}

uverbs::GidEntry entry_of(const LocalEndpoint& endpoint, std::uint32_t port, std::uint32_t index) {
  return {endpoint.gids[index], index, port, uverbs::GidType::kRoceV2, endpoint.ifindex};
}

}  // namespace

void Renamer::after_query_qp(const ContextInfo& context, std::uint32_t handle,
                             uverbs::QueryQpResp& response) {
  QpKey key{context.id, handle};
  wipe(response.dest);
  wipe(response.alt_dest);
  auto connection = parts_.connections.find(key);
  if (!connection) return;
  if (connection->path) {
    const PathSide& virt = connection->path->virt;
    response.dest.dgid = virt.remote;
    response.dest.flow_label = virt.flow_label;
    response.dest.sgid_index = virt.sgid_index;
    response.dest.hop_limit = virt.hop_limit;
    response.dest.traffic_class = virt.traffic_class;
    response.dest.sl = virt.sl;
    response.dest.is_global = true;
  }
  // The NIC moves a QP to the error state by itself.
  if (connection->state != response.state) {
    parts_.connections.update(key, [&](Connection& held) { held.state = response.state; });
    show();
  }
}

Verdict<uverbs::GidEntry> Renamer::gid_entry(const ContextInfo& context, std::uint32_t port,
                                             std::uint32_t index) const {
  EndpointPtr endpoint = parts_.endpoints.find(context.endpoint);
  NicPtr nic = parts_.nics.find(context.nic);
  if (endpoint == nullptr || nic == nullptr) {
    return refuse(ENODEV, fmt::format("NIC {} or the endpoint is gone", context.nic));
  }
  if (port != nic->port) {
    return refuse(EINVAL, fmt::format("NIC {} has no port {}", context.nic, port));
  }
  if (index >= endpoint->gids.size()) {
    return refuse(EINVAL, fmt::format("GID index {}: {} has {} GIDs", index, endpoint->name,
                                      endpoint->gids.size()));
  }
  return entry_of(*endpoint, port, index);
}

std::vector<uverbs::GidEntry> Renamer::gid_table(const ContextInfo& context) const {
  std::vector<uverbs::GidEntry> out;
  EndpointPtr endpoint = parts_.endpoints.find(context.endpoint);
  NicPtr nic = parts_.nics.find(context.nic);
  if (endpoint == nullptr || nic == nullptr) return out;
  out.reserve(endpoint->gids.size());
  for (std::uint32_t index = 0; index < endpoint->gids.size(); ++index)
    out.push_back(entry_of(*endpoint, nic->port, index));
  return out;
}

std::uint32_t Renamer::gid_table_length(const ContextInfo& context) const {
  EndpointPtr endpoint = parts_.endpoints.find(context.endpoint);
  return endpoint == nullptr ? 0 : static_cast<std::uint32_t>(endpoint->gids.size());
}

uverbs::Guid Renamer::device_guid(const ContextInfo& context) const {
  EndpointPtr endpoint = parts_.endpoints.find(context.endpoint);
  return endpoint == nullptr ? uverbs::Guid{} : endpoint->guid;
}

}  // namespace qmasq::vbond

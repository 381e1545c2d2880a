// SPDX-License-Identifier: Apache-2.0
#include "vbond/agent/standing.h"

#include <array>
#include <chrono>
#include <map>
#include <utility>

#include "common/resource_name.h"
#include "common/version.h"
#include "vbond/sync/outbox.h"

namespace qmasq::vbond {
namespace {

const char* state_text(BondState state) {
  return to_string(state);
}

}  // namespace

Standing::Standing(Parts parts, Facts facts) : parts_(parts), facts_(std::move(facts)) {}

v1::Agent Standing::describe() {
  v1::Agent out;
  out.set_host(facts_.host);
  out.set_version(std::string(version()));
  out.set_controller(facts_.controller);
  SyncStatus sync = parts_.sync.status();
  out.set_connected(sync.connected);
  out.set_last_error(sync.last_error);
  out.set_in_sync(sync.in_sync);
  out.set_held_revision(sync.held.value);
  out.set_newest_revision(sync.newest.value);
  auto size = parts_.peers.size();
  out.set_vpcs(static_cast<std::uint32_t>(size.vpcs));
  out.set_endpoints(static_cast<std::uint32_t>(size.endpoints));
  out.set_map_entries(static_cast<std::uint32_t>(size.entries));
  auto stats = parts_.interceptor.stats();
  out.set_attachments(static_cast<std::uint32_t>(stats.attachments));
  out.set_contexts(static_cast<std::uint32_t>(stats.contexts));
  out.set_queue_pairs(static_cast<std::uint32_t>(parts_.connections.counts().total));
  for (const NicPtr& nic : parts_.nics.list())
    *out.add_nics() = to_proto(*nic);
  add_endpoints(out);
  for (const std::string& feature : facts_.features)
    out.add_features(feature);
  out.set_guard(parts_.guard != nullptr ? parts_.guard->describe() : "off");
  out.set_keeper(facts_.keeper());
  return out;
}

void Standing::add_endpoints(v1::Agent& out) const {
  std::map<EndpointUid, BondStatus> bonds;
  for (auto& [uid, bond] : parts_.binder.list())
    bonds[uid] = std::move(bond);
  std::map<EndpointUid, std::uint32_t> attachments;
  for (const AttachmentInfo& info : parts_.interceptor.list())
    ++attachments[info.endpoint];
  for (const EndpointPtr& endpoint : parts_.endpoints.list()) {
    v1::LocalEndpoint& to = *out.add_local_endpoints();
    const BondStatus& bond = bonds[endpoint->uid];
    to.set_name(endpoint->name);
    to.set_state(state_text(bond.state));
    to.set_message(bond.message);
    to.set_netns(bond.netns);
    to.set_interface(bond.interface);
    for (const Gid& gid : endpoint->gids)
      to.add_virtual_gids(to_string(gid));
    to.set_attachments(attachments[endpoint->uid]);
  }
}

std::vector<v1::Connection> Standing::connections(const std::string& parent) {
  ConnectionFilter filter;
  filter.parent = parent;
  std::vector<v1::Connection> out;
  for (const Connection& connection : parts_.connections.list(filter)) {
    out.push_back(to_proto(connection));
  }
  return out;
}

Status Standing::check_known(const std::string& parent) {
  if (parse_endpoint_name(parent)) {
    auto endpoint = parts_.endpoints.find(parent);
    if (!endpoint) return tl::unexpected(std::move(endpoint).error());
    return {};
  }
  for (const EndpointPtr& endpoint : parts_.endpoints.list()) {
    if (endpoint->vpc_name == parent) return {};
  }
  return fail(Code::kNotFound, "no endpoint of " + parent + " is on " + facts_.host);
}

namespace {

constexpr std::array<std::pair<std::uint8_t, const char*>, 4> kOperations = {
    {{conntrack::Operations::kSend, "send"},
     {conntrack::Operations::kRead, "read"},
     {conntrack::Operations::kWrite, "write"},
     {conntrack::Operations::kAtomic, "atomic"}}};

// Of the two sides of the opening that is open, ingress says more: egress is open by default.
std::string admitting_rule(const conntrack::Verdict& verdict) {
  const conntrack::Opening& opening =
      verdict.first_opens.open() ? verdict.first_opens : verdict.second_opens;
  return conntrack::describe(opening.ingress, conntrack::Direction::kIngress);
}

}  // namespace

v1::Connection to_proto(const Connection& connection) {
  v1::Connection out;
  out.set_endpoint(connection.endpoint_name);
  out.set_nic(connection.nic);
  out.set_transport(transport_name(connection.type));
  out.set_state(is_address_handle(connection.key) ? "address" : state_name(connection.state));
  out.set_qpn(connection.qpn.value);
  out.set_pid(connection.pid);
  out.set_command(connection.command);
  if (connection.path) {
    const Path& path = *connection.path;
    out.set_peer_endpoint(path.peer_name);
    out.set_peer_host(path.peer_host_name);
    out.set_peer_qpn(connection.peer_qpn.value);
    out.set_virtual_gid(to_string(path.virt.local));
    out.set_peer_virtual_gid(to_string(path.virt.remote));
    out.set_physical_gid(to_string(path.phys.local));
    out.set_peer_physical_gid(to_string(path.phys.remote));
    out.set_flow_label(path.phys.flow_label);
  }
  if (connection.verdict) {
    out.set_rule(admitting_rule(connection.verdict->verdict));
    const conntrack::Operations permitted = connection.verdict->verdict.on_first;
    for (const auto& [bit, name] : kOperations) {
      if (permitted.has(bit)) out.add_operations(name);
    }
  }
  if (connection.connected) {
    out.mutable_connect_time()->set_seconds(
        std::chrono::duration_cast<std::chrono::seconds>(connection.since.time_since_epoch())
            .count());
  }
  return out;
}

}  // namespace qmasq::vbond

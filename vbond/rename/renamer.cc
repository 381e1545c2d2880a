// SPDX-License-Identifier: Apache-2.0
#include "vbond/rename/renamer.h"

#include <fmt/format.h>

#include <cerrno>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "vbond/events/event_log.h"
#include "vbond/nic/vpc_gid.h"
#include "vbond/rename/connection_event.h"
#include "vbond/rename/endpoint_table.h"
#include "vbond/rename/metrics.h"
#include "vbond/rename/nic_table.h"
#include "vbond/rename/peer_map.h"
#include "vbond/rename/permission.h"
#include "vbond/state/sync_state.h"

namespace qmasq::vbond {
namespace {

namespace qp_mask = uverbs::qp_mask;

// IB_QP_SET_QKEY: such Q_Keys need CAP_NET_RAW, and the kernel would look at the agent's.
constexpr std::uint32_t kPrivilegedQkey = 0x80000000U;
// The kernel puts the route's own limit here for RoCE v2; this is what that nearly always is.
constexpr std::uint8_t kHopLimit = 64;

bool same_family(const Gid& a, const Gid& b) {
  return a.address().is_v4() == b.address().is_v4();
}

bool is_link_local_v6(const Gid& gid) {
  return !gid.address().is_v4() && gid.address().is_link_local();
}

std::string text(const Gid& gid) {
  return to_string(gid.address());
}

// A UD QP that starts to receive or to send.
bool starts_datagrams(uverbs::QpType type, const uverbs::ModifyQp& command) {
  return type == uverbs::QpType::kUd && command.sets(qp_mask::kState) &&
         (command.state == uverbs::QpState::kInit || command.state == uverbs::QpState::kRtr ||
          command.state == uverbs::QpState::kRts);
}

// What may become ready to send is what the agent itself has made ready to receive, with a peer
// that it has checked: should a program have got there in another way, it gets no further.
bool was_ready(uverbs::QpState state) {
  return state == uverbs::QpState::kRtr || state == uverbs::QpState::kRts ||
         state == uverbs::QpState::kSqd || state == uverbs::QpState::kSqe;
}

}  // namespace

Verdict<void> Renamer::check_create_qp(const ContextInfo& context, uverbs::QpType type) {
  bool xrc = type == uverbs::QpType::kXrcIni || type == uverbs::QpType::kXrcTgt;
  if (type == uverbs::QpType::kRc || type == uverbs::QpType::kUc || type == uverbs::QpType::kUd ||
      (xrc && options_.allow_xrc)) {
    auto ever = check_transport(context, type);
    if (!ever) report_refusal(context, "CREATE_QP", ever.error());
    return ever;
  }
  Refusal refusal{EOPNOTSUPP, ""};
  if (xrc) {
    refusal.reason = "XRC is not offered: a target QP can be shared between processes";
  } else {
    refusal.reason = fmt::format("QP type {} ({}) is not offered", static_cast<std::uint32_t>(type),
                                 transport_name(type));
  }
  report_refusal(context, "CREATE_QP", refusal);
  return tl::unexpected(std::move(refusal));
}

Connection Renamer::new_connection(const ContextInfo& context, QpKey key) const {
  Connection out;
  out.key = key;
  out.endpoint = context.endpoint;
  if (EndpointPtr endpoint = parts_.endpoints.find(context.endpoint)) {
    out.endpoint_name = endpoint->name;
  }
  out.nic = context.nic;
  out.pid = context.pid;
  out.command = context.command;
  return out;
}

void Renamer::qp_created(const ContextInfo& context, std::uint32_t handle, Qpn qpn,
                         uverbs::QpType type) {
  Connection connection = new_connection(context, QpKey{context.id, handle});
  connection.qpn = qpn;
  connection.type = type;
  journal(connection, std::nullopt);
  parts_.connections.put(std::move(connection));
  show();
}

void Renamer::qp_destroyed(const ContextInfo& context, std::uint32_t handle) {
  if (auto gone = parts_.connections.remove(QpKey{context.id, handle})) {
    forget(gone->key);
    parts_.tracker.release(gone->admission);
    if (gone->connected) report_end(*gone, "QP destroyed");
    show();
  }
}

void Renamer::context_closed(const ContextInfo& context) {
  for (const Connection& gone : parts_.connections.remove_context(context.id)) {
    forget(gone.key);
    parts_.tracker.release(gone.admission);
    if (gone.connected) report_end(gone, "device closed");
  }
  show();
}

Verdict<ModifyPlan> Renamer::before_modify(const ContextInfo& context, uverbs::ModifyQp& command) {
  Verdict<ModifyPlan> plan = decide(context, command);
  if (!plan) {
    report_refusal(context, "MODIFY_QP", plan.error());
  } else {
    journal_intent(context, *plan);
  }
  return plan;
}

Verdict<ModifyPlan> Renamer::decide(const ContextInfo& context, uverbs::ModifyQp& command) const {
  if (command.sets(qp_mask::kAltPath)) {
    return refuse(EOPNOTSUPP, "alternate paths are not offered: RoCE has none");
  }
  if (command.sets(qp_mask::kQkey) && (command.qkey & kPrivilegedQkey) != 0) {
    return refuse(EPERM, fmt::format("Q_Key {:#x} is for privileged programs", command.qkey));
  }
  ModifyPlan plan;
  plan.key = QpKey{context.id, command.qp_handle};
  plan.attr_mask = command.attr_mask;
  plan.state = command.state;
  plan.dest_qpn = command.dest_qpn;

  const ConnectionTable::Qpns known = parts_.connections.qpns(plan.key);
  if (command.sets(qp_mask::kState) && command.state == uverbs::QpState::kRts &&
      !was_ready(known.state)) {
    return refuse(EINVAL, "the QP is not ready to receive, as far as the agent moved it");
  }
  plan.state_before = known.state;
  if (starts_datagrams(known.type, command)) {
    if (auto ever = check_transport(context, known.type); !ever) {
      return tl::unexpected(std::move(ever).error());
    }
  }
  NicPtr nic;
  if (command.sets(qp_mask::kPort | qp_mask::kAv)) {
    nic = parts_.nics.find(context.nic);
    if (nic == nullptr) return refuse(ENODEV, fmt::format("NIC {} is gone", context.nic));
  }
  if (command.sets(qp_mask::kPort) && command.port_num != nic->port) {
    return refuse(EINVAL, fmt::format("NIC {} has no port {}", nic->device, command.port_num));
  }
  // What the mask does not name goes to the kernel as nothing at all.
  uverbs::QpDest wire;
  if (command.sets(qp_mask::kAv)) {
    const Qpn peer_qpn = command.sets(qp_mask::kDestQpn) ? command.dest_qpn : known.peer_qpn;
    auto path = find_path(context, *nic, command.dest, known.qpn, peer_qpn);
    if (!path) return tl::unexpected(std::move(path).error());
    wire = wire_dest(**path, command.dest);
    plan.path = std::move(*path);
    auto admitted = admit(context, "MODIFY_QP", plan.key, transport_of(known.type), *plan.path);
    if (!admitted) return tl::unexpected(std::move(admitted).error());
    plan.admission = admitted->ticket;
    plan.verdict = std::move(admitted->verdict);
  }
  command.dest = wire;
  command.alt_dest = uverbs::QpDest{};
  narrow_access(plan, command);
  return plan;
}

uverbs::QpDest Renamer::wire_dest(const Path& path, const uverbs::QpDest& asked) {
  uverbs::QpDest out;
  out.dgid = path.phys.remote;
  out.flow_label = path.phys.flow_label;
  out.sgid_index = path.phys.sgid_index;
  out.hop_limit = path.phys.hop_limit;
  out.traffic_class = path.phys.traffic_class;
  out.sl = path.phys.sl;
  out.src_path_bits = asked.src_path_bits;
  out.static_rate = asked.static_rate;
  out.is_global = true;
  out.port_num = asked.port_num;
  return out;
}

Verdict<PathPtr> Renamer::find_path(const ContextInfo& context, const Nic& nic,
                                    const uverbs::QpDest& want, Qpn own, Qpn peer_qpn) const {
  if (!parts_.sync.in_sync()) {
    return refuse(EAGAIN, "the agent has no state from the controller yet");
  }
  EndpointPtr endpoint = parts_.endpoints.find(context.endpoint);
  if (endpoint == nullptr) {
    return refuse(ENODEV, fmt::format("endpoint uid {} is not on this host (any more)",
                                      context.endpoint.value));
  }
  if (want.port_num != nic.port) {
    return refuse(EINVAL, fmt::format("NIC {} has no port {}", nic.device, want.port_num));
  }
  if (!want.is_global) {
    return refuse(EINVAL, "the address vector has no global route: RoCE needs one");
  }
  if (want.sgid_index >= endpoint->gids.size()) {
    return refuse(EINVAL, fmt::format("sgid_index {}: {} has {} GIDs", want.sgid_index,
                                      endpoint->name, endpoint->gids.size()));
  }
  const Gid& source = endpoint->gids[want.sgid_index];
  if (!same_family(source, want.dgid) ||
      (is_link_local_v6(source) && !is_link_local_v6(want.dgid))) {
    return refuse(EINVAL, fmt::format("sgid_index {} is {}, from which {} cannot be reached",
                                      want.sgid_index, text(source), text(want.dgid)));
  }
  if (!nic.primary || nic.primary->index > 0xff) {
    return refuse(EHOSTUNREACH,
                  fmt::format("NIC {} of this host has no RoCE v2 GID to send from", nic.device));
  }

  PeerInfo info;
  auto peer =
      parts_.peers.find(endpoint->vni, want.dgid,
                        LocalNic{nic.device, nic.primary->gid, nic.vpc_prefix.has_value()}, &info);
  if (!peer) {
    if (peer.error() == NoPeer::kNoVpc) {
      return refuse(EHOSTUNREACH, fmt::format("{} is not held here", endpoint->vpc_name));
    }
    return refuse(EHOSTUNREACH, fmt::format("no endpoint of {} has address {}", endpoint->vpc_name,
                                            text(want.dgid)));
  }
  // An endpoint of this very host: what we know of our own NIC is fresher than what the controller
  // sent back.
  if (peer->host == endpoint->host) {
    peer->of_vpc = nic.vpc_prefix.has_value();
    peer->physical = peer->of_vpc ? vpc_gid(*nic.vpc_prefix, endpoint->vni) : nic.primary->gid;
  }
  if (peer->physical.is_zero()) {
    return refuse(EHOSTUNREACH,
                  fmt::format("{} of {} has no NIC with an {} GID", info.host, info.name,
                              nic.primary->gid.address().is_v4() ? "IPv4" : "IPv6"));
  }

  PhysicalGid from = *nic.primary;
  if (peer->of_vpc) {
    const auto index = vpc_gid_index(nic, endpoint->vni);
    if (!index || *index > 0xff) {
      return refuse(EHOSTUNREACH,
                    fmt::format("NIC {} of this host has no GID for {} {}", nic.device,
                                endpoint->vpc_name, index ? "that fits" : "yet"));
    }
    from = {*index, vpc_gid(*nic.vpc_prefix, endpoint->vni), GidType::kRoceV2};
  }

  auto path = std::make_shared<Path>();
  path->virt = {source,         want.dgid,          want.flow_label, want.sgid_index,
                want.hop_limit, want.traffic_class, want.sl};
  if (path->virt.hop_limit == 0) path->virt.hop_limit = kHopLimit;
  auto marks = parts_.wire.marks({endpoint->uid, peer->endpoint, own, peer_qpn});
  if (!marks) return tl::unexpected(std::move(marks).error());
  path->phys = {
      from.gid,  peer->physical,       marks->flow_label, static_cast<std::uint8_t>(from.index),
      kHopLimit, marks->traffic_class, marks->sl};
  path->peer = peer->endpoint;
  path->peer_host = peer->host;
  path->peer_name = std::move(info.name);
  path->peer_host_name = std::move(info.host);
  return path;
}

void Renamer::after_modify(const ContextInfo& context, const ModifyPlan& plan, int err) {
  if (err != 0) {
    parts_.tracker.release(plan.admission);
    if (plan.path) journal(plan.key);  // it stays where it was
    return;
  }
  conntrack::Ticket ended;
  std::shared_ptr<const EventSource> lost;
  std::shared_ptr<const EventSource> won;
  auto change = [&](Connection& connection) {
    const bool was_connected = connection.connected;
    const PathPtr old_path = connection.path;
    const Qpn old_peer = connection.peer_qpn;
    bool connects = false;
    if ((plan.attr_mask & qp_mask::kDestQpn) != 0) connection.peer_qpn = plan.dest_qpn;
    if (plan.path) {
      connects = was_connected && old_path->peer != plan.path->peer;
      connection.path = plan.path;
      connection.verdict = plan.verdict;
      connection.unadmitted = false;
      ended = std::exchange(connection.admission, plan.admission);
    }
    if ((plan.attr_mask & qp_mask::kAccessFlags) != 0) connection.asked_access = plan.asked_access;
    if ((plan.attr_mask & qp_mask::kState) != 0) {
      connection.state = plan.state;
      if (plan.state == uverbs::QpState::kReset) {
        connection.path.reset();
        connection.verdict.reset();
        ended = std::exchange(connection.admission, {});
        connection.connected = false;
        connection.unadmitted = false;
        connection.asked_access = 0;
        connection.peer_qpn = Qpn{};
      } else if (plan.state == uverbs::QpState::kRtr && connection.path) {
        connects = true;
      }
    }
    if (was_connected && (connects || !connection.connected)) {
      lost = std::make_shared<const ConnectionEvent>(EventType::kDisconnected, connection, old_path,
                                                     old_peer,
                                                     connects ? "QP has another peer" : "QP reset");
    }
    if (!connects) return;
    connection.connected = true;
    connection.since = parts_.clock.wall();
    won = std::make_shared<const ConnectionEvent>(EventType::kConnected, connection,
                                                  connection.path, connection.peer_qpn, nullptr);
  };
  // By reference: it is called right there, and would not fit into a function object.
  if (!parts_.connections.update(plan.key, std::ref(change))) {
    Connection connection = new_connection(context, plan.key);
    change(connection);
    parts_.connections.put(std::move(connection));
  }
  parts_.tracker.release(ended);
  if (lost) report(std::move(lost));
  if (won) {
    report(std::move(won));
    report_admitted(plan.key);
  }
  if ((plan.attr_mask & qp_mask::kState) != 0) show();
}

void Renamer::report_refusal(const ContextInfo& context, const char* verb, const Refusal& refusal) {
  Event event;
  event.type = EventType::kRefused;
  if (EndpointPtr endpoint = parts_.endpoints.find(context.endpoint))
    event.endpoint = endpoint->name;
  event.verb = verb;
  event.err = refusal.err;
  event.reason = refusal.reason;
  event.pid = context.pid;
  event.command = context.command;
  parts_.events.record(std::move(event));
  if (parts_.metrics != nullptr) parts_.metrics->count_refusal(verb, refusal.err);
}

void Renamer::report_end(const Connection& connection, const char* why) {
  report(std::make_shared<const ConnectionEvent>(EventType::kDisconnected, connection,
                                                 connection.path, connection.peer_qpn, why));
}

void Renamer::report(std::shared_ptr<const EventSource> event) {
  const EventType type = event->type();
  parts_.events.record(std::move(event));
  if (parts_.metrics == nullptr) return;
  if (type == EventType::kConnected) {
    parts_.metrics->count_connect();
  } else {
    parts_.metrics->count_disconnect();
  }
}

void Renamer::show() {
  if (parts_.metrics != nullptr) parts_.metrics->show(parts_.connections);
}

}  // namespace qmasq::vbond

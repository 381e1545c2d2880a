// SPDX-License-Identifier: Apache-2.0
#include "vbond/rename/connection_event.h"

#include <fmt/format.h>

#include <utility>

namespace qmasq::vbond {

EventConnection event_sides(const Connection& connection, const PathPtr& path, Qpn peer) {
  EventConnection out;
  out.nic = connection.nic;
  out.transport = transport_name(connection.type);
  out.qpn = connection.qpn;
  out.peer_qpn = peer;
  if (path == nullptr) return out;
  out.peer_endpoint = path->peer_name;
  out.peer_host = path->peer_host_name;
  out.virtual_gid = path->virt.local;
  out.peer_virtual_gid = path->virt.remote;
  out.physical_gid = path->phys.local;
  out.peer_physical_gid = path->phys.remote;
  return out;
}

Event connection_event(EventType type, const Connection& connection, std::string reason) {
  Event out;
  out.type = type;
  out.endpoint = connection.endpoint_name;
  out.pid = connection.pid;
  out.command = connection.command;
  out.reason = std::move(reason);
  out.connection = event_sides(connection, connection.path, connection.peer_qpn);
  return out;
}

ConnectionEvent::ConnectionEvent(EventType type, const Connection& connection, PathPtr path,
                                 Qpn peer, const char* why)
    : type_(type), why_(why), connection_(connection), path_(std::move(path)), peer_(peer) {}

Event ConnectionEvent::render() const {
  Event event = connection_event(type_, connection_, why_ == nullptr ? "" : why_);
  event.connection = event_sides(connection_, path_, peer_);
  if (type_ == EventType::kConnected && path_ != nullptr) {
    event.reason = fmt::format("to {} ({}) on {}", path_->peer_name,
                               to_string(path_->virt.remote.address()), path_->peer_host_name);
  }
  return event;
}

}  // namespace qmasq::vbond

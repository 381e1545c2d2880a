// SPDX-License-Identifier: Apache-2.0
#include "vbond/local/event_text.h"

#include <fmt/format.h>
#include <string.h>

#include <algorithm>
#include <array>

#include "common/resource_name.h"

namespace qmasq::vbond {
namespace {

constexpr std::array kTypes = {EventType::kAttached,
                               EventType::kDetached,
                               EventType::kContextOpened,
                               EventType::kContextClosed,
                               EventType::kConnected,
                               EventType::kRefused,
                               EventType::kDisconnected,
                               EventType::kAdmitted,
                               EventType::kCut,
                               EventType::kNarrowed,
                               EventType::kShadowHit,
                               EventType::kEndpointBound,
                               EventType::kEndpointUnbound,
                               EventType::kNicLost,
                               EventType::kNicFound,
                               EventType::kSync,
                               EventType::kOverQuota,
                               EventType::kOverRate,
                               EventType::kLimitUnenforced,
                               EventType::kLimitEnforced,
                               EventType::kGuardViolation,
                               EventType::kRestored,
                               EventType::kKeeper};

std::string known_types() {
  std::string out;
  for (EventType type : kTypes)
    out += fmt::format("{}{}", out.empty() ? "" : ", ", to_string(type));
  return out;
}

}  // namespace

std::string errno_name(int err) {
  if (err == 0) return {};
  const char* name = ::strerrorname_np(err);
  return name != nullptr ? name : std::to_string(err);
}

v1::Event to_proto(const Event& event) {
  v1::Event out;
  out.set_sequence(event.sequence);
  auto since = event.time.time_since_epoch();
  auto seconds = std::chrono::floor<std::chrono::seconds>(since);
  out.mutable_time()->set_seconds(seconds.count());
  out.mutable_time()->set_nanos(static_cast<std::int32_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(since - seconds).count()));
  out.set_type(to_string(event.type));
  out.set_endpoint(event.endpoint);
  out.set_verb(event.verb);
  out.set_errno_name(errno_name(event.err));
  out.set_reason(event.reason);
  out.set_pid(event.pid);
  out.set_command(event.command);
  if (event.connection) {
    const EventConnection& from = *event.connection;
    auto gid = [](const Gid& value) { return value.is_zero() ? std::string() : to_string(value); };
    v1::Connection& to = *out.mutable_connection();
    to.set_endpoint(event.endpoint);
    to.set_peer_endpoint(from.peer_endpoint);
    to.set_peer_host(from.peer_host);
    to.set_nic(from.nic);
    to.set_transport(from.transport);
    to.set_qpn(from.qpn.value);
    to.set_peer_qpn(from.peer_qpn.value);
    to.set_virtual_gid(gid(from.virtual_gid));
    to.set_peer_virtual_gid(gid(from.peer_virtual_gid));
    to.set_physical_gid(gid(from.physical_gid));
    to.set_peer_physical_gid(gid(from.peer_physical_gid));
    to.set_pid(event.pid);
    to.set_command(event.command);
  }
  return out;
}

Status check_parent(const std::string& parent) {
  if (parent.empty() || parse_vpc_name(parent) || parse_endpoint_name(parent)) return {};
  return fail(
      Code::kInvalidArgument,
      fmt::format("'{}' is not vpcs/VPC nor vpcs/VPC/endpoints/ENDPOINT", parent.substr(0, 200)),
      "parent");
}

bool is_in(std::string_view endpoint, std::string_view parent) {
  if (parent.empty() || endpoint == parent) return true;
  return endpoint.size() > parent.size() && endpoint.substr(0, parent.size()) == parent &&
         endpoint[parent.size()] == '/';
}

Result<EventFilter> EventFilter::make(const v1::WatchEventsRequest& request) {
  QMASQ_TRY(check_parent(request.parent()));
  EventFilter out;
  out.parent_ = request.parent();
  for (const auto& name : request.types()) {
    auto type = std::find_if(kTypes.begin(), kTypes.end(),
                             [&](EventType one) { return name == to_string(one); });
    if (type == kTypes.end()) {
      return fail(Code::kInvalidArgument,
                  fmt::format("no event type '{}': {}", name.substr(0, 100), known_types()),
                  "types");
    }
    out.types_.push_back(*type);
  }
  return out;
}

bool EventFilter::matches(const Event& event) const {
  if (!types_.empty() && std::find(types_.begin(), types_.end(), event.type) == types_.end()) {
    return false;
  }
  return is_in(event.endpoint, parent_);
}

}  // namespace qmasq::vbond

// SPDX-License-Identifier: Apache-2.0
#include "controller/auth/permissions.h"

#include <fmt/format.h>

#include <algorithm>

#include "common/resource_name.h"
#include "qmasq/v1/endpoint.pb.h"
#include "qmasq/v1/vpc.pb.h"

namespace qmasq::controller {
namespace {

constexpr std::size_t kSmall = 64 << 10;
// A Sync message may be a host's whole report.
constexpr std::size_t kReport = 4 << 20;

constexpr Permission kPermissions[] = {
    {"VpcService/CreateVpc", Need::kAdmin, {"vpc_id"}},
    {"VpcService/GetVpc", Need::kRead, {"name"}},
    {"VpcService/ListVpcs", Need::kRead, {}, kSmall},
    {"VpcService/UpdateVpc", Need::kWrite, {"vpc.name"}},
    {"VpcService/DeleteVpc", Need::kAdmin, {"name"}, kSmall},

    {"EndpointService/CreateEndpoint", Need::kWrite, {"parent"}},
    {"EndpointService/GetEndpoint", Need::kRead, {"name"}, kSmall},
    {"EndpointService/ListEndpoints", Need::kRead, {"parent"}, kSmall},
    {"EndpointService/UpdateEndpoint", Need::kWrite, {"endpoint.name"}},
    {"EndpointService/DeleteEndpoint", Need::kWrite, {"name"}, kSmall},

    {"SecurityGroupService/CreateSecurityGroup", Need::kWrite, {"parent"}},
    {"SecurityGroupService/GetSecurityGroup", Need::kRead, {"name"}, kSmall},
    {"SecurityGroupService/ListSecurityGroups", Need::kRead, {"parent"}, kSmall},
    {"SecurityGroupService/UpdateSecurityGroup", Need::kWrite, {"security_group.name"}},
    {"SecurityGroupService/DeleteSecurityGroup", Need::kWrite, {"name"}, kSmall},

    {"QosService/CreateQosPolicy", Need::kAdmin, {"qos_policy_id"}},
    {"QosService/GetQosPolicy", Need::kRead, {"name"}, kSmall},
    {"QosService/ListQosPolicies", Need::kRead, {}, kSmall},
    {"QosService/UpdateQosPolicy", Need::kAdmin, {"qos_policy.name"}},
    {"QosService/DeleteQosPolicy", Need::kAdmin, {"name"}, kSmall},
    {"QosService/ShowQos", Need::kRead, {"vpc", "host"}, kSmall},

    {"TraceService/Trace", Need::kRead, {"from", "to"}, kSmall},

    {"HostService/CreateHost", Need::kAdmin, {"host_id"}},
    {"HostService/GetHost", Need::kRead, {"name"}, kSmall},
    {"HostService/ListHosts", Need::kRead, {}, kSmall},
    {"HostService/UpdateHost", Need::kAdmin, {"host.name"}},
    {"HostService/DeleteHost", Need::kAdmin, {"name"}, kSmall},
    {"HostService/WaitRollout", Need::kRead, {}, kSmall},

    {"SyncService/Sync", Need::kHost, {}, kReport},

    {"AuthService/CreateJoinToken", Need::kAdmin, {"host"}, kSmall},
    {"AuthService/JoinHost", Need::kNothing, {}, kSmall},
    {"AuthService/RenewCertificate", Need::kKnown, {}, kSmall},
    {"AuthService/CreateAccess", Need::kAdmin, {"access_id"}, kSmall},
    {"AuthService/GetAccess", Need::kOversee, {"name"}, kSmall},
    {"AuthService/ListAccesses", Need::kOversee, {}, kSmall},
    {"AuthService/RevokeAccess", Need::kAdmin, {"name"}, kSmall},
    {"AuthService/RevokeHost", Need::kAdmin, {"name"}, kSmall},
    {"AuthService/ListAuditRecords", Need::kRead, {}, kSmall},
    {"AuthService/WhoAmI", Need::kKnown, {}, kSmall},
};

// The text of a field, "a.b" looked into; empty where there is none.
std::string text_of(const google::protobuf::Message& message, std::string_view path) {
  const std::size_t dot = path.find('.');
  const auto* field = message.GetDescriptor()->FindFieldByName(std::string(path.substr(0, dot)));
  if (field == nullptr) return {};
  const auto* reflection = message.GetReflection();
  if (dot != std::string_view::npos) {
    return text_of(reflection->GetMessage(message, field), path.substr(dot + 1));
  }
  return reflection->GetString(message, field);
}

// "blue" of "vpcs/blue" and of "vpcs/blue/endpoints/a"; empty of what names no VPC.
std::string vpc_in(std::string_view name) {
  constexpr std::string_view kPrefix = "vpcs/";
  if (!name.starts_with(kPrefix)) return {};
  name.remove_prefix(kPrefix.size());
  std::string id(name.substr(0, name.find('/')));
  return check_vpc_id(id) ? id : std::string();
}

std::string printable(std::string_view text) {
  constexpr std::size_t kMost = 200;
  std::string out;
  for (char c : text.substr(0, kMost))
    out += c >= ' ' && c <= '~' ? c : '?';
  return out;
}

tl::unexpected<Error> deny(const Caller& caller, std::string_view what) {
  return fail(Code::kPermissionDenied,
              fmt::format("{} is {}: {}", caller.name, to_string(caller.role), what));
}

Status check_role(const Caller& caller, const Permission& permission) {
  const bool admin = caller.role == Role::kAdmin;
  const bool overseer = admin || caller.role == Role::kViewer;
  switch (permission.need) {
    case Need::kNothing:
    case Need::kKnown:
      return {};
    case Need::kHost:
      if (caller.role == Role::kHost || caller.local_admin()) return {};
      return deny(caller,
                  "only a host's agent, with that host's certificate, may follow the state");
    case Need::kRead:
      if (overseer || caller.role == Role::kVpcAdmin) return {};
      break;
    case Need::kWrite:
      if (admin || caller.role == Role::kVpcAdmin) return {};
      break;
    case Need::kOversee:
      if (overseer) return {};
      break;
    case Need::kAdmin:
      if (admin) return {};
      break;
  }
  if (caller.role == Role::kNone) {
    return fail(Code::kPermissionDenied,
                fmt::format("{} of the controller's machine has no access: an admin may give it "
                            "some (qmasq access create --help)",
                            caller.name));
  }
  if (caller.role == Role::kHost) {
    return deny(caller, "it may follow its own state and renew its certificate, nothing else");
  }
  return deny(caller, permission.need == Need::kRead || permission.need == Need::kOversee
                          ? "it may not see this"
                          : "it may not change this");
}

template <typename Paths>
bool has_path(const Paths& paths, std::string_view wanted) {
  return std::find(paths.begin(), paths.end(), wanted) != paths.end();
}

// What a VPC's admin may not do to what is in the VPC: take from what all VPCs share.
Status check_shared(const Caller& caller, const google::protobuf::Message& request) {
  bool policy = false;
  bool force = false;
  if (const auto* vpc = dynamic_cast<const v1::UpdateVpcRequest*>(&request)) {
    policy = has_path(vpc->update_mask().paths(), "qos_policy");
    force = vpc->force();
  } else if (const auto* made = dynamic_cast<const v1::CreateEndpointRequest*>(&request)) {
    policy = !made->endpoint().qos_policy().empty();
    force = made->force();
  } else if (const auto* changed = dynamic_cast<const v1::UpdateEndpointRequest*>(&request)) {
    policy = has_path(changed->update_mask().paths(), "qos_policy");
    force = changed->force();
  }
  if (policy) return deny(caller, "which QoS policy holds is for admins to say");
  if (force) return deny(caller, "to promise more than a NIC has is for admins");
  return {};
}

}  // namespace

std::span<const Permission> permissions() {
  return kPermissions;
}

const Permission* find_permission(std::string_view method) {
  const auto* found =
      std::find_if(std::begin(kPermissions), std::end(kPermissions),
                   [&](const Permission& permission) { return permission.method == method; });
  return found == std::end(kPermissions) ? nullptr : found;
}

Status check_permission(const Caller& caller, const Permission& permission,
                        const google::protobuf::Message* request) {
  QMASQ_TRY(check_role(caller, permission));
  if (caller.role != Role::kVpcAdmin || request == nullptr) return {};
  for (std::string_view path : permission.names) {
    if (path.empty()) continue;
    std::string vpc = vpc_in(text_of(*request, path));
    if (vpc.empty() || caller.sees(vpc)) continue;
    return fail(Code::kNotFound, fmt::format("there is no {}", vpc_name(vpc)), std::string(path));
  }
  return check_shared(caller, *request);
}

Subject subject_of(const Permission& permission, const google::protobuf::Message& request) {
  for (std::string_view path : permission.names) {
    if (path.empty()) continue;
    std::string text = text_of(request, path);
    if (text.empty()) continue;
    return {printable(text), vpc_in(text)};
  }
  return {};
}

std::string_view to_string(Role role) {
  switch (role) {
    case Role::kAdmin:
      return "an admin";
    case Role::kViewer:
      return "a viewer";
    case Role::kVpcAdmin:
      return "a vpc-admin";
    case Role::kHost:
      return "a host";
    case Role::kNone:
      break;
  }
  return "nobody";
}

}  // namespace qmasq::controller

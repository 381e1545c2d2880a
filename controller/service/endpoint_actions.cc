// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "common/resource_name.h"
#include "controller/model/address_rules.h"
#include "controller/model/request_rules.h"
#include "controller/service/actions.h"

namespace qmasq::controller {
namespace {

// Derived MACs collide only with chosen ones: that many in a row is somebody's intention.
constexpr std::uint32_t kMacAttempts = 64;

std::vector<std::string> strings(const google::protobuf::RepeatedPtrField<std::string>& field) {
  return {field.begin(), field.end()};
}

Status check_free(ReadView& view, const Vpc& vpc, EndpointUid self,
                  const std::vector<IpAddress>& addresses) {
  for (std::size_t i = 0; i < addresses.size(); ++i) {
    QMASQ_ASSIGN(auto owner, view.address_owner(vpc.uid, addresses[i]));
    if (!owner || owner->uid == self) continue;
    return fail(Code::kAlreadyExists,
                fmt::format("{} is used by {}", to_string(addresses[i]),
                            endpoint_name(owner->vpc_id, owner->id)),
                fmt::format("endpoint.addresses[{}]", i));
  }
  return {};
}

Result<Mac> chosen_mac(ReadView& view, const Vpc& vpc, EndpointUid self, const std::string& text) {
  QMASQ_ASSIGN(Mac mac, check_mac(text, "endpoint.mac"));
  QMASQ_ASSIGN(auto owner, view.mac_owner(vpc.uid, mac));
  if (owner && owner->uid != self) {
    return fail(
        Code::kAlreadyExists,
        fmt::format("{} is used by {}", to_string(mac), endpoint_name(owner->vpc_id, owner->id)),
        "endpoint.mac");
  }
  return mac;
}

Result<Mac> free_derived_mac(ReadView& view, const Vpc& vpc, EndpointUid uid) {
  for (std::uint32_t attempt = 0; attempt < kMacAttempts; ++attempt) {
    Mac mac = derived_mac(uid, attempt);
    QMASQ_ASSIGN(auto owner, view.mac_owner(vpc.uid, mac));
    if (!owner) return mac;
  }
  return fail(Code::kResourceExhausted, "no free MAC address was found: choose one",
              "endpoint.mac");
}

Result<std::vector<IpAddress>> allocate(ReadView& view, const ActionContext& context,
                                        const Vpc& vpc) {
  QMASQ_ASSIGN(IpAddress address, context.allocator.lowest_address(vpc));
  QMASQ_ASSIGN(auto owner, view.address_owner(vpc.uid, address));
  if (owner) return fail(Code::kAborted, "somebody was faster with the address: try again");
  return std::vector<IpAddress>{address};
}

// Users or groups: a set, in order.
Result<std::vector<std::uint32_t>> check_numbers(
    const google::protobuf::RepeatedField<std::uint32_t>& asked, std::string_view field) {
  constexpr int kMost = 64;
  // The kernel's "nobody in particular": no process has it.
  constexpr auto kNone = std::numeric_limits<std::uint32_t>::max();
  if (asked.size() > kMost) {
    return fail(Code::kInvalidArgument, fmt::format("at most {}", kMost), std::string(field));
  }
  std::vector<std::uint32_t> out(asked.begin(), asked.end());
  std::sort(out.begin(), out.end());
  if (std::adjacent_find(out.begin(), out.end()) != out.end()) {
    return fail(Code::kInvalidArgument, "one of them is in the list twice", std::string(field));
  }
  if (!out.empty() && out.back() == kNone) {
    return fail(Code::kInvalidArgument, fmt::format("{} is no user or group", kNone),
                std::string(field));
  }
  return out;
}

bool bound(const EndpointLive& live) {
  return live.state == BindState::kBound || live.state == BindState::kDegraded ||
         live.attachments > 0;
}

// What is not known to be free counts as used. `anyway` ends the sentence.
Error not_reported(const Endpoint& endpoint, const std::string& field, const char* anyway) {
  return {Code::kFailedPrecondition,
          fmt::format("{} has not reported since the controller started whether programs use it: "
                      "wait until its agent is connected{}",
                      host_name(endpoint.host_id), anyway),
          0, field};
}

Status change_host(WriteView& view, const ActionContext& context, Endpoint& endpoint,
                   const std::string& name) {
  QMASQ_ASSIGN(HostPtr host, require_host(view, name, "endpoint.host"));
  if (host->uid == endpoint.host) return {};
  auto live = context.board.endpoint(endpoint.uid);
  if (live && live->state == BindState::kUnspecified) {
    return tl::unexpected(not_reported(endpoint, "endpoint.host", ""));
  }
  if (live && bound(*live)) {
    return fail(Code::kFailedPrecondition,
                fmt::format("it is bound on {}: end the programs that use it there first",
                            host_name(endpoint.host_id)),
                "endpoint.host");
  }
  endpoint.host = host->uid;
  endpoint.host_id = host->id;
  return {};
}

Status apply_field(WriteView& view, const ActionContext& context, const Vpc& vpc,
                   const v1::Endpoint& asked, const std::string& field, Endpoint& endpoint) {
  if (field == "host") return change_host(view, context, endpoint, asked.host());
  if (field == "mac") {
    QMASQ_ASSIGN(endpoint.mac, chosen_mac(view, vpc, endpoint.uid, asked.mac()));
  } else if (field == "addresses") {
    if (asked.addresses().empty()) {
      return fail(Code::kInvalidArgument, "an endpoint needs at least one address",
                  "endpoint.addresses");
    }
    QMASQ_ASSIGN(endpoint.addresses,
                 check_addresses(strings(asked.addresses()), vpc.ranges, "endpoint.addresses"));
    QMASQ_TRY(check_free(view, vpc, endpoint.uid, endpoint.addresses));
  } else if (field == "security_groups") {
    QMASQ_ASSIGN(endpoint.groups, read_groups(view, vpc, asked.security_groups()));
  } else if (field == "user_ids") {
    QMASQ_ASSIGN(endpoint.user_ids, check_numbers(asked.user_ids(), "endpoint.user_ids"));
  } else if (field == "group_ids") {
    QMASQ_ASSIGN(endpoint.group_ids, check_numbers(asked.group_ids(), "endpoint.group_ids"));
  } else if (field == "qos_policy") {
    QMASQ_ASSIGN(endpoint.qos_policy, read_policy(view, asked.qos_policy(), "endpoint.qos_policy"));
  } else {
    QMASQ_TRY(check_description(asked.description(), "endpoint.description"));
    endpoint.description = asked.description();
  }
  return {};
}

// Puts an endpoint that is new, has come to another host, or got another policy (`new_policy`).
template <typename Request>
Result<EndpointPtr> put_checked(WriteView& view, const Vpc& vpc, Endpoint endpoint, bool new_policy,
                                const Request& request, Oversubscriptions& over) {
  // Neither it nor its VPC is promised anything.
  const QosPolicyUid own = endpoint.qos_policy.uid;
  if (own.value == 0 && vpc.qos_policy.uid.value == 0) return view.put(std::move(endpoint));
  std::vector<HostReference> hosts = {{endpoint.host, endpoint.host_id}};
  QMASQ_ASSIGN(auto check, GuaranteeCheck::begin(view, std::move(hosts)));
  bool promised = false;
  if (own.value != 0) {
    QMASQ_ASSIGN(auto policy, view.get_policy(own));
    promised = policy && policy->policy.bandwidth.guaranteed.has_value();
  }
  QMASQ_ASSIGN(EndpointPtr after, view.put(std::move(endpoint)));
  // It is its own policy that asks for too much, or that its VPC's comes to this host with it.
  auto field_of = [&](const Excess& excess) {
    const bool by_own = excess.kind == Excess::Kind::kNic || excess.kind == Excess::Kind::kVpc
                            ? promised
                            : excess.policy == own;
    return new_policy && by_own ? "endpoint.qos_policy" : "endpoint.host";
  };
  QMASQ_ASSIGN(over, check.finish(view, {request.force(), request.validate_only()}, field_of));
  return after;
}

}  // namespace

Result<EndpointPtr> require_endpoint(ReadView& view, std::string_view name,
                                     std::string_view field) {
  QMASQ_ASSIGN(EndpointName id, in_field(parse_endpoint_name(name), field));
  QMASQ_ASSIGN(VpcPtr vpc, require_vpc(view, vpc_name(id.vpc), field));
  QMASQ_ASSIGN(EndpointPtr endpoint, view.find_endpoint(vpc->uid, id.endpoint));
  if (endpoint) return endpoint;
  return fail(Code::kNotFound, fmt::format("there is no {}", endpoint_name(id)),
              std::string(field));
}

Result<EndpointPtr> create_endpoint(WriteView& view, const ActionContext& context,
                                    const v1::CreateEndpointRequest& request,
                                    Oversubscriptions& over) {
  QMASQ_ASSIGN(VpcPtr vpc, require_vpc(view, request.parent(), "parent"));
  QMASQ_TRY(in_field(check_endpoint_id(request.endpoint_id()), "endpoint_id"));
  const auto& asked = request.endpoint();
  QMASQ_TRY(check_description(asked.description(), "endpoint.description"));
  if (asked.host().empty()) {
    return fail(Code::kInvalidArgument, "say which host it is on (hosts/HOST)", "endpoint.host");
  }
  QMASQ_ASSIGN(HostPtr host, require_host(view, asked.host(), "endpoint.host"));
  QMASQ_ASSIGN(EndpointPtr taken, view.find_endpoint(vpc->uid, request.endpoint_id()));
  if (taken) {
    return fail(Code::kAlreadyExists,
                fmt::format("{} exists already", endpoint_name(vpc->id, taken->id)), "endpoint_id");
  }
  Endpoint endpoint;
  endpoint.vpc = vpc->uid;
  endpoint.vpc_id = vpc->id;
  endpoint.id = request.endpoint_id();
  endpoint.host = host->uid;
  endpoint.host_id = host->id;
  endpoint.description = asked.description();
  QMASQ_ASSIGN(endpoint.addresses,
               check_addresses(strings(asked.addresses()), vpc->ranges, "endpoint.addresses"));
  if (endpoint.addresses.empty()) {
    QMASQ_ASSIGN(endpoint.addresses, allocate(view, context, *vpc));
  }
  QMASQ_TRY(check_free(view, *vpc, EndpointUid{}, endpoint.addresses));
  QMASQ_ASSIGN(endpoint.groups, read_groups(view, *vpc, asked.security_groups()));
  QMASQ_ASSIGN(endpoint.qos_policy, read_policy(view, asked.qos_policy(), "endpoint.qos_policy"));
  QMASQ_ASSIGN(endpoint.user_ids, check_numbers(asked.user_ids(), "endpoint.user_ids"));
  QMASQ_ASSIGN(endpoint.group_ids, check_numbers(asked.group_ids(), "endpoint.group_ids"));
  if (!asked.mac().empty()) {
    QMASQ_ASSIGN(endpoint.mac, chosen_mac(view, *vpc, EndpointUid{}, asked.mac()));
  }
  QMASQ_ASSIGN(endpoint.uid.value, view.new_uid());
  if (asked.mac().empty()) {
    QMASQ_ASSIGN(endpoint.mac, free_derived_mac(view, *vpc, endpoint.uid));
  }
  return put_checked(view, *vpc, std::move(endpoint), true, request, over);
}

Result<EndpointPtr> update_endpoint(WriteView& view, const ActionContext& context,
                                    const v1::UpdateEndpointRequest& request,
                                    Oversubscriptions& over) {
  const auto& asked = request.endpoint();
  QMASQ_ASSIGN(EndpointPtr before, require_endpoint(view, asked.name(), "endpoint.name"));
  QMASQ_TRY(check_etag(asked.etag(), before->uid.value, before->version, asked.name()));
  constexpr std::string_view kFields[] = {"host",        "addresses",       "mac",
                                          "description", "security_groups", "qos_policy",
                                          "user_ids",    "group_ids"};
  constexpr std::string_view kDefaults[] = {"addresses", "description"};
  QMASQ_ASSIGN(auto fields, check_mask(strings(request.update_mask().paths()), kFields, kDefaults));
  QMASQ_ASSIGN(VpcPtr vpc, view.get_vpc(before->vpc));
  Endpoint endpoint = *before;
  for (const auto& field : fields) {
    QMASQ_TRY(apply_field(view, context, *vpc, asked, field, endpoint));
  }
  if (endpoint.host == before->host && endpoint.addresses == before->addresses &&
      endpoint.mac == before->mac && endpoint.description == before->description &&
      endpoint.groups == before->groups && endpoint.qos_policy == before->qos_policy &&
      endpoint.user_ids == before->user_ids && endpoint.group_ids == before->group_ids) {
    return before;
  }
  const bool new_policy = endpoint.qos_policy != before->qos_policy;
  if (!new_policy && endpoint.host == before->host) return view.put(std::move(endpoint));
  return put_checked(view, *vpc, std::move(endpoint), new_policy, request, over);
}

Status delete_endpoint(WriteView& view, const ActionContext& context,
                       const v1::DeleteEndpointRequest& request) {
  QMASQ_ASSIGN(EndpointPtr endpoint, require_endpoint(view, request.name(), "name"));
  QMASQ_TRY(check_etag(request.etag(), endpoint->uid.value, endpoint->version, request.name()));
  auto live = context.board.endpoint(endpoint->uid);
  if (!request.force() && live && live->state == BindState::kUnspecified) {
    return tl::unexpected(not_reported(*endpoint, "name", ", or delete by force"));
  }
  if (!request.force() && live && live->attachments > 0) {
    return fail(Code::kFailedPrecondition,
                fmt::format("{} programs are attached to {} on {}: end them, or delete by force, "
                            "which cuts their connections",
                            live->attachments, request.name(), host_name(endpoint->host_id)),
                "name");
  }
  return view.remove(endpoint);
}

}  // namespace qmasq::controller

// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>

#include "common/resource_name.h"
#include "controller/model/address_rules.h"
#include "controller/model/request_rules.h"
#include "controller/service/actions.h"

namespace qmasq::controller {
namespace {

std::vector<std::string> strings(const google::protobuf::RepeatedPtrField<std::string>& field) {
  return {field.begin(), field.end()};
}

// No endpoint may lose its place when the ranges become `ranges`.
Status check_range_change(ReadView& view, const Vpc& vpc, const std::vector<IpPrefix>& ranges) {
  for (auto [first, last] : gaps_between(ranges)) {
    QMASQ_ASSIGN(auto use, view.first_address(vpc.uid, from_number(first), from_number(last)));
    if (!use) continue;
    return fail(Code::kFailedPrecondition,
                fmt::format("{} has {}, which would be in no range of the VPC: delete it or change "
                            "its addresses first",
                            endpoint_name(use->endpoint->vpc_id, use->endpoint->id),
                            to_string(use->address)),
                "vpc.ranges");
  }
  for (auto number : reserved_in(ranges)) {
    QMASQ_ASSIGN(auto owner, view.address_owner(vpc.uid, from_number(number)));
    if (!owner) continue;
    return fail(
        Code::kFailedPrecondition,
        fmt::format("{} has {}, which would be the network or broadcast address of a range",
                    endpoint_name(owner->vpc_id, owner->id), to_string(from_number(number))),
        "vpc.ranges");
  }
  return {};
}

}  // namespace

Result<VpcPtr> require_vpc(ReadView& view, std::string_view name, std::string_view field) {
  QMASQ_ASSIGN(std::string id, in_field(parse_vpc_name(name), field));
  QMASQ_ASSIGN(VpcPtr vpc, view.find_vpc(id));
  if (vpc) return vpc;
  return fail(Code::kNotFound, fmt::format("there is no {}", vpc_name(id)), std::string(field));
}

Result<VpcPtr> create_vpc(WriteView& view, const ActionContext& context,
                          const v1::CreateVpcRequest& request) {
  QMASQ_TRY(in_field(check_vpc_id(request.vpc_id()), "vpc_id"));
  const auto& asked = request.vpc();
  Vpc vpc;
  vpc.id = request.vpc_id();
  QMASQ_ASSIGN(vpc.ranges, check_ranges(strings(asked.ranges()), "vpc.ranges"));
  QMASQ_TRY(check_mtu(asked.mtu(), "vpc.mtu"));
  QMASQ_TRY(check_description(asked.description(), "vpc.description"));
  vpc.mtu = asked.mtu();
  vpc.description = asked.description();
  // Nothing is promised yet: it has no endpoints.
  QMASQ_ASSIGN(vpc.qos_policy, read_policy(view, asked.qos_policy(), "vpc.qos_policy"));

  QMASQ_ASSIGN(VpcPtr taken, view.find_vpc(vpc.id));
  if (taken) {
    return fail(Code::kAlreadyExists, fmt::format("{} exists already", vpc_name(vpc.id)), "vpc_id");
  }
  if (asked.vni() == 0) {
    QMASQ_ASSIGN(vpc.vni, context.allocator.lowest_vni());
  } else {
    QMASQ_TRY(check_vni(asked.vni(), "vpc.vni"));
    vpc.vni = Vni{asked.vni()};
  }
  QMASQ_ASSIGN(VpcPtr owner, view.vni_owner(vpc.vni));
  if (owner) {
    return fail(Code::kAlreadyExists,
                fmt::format("VNI {} is used by {}: choose another, or 0 for the lowest free one",
                            vpc.vni.value, vpc_name(owner->id)),
                "vpc.vni");
  }
  QMASQ_ASSIGN(vpc.uid.value, view.new_uid());
  QMASQ_ASSIGN(VpcPtr made, view.put(std::move(vpc)));
  QMASQ_TRY(create_default_group(view, *made));
  return made;
}

Result<VpcPtr> update_vpc(WriteView& view, const v1::UpdateVpcRequest& request,
                          Oversubscriptions& over) {
  const auto& asked = request.vpc();
  QMASQ_ASSIGN(VpcPtr before, require_vpc(view, asked.name(), "vpc.name"));
  QMASQ_TRY(check_etag(asked.etag(), before->uid.value, before->version, asked.name()));
  constexpr std::string_view kFields[] = {"ranges", "mtu", "description", "qos_policy"};
  constexpr std::string_view kDefaults[] = {"ranges", "mtu", "description"};
  QMASQ_ASSIGN(auto fields, check_mask(strings(request.update_mask().paths()), kFields, kDefaults));
  Vpc vpc = *before;
  for (const auto& field : fields) {
    if (field == "ranges") {
      QMASQ_ASSIGN(vpc.ranges, check_ranges(strings(asked.ranges()), "vpc.ranges"));
      QMASQ_TRY(check_range_change(view, *before, vpc.ranges));
    } else if (field == "mtu") {
      QMASQ_TRY(check_mtu(asked.mtu(), "vpc.mtu"));
      vpc.mtu = asked.mtu();
    } else if (field == "qos_policy") {
      QMASQ_ASSIGN(vpc.qos_policy, read_policy(view, asked.qos_policy(), "vpc.qos_policy"));
    } else {
      QMASQ_TRY(check_description(asked.description(), "vpc.description"));
      vpc.description = asked.description();
    }
  }
  if (vpc.ranges == before->ranges && vpc.mtu == before->mtu &&
      vpc.description == before->description && vpc.qos_policy == before->qos_policy) {
    return before;
  }
  if (vpc.qos_policy == before->qos_policy || vpc.qos_policy.uid.value == 0) {
    return view.put(std::move(vpc));
  }
  QMASQ_ASSIGN(auto hosts, view.hosts_of(vpc.uid));
  QMASQ_ASSIGN(auto check, GuaranteeCheck::begin(view, std::move(hosts)));
  QMASQ_ASSIGN(VpcPtr after, view.put(std::move(vpc)));
  QMASQ_ASSIGN(over, check.finish(view, {request.force(), request.validate_only()},
                                  [](const Excess&) { return "vpc.qos_policy"; }));
  return after;
}

Status delete_vpc(WriteView& view, const v1::DeleteVpcRequest& request) {
  QMASQ_ASSIGN(VpcPtr vpc, require_vpc(view, request.name(), "name"));
  QMASQ_TRY(check_etag(request.etag(), vpc->uid.value, vpc->version, request.name()));
  EndpointQuery query;
  query.vpc = vpc->uid;
  query.limit = 1;
  QMASQ_ASSIGN(auto endpoints, view.list_endpoints(query));
  if (!endpoints.empty()) {
    return fail(Code::kFailedPrecondition,
                fmt::format("{} still has endpoints ({} is one): delete them first", request.name(),
                            endpoint_name(endpoints[0]->vpc_id, endpoints[0]->id)),
                "name");
  }
  QMASQ_TRY(remove_groups(view, *vpc));
  return view.remove(vpc);
}

}  // namespace qmasq::controller

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/result.h"
#include "controller/model/allocator.h"
#include "controller/service/guarantees.h"
#include "controller/store/store.h"
#include "controller/watch/status_board.h"
#include "qmasq/v1/endpoint.pb.h"
#include "qmasq/v1/host.pb.h"
#include "qmasq/v1/qos.pb.h"
#include "qmasq/v1/security_group.pb.h"
#include "qmasq/v1/vpc.pb.h"

// What each mutation does, inside a transaction: reads, decides, writes. Refusals name the field
// and the reason. No gRPC, no transaction handling. They may run more than once. `over`: what does
// not fit after a change that was forced, or is only tried; empty otherwise.
namespace qmasq::controller {

// What decisions need beside the store's view. `allocator` is used under the store's writer lock.
struct ActionContext {
  const Allocator& allocator;
  const StatusBoard& board;
};

[[nodiscard]] Result<VpcPtr> create_vpc(WriteView& view, const ActionContext& context,
                                        const v1::CreateVpcRequest& request);
[[nodiscard]] Result<VpcPtr> update_vpc(WriteView& view, const v1::UpdateVpcRequest& request,
                                        Oversubscriptions& over);
[[nodiscard]] Status delete_vpc(WriteView& view, const v1::DeleteVpcRequest& request);

[[nodiscard]] Result<EndpointPtr> create_endpoint(WriteView& view, const ActionContext& context,
                                                  const v1::CreateEndpointRequest& request,
                                                  Oversubscriptions& over);
[[nodiscard]] Result<EndpointPtr> update_endpoint(WriteView& view, const ActionContext& context,
                                                  const v1::UpdateEndpointRequest& request,
                                                  Oversubscriptions& over);
[[nodiscard]] Status delete_endpoint(WriteView& view, const ActionContext& context,
                                     const v1::DeleteEndpointRequest& request);

[[nodiscard]] Result<HostPtr> create_host(WriteView& view, const v1::CreateHostRequest& request);
[[nodiscard]] Result<HostPtr> update_host(WriteView& view, const v1::UpdateHostRequest& request,
                                          Oversubscriptions& over);
[[nodiscard]] Status delete_host(WriteView& view, const ActionContext& context,
                                 const v1::DeleteHostRequest& request);

[[nodiscard]] Result<SecurityGroupPtr> create_group(WriteView& view,
                                                    const v1::CreateSecurityGroupRequest& request);
[[nodiscard]] Result<SecurityGroupPtr> update_group(WriteView& view,
                                                    const v1::UpdateSecurityGroupRequest& request);
[[nodiscard]] Status delete_group(WriteView& view, const v1::DeleteSecurityGroupRequest& request);
// With the VPC that was just put, and before it is removed.
[[nodiscard]] Result<SecurityGroupPtr> create_default_group(WriteView& view, const Vpc& vpc);
[[nodiscard]] Status remove_groups(WriteView& view, const Vpc& vpc);
// What an endpoint of the VPC is to carry; no names: the default group.
[[nodiscard]] Result<std::vector<GroupReference>> read_groups(
    ReadView& view, const Vpc& vpc, const google::protobuf::RepeatedPtrField<std::string>& names);

[[nodiscard]] Result<QosPolicyPtr> create_policy(WriteView& view,
                                                 const v1::CreateQosPolicyRequest& request);
[[nodiscard]] Result<QosPolicyPtr> update_policy(WriteView& view,
                                                 const v1::UpdateQosPolicyRequest& request,
                                                 Oversubscriptions& over);
[[nodiscard]] Status delete_policy(WriteView& view, const v1::DeleteQosPolicyRequest& request);
// What a VPC or an endpoint is to have; an empty name: none.
[[nodiscard]] Result<PolicyReference> read_policy(ReadView& view, std::string_view name,
                                                  std::string_view field);

// Of full names; an unknown one is kNotFound with the field.
[[nodiscard]] Result<VpcPtr> require_vpc(ReadView& view, std::string_view name,
                                         std::string_view field);
[[nodiscard]] Result<EndpointPtr> require_endpoint(ReadView& view, std::string_view name,
                                                   std::string_view field);
[[nodiscard]] Result<HostPtr> require_host(ReadView& view, std::string_view name,
                                           std::string_view field);
[[nodiscard]] Result<SecurityGroupPtr> require_group(ReadView& view, std::string_view name,
                                                     std::string_view field);

[[nodiscard]] Result<QosPolicyPtr> require_policy(ReadView& view, std::string_view name,
                                                  std::string_view field);

// Puts `field` into the error of a Status or Result that has none.
template <typename T>
[[nodiscard]] Result<T> in_field(Result<T> result, std::string_view field) {
  if (!result && result.error().field.empty()) result.error().field = field;
  return result;
}

}  // namespace qmasq::controller

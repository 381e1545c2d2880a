// SPDX-License-Identifier: Apache-2.0
#include "cli/directory.h"

#include "cli/names.h"
#include "qmasq/v1/auth.grpc.pb.h"
#include "qmasq/v1/endpoint.grpc.pb.h"
#include "qmasq/v1/host.grpc.pb.h"
#include "qmasq/v1/qos.grpc.pb.h"
#include "qmasq/v1/security_group.grpc.pb.h"
#include "qmasq/v1/vpc.grpc.pb.h"

namespace qmasq::cli {
namespace {

constexpr int kMost = 1000;

template <typename Items>
std::vector<std::string> names_of(const Items& items) {
  std::vector<std::string> out;
  for (const auto& item : items)
    out.push_back(short_name(item.name()));
  return out;
}

}  // namespace

std::vector<std::string> vpc_names(const Server& controller) {
  v1::VpcService::Stub stub(controller.channel());
  v1::ListVpcsRequest request;
  request.set_page_size(kMost);
  auto page = controller.call(stub, &v1::VpcService::Stub::ListVpcs, request);
  return page ? names_of(page->vpcs()) : std::vector<std::string>{};
}

std::vector<std::string> endpoint_names(const Server& controller, const std::string& parent) {
  v1::EndpointService::Stub stub(controller.channel());
  v1::ListEndpointsRequest request;
  request.set_parent(parent);
  request.set_page_size(kMost);
  auto page = controller.call(stub, &v1::EndpointService::Stub::ListEndpoints, request);
  return page ? names_of(page->endpoints()) : std::vector<std::string>{};
}

std::vector<std::string> group_names(const Server& controller, const std::string& parent) {
  v1::SecurityGroupService::Stub stub(controller.channel());
  v1::ListSecurityGroupsRequest request;
  request.set_parent(parent);
  request.set_page_size(kMost);
  auto page = controller.call(stub, &v1::SecurityGroupService::Stub::ListSecurityGroups, request);
  return page ? names_of(page->security_groups()) : std::vector<std::string>{};
}

std::vector<std::string> host_names(const Server& controller) {
  v1::HostService::Stub stub(controller.channel());
  v1::ListHostsRequest request;
  request.set_page_size(kMost);
  auto page = controller.call(stub, &v1::HostService::Stub::ListHosts, request);
  return page ? names_of(page->hosts()) : std::vector<std::string>{};
}

std::vector<std::string> policy_names(const Server& controller) {
  v1::QosService::Stub stub(controller.channel());
  v1::ListQosPoliciesRequest request;
  request.set_page_size(kMost);
  auto page = controller.call(stub, &v1::QosService::Stub::ListQosPolicies, request);
  return page ? names_of(page->qos_policies()) : std::vector<std::string>{};
}

std::vector<std::string> access_names(const Server& controller) {
  v1::AuthService::Stub stub(controller.channel());
  v1::ListAccessesRequest request;
  request.set_page_size(kMost);
  auto page = controller.call(stub, &v1::AuthService::Stub::ListAccesses, request);
  return page ? names_of(page->accesses()) : std::vector<std::string>{};
}

}  // namespace qmasq::cli

// SPDX-License-Identifier: Apache-2.0
#include "tests/integration/cli/fake_controller.h"

#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_builder.h>

#include <algorithm>

#include "common/seen_order.h"

namespace qmasq::cli::testing {
namespace {

using grpc::Status;

Status not_found(const std::string& name) {
  return {grpc::StatusCode::NOT_FOUND, "name: there is no " + name};
}

template <typename Object>
Status get(const std::map<std::string, Object>& objects, const std::string& name, Object* out) {
  auto at = objects.find(name);
  if (at == objects.end()) return not_found(name);
  *out = at->second;
  return Status::OK;
}

template <typename Object>
Status create(std::map<std::string, Object>& objects, const std::string& name, Object object,
              bool validate_only, Object* out) {
  if (objects.count(name) != 0) {
    return {grpc::StatusCode::ALREADY_EXISTS, "vpc_id: " + name + " exists"};
  }
  object.set_name(name);
  object.set_revision(objects.size() + 1);
  *out = object;
  if (!validate_only) objects[name] = object;
  return Status::OK;
}

template <typename Object>
Status remove(std::map<std::string, Object>& objects, const std::string& name, bool validate_only) {
  if (objects.count(name) == 0) return not_found(name);
  if (!validate_only) objects.erase(name);
  return Status::OK;
}

// Pages are numbered from the first: "1" is the second.
template <typename Object, typename Add>
std::string page(const std::map<std::string, Object>& objects, const std::string& prefix,
                 const std::string& token, int size, Add add) {
  auto at = objects.begin();
  int skip = token.empty() ? 0 : std::stoi(token);
  int index = 0;
  int given = 0;
  for (; at != objects.end(); ++at) {
    if (at->first.rfind(prefix, 0) != 0) continue;
    if (index++ < skip) continue;
    if (given == size) return std::to_string(skip + given);
    add(at->second);
    ++given;
  }
  return "";
}

int size_of(int asked, int limit) {
  return std::min(asked == 0 ? 100 : asked, limit);
}

}  // namespace

FakeController::FakeController() {
  grpc::ServerBuilder builder;
  builder.AddListeningPort(address(), grpc::InsecureServerCredentials());
  builder.RegisterService(static_cast<v1::VpcService::Service*>(this));
  builder.RegisterService(static_cast<v1::EndpointService::Service*>(this));
  builder.RegisterService(static_cast<v1::HostService::Service*>(this));
  builder.RegisterService(static_cast<v1::QosService::Service*>(this));
  server_ = builder.BuildAndStart();
}

FakeController::~FakeController() {
  server_->Shutdown();
}

Status FakeController::begin(const std::string& call) {
  calls.push_back(call);
  return fail ? fail() : Status::OK;
}

Status FakeController::check_policy(const std::string& field, const std::string& name) const {
  if (name.empty() || policies.count(name) != 0) return Status::OK;
  return {grpc::StatusCode::NOT_FOUND, field + ": there is no " + name};
}

template <typename Object>
Status FakeController::warned(Status status, Object* out) const {
  if (status.ok()) {
    out->mutable_oversubscriptions()->Add(oversubscriptions.begin(), oversubscriptions.end());
  }
  return status;
}

Status FakeController::CreateVpc(Context*, const v1::CreateVpcRequest* request, v1::Vpc* out) {
  SeenOrder order(this);
  create_vpc = *request;
  if (auto status = begin("CreateVpc"); !status.ok()) return status;
  if (auto status = check_policy("vpc.qos_policy", request->vpc().qos_policy()); !status.ok()) {
    return status;
  }
  return create(vpcs, "vpcs/" + request->vpc_id(), request->vpc(), request->validate_only(), out);
}

Status FakeController::GetVpc(Context*, const v1::GetVpcRequest* request, v1::Vpc* out) {
  SeenOrder order(this);
  if (auto status = begin("GetVpc"); !status.ok()) return status;
  return get(vpcs, request->name(), out);
}

Status FakeController::ListVpcs(Context*, const v1::ListVpcsRequest* request,
                                v1::ListVpcsResponse* out) {
  SeenOrder order(this);
  list_vpcs = *request;
  if (auto status = begin("ListVpcs"); !status.ok()) return status;
  out->set_next_page_token(page(vpcs, "vpcs/", request->page_token(),
                                size_of(request->page_size(), page_limit),
                                [&](const v1::Vpc& vpc) { *out->add_vpcs() = vpc; }));
  return Status::OK;
}

Status FakeController::UpdateVpc(Context*, const v1::UpdateVpcRequest* request, v1::Vpc* out) {
  SeenOrder order(this);
  update_vpc = *request;
  if (auto status = begin("UpdateVpc"); !status.ok()) return status;
  if (vpcs.count(request->vpc().name()) == 0) return not_found(request->vpc().name());
  if (auto status = check_policy("vpc.qos_policy", request->vpc().qos_policy()); !status.ok()) {
    return status;
  }
  return warned(get(vpcs, request->vpc().name(), out), out);
}

Status FakeController::DeleteVpc(Context*, const v1::DeleteVpcRequest* request,
                                 v1::DeleteVpcResponse* out) {
  SeenOrder order(this);
  delete_vpc = *request;
  if (auto status = begin("DeleteVpc"); !status.ok()) return status;
  out->set_revision(9);
  return remove(vpcs, request->name(), request->validate_only());
}

Status FakeController::CreateEndpoint(Context*, const v1::CreateEndpointRequest* request,
                                      v1::Endpoint* out) {
  SeenOrder order(this);
  create_endpoint = *request;
  if (auto status = begin("CreateEndpoint"); !status.ok()) return status;
  if (vpcs.count(request->parent()) == 0) return not_found(request->parent());
  if (hosts.count(request->endpoint().host()) == 0) return not_found(request->endpoint().host());
  return create(endpoints, request->parent() + "/endpoints/" + request->endpoint_id(),
                request->endpoint(), request->validate_only(), out);
}

Status FakeController::GetEndpoint(Context*, const v1::GetEndpointRequest* request,
                                   v1::Endpoint* out) {
  SeenOrder order(this);
  if (auto status = begin("GetEndpoint"); !status.ok()) return status;
  return get(endpoints, request->name(), out);
}

Status FakeController::ListEndpoints(Context*, const v1::ListEndpointsRequest* request,
                                     v1::ListEndpointsResponse* out) {
  SeenOrder order(this);
  list_endpoints = *request;
  if (auto status = begin("ListEndpoints"); !status.ok()) return status;
  bool all = request->parent() == "vpcs/-";
  if (!all && vpcs.count(request->parent()) == 0) return not_found(request->parent());
  out->set_next_page_token(
      page(endpoints, all ? "vpcs/" : request->parent() + "/", request->page_token(),
           size_of(request->page_size(), page_limit),
           [&](const v1::Endpoint& endpoint) { *out->add_endpoints() = endpoint; }));
  return Status::OK;
}

Status FakeController::UpdateEndpoint(Context*, const v1::UpdateEndpointRequest* request,
                                      v1::Endpoint* out) {
  SeenOrder order(this);
  update_endpoint = *request;
  if (auto status = begin("UpdateEndpoint"); !status.ok()) return status;
  const std::string& policy = request->endpoint().qos_policy();
  if (auto status = check_policy("endpoint.qos_policy", policy); !status.ok()) return status;
  return warned(get(endpoints, request->endpoint().name(), out), out);
}

Status FakeController::DeleteEndpoint(Context*, const v1::DeleteEndpointRequest* request,
                                      v1::DeleteEndpointResponse* out) {
  SeenOrder order(this);
  delete_endpoint = *request;
  if (auto status = begin("DeleteEndpoint"); !status.ok()) return status;
  out->set_revision(9);
  return remove(endpoints, request->name(), request->validate_only());
}

Status FakeController::CreateHost(Context*, const v1::CreateHostRequest* request, v1::Host* out) {
  SeenOrder order(this);
  create_host = *request;
  if (auto status = begin("CreateHost"); !status.ok()) return status;
  return create(hosts, "hosts/" + request->host_id(), request->host(), request->validate_only(),
                out);
}

Status FakeController::GetHost(Context*, const v1::GetHostRequest* request, v1::Host* out) {
  SeenOrder order(this);
  if (auto status = begin("GetHost"); !status.ok()) return status;
  auto status = get(hosts, request->name(), out);
  if (after_get_host) after_get_host();
  return status;
}

Status FakeController::ListHosts(Context*, const v1::ListHostsRequest* request,
                                 v1::ListHostsResponse* out) {
  SeenOrder order(this);
  if (auto status = begin("ListHosts"); !status.ok()) return status;
  out->set_next_page_token(page(hosts, "hosts/", request->page_token(),
                                size_of(request->page_size(), page_limit),
                                [&](const v1::Host& host) { *out->add_hosts() = host; }));
  return Status::OK;
}

Status FakeController::UpdateHost(Context*, const v1::UpdateHostRequest* request, v1::Host* out) {
  SeenOrder order(this);
  update_host = *request;
  if (auto status = begin("UpdateHost"); !status.ok()) return status;
  const std::string& name = request->host().name();
  auto found = hosts.find(name);
  if (found == hosts.end()) return not_found(name);
  if (!request->host().etag().empty() && request->host().etag() != found->second.etag()) {
    return {grpc::StatusCode::ABORTED, "etag: " + name + " has changed"};
  }
  return warned(get(hosts, name, out), out);
}

Status FakeController::DeleteHost(Context*, const v1::DeleteHostRequest* request,
                                  v1::DeleteHostResponse* out) {
  SeenOrder order(this);
  delete_host = *request;
  if (auto status = begin("DeleteHost"); !status.ok()) return status;
  out->set_revision(9);
  return remove(hosts, request->name(), request->validate_only());
}

Status FakeController::WaitRollout(Context*, const v1::WaitRolloutRequest* request,
                                   v1::WaitRolloutResponse* out) {
  SeenOrder order(this);
  wait_rollout = *request;
  if (auto status = begin("WaitRollout"); !status.ok()) return status;
  *out = rollout;
  return Status::OK;
}

Status FakeController::CreateQosPolicy(Context*, const v1::CreateQosPolicyRequest* request,
                                       v1::QosPolicy* out) {
  SeenOrder order(this);
  create_policy = *request;
  if (auto status = begin("CreateQosPolicy"); !status.ok()) return status;
  return create(policies, "qosPolicies/" + request->qos_policy_id(), request->qos_policy(),
                request->validate_only(), out);
}

Status FakeController::GetQosPolicy(Context*, const v1::GetQosPolicyRequest* request,
                                    v1::QosPolicy* out) {
  SeenOrder order(this);
  if (auto status = begin("GetQosPolicy"); !status.ok()) return status;
  return get(policies, request->name(), out);
}

Status FakeController::ListQosPolicies(Context*, const v1::ListQosPoliciesRequest* request,
                                       v1::ListQosPoliciesResponse* out) {
  SeenOrder order(this);
  if (auto status = begin("ListQosPolicies"); !status.ok()) return status;
  out->set_next_page_token(page(
      policies, "qosPolicies/", request->page_token(), size_of(request->page_size(), page_limit),
      [&](const v1::QosPolicy& policy) { *out->add_qos_policies() = policy; }));
  return Status::OK;
}

Status FakeController::UpdateQosPolicy(Context*, const v1::UpdateQosPolicyRequest* request,
                                       v1::QosPolicy* out) {
  SeenOrder order(this);
  update_policy = *request;
  if (auto status = begin("UpdateQosPolicy"); !status.ok()) return status;
  return warned(get(policies, request->qos_policy().name(), out), out);
}

Status FakeController::DeleteQosPolicy(Context*, const v1::DeleteQosPolicyRequest* request,
                                       v1::DeleteQosPolicyResponse* out) {
  SeenOrder order(this);
  delete_policy = *request;
  if (auto status = begin("DeleteQosPolicy"); !status.ok()) return status;
  out->set_revision(9);
  return remove(policies, request->name(), request->validate_only());
}

Status FakeController::ShowQos(Context*, const v1::ShowQosRequest* request,
                               v1::ShowQosResponse* out) {
  SeenOrder order(this);
  show_qos = *request;
  if (auto status = begin("ShowQos"); !status.ok()) return status;
  if (!request->vpc().empty() && vpcs.count(request->vpc()) == 0) return not_found(request->vpc());
  if (!request->host().empty() && hosts.count(request->host()) == 0) {
    return not_found(request->host());
  }
  if (qos.empty()) return Status::OK;
  *out = qos.front();
  if (qos.size() > 1) qos.erase(qos.begin());
  return Status::OK;
}

}  // namespace qmasq::cli::testing

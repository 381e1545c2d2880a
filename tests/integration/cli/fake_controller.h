// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <grpcpp/server.h>

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "qmasq/v1/endpoint.grpc.pb.h"
#include "qmasq/v1/host.grpc.pb.h"
#include "qmasq/v1/qos.grpc.pb.h"
#include "qmasq/v1/vpc.grpc.pb.h"
#include "tests/support/temp_dir.h"

// A controller as the command line sees it: remembers the requests, keeps objects by name, answers
// errors as the real one spells them. No rules of its own beyond "exists" and "is taken".
namespace qmasq::cli::testing {

class FakeController final : public v1::VpcService::Service,
                             public v1::EndpointService::Service,
                             public v1::HostService::Service,
                             public v1::QosService::Service {
 public:
  FakeController();
  ~FakeController() override;

  [[nodiscard]] std::string address() const { return "unix:" + folder_.file("controller.sock"); }

  // Set before calls. Seen after them. One call at a time, so no lock; SeenOrder of this object
  // around each tells ThreadSanitizer.
  std::map<std::string, v1::Vpc> vpcs;
  std::map<std::string, v1::Endpoint> endpoints;
  std::map<std::string, v1::Host> hosts;
  std::map<std::string, v1::QosPolicy> policies;
  // ShowQos answers these, one after the other; the last one again and again.
  std::vector<v1::ShowQosResponse> qos;
  // If set, every mutation of a VPC, endpoint, host or policy answers it.
  std::vector<v1::Oversubscription> oversubscriptions;
  // Called when a host is read, after the answer is made.
  std::function<void()> after_get_host;
  int page_limit = 1000;
  // If set, the answer of every call.
  std::function<grpc::Status()> fail;
  v1::WaitRolloutResponse rollout;

  std::vector<std::string> calls;  // names, in order
  v1::CreateVpcRequest create_vpc;
  v1::UpdateVpcRequest update_vpc;
  v1::DeleteVpcRequest delete_vpc;
  v1::ListVpcsRequest list_vpcs;
  v1::CreateEndpointRequest create_endpoint;
  v1::UpdateEndpointRequest update_endpoint;
  v1::DeleteEndpointRequest delete_endpoint;
  v1::ListEndpointsRequest list_endpoints;
  v1::CreateHostRequest create_host;
  v1::UpdateHostRequest update_host;
  v1::DeleteHostRequest delete_host;
  v1::WaitRolloutRequest wait_rollout;
  v1::CreateQosPolicyRequest create_policy;
  v1::UpdateQosPolicyRequest update_policy;
  v1::DeleteQosPolicyRequest delete_policy;
  v1::ShowQosRequest show_qos;

  using Context = grpc::ServerContext;
  grpc::Status CreateVpc(Context*, const v1::CreateVpcRequest*, v1::Vpc*) override;
  grpc::Status GetVpc(Context*, const v1::GetVpcRequest*, v1::Vpc*) override;
  grpc::Status ListVpcs(Context*, const v1::ListVpcsRequest*, v1::ListVpcsResponse*) override;
  grpc::Status UpdateVpc(Context*, const v1::UpdateVpcRequest*, v1::Vpc*) override;
  grpc::Status DeleteVpc(Context*, const v1::DeleteVpcRequest*, v1::DeleteVpcResponse*) override;
  grpc::Status CreateEndpoint(Context*, const v1::CreateEndpointRequest*, v1::Endpoint*) override;
  grpc::Status GetEndpoint(Context*, const v1::GetEndpointRequest*, v1::Endpoint*) override;
  grpc::Status ListEndpoints(Context*, const v1::ListEndpointsRequest*,
                             v1::ListEndpointsResponse*) override;
  grpc::Status UpdateEndpoint(Context*, const v1::UpdateEndpointRequest*, v1::Endpoint*) override;
  grpc::Status DeleteEndpoint(Context*, const v1::DeleteEndpointRequest*,
                              v1::DeleteEndpointResponse*) override;
  grpc::Status CreateHost(Context*, const v1::CreateHostRequest*, v1::Host*) override;
  grpc::Status GetHost(Context*, const v1::GetHostRequest*, v1::Host*) override;
  grpc::Status ListHosts(Context*, const v1::ListHostsRequest*, v1::ListHostsResponse*) override;
  grpc::Status UpdateHost(Context*, const v1::UpdateHostRequest*, v1::Host*) override;
  grpc::Status DeleteHost(Context*, const v1::DeleteHostRequest*, v1::DeleteHostResponse*) override;
  grpc::Status WaitRollout(Context*, const v1::WaitRolloutRequest*,
                           v1::WaitRolloutResponse*) override;
  grpc::Status CreateQosPolicy(Context*, const v1::CreateQosPolicyRequest*,
                               v1::QosPolicy*) override;
  grpc::Status GetQosPolicy(Context*, const v1::GetQosPolicyRequest*, v1::QosPolicy*) override;
  grpc::Status ListQosPolicies(Context*, const v1::ListQosPoliciesRequest*,
                               v1::ListQosPoliciesResponse*) override;
  grpc::Status UpdateQosPolicy(Context*, const v1::UpdateQosPolicyRequest*,
                               v1::QosPolicy*) override;
  grpc::Status DeleteQosPolicy(Context*, const v1::DeleteQosPolicyRequest*,
                               v1::DeleteQosPolicyResponse*) override;
  grpc::Status ShowQos(Context*, const v1::ShowQosRequest*, v1::ShowQosResponse*) override;

 private:
  // A policy that a VPC or endpoint is to have must exist.
  grpc::Status check_policy(const std::string& field, const std::string& name) const;
  template <typename Object>
  grpc::Status warned(grpc::Status status, Object* out) const;
  grpc::Status begin(const std::string& call);
  qmasq::testing::TempDir folder_;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace qmasq::cli::testing

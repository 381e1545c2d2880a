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
#include "qmasq/v1/vpc.grpc.pb.h"
#include "tests/support/temp_dir.h"

// A controller as the command line sees it: remembers the requests, keeps objects by name, answers
// errors as the real one spells them. No rules of its own beyond "exists" and "is taken".
namespace qmasq::cli::testing {

class FakeController final : public v1::VpcService::Service,
                             public v1::EndpointService::Service,
                             public v1::HostService::Service {
 public:
  FakeController();
  ~FakeController() override;

  [[nodiscard]] std::string address() const { return "unix:" + folder_.file("controller.sock"); }

  // Set before calls. Seen after them. One call at a time, so no lock; SeenOrder of this object
  // around each tells ThreadSanitizer.
  std::map<std::string, v1::Vpc> vpcs;
  std::map<std::string, v1::Endpoint> endpoints;
  std::map<std::string, v1::Host> hosts;
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

 private:
  grpc::Status begin(const std::string& call);
  qmasq::testing::TempDir folder_;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace qmasq::cli::testing

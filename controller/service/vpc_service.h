// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "controller/service/calls.h"
#include "qmasq/v1/vpc.grpc.pb.h"

namespace qmasq::controller {

// schema/proto/qmasq/v1/vpc.proto. Called on gRPC's threads.
class VpcServiceImpl final : public v1::VpcService::Service {
 public:
  explicit VpcServiceImpl(const ServiceContext& context) : context_(context) {}

  grpc::Status CreateVpc(grpc::ServerContext*, const v1::CreateVpcRequest* request,
                         v1::Vpc* response) override;
  grpc::Status GetVpc(grpc::ServerContext*, const v1::GetVpcRequest* request,
                      v1::Vpc* response) override;
  grpc::Status ListVpcs(grpc::ServerContext*, const v1::ListVpcsRequest* request,
                        v1::ListVpcsResponse* response) override;
  grpc::Status UpdateVpc(grpc::ServerContext*, const v1::UpdateVpcRequest* request,
                         v1::Vpc* response) override;
  grpc::Status DeleteVpc(grpc::ServerContext*, const v1::DeleteVpcRequest* request,
                         v1::DeleteVpcResponse* response) override;

 private:
  const ServiceContext& context_;
};

}  // namespace qmasq::controller

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "controller/service/calls.h"
#include "qmasq/v1/endpoint.grpc.pb.h"

namespace qmasq::controller {

class FleetQueries;

// schema/proto/qmasq/v1/endpoint.proto. Called on gRPC's threads.
class EndpointServiceImpl final : public v1::EndpointService::Service {
 public:
  EndpointServiceImpl(const ServiceContext& context, FleetQueries& queries)
      : context_(context), queries_(queries) {}

  grpc::Status CreateEndpoint(grpc::ServerContext*, const v1::CreateEndpointRequest* request,
                              v1::Endpoint* response) override;
  grpc::Status GetEndpoint(grpc::ServerContext*, const v1::GetEndpointRequest* request,
                           v1::Endpoint* response) override;
  grpc::Status ListEndpoints(grpc::ServerContext*, const v1::ListEndpointsRequest* request,
                             v1::ListEndpointsResponse* response) override;
  grpc::Status UpdateEndpoint(grpc::ServerContext*, const v1::UpdateEndpointRequest* request,
                              v1::Endpoint* response) override;
  grpc::Status DeleteEndpoint(grpc::ServerContext*, const v1::DeleteEndpointRequest* request,
                              v1::DeleteEndpointResponse* response) override;

 private:
  void fill_status(v1::Endpoint* endpoint) const;

  const ServiceContext& context_;
  FleetQueries& queries_;
};

}  // namespace qmasq::controller

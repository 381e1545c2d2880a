// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "controller/service/calls.h"
#include "qmasq/v1/qos.grpc.pb.h"

namespace qmasq::controller {

class FleetQueries;

// schema/proto/qmasq/v1/qos.proto. Called on gRPC's threads. ShowQos waits for agents, seconds at
// most.
class QosServiceImpl final : public v1::QosService::Service {
 public:
  QosServiceImpl(const ServiceContext& context, FleetQueries& queries)
      : context_(context), queries_(queries) {}

  grpc::Status CreateQosPolicy(grpc::ServerContext*, const v1::CreateQosPolicyRequest* request,
                               v1::QosPolicy* response) override;
  grpc::Status GetQosPolicy(grpc::ServerContext*, const v1::GetQosPolicyRequest* request,
                            v1::QosPolicy* response) override;
  grpc::Status ListQosPolicies(grpc::ServerContext*, const v1::ListQosPoliciesRequest* request,
                               v1::ListQosPoliciesResponse* response) override;
  grpc::Status UpdateQosPolicy(grpc::ServerContext*, const v1::UpdateQosPolicyRequest* request,
                               v1::QosPolicy* response) override;
  grpc::Status DeleteQosPolicy(grpc::ServerContext*, const v1::DeleteQosPolicyRequest* request,
                               v1::DeleteQosPolicyResponse* response) override;
  grpc::Status ShowQos(grpc::ServerContext*, const v1::ShowQosRequest* request,
                       v1::ShowQosResponse* response) override;

 private:
  const ServiceContext& context_;
  FleetQueries& queries_;
};

}  // namespace qmasq::controller

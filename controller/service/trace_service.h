// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "controller/service/calls.h"
#include "qmasq/v1/trace.grpc.pb.h"

namespace qmasq::controller {

class FleetQueries;

// schema/proto/qmasq/v1/trace.proto. Called on gRPC's threads.
class TraceServiceImpl final : public v1::TraceService::Service {
 public:
  TraceServiceImpl(const ServiceContext& context, FleetQueries& queries)
      : context_(context), queries_(queries) {}

  grpc::Status Trace(grpc::ServerContext*, const v1::TraceRequest* request,
                     v1::TraceResponse* response) override;

 private:
  const ServiceContext& context_;
  FleetQueries& queries_;
};

}  // namespace qmasq::controller

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "controller/service/calls.h"
#include "controller/watch/watch.h"
#include "qmasq/v1/host.grpc.pb.h"

namespace qmasq::controller {

// schema/proto/qmasq/v1/host.proto. Called on gRPC's threads. WaitRollout lasts up to minutes, so
// it is the one call here that holds no thread while it waits.
class HostServiceImpl final
    : public v1::HostService::WithCallbackMethod_WaitRollout<v1::HostService::Service> {
 public:
  HostServiceImpl(const ServiceContext& context, Watch& watch) : context_(context), watch_(watch) {}

  grpc::Status CreateHost(grpc::ServerContext*, const v1::CreateHostRequest* request,
                          v1::Host* response) override;
  grpc::Status GetHost(grpc::ServerContext*, const v1::GetHostRequest* request,
                       v1::Host* response) override;
  grpc::Status ListHosts(grpc::ServerContext*, const v1::ListHostsRequest* request,
                         v1::ListHostsResponse* response) override;
  grpc::Status UpdateHost(grpc::ServerContext*, const v1::UpdateHostRequest* request,
                          v1::Host* response) override;
  grpc::Status DeleteHost(grpc::ServerContext*, const v1::DeleteHostRequest* request,
                          v1::DeleteHostResponse* response) override;
  grpc::ServerUnaryReactor* WaitRollout(grpc::CallbackServerContext*,
                                        const v1::WaitRolloutRequest* request,
                                        v1::WaitRolloutResponse* response) override;

 private:
  void fill_status(const Host& host, v1::Host* out) const;

  const ServiceContext& context_;
  Watch& watch_;
};

}  // namespace qmasq::controller

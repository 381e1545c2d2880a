// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "controller/service/calls.h"
#include "qmasq/v1/security_group.grpc.pb.h"

namespace qmasq::controller {

class FleetQueries;

// schema/proto/qmasq/v1/security_group.proto. Called on gRPC's threads.
class SecurityGroupServiceImpl final : public v1::SecurityGroupService::Service {
 public:
  SecurityGroupServiceImpl(const ServiceContext& context, FleetQueries& queries)
      : context_(context), queries_(queries) {}

  grpc::Status CreateSecurityGroup(grpc::ServerContext*,
                                   const v1::CreateSecurityGroupRequest* request,
                                   v1::SecurityGroup* response) override;
  grpc::Status GetSecurityGroup(grpc::ServerContext*, const v1::GetSecurityGroupRequest* request,
                                v1::SecurityGroup* response) override;
  grpc::Status ListSecurityGroups(grpc::ServerContext*,
                                  const v1::ListSecurityGroupsRequest* request,
                                  v1::ListSecurityGroupsResponse* response) override;
  grpc::Status UpdateSecurityGroup(grpc::ServerContext*,
                                   const v1::UpdateSecurityGroupRequest* request,
                                   v1::SecurityGroup* response) override;
  grpc::Status DeleteSecurityGroup(grpc::ServerContext*,
                                   const v1::DeleteSecurityGroupRequest* request,
                                   v1::DeleteSecurityGroupResponse* response) override;

 private:
  const ServiceContext& context_;
  FleetQueries& queries_;
};

}  // namespace qmasq::controller

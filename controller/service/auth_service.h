// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "controller/service/calls.h"
#include "qmasq/v1/auth.grpc.pb.h"

namespace qmasq::controller {

// schema/proto/qmasq/v1/auth.proto. Called on gRPC's threads.
class AuthServiceImpl final : public v1::AuthService::Service {
 public:
  explicit AuthServiceImpl(const ServiceContext& context) : context_(context) {}

  grpc::Status CreateJoinToken(grpc::ServerContext* rpc, const v1::CreateJoinTokenRequest* request,
                               v1::JoinToken* response) override;
  grpc::Status JoinHost(grpc::ServerContext* rpc, const v1::JoinHostRequest* request,
                        v1::Certificate* response) override;
  grpc::Status RenewCertificate(grpc::ServerContext* rpc,
                                const v1::RenewCertificateRequest* request,
                                v1::Certificate* response) override;
  grpc::Status CreateAccess(grpc::ServerContext* rpc, const v1::CreateAccessRequest* request,
                            v1::CreateAccessResponse* response) override;
  grpc::Status GetAccess(grpc::ServerContext* rpc, const v1::GetAccessRequest* request,
                         v1::Access* response) override;
  grpc::Status ListAccesses(grpc::ServerContext* rpc, const v1::ListAccessesRequest* request,
                            v1::ListAccessesResponse* response) override;
  grpc::Status RevokeAccess(grpc::ServerContext* rpc, const v1::RevokeAccessRequest* request,
                            v1::Access* response) override;
  grpc::Status RevokeHost(grpc::ServerContext* rpc, const v1::RevokeHostRequest* request,
                          v1::RevokeHostResponse* response) override;
  grpc::Status ListAuditRecords(grpc::ServerContext* rpc,
                                const v1::ListAuditRecordsRequest* request,
                                v1::ListAuditRecordsResponse* response) override;
  grpc::Status WhoAmI(grpc::ServerContext* rpc, const v1::WhoAmIRequest* request,
                      v1::Caller* response) override;

 private:
  const ServiceContext& context_;
};

}  // namespace qmasq::controller

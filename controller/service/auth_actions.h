// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "controller/service/calls.h"
#include "qmasq/v1/auth.pb.h"

// What the calls about callers do, inside a transaction, with their records in the audit log. No
// secret goes into these. As actions.h.
namespace qmasq::controller {

[[nodiscard]] Status create_join_token(WriteView& view, const ServiceContext& context,
                                       const Caller& caller,
                                       const v1::CreateJoinTokenRequest& request,
                                       v1::JoinToken* response);
// kUnauthenticated: the token is not, or no longer, good for anything.
[[nodiscard]] Status join_with_token(WriteView& view, const ServiceContext& context,
                                     const Caller& caller, const v1::JoinHostRequest& request,
                                     v1::Certificate* response);
[[nodiscard]] Status renew_certificate(WriteView& view, const ServiceContext& context,
                                       const Caller& caller,
                                       const v1::RenewCertificateRequest& request,
                                       v1::Certificate* response);
[[nodiscard]] Status create_access(WriteView& view, const ServiceContext& context,
                                   const Caller& caller, const v1::CreateAccessRequest& request,
                                   v1::CreateAccessResponse* response);
[[nodiscard]] Status revoke_access(WriteView& view, const ServiceContext& context,
                                   const Caller& caller, const v1::RevokeAccessRequest& request,
                                   v1::Access* response);
[[nodiscard]] Status revoke_host(WriteView& view, const ServiceContext& context,
                                 const Caller& caller, const v1::RevokeHostRequest& request);

void to_proto(const Access& access, v1::Access* out);
void to_proto(const AuditRecord& record, v1::AuditRecord* out);
void to_proto(const Caller& caller, v1::Caller* out);

}  // namespace qmasq::controller

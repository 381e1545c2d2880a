// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <google/protobuf/message.h>
#include <grpcpp/server_context.h>
#include <grpcpp/support/status.h>

#include <exception>
#include <functional>
#include <string>
#include <string_view>

#include "common/clock.h"
#include "controller/auth/gate.h"
#include "controller/metrics.h"
#include "controller/service/actions.h"
#include "controller/store/store.h"
#include "trust/authority.h"

// What every call of every service has in common.
namespace qmasq::controller {

// What services work on. All of it outlives them; all of it takes calls from any thread.
struct ServiceContext {
  Store& store;
  ActionContext actions;
  const StatusBoard& board;
  ControllerMetrics& metrics;
  const Clock& clock;
  Gate& gate;
  const AuditRetention retention;
  // Null: there is no CA, so that nobody can get a certificate.
  const trust::Authority* authority;
};

// Runs one call, if its caller may: errors become gRPC statuses, exceptions too, and it is counted.
// `method`: "VpcService/CreateVpc", as auth/permissions.cc lists it. A caller that was revoked
// while it read gets nothing.
[[nodiscard]] grpc::Status run_call(const ServiceContext& context, grpc::ServerContextBase& rpc,
                                    std::string_view method,
                                    const google::protobuf::Message& request,
                                    const std::function<Status(const Caller&)>& call);
// The same for what has passed the gate by itself.
[[nodiscard]] grpc::Status count_call(const ServiceContext& context, std::string_view method,
                                      const std::function<Status()>& call);

struct Mutation {
  std::string_view method;
  const google::protobuf::Message& request;
  const std::string& request_id;
  bool validate_only;
};
// One transaction around `change`, which fills `response`, and the audit log's record of what it
// changed; or, for a request id of this caller's that was answered before, that answer. Nothing for
// a caller that was revoked before the transaction began.
[[nodiscard]] Status mutate(const ServiceContext& context, const Caller& caller,
                            const Mutation& mutation, google::protobuf::Message* response,
                            const std::function<Status(WriteView&)>& change);

// The revision that a running transaction will make.
[[nodiscard]] Result<std::uint64_t> coming_revision(WriteView& view);

}  // namespace qmasq::controller

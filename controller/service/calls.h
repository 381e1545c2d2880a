// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <google/protobuf/message.h>
#include <grpcpp/support/status.h>

#include <exception>
#include <functional>
#include <string>
#include <string_view>

#include "common/clock.h"
#include "controller/metrics.h"
#include "controller/service/actions.h"
#include "controller/store/store.h"

// What every call of every service has in common.
namespace qmasq::controller {

// What services work on. All of it outlives them; all of it takes calls from any thread.
struct ServiceContext {
  Store& store;
  ActionContext actions;
  const StatusBoard& board;
  ControllerMetrics& metrics;
  const Clock& clock;
};

// Runs one call: errors become gRPC statuses, exceptions too, and it is counted under `method`.
[[nodiscard]] grpc::Status run_call(const ServiceContext& context, std::string_view method,
                                    const std::function<Status()>& call);

struct Mutation {
  std::string_view method;
  const google::protobuf::Message& request;
  const std::string& request_id;
  bool validate_only;
};
// One transaction around `change`, which fills `response`; or, for a request id that was answered
// before, that answer.
[[nodiscard]] Status mutate(const ServiceContext& context, const Mutation& mutation,
                            google::protobuf::Message* response,
                            const std::function<Status(WriteView&)>& change);

// The revision that a running transaction will make.
[[nodiscard]] Result<std::uint64_t> coming_revision(WriteView& view);

}  // namespace qmasq::controller

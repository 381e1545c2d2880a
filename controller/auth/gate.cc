// SPDX-License-Identifier: Apache-2.0
#include "controller/auth/gate.h"

#include <fmt/format.h>

namespace qmasq::controller {

Status Gate::check_rate(grpc::ServerContextBase& context, const Caller& caller, bool known) {
  const auto now = clock_.now();
  std::optional<std::chrono::milliseconds> wait;
  if (known) {
    wait = limits_.take(caller.name, caller.role == Role::kHost ? rates_.host : rates_.known, now);
  } else {
    wait = limits_.take("peer/" + peer_address(caller.peer), rates_.unknown, now);
    if (!wait) wait = limits_.take("unknown", rates_.all_unknown, now);
  }
  if (!wait) return {};
  metrics_.rate_limited();
  // gRPC's own retries heed it; people read the text.
  context.AddTrailingMetadata("grpc-retry-pushback-ms", std::to_string(wait->count()));
  return fail(Code::kResourceExhausted,
              fmt::format("too many calls by {}: try again in {} ms",
                          known ? caller.name : peer_address(caller.peer), wait->count()));
}

Result<Caller> Gate::admit(grpc::ServerContextBase& context, std::string_view method,
                           const google::protobuf::Message* request) {
  const Permission* permission = find_permission(method);
  auto [caller, identified] = authenticator_.identify(context);
  QMASQ_TRY(check_rate(context, caller, identified.has_value()));
  auto check = [&, &who = caller, &status = identified]() -> Status {
    if (permission == nullptr) {
      return fail(Code::kPermissionDenied, fmt::format("nobody may call {}", method));
    }
    if (permission->need != Need::kNothing) QMASQ_TRY(status);
    return check_permission(who, *permission, request);
  };
  if (auto checked = check(); !checked) {
    Subject subject;
    if (permission != nullptr && request != nullptr) subject = subject_of(*permission, *request);
    refusals_.note(caller, method, subject, checked.error());
    return tl::unexpected<Error>(std::move(checked).error());
  }
  if (request != nullptr && request->ByteSizeLong() > permission->max_request) {
    return fail(Code::kInvalidArgument,
                fmt::format("the request has {} bytes: {} takes at most {}",
                            request->ByteSizeLong(), method, permission->max_request));
  }
  return caller;
}

}  // namespace qmasq::controller

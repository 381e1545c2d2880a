// SPDX-License-Identifier: Apache-2.0
#include "controller/service/calls.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "controller/model/request_rules.h"
#include "schema/grpc_status.h"

namespace qmasq::controller {
namespace {

std::string code_label(Code code) {
  std::string label(to_string(code));
  for (char& c : label) {
    if (c == ' ') c = '_';
  }
  return label;
}

}  // namespace

grpc::Status run_call(const ServiceContext& context, grpc::ServerContextBase& rpc,
                      std::string_view method, const google::protobuf::Message& request,
                      const std::function<Status(const Caller&)>& call) {
  return count_call(context, method, [&]() -> Status {
    QMASQ_ASSIGN(Caller caller, context.gate.admit(rpc, method, &request));
    QMASQ_TRY(call(caller));
    // What was changed was changed while it might; but nobody reads on who is revoked.
    const Need need = find_permission(method)->need;
    const bool reads = need == Need::kRead || need == Need::kOversee;
    return reads ? context.gate.check(caller) : Status();
  });
}

grpc::Status count_call(const ServiceContext& context, std::string_view method,
                        const std::function<Status()>& call) {
  const auto start = context.clock.now();
  Status status;
  try {
    status = call();
  } catch (const std::exception& error) {
    status = fail(Code::kInternal, error.what());
  } catch (...) {
    status = fail(Code::kInternal, "unknown failure");
  }
  context.metrics.rpc(method.substr(method.find('/') + 1),
                      status ? "ok" : code_label(status.error().code), context.clock.now() - start);
  if (status) return grpc::Status::OK;
  if (status.error().code == Code::kInternal || status.error().code == Code::kResourceExhausted) {
    spdlog::error("{}: {}", method, status.error().message);
  } else {
    spdlog::debug("{} refused: {}", method, status.error().message);
  }
  return to_grpc(status.error());
}

Status mutate(const ServiceContext& context, const Caller& caller, const Mutation& mutation,
              google::protobuf::Message* response,
              const std::function<Status(WriteView&)>& change) {
  QMASQ_TRY(check_request_id(mutation.request_id));
  const bool keep = !mutation.request_id.empty() && !mutation.validate_only;
  // With the caller's name: an answer is for whom it was given to.
  RequestRecord record{
      mutation.request_id, fmt::format("{} {}", mutation.method, caller.name), {}, {}};
  if (keep) record.request = mutation.request.SerializeAsString();
  auto transaction = [&](WriteView& view) -> Status {
    response->Clear();
    // Revoking is a write like this one: either it came before, or this is done before its answer.
    QMASQ_TRY(context.gate.check(caller));
    if (keep) {
      QMASQ_ASSIGN(auto before, view.find_request(record.id));
      if (before) {
        if (before->method == record.method && before->request == record.request &&
            response->ParseFromString(before->response)) {
          return {};
        }
        return fail(Code::kInvalidArgument,
                    "this request id was used for another request: take a new UUID for each "
                    "request, and repeat a request unchanged",
                    "request_id");
      }
    }
    QMASQ_TRY(change(view));
    if (!mutation.validate_only) {
      QMASQ_TRY(audit_change(view, caller, mutation.method, context.retention));
    }
    if (!keep) return {};
    record.response = response->SerializeAsString();
    return view.put_request(record);
  };
  return context.store.write(transaction,
                             mutation.validate_only ? WriteMode::kDryRun : WriteMode::kCommit);
}

Result<std::uint64_t> coming_revision(WriteView& view) {
  QMASQ_ASSIGN(Revision revision, view.revision());
  return revision.value + 1;
}

}  // namespace qmasq::controller

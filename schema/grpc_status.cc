// SPDX-License-Identifier: Apache-2.0
#include "schema/grpc_status.h"

#include <array>
#include <utility>

namespace qmasq {
namespace {

constexpr std::array<std::pair<Code, grpc::StatusCode>, 12> kCodes = {{
    {Code::kInvalidArgument, grpc::StatusCode::INVALID_ARGUMENT},
    {Code::kNotFound, grpc::StatusCode::NOT_FOUND},
    {Code::kAlreadyExists, grpc::StatusCode::ALREADY_EXISTS},
    {Code::kFailedPrecondition, grpc::StatusCode::FAILED_PRECONDITION},
    {Code::kPermissionDenied, grpc::StatusCode::PERMISSION_DENIED},
    {Code::kUnauthenticated, grpc::StatusCode::UNAUTHENTICATED},
    {Code::kResourceExhausted, grpc::StatusCode::RESOURCE_EXHAUSTED},
    {Code::kUnsupported, grpc::StatusCode::UNIMPLEMENTED},
    {Code::kUnavailable, grpc::StatusCode::UNAVAILABLE},
    {Code::kDeadlineExceeded, grpc::StatusCode::DEADLINE_EXCEEDED},
    {Code::kAborted, grpc::StatusCode::ABORTED},
    {Code::kInternal, grpc::StatusCode::INTERNAL},
}};

}  // namespace

grpc::Status to_grpc(const Error& error) {
  std::string text = error.field.empty() ? error.message : error.field + ": " + error.message;
  for (auto [ours, theirs] : kCodes) {
    if (ours == error.code) return {theirs, text};
  }
  return {grpc::StatusCode::UNKNOWN, text};
}

Error from_grpc(const grpc::Status& status) {
  for (auto [ours, theirs] : kCodes) {
    if (theirs == status.error_code()) return Error{ours, status.error_message(), 0, {}};
  }
  return Error{Code::kInternal, status.error_message(), 0, {}};
}

}  // namespace qmasq

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <grpcpp/support/status.h>

#include "common/result.h"

// The one place where our errors and gRPC's meet. A field at fault travels in the message, as
// "FIELD: text", so that every client shows it.
namespace qmasq {

[[nodiscard]] grpc::Status to_grpc(const Error& error);
[[nodiscard]] Error from_grpc(const grpc::Status& status);

}  // namespace qmasq

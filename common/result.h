// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cerrno>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

#include <tl/expected.hpp>

// Errors as values. A function that can fail for a reason its caller should act on returns
// Result<T> (or Status); no exception crosses a module. A layer adds context as an error passes
// through it. gRPC status codes appear only at the edge (schema/grpc_status.h).
namespace qmasq {

enum class Code {
  kInvalidArgument,     // the request itself is wrong; `field` says where
  kNotFound,            // what the request names does not exist
  kAlreadyExists,       // the name, number or address is taken
  kFailedPrecondition,  // right request, wrong moment: in use, stale etag, not in sync
  kPermissionDenied,
  kUnauthenticated,    // nobody knows who asks
  kResourceExhausted,  // a pool, quota or disk is full
  kUnsupported,        // the kernel, the NIC or this build does not offer it
  kUnavailable,        // a peer cannot be reached now; trying again may work
  kDeadlineExceeded,
  kAborted,
  kInternal,  // a bug or a broken machine
};

struct Error {
  Code code = Code::kInternal;
  std::string message;
  int err = 0;        // errno behind it, or 0
  std::string field;  // request field at fault ("vpc.ranges[1]"), or empty
};

template <typename T>
using Result = tl::expected<T, Error>;
using Status = Result<void>;

[[nodiscard]] inline tl::unexpected<Error> fail(Code code, std::string message,
                                                std::string field = {}) {
  return tl::unexpected<Error>(Error{code, std::move(message), 0, std::move(field)});
}

// The code that an errno stands for.
[[nodiscard]] Code code_of_errno(int err);

// "what: strerror(err)". Takes errno by value so that nothing on the way can overwrite it.
[[nodiscard]] tl::unexpected<Error> fail_errno(int err, std::string_view what);

// Passes an error on with what was being done at this layer in front.
[[nodiscard]] inline tl::unexpected<Error> with_context(Error error, std::string_view doing) {
  error.message = std::string(doing) + ": " + error.message;
  return tl::unexpected<Error>(std::move(error));
}

[[nodiscard]] std::string_view to_string(Code code);

}  // namespace qmasq

#define QMASQ_CONCAT_(a, b) a##b
#define QMASQ_CONCAT(a, b) QMASQ_CONCAT_(a, b)
// Returns the error of a Status or Result expression from the enclosing function.
#define QMASQ_TRY(expression)                                 \
  do {                                                        \
    if (auto qmasq_status = (expression); !qmasq_status) {    \
      return tl::unexpected(std::move(qmasq_status).error()); \
    }                                                         \
  } while (false)
// QMASQ_ASSIGN(auto value, expression): declares value, or returns the error.
#define QMASQ_ASSIGN(declaration, expression)                                        \
  auto QMASQ_CONCAT(qmasq_result_, __LINE__) = (expression);                         \
  if (!QMASQ_CONCAT(qmasq_result_, __LINE__)) {                                      \
    return tl::unexpected(std::move(QMASQ_CONCAT(qmasq_result_, __LINE__)).error()); \
  }                                                                                  \
  declaration = std::move(*QMASQ_CONCAT(qmasq_result_, __LINE__))

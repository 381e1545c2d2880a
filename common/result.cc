// SPDX-License-Identifier: Apache-2.0
#include "common/result.h"

#include <system_error>

namespace qmasq {

Code code_of_errno(int err) {
  switch (err) {
    case EINVAL:
    case E2BIG:
    case ERANGE:
      return Code::kInvalidArgument;
    case ENOENT:
    case ENODEV:
    case ENXIO:
    case ESRCH:
      return Code::kNotFound;
    case EEXIST:
      return Code::kAlreadyExists;
    case EBUSY:
    case ENOTEMPTY:
      return Code::kFailedPrecondition;
    case EPERM:
    case EACCES:
      return Code::kPermissionDenied;
    case ENOMEM:
    case ENOSPC:
    case EMFILE:
    case ENFILE:
    case EDQUOT:
      return Code::kResourceExhausted;
    case EOPNOTSUPP:
    case ENOSYS:
    case ENOTTY:
    case EAFNOSUPPORT:
    case EPROTONOSUPPORT:
      return Code::kUnsupported;
    case EAGAIN:
    case ECONNREFUSED:
    case ENETUNREACH:
    case EHOSTUNREACH:
      return Code::kUnavailable;
    case ETIMEDOUT:
      return Code::kDeadlineExceeded;
    default:
      return Code::kInternal;
  }
}

tl::unexpected<Error> fail_errno(int err, std::string_view what) {
  // generic_category().message is thread-safe where strerror is not.
  return tl::unexpected<Error>(
      Error{code_of_errno(err),
            std::string(what) + ": " + std::generic_category().message(err),
            err,
            {}});
}

std::string_view to_string(Code code) {
  switch (code) {
    case Code::kInvalidArgument:
      return "invalid argument";
    case Code::kNotFound:
      return "not found";
    case Code::kAlreadyExists:
      return "already exists";
    case Code::kFailedPrecondition:
      return "failed precondition";
    case Code::kPermissionDenied:
      return "permission denied";
    case Code::kUnauthenticated:
      return "unauthenticated";
    case Code::kResourceExhausted:
      return "resource exhausted";
    case Code::kUnsupported:
      return "unsupported";
    case Code::kUnavailable:
      return "unavailable";
    case Code::kDeadlineExceeded:
      return "deadline exceeded";
    case Code::kAborted:
      return "aborted";
    case Code::kInternal:
      return "internal";
  }
  return "unknown";
}

}  // namespace qmasq

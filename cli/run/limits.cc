// SPDX-License-Identifier: Apache-2.0
#include "cli/run/limits.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <cerrno>

namespace qmasq::cli {

Status raise_memlock() {
  rlimit unlimited{RLIM_INFINITY, RLIM_INFINITY};
  if (::setrlimit(RLIMIT_MEMLOCK, &unlimited) == 0) return {};
  rlimit limit{};
  if (::getrlimit(RLIMIT_MEMLOCK, &limit) != 0) return fail_errno(errno, "getrlimit");
  limit.rlim_cur = limit.rlim_max;
  if (::setrlimit(RLIMIT_MEMLOCK, &limit) != 0) {
    return fail_errno(errno, "cannot raise the limit of locked memory");
  }
  return {};
}

Status allow_descriptors_below(unsigned end) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return fail_errno(errno, "getrlimit");
  if (limit.rlim_cur >= end) return {};
  if (limit.rlim_max < end && limit.rlim_max != RLIM_INFINITY) {
    return fail(Code::kResourceExhausted,
                fmt::format("the limit of open files is {}, and verbs devices need numbers up to "
                            "{}: raise the hard limit (ulimit -Hn)",
                            limit.rlim_max, end - 1));
  }
  limit.rlim_cur = end;
  if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) {
    return fail_errno(errno, "cannot raise the limit of open files");
  }
  return {};
}

}  // namespace qmasq::cli

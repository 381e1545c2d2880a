// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <poll.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include <cerrno>

#include "common/unique_fd.h"

namespace qmasq::test {

// Until a child has ended; waitpid() then gives its status at once. Not by waitpid() alone: that
// would also take the stops which a receiver of this very process waits for when it redirects the
// child's calls. Returns at once where such a receiver has taken the end already.
inline void await_end(pid_t child) {
  UniqueFd end(static_cast<int>(::syscall(SYS_pidfd_open, child, 0)));
  pollfd ended{end.get(), POLLIN, 0};
  while (end.valid() && ::poll(&ended, 1, -1) < 0 && errno == EINTR) {
  }
}

}  // namespace qmasq::test

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>
#include <sys/wait.h>

#include <cerrno>
#include <cstdio>

// For functions that a process of its own runs, and that return its exit code: ends them with 1
// when the condition does not hold.
#define EXPECT(condition)                                                                    \
  do {                                                                                       \
    if (!(condition)) {                                                                      \
      std::fprintf(stderr, "%s:%d: %s (errno %d)\n", __FILE__, __LINE__, #condition, errno); \
      return 1;                                                                              \
    }                                                                                        \
  } while (false)

namespace qmasq::test {

// Waits for a child of the caller's: its exit code, or 100 + signal; -1 when it has no such child.
inline int exit_code_of(pid_t child) {
  int status = 0;
  while (::waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) return -1;
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 100 + WTERMSIG(status);
}

}  // namespace qmasq::test

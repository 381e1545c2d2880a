// SPDX-License-Identifier: Apache-2.0
#pragma once

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

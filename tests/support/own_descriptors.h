// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <dirent.h>

namespace qmasq::test {

// How many descriptors this process has open, but for a constant.
inline int own_descriptors() {
  int count = 0;
  DIR* dir = opendir("/proc/self/fd");
  while (readdir(dir) != nullptr)
    ++count;
  closedir(dir);
  return count;
}

}  // namespace qmasq::test

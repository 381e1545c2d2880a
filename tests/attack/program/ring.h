// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>

namespace qmasq::attack {

// System calls by io_uring, which no seccomp filter sees. As open(2) and write(2): -1 with errno
// set; errno of io_uring_setup(2) when there is none.
int open_by_ring(const std::string& path, int flags);
long write_by_ring(int fd, const void* data, std::size_t size);

}  // namespace qmasq::attack

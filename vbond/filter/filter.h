// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <linux/filter.h>

#include <vector>

#include "common/result.h"
#include "common/unique_fd.h"

// The seccomp filter of a tenant's program: which of its system calls the agent gets to see.
//
//   entry by another architecture (i386, x32)      ENOSYS, all of it: the numbers differ there
//   openat, open with a write access mode, creat,  to the agent (libibverbs opens O_RDWR; a verbs
//   openat2                                        device opened read-only takes no write(), and
//                                                  its ioctls are seen anyway)
//   ioctl(any, RDMA_VERBS_IOCTL)                   to the agent; compared on 32 bits, as the
//                                                  kernel does
//   write(reserved descriptor)                     to the agent, unless trap_write is false
//   socket(AF_NETLINK, any, NETLINK_RDMA)          EPROTONOSUPPORT
//   munmap, mremap, mmap(MAP_FIXED),               refused where it concerns addresses below
//   shmat(SHM_REMAP), remap_file_pages, brk        kKeptBelow: what the agent has mapped there for
//   prctl(PR_SET_MM), uselib                       sealed arguments stays (x86-64)
//   everything else                                runs
//
// The filter is no wall by itself: it stands on nodes that are masked in the tenant's mount
// namespace, on the capabilities the program has lost, and on verbs files that the agent opened
// (the kernel takes no write() on them from anybody else, by whatever system call or io_uring).
namespace qmasq::vbond {

struct FilterOptions {
  // Descriptor numbers at which the agent injects verbs devices: [first, first + count).
  unsigned reserved_first = 960;
  unsigned reserved_count = 64;
  // False where the tenant opens the device itself: doorbells are its own then.
  bool trap_write = true;
};

[[nodiscard]] std::vector<sock_filter> build_filter(const FilterOptions& options);

// Installs the filter on the calling thread and returns its listener (close-on-exec). The program
// must be single-threaded and have set no_new_privs, or hold CAP_SYS_ADMIN. Takes
// WAIT_KILLABLE_RECV when the kernel has it, so that signals do not tear a call that the agent is
// at work on.
// Errors: kFailedPrecondition when the program is under another listener already (EBUSY: the kernel
// has one for each chain of filters), kUnsupported without user notification.
[[nodiscard]] Result<UniqueFd> install_filter(const FilterOptions& options);

}  // namespace qmasq::vbond

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <set>
#include <string>

namespace qmasq::vbond {

struct InterceptOptions {
  // Descriptor numbers in the tenant at which verbs devices are injected; the filter traps write()
  // on them. Must lie below the tenant's RLIMIT_NOFILE, or opening fails with EMFILE there. A
  // program can have `reserved_count` devices open at a time.
  unsigned reserved_first = 960;
  unsigned reserved_count = 64;

  // RDMA devices ("rxe0") that tenants open by themselves (`open: tenant`). What is given up by
  // that: docs/adr says; never for hardware.
  std::set<std::string, std::less<>> tenant_opens;

  std::size_t max_attachments = 1024;
  // Open verbs devices of one attachment. EMFILE for the tenant beyond that.
  std::size_t max_contexts = 1024;
  // Threads that serve one attachment. It starts with one; see attachment.h for how it grows.
  std::size_t max_receivers = 8;
  // A call that takes longer gets company. Also how often the steward looks while there is traffic.
  std::chrono::milliseconds stall{10};
  // Under the guard one call of a context runs in the tenant at a time. A call that waits longer
  // for its turn fails with EBUSY; a call that was let run and does not come within `permit` is
  // taken for one that never will (it found another file, or none).
  std::chrono::milliseconds turn{30000};
  std::chrono::milliseconds permit{5000};
  // Where memory for sealed arguments is made; on a tmpfs.
  std::string sealed_folder = "/dev/shm";
  // How often contexts are checked for being held by a process still, see context_table.h.
  std::chrono::milliseconds holder_check{300};
};

}  // namespace qmasq::vbond

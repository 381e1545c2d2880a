// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "vbond/kernel/errno_or.h"

namespace qmasq::vbond {

// Memory of a tenant's task. Addresses are the tenant's word: anything may be there, or nothing,
// and a page may take as long to come as the tenant likes (userfaultfd, FUSE). Whoever calls this
// must hold no lock that another tenant needs.
//
// `tid` is good only while the notification stands: check NotificationPort::alive() after reading
// and before acting on what was read, and again right before writing.
class TenantMemory {
 public:
  struct In {
    std::uint64_t address = 0;
    std::span<std::byte> bytes;
  };
  struct Out {
    std::uint64_t address = 0;
    std::span<const std::byte> bytes;
  };
  static constexpr std::size_t kMaxPieces = 64;

  virtual ~TenantMemory() = default;

  // All of it in one go: 0, EFAULT when a byte is missing, ESRCH, EPERM (no CAP_SYS_PTRACE), EINVAL
  // above kMaxPieces.
  [[nodiscard]] virtual int read(pid_t tid, std::span<const In> pieces) = 0;
  [[nodiscard]] virtual int write(pid_t tid, std::span<const Out> pieces) = 0;
  // As much as can be read from `address` on, at most bytes.size(). EFAULT: not a byte.
  [[nodiscard]] virtual ErrnoOr<std::size_t> read_some(pid_t tid, std::uint64_t address,
                                                       std::span<std::byte> bytes) = 0;
};

// process_vm_readv(2), process_vm_writev(2).
class ProcessMemory final : public TenantMemory {
 public:
  [[nodiscard]] int read(pid_t tid, std::span<const In> pieces) override;
  [[nodiscard]] int write(pid_t tid, std::span<const Out> pieces) override;
  [[nodiscard]] ErrnoOr<std::size_t> read_some(pid_t tid, std::uint64_t address,
                                               std::span<std::byte> bytes) override;
};

}  // namespace qmasq::vbond

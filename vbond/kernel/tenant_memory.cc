// SPDX-License-Identifier: Apache-2.0
#include "vbond/kernel/tenant_memory.h"

#include <sys/uio.h>

#include <array>
#include <cerrno>
#include <cstdint>

namespace qmasq::vbond {
namespace {

using Pieces = std::array<iovec, TenantMemory::kMaxPieces>;

void* remote(std::uint64_t address) {
  return reinterpret_cast<void*>(static_cast<std::uintptr_t>(address));  // NOLINT: not our memory
}

// A short count means that a page of the tenant's was not there. The kernel would have answered
// its copy_from_user() or copy_to_user() with EFAULT.
int complete(ssize_t done, std::size_t wanted) {
  if (done < 0) return errno;
  return static_cast<std::size_t>(done) == wanted ? 0 : EFAULT;
}

}  // namespace

int ProcessMemory::read(pid_t tid, std::span<const In> pieces) {
  Pieces local;
  Pieces there;
  std::size_t used = 0;
  std::size_t wanted = 0;
  for (const In& piece : pieces) {
    if (piece.bytes.empty()) continue;
    if (used == kMaxPieces) return EINVAL;
    local[used] = {piece.bytes.data(), piece.bytes.size()};
    there[used] = {remote(piece.address), piece.bytes.size()};
    wanted += piece.bytes.size();
    ++used;
  }
  if (used == 0) return 0;
  return complete(process_vm_readv(tid, local.data(), used, there.data(), used, 0), wanted);
}

int ProcessMemory::write(pid_t tid, std::span<const Out> pieces) {
  Pieces local;
  Pieces there;
  std::size_t used = 0;
  std::size_t wanted = 0;
  for (const Out& piece : pieces) {
    if (piece.bytes.empty()) continue;
    if (used == kMaxPieces) return EINVAL;
    // writev's source is const in fact, not in type.
    local[used] = {const_cast<std::byte*>(piece.bytes.data()), piece.bytes.size()};
    there[used] = {remote(piece.address), piece.bytes.size()};
    wanted += piece.bytes.size();
    ++used;
  }
  if (used == 0) return 0;
  return complete(process_vm_writev(tid, local.data(), used, there.data(), used, 0), wanted);
}

ErrnoOr<std::size_t> ProcessMemory::read_some(pid_t tid, std::uint64_t address,
                                              std::span<std::byte> bytes) {
  iovec local{bytes.data(), bytes.size()};
  iovec there{remote(address), bytes.size()};
  ssize_t done = process_vm_readv(tid, &local, 1, &there, 1, 0);
  if (done < 0) return tl::unexpected(errno);
  return static_cast<std::size_t>(done);
}

}  // namespace qmasq::vbond

// SPDX-License-Identifier: Apache-2.0
#include "tests/attack/program/ring.h"

#include <fcntl.h>
#include <linux/io_uring.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>

namespace qmasq::attack {
namespace {

// One request by a ring of its own.
long submit_one(const io_uring_sqe& request) {
  io_uring_params params{};
  const int ring = static_cast<int>(::syscall(SYS_io_uring_setup, 1, &params));
  if (ring < 0) return -1;
  auto map = [ring](std::size_t size, std::uint64_t at) {
    return static_cast<std::byte*>(
        ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, ring, static_cast<off_t>(at)));
  };
  const std::size_t queue_size = params.sq_off.array + params.sq_entries * sizeof(std::uint32_t);
  const std::size_t done_size = params.cq_off.cqes + params.cq_entries * sizeof(io_uring_cqe);
  const std::size_t entries_size = params.sq_entries * sizeof(io_uring_sqe);
  std::byte* queue = map(queue_size, IORING_OFF_SQ_RING);
  std::byte* done = map(done_size, IORING_OFF_CQ_RING);
  std::byte* entries = map(entries_size, IORING_OFF_SQES);
  long result = -1;
  int err = ENOMEM;
  if (queue != MAP_FAILED && done != MAP_FAILED && entries != MAP_FAILED) {
    *reinterpret_cast<io_uring_sqe*>(entries) = request;
    auto* indices = reinterpret_cast<std::uint32_t*>(queue + params.sq_off.array);
    indices[0] = 0;
    std::atomic_ref(*reinterpret_cast<std::uint32_t*>(queue + params.sq_off.tail)).store(1);
    if (::syscall(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, nullptr, 0) == 1) {
      const auto* answer = reinterpret_cast<const io_uring_cqe*>(done + params.cq_off.cqes);
      result = answer->res < 0 ? -1 : answer->res;
      err = answer->res < 0 ? -answer->res : 0;
    } else {
      err = errno;
    }
  }
  ::munmap(queue, queue_size);
  ::munmap(done, done_size);
  ::munmap(entries, entries_size);
  ::close(ring);
  errno = err;
  return result;
}

}  // namespace

int open_by_ring(const std::string& path, int flags) {
  io_uring_sqe request{};
  request.opcode = IORING_OP_OPENAT;
  request.fd = AT_FDCWD;
  request.addr = reinterpret_cast<std::uint64_t>(path.c_str());
  request.open_flags = static_cast<std::uint32_t>(flags);
  return static_cast<int>(submit_one(request));
}

long write_by_ring(int fd, const void* data, std::size_t size) {
  io_uring_sqe request{};
  request.opcode = IORING_OP_WRITE;
  request.fd = fd;
  request.addr = reinterpret_cast<std::uint64_t>(data);
  request.len = static_cast<std::uint32_t>(size);
  return submit_one(request);
}

}  // namespace qmasq::attack

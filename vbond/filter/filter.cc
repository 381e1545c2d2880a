// SPDX-License-Identifier: Apache-2.0
#include "vbond/filter/filter.h"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/netlink.h>
#include <linux/prctl.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>

#include "vbond/attach/protocol.h"

namespace qmasq::vbond {
namespace {

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "low halves of arguments come first");

#if defined(__x86_64__)
constexpr std::uint32_t kArch = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr std::uint32_t kArch = AUDIT_ARCH_AARCH64;
#else
#error "qmasq runs on x86_64 and aarch64"
#endif

constexpr std::uint32_t kVerbsIoctl = 0xc0181b01;

constexpr std::uint32_t low_half(unsigned argument) {
  return static_cast<std::uint32_t>(offsetof(seccomp_data, args) + argument * std::size_t{8});
}

constexpr std::uint32_t high_half(unsigned argument) {
  return low_half(argument) + 4;
}

// Emits straight-line code with jumps only over the next few instructions, so that no label ever
// has to be resolved.
class Program {
 public:
  void load(std::uint32_t offset) { add(BPF_LD | BPF_W | BPF_ABS, offset); }
  void mask(std::uint32_t bits) { add(BPF_ALU | BPF_AND | BPF_K, bits); }
  void give(std::uint32_t action) { add(BPF_RET | BPF_K, action); }
  // Skips the next `count` instructions unless the condition holds.
  void unless(std::uint16_t condition, std::uint32_t value, std::uint8_t count) {
    code_.push_back(
        BPF_JUMP(static_cast<std::uint16_t>(BPF_JMP | condition | BPF_K), value, 0, count));
  }
  // ... if it holds.
  void when(std::uint16_t condition, std::uint32_t value, std::uint8_t count) {
    code_.push_back(
        BPF_JUMP(static_cast<std::uint16_t>(BPF_JMP | condition | BPF_K), value, count, 0));
  }
  std::vector<sock_filter> take() { return std::move(code_); }

 private:
  void add(std::uint16_t code, std::uint32_t value) { code_.push_back(BPF_STMT(code, value)); }
  std::vector<sock_filter> code_;
};

constexpr std::uint32_t kNoSuchCall = SECCOMP_RET_ERRNO | ENOSYS;

void trap_always(Program& program, std::uint32_t nr) {
  program.unless(BPF_JEQ, nr, 1);
  program.give(SECCOMP_RET_USER_NOTIF);
}

// An open whose flags are argument `flags`: all access modes but O_RDONLY (3 counts as both).
void trap_open_for_writing(Program& program, std::uint32_t nr, unsigned flags) {
  program.unless(BPF_JEQ, nr, 5);
  program.load(low_half(flags));
  program.mask(O_ACCMODE);
  program.unless(BPF_JEQ, O_RDONLY, 1);
  program.give(SECCOMP_RET_ALLOW);
  program.give(SECCOMP_RET_USER_NOTIF);
}

// RDMA netlink tells node GUIDs, which hold the NIC's MAC. libibverbs then reads sysfs instead,
// where the endpoint's own are staged.
void refuse_rdma_netlink(Program& program) {
  program.unless(BPF_JEQ, SYS_socket, 6);
  program.load(low_half(0));
  program.unless(BPF_JEQ, AF_NETLINK, 3);
  program.load(low_half(2));
  program.unless(BPF_JEQ, NETLINK_RDMA, 1);
  program.give(SECCOMP_RET_ERRNO | EPROTONOSUPPORT);
  program.give(SECCOMP_RET_ALLOW);
}

#if defined(__x86_64__)
constexpr std::uint32_t kRefused = SECCOMP_RET_ERRNO | EPERM;
// Of argument's upper half: munmap and mremap strip the bits above from addresses (LAM).
constexpr std::uint32_t kAddressBits = 0xffff;

// Ends the program: an address below the limit is refused, all else runs.
constexpr std::uint8_t kKeepLength = 7;
void refuse_kept(Program& program, unsigned address) {
  program.load(high_half(address));
  program.mask(kAddressBits);
  program.unless(BPF_JEQ, 0, 2);
  program.load(low_half(address));
  program.unless(BPF_JGE, kKeptBelow, 1);
  program.give(SECCOMP_RET_ALLOW);
  program.give(kRefused);
}

void keep_from(Program& program, std::uint32_t nr, unsigned address) {
  program.unless(BPF_JEQ, nr, kKeepLength);
  refuse_kept(program, address);
}

// Where it takes a flag to replace what is there. MAP_FIXED_NOREPLACE is not MAP_FIXED here: what
// it finds it leaves.
void keep_from_flagged(Program& program, std::uint32_t nr, unsigned address, unsigned flags,
                       std::uint32_t flag) {
  program.unless(BPF_JEQ, nr, 3 + kKeepLength);
  program.load(low_half(flags));
  program.when(BPF_JSET, flag, 1);
  program.give(SECCOMP_RET_ALLOW);
  refuse_kept(program, address);
}

// brk(0) asks. Any other end that is below could take back a heap that was made to begin there.
void keep_from_brk(Program& program) {
  program.unless(BPF_JEQ, SYS_brk, 5 + kKeepLength);
  program.load(high_half(0));
  program.unless(BPF_JEQ, 0, 3);
  program.load(low_half(0));
  program.unless(BPF_JEQ, 0, 1);
  program.give(SECCOMP_RET_ALLOW);
  refuse_kept(program, 0);
}

// From there, and to there.
void keep_from_mremap(Program& program) {
  program.unless(BPF_JEQ, SYS_mremap, 9 + kKeepLength);
  program.load(high_half(0));
  program.mask(kAddressBits);
  program.unless(BPF_JEQ, 0, 3);
  program.load(low_half(0));
  program.when(BPF_JGE, kKeptBelow, 1);
  program.give(kRefused);
  program.load(low_half(3));
  program.when(BPF_JSET, MREMAP_FIXED, 1);
  program.give(SECCOMP_RET_ALLOW);
  refuse_kept(program, 4);
}

// Moves the heap to where brk() may unmap.
void refuse_moving_heap(Program& program) {
  program.unless(BPF_JEQ, SYS_prctl, 4);
  program.load(low_half(0));
  program.unless(BPF_JEQ, PR_SET_MM, 1);
  program.give(kRefused);
  program.give(SECCOMP_RET_ALLOW);
}

void keep_low_mappings(Program& program) {
  keep_from_flagged(program, SYS_mmap, 0, 3, MAP_FIXED);
  keep_from(program, SYS_munmap, 0);
  keep_from_brk(program);
  keep_from_mremap(program);
  keep_from_flagged(program, SYS_shmat, 1, 2, SHM_REMAP);
  keep_from(program, SYS_remap_file_pages, 0);
  refuse_moving_heap(program);
  program.unless(BPF_JEQ, SYS_uselib, 1);  // maps where a file says
  program.give(kNoSuchCall);
}
#else
void keep_low_mappings(Program& /*program*/) {}
#endif

}  // namespace

std::vector<sock_filter> build_filter(const FilterOptions& options) {
  Program program;
  program.load(offsetof(seccomp_data, arch));
  program.when(BPF_JEQ, kArch, 1);
  program.give(kNoSuchCall);
  program.load(offsetof(seccomp_data, nr));
#if defined(__x86_64__)
  constexpr std::uint32_t kX32Bit = 0x40000000;
  program.unless(BPF_JSET, kX32Bit, 1);
  program.give(kNoSuchCall);
#endif

  // Most frequent first: the filter runs at every system call of the tenant.
  if (options.trap_write) {
    program.unless(BPF_JEQ, SYS_write, 5);
    program.load(low_half(0));
    program.unless(BPF_JGE, options.reserved_first, 2);
    program.when(BPF_JGE, options.reserved_first + options.reserved_count, 1);
    program.give(SECCOMP_RET_USER_NOTIF);
    program.give(SECCOMP_RET_ALLOW);
  }
  program.unless(BPF_JEQ, SYS_ioctl, 4);
  program.load(low_half(1));
  program.unless(BPF_JEQ, kVerbsIoctl, 1);
  program.give(SECCOMP_RET_USER_NOTIF);
  program.give(SECCOMP_RET_ALLOW);

  trap_open_for_writing(program, SYS_openat, 2);
#ifdef SYS_open
  trap_open_for_writing(program, SYS_open, 1);
  trap_always(program, SYS_creat);
#endif
  trap_always(program, SYS_openat2);  // its flags are in memory
  refuse_rdma_netlink(program);
  keep_low_mappings(program);
  program.give(SECCOMP_RET_ALLOW);
  return program.take();
}

Result<UniqueFd> install_filter(const FilterOptions& options) {
  auto code = build_filter(options);
  sock_fprog program{static_cast<unsigned short>(code.size()), code.data()};
  long listener = -1;
  for (unsigned long extra : {SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, 0UL}) {
    listener = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
                       SECCOMP_FILTER_FLAG_NEW_LISTENER | extra, &program);
    if (listener >= 0 || errno != EINVAL) break;
  }
  if (listener >= 0) return UniqueFd(static_cast<int>(listener));
  switch (errno) {
    case EBUSY:
      return fail(Code::kFailedPrecondition,
                  "this program is already under a seccomp listener (another sandbox, or qmasq run "
                  "inside qmasq run); the kernel allows one");
    case EACCES:
      return fail(Code::kFailedPrecondition, "seccomp: no_new_privs is not set");
    case EINVAL:
    case ENOSYS:
      return fail(Code::kUnsupported, "this kernel has no seccomp user notification (Linux 5.14)");
    default:
      return fail_errno(errno, "seccomp");
  }
}

}  // namespace qmasq::vbond

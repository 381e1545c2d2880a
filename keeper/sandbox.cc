// SPDX-License-Identifier: Apache-2.0
#include "keeper/sandbox.h"

#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <string>
#include <vector>

namespace qmasq::keeper {
namespace {

#if defined(__x86_64__)
constexpr std::uint32_t kArchitecture = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr std::uint32_t kArchitecture = AUDIT_ARCH_AARCH64;
#endif

// The loop (poll to write), and what malloc, stdio, abort and exit use.
constexpr std::array kAllowed = {
#ifdef SYS_poll
    SYS_poll,
#endif
    SYS_ppoll,        SYS_recvmsg,        SYS_sendmsg,         SYS_accept4,
    SYS_getsockopt,   SYS_close,          SYS_fcntl,           SYS_read,
    SYS_write,        SYS_geteuid,        SYS_getpid,          SYS_brk,
    SYS_mmap,         SYS_munmap,         SYS_mremap,          SYS_mprotect,
    SYS_madvise,      SYS_futex,          SYS_newfstatat,      SYS_fstat,
    SYS_rt_sigreturn, SYS_rt_sigprocmask, SYS_gettid,          SYS_tgkill,
    SYS_getrandom,    SYS_exit_group,     SYS_restart_syscall,
};

tl::unexpected<Error> failed(const char* what) {
  return fail(Code::kPermissionDenied, std::string(what) + ": " + std::strerror(errno));
}

sock_filter statement(std::uint16_t code, std::uint32_t value) {
  return BPF_STMT(code, value);
}

sock_filter jump(std::uint32_t value, std::uint8_t when_equal, std::uint8_t otherwise) {
  return BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, when_equal, otherwise);
}

}  // namespace

std::size_t raise_descriptor_limit(std::size_t wanted) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
  rlimit more = limit;
  more.rlim_max = std::max<rlim_t>(limit.rlim_max, wanted);
  more.rlim_cur = more.rlim_max;
  if (::setrlimit(RLIMIT_NOFILE, &more) == 0) return more.rlim_cur;
  // Above the hard limit only with CAP_SYS_RESOURCE.
  limit.rlim_cur = limit.rlim_max;
  (void)::setrlimit(RLIMIT_NOFILE, &limit);
  return limit.rlim_cur;
}

Status drop_privileges() {
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return failed("no_new_privs");
  if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return failed("no core files");
  // Needs CAP_SETPCAP, which a container may not have; without it the sets below are enough, as
  // nothing is ever executed.
  for (int capability = 0; ::prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0; ++capability) {
  }
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<__user_cap_data_struct, 2> none{};
  if (::syscall(SYS_capset, &header, none.data()) != 0) return failed("give up capabilities");
  return {};
}

Status filter_system_calls() {
  std::vector<sock_filter> program = {
      statement(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, arch)),
      jump(kArchitecture, 1, 0),
      statement(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
      statement(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
  };
  for (const long call : kAllowed) {
    program.push_back(jump(static_cast<std::uint32_t>(call), 0, 1));
    program.push_back(statement(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  }
  program.push_back(statement(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM));
  sock_fprog filter{static_cast<unsigned short>(program.size()), program.data()};
  if (::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter, 0, 0) != 0) {
    return failed("filter system calls");
  }
  return {};
}

}  // namespace qmasq::keeper

// SPDX-License-Identifier: Apache-2.0
// Another process of the same machine, and filters of one's own on top of the one that is there.
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <cstring>

#include <nlohmann/json.hpp>

#include "tests/attack/program/attack.h"

namespace qmasq::attack {
namespace {

std::string word(long result) {
  return result < 0 ? errno_name(errno) : "done";
}

// The action is for one call that nothing here makes; all others are allowed.
long stack_filter(std::uint32_t action, std::uint32_t flags) {
  std::array<sock_filter, 4> code{{BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
                                   BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
                                   BPF_STMT(BPF_RET | BPF_K, action),
                                   BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)}};
  sock_fprog program{code.size(), code.data()};
  (void)::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  return ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
}

}  // namespace

int neighbour(int pid, int fd) {
  nlohmann::ordered_json out;
  const int process = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
  out["pidfd_open"] = word(process);
  const long stolen = ::syscall(SYS_pidfd_getfd, process, fd, 0);
  out["pidfd_getfd"] = word(stolen);
  const std::string folder = "/proc/" + std::to_string(pid);
  out["/proc/PID/fd"] = word(::open((folder + "/fd/" + std::to_string(fd)).c_str(), O_RDONLY));
  out["/proc/PID/mem"] = word(::open((folder + "/mem").c_str(), O_RDWR));
  out["/proc/PID/maps"] = word(::open((folder + "/maps").c_str(), O_RDONLY));
  out["/proc/PID/root"] = word(::open((folder + "/root/dev").c_str(), O_RDONLY));
  out["/proc/PID/ns/mnt"] = word(::open((folder + "/ns/mnt").c_str(), O_RDONLY));
  out["/proc/PID/ns/net"] = word(::open((folder + "/ns/net").c_str(), O_RDONLY));
  char byte = 0;
  iovec here{&byte, 1};
  // Programs are loaded there or not: EFAULT would mean that the kernel permits the reading.
  iovec there{reinterpret_cast<void*>(0x1000), 1};
  const bool read = ::process_vm_readv(pid, &here, 1, &there, 1, 0) >= 0 || errno == EFAULT;
  out["process_vm_readv"] = read ? "done" : errno_name(errno);
  const bool traced = ::ptrace(PTRACE_SEIZE, pid, nullptr, nullptr) == 0;
  out["ptrace"] = traced ? "done" : errno_name(errno);
  if (traced) (void)::ptrace(PTRACE_DETACH, pid, nullptr, nullptr);
  std::printf("%s\n", out.dump().c_str());
  return 0;
}

int stacking(const std::string& device, const Target& target) {
  nlohmann::ordered_json out;
  out["filter that allows all"] = word(stack_filter(SECCOMP_RET_ALLOW, 0));
  out["listener of one's own"] =
      word(stack_filter(SECCOMP_RET_ALLOW, SECCOMP_FILTER_FLAG_NEW_LISTENER));
  out["filter that traces"] = word(stack_filter(SECCOMP_RET_TRACE | 7, 0));
  out["strict mode over it"] = "not tried";  // it would only end the program
  // A tracer may change the call number after filters have run, and a child of one's own may be
  // traced.
  out["prctl(PR_SET_SECCOMP, 0)"] = word(::prctl(PR_SET_SECCOMP, SECCOMP_MODE_DISABLED, 0, 0, 0));
  out["PTRACE_O_SUSPEND_SECCOMP"] = [] {
    const pid_t child = ::fork();
    if (child == 0) {
      for (;;)
        ::pause();
    }
    const long result = ::ptrace(PTRACE_SEIZE, child, nullptr, PTRACE_O_SUSPEND_SECCOMP);
    std::string text = word(result);
    ::kill(child, SIGKILL);
    (void)::waitpid(child, nullptr, 0);
    return text;
  }();
  Rig rig(device);
  out["device"] = rig.error().empty() ? "0" : rig.error();
  if (rig.error().empty()) {
    const int err = to_rtr(rig.qp(), target);
    out["RTR"] = err == 0 ? "done" : errno_name(err);
  }
  std::printf("%s\n", out.dump().c_str());
  std::fflush(stdout);
  return 0;
}

}  // namespace qmasq::attack

// SPDX-License-Identifier: Apache-2.0
#include "vbond/kernel/features.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/kcmp.h>
#include <linux/seccomp.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <system_error>
#include <thread>

#include "common/unique_fd.h"

// Debian 12's headers are of 6.1; these came later.
#ifndef SECCOMP_IOCTL_NOTIF_SET_FLAGS
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS SECCOMP_IOW(4, __u64)
#endif
#ifndef SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP
#define SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP (1UL << 0)
#endif

namespace qmasq::vbond {
namespace {

// Result of a probe: 0 when the feature is there, else why not.
using ProbeErrno = int;

long seccomp(unsigned operation, unsigned long flags, void* args) {
  return ::syscall(SYS_seccomp, operation, flags, args);
}

ProbeErrno probe_user_notif() {
  std::uint32_t action = SECCOMP_RET_USER_NOTIF;
  return seccomp(SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0 ? 0 : errno;
}

// The kernel looks at flags before it reads the program, so a null program tells a flag that it
// knows (EFAULT) from one that it does not (EINVAL), and installs nothing.
ProbeErrno probe_filter_flag(unsigned long flag) {
  if (seccomp(SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER | flag, nullptr) == 0) {
    return EIO;
  }
  return errno == EFAULT ? 0 : errno;
}

struct Listener {
  UniqueFd fd;
  int err = 0;
};

// A filter without TSYNC and no_new_privs both belong to the one thread that asks for them, so a
// thread that ends at once gives a listener without marking the process.
Listener make_listener() {
  Listener out;
  auto install = [&out] {
    sock_filter admit = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    sock_fprog program{1, &admit};
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
      out.err = errno;
      return;
    }
    long fd = seccomp(SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
    if (fd < 0) {
      out.err = errno;
    } else {
      out.fd.reset(static_cast<int>(fd));
    }
  };
  try {
    std::thread(install).join();
  } catch (const std::system_error& error) {
    out.err = error.code().value();
  }
  return out;
}

// Flags are checked before the notification is looked up: ENOENT (there is none with this id)
// means that the kernel knows the request and the flags.
ProbeErrno probe_addfd(const Listener& listener, std::uint32_t flags) {
  if (!listener.fd.valid()) return listener.err;
  seccomp_notif_addfd request{};
  request.srcfd = static_cast<std::uint32_t>(listener.fd.get());
  request.flags = flags;
  if (::ioctl(listener.fd.get(), SECCOMP_IOCTL_NOTIF_ADDFD, &request) >= 0) return EIO;
  return errno == ENOENT ? 0 : errno;
}

ProbeErrno probe_sync_wake_up(const Listener& listener) {
  if (!listener.fd.valid()) return listener.err;
  int rc =
      ::ioctl(listener.fd.get(), SECCOMP_IOCTL_NOTIF_SET_FLAGS, SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP);
  return rc == 0 ? 0 : errno;
}

ProbeErrno probe_kcmp(int fd) {
  pid_t self = ::getpid();
  return ::syscall(SYS_kcmp, self, self, KCMP_FILE, fd, fd) == 0 ? 0 : errno;
}

ProbeErrno probe_process_vm_readv() {
  char from = 'x';
  char to = 0;
  iovec local{&to, 1};
  iovec remote{&from, 1};
  return ::process_vm_readv(::getpid(), &local, 1, &remote, 1, 0) == 1 && to == 'x' ? 0 : errno;
}

ProbeErrno probe_pidfd_getfd(int fd) {
  UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0)));
  if (!pidfd.valid()) return errno;
  UniqueFd copy(static_cast<int>(::syscall(SYS_pidfd_getfd, pidfd.get(), fd, 0)));
  return copy.valid() ? 0 : errno;
}

// A null structure of size 0 is EINVAL where the call is known.
ProbeErrno probe_mount_setattr() {
  (void)::syscall(SYS_mount_setattr, -1, "", AT_EMPTY_PATH, nullptr, 0);
  return errno == EINVAL ? 0 : errno;
}

}  // namespace

bool Features::has(std::string_view name) const {
  return std::any_of(all.begin(), all.end(),
                     [&](const Feature& f) { return f.name == name && f.present; });
}

std::vector<std::string> Features::names() const {
  std::vector<std::string> out;
  for (const Feature& feature : all) {
    if (feature.present) out.emplace_back(feature.name);
  }
  return out;
}

Features detect_features() {
  Features out;
  if (utsname name{}; ::uname(&name) == 0) out.kernel_release = name.release;
  auto add = [&out](std::string_view name, ProbeErrno err, bool required, std::string_view since,
                    std::string_view purpose) {
    out.all.push_back(Feature{name, err == 0, required, err, since, purpose});
  };
  Listener listener = make_listener();
  UniqueFd some_file(::open("/dev/null", O_RDONLY | O_CLOEXEC));

  add(kUserNotif, probe_user_notif(), true, "5.0", "verbs of a program reach the agent");
  add(kAddFd, probe_addfd(listener, 0), true, "5.9", "the agent opens verbs devices for a program");
  add(kAddFdSend, probe_addfd(listener, SECCOMP_ADDFD_FLAG_SEND), true, "5.14",
      "a device is opened and the call answered in one step");
  add(kWaitKillable, probe_filter_flag(SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV), false, "5.19",
      "a signal does not interrupt a verb that the agent is working on");
  add(kSyncWakeUp, probe_sync_wake_up(listener), false, "6.6",
      "a verb costs a few microseconds instead of about a hundred");
  add(kKcmp, probe_kcmp(some_file.get()), true, "3.5", "the agent tells which device a call is on");
  add(kProcessVmReadv, probe_process_vm_readv(), true, "3.2",
      "the agent copies the arguments of a verb");
  add(kPidfdGetfd, probe_pidfd_getfd(some_file.get()), true, "5.6",
      "the agent takes over devices that a program opened itself");
  add(kMountSetattr, probe_mount_setattr(), true, "5.12",
      "a program cannot open its injected device a second time by itself");
  return out;
}

}  // namespace qmasq::vbond

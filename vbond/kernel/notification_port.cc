// SPDX-License-Identifier: Apache-2.0
#include "vbond/kernel/notification_port.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

// Since Linux 6.6; the headers of older systems lack it.
#ifndef SECCOMP_IOCTL_NOTIF_SET_FLAGS
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS SECCOMP_IOW(4, __u64)
#define SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP (1UL << 0)
#endif

namespace qmasq::vbond {
namespace {

void ignore_signal(int) {}

// `how` as of sigprocmask(2), in this thread.
void set_kicks(int how) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, kick_signal());
  pthread_sigmask(how, &set, nullptr);
}

class SeccompPort final : public NotificationPort {
 public:
  explicit SeccompPort(UniqueFd listener) : listener_(std::move(listener)) {}

  void enter() override { set_kicks(SIG_BLOCK); }

  ErrnoOr<Notification> receive(NotificationSpace& space) override {
    space.clear();
    // A kick that comes before the ioctl waits is lost, one that comes while a call is served must
    // not be felt there: most of what serves it, down to the kernel's drivers, ends early then.
    set_kicks(SIG_UNBLOCK);
    const int failed =
        ioctl(listener_.get(), SECCOMP_IOCTL_NOTIF_RECV, space.bytes.data()) != 0 ? errno : 0;
    set_kicks(SIG_BLOCK);
    if (failed != 0) return tl::unexpected(failed);
    auto out = space.read();
    if (!out) return tl::unexpected(ENOENT);
    return *out;
  }

  void kick(pthread_t receiver) override { pthread_kill(receiver, kick_signal()); }

  bool alive(std::uint64_t id) override {
    return ioctl(listener_.get(), SECCOMP_IOCTL_NOTIF_ID_VALID, &id) == 0;
  }

  int answer(std::uint64_t id, std::int64_t value, int err) override {
    seccomp_notif_resp out{};
    out.id = id;
    out.val = err != 0 ? 0 : value;
    out.error = -err;
    return send(out);
  }

  int let_run(std::uint64_t id) override {
    seccomp_notif_resp out{};
    out.id = id;
    out.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
    return send(out);
  }

  int inject(std::uint64_t id, int fd, int number, bool close_on_exec) override {
    const auto added =
        add(id, fd, number, close_on_exec, SECCOMP_ADDFD_FLAG_SETFD | SECCOMP_ADDFD_FLAG_SEND);
    return added ? 0 : added.error();
  }
  int place(std::uint64_t id, int fd, int number, bool close_on_exec) override {
    const auto added = add(id, fd, number, close_on_exec, SECCOMP_ADDFD_FLAG_SETFD);
    return added ? 0 : added.error();
  }
  ErrnoOr<int> place_lowest(std::uint64_t id, int fd) override {
    return add(id, fd, /*number=*/0, /*close_on_exec=*/true, /*flags=*/0);
  }
  bool pending() override { return (events() & POLLIN) != 0; }
  bool hung_up() override { return (events() & POLLHUP) != 0; }
  int descriptor() const override { return listener_.get(); }

 private:
  ErrnoOr<int> add(std::uint64_t id, int fd, int number, bool close_on_exec, __u32 flags) {
    seccomp_notif_addfd in{};
    in.id = id;
    in.flags = flags;
    in.srcfd = static_cast<__u32>(fd);
    in.newfd = static_cast<__u32>(number);
    in.newfd_flags = close_on_exec ? O_CLOEXEC : 0;
    const int added = ioctl(listener_.get(), SECCOMP_IOCTL_NOTIF_ADDFD, &in);
    if (added < 0) return tl::unexpected(errno);
    return added;
  }
  int send(seccomp_notif_resp& response) {
    return ioctl(listener_.get(), SECCOMP_IOCTL_NOTIF_SEND, &response) == 0 ? 0 : errno;
  }
  short events() {
    pollfd poll_fd{listener_.get(), POLLIN, 0};
    if (poll(&poll_fd, 1, 0) < 0) return 0;
    return poll_fd.revents;
  }

  UniqueFd listener_;
};

}  // namespace

static_assert(NotificationSpace::kSize == sizeof(seccomp_notif));

std::optional<Notification> NotificationSpace::read() const {
  if (std::all_of(bytes.begin(), bytes.end(), [](std::byte each) { return each == std::byte{0}; }))
    return std::nullopt;
  seccomp_notif in{};
  std::memcpy(&in, bytes.data(), sizeof(in));
  Notification out;
  out.id = in.id;
  out.tid = static_cast<pid_t>(in.pid);
  out.nr = in.data.nr;
  out.arch = in.data.arch;
  for (std::size_t i = 0; i < out.args.size(); ++i)
    out.args[i] = in.data.args[i];
  return out;
}

void NotificationSpace::write(const Notification& call) {
  seccomp_notif out{};
  out.id = call.id;
  out.pid = static_cast<__u32>(call.tid);
  out.data.nr = call.nr;
  out.data.arch = call.arch;
  for (std::size_t i = 0; i < call.args.size(); ++i)
    out.data.args[i] = call.args[i];
  std::memcpy(bytes.data(), &out, sizeof(out));
}

int kick_signal() {
  return SIGRTMIN + 5;
}

Result<std::unique_ptr<NotificationPort>> open_port(UniqueFd listener) {
  // Any descriptor can come over the attach socket.
  std::array<char, 64> name{};
  std::string link = "/proc/self/fd/" + std::to_string(listener.get());
  ssize_t length = readlink(link.c_str(), name.data(), name.size());
  if (length < 0 || std::string_view(name.data(), static_cast<std::size_t>(length)) !=
                        "anon_inode:seccomp notify") {
    return fail(Code::kInvalidArgument, "the descriptor is not a seccomp listener", "listener");
  }
  struct sigaction action {};
  action.sa_handler = ignore_signal;  // without SA_RESTART: the point is EINTR
  if (sigaction(kick_signal(), &action, nullptr) != 0) return fail_errno(errno, "sigaction");
  // Without it the tenant and the receiver meet on two CPUs, at several times the cost of a trap.
  // Older kernels refuse; they are served all the same.
  (void)ioctl(listener.get(), SECCOMP_IOCTL_NOTIF_SET_FLAGS, SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP);
  return std::make_unique<SeccompPort>(std::move(listener));
}

}  // namespace qmasq::vbond

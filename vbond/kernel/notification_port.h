// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <pthread.h>
#include <sys/types.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include "common/result.h"
#include "common/unique_fd.h"
#include "vbond/kernel/errno_or.h"

namespace qmasq::vbond {

// A system call that a tenant's task waits in (struct seccomp_notif).
struct Notification {
  std::uint64_t id = 0;
  pid_t tid = 0;  // of the task, in the agent's pid namespace
  int nr = 0;
  std::uint32_t arch = 0;
  std::array<std::uint64_t, 6> args{};
};

// Where a call is received to: struct seccomp_notif, written by the kernel itself. In memory that
// outlives the process no call is lost that was received, whenever the receiver ends.
struct NotificationSpace {
  static constexpr std::size_t kSize = 80;
  alignas(8) std::array<std::byte, kSize> bytes{};

  // As the kernel wants it before a call is received.
  void clear() { bytes.fill(std::byte{0}); }
  // Nothing: no call was received since clear().
  [[nodiscard]] std::optional<Notification> read() const;
  void write(const Notification& call);
};

// A seccomp listener, seccomp_unotify(2). All calls from any thread.
//
// Answers return 0 or an errno. ENOENT means that the task is gone or was interrupted: there is
// nobody to answer any more, which is no error of the agent.
class NotificationPort {
 public:
  virtual ~NotificationPort() = default;

  // Once in each thread that is going to call receive(): kick() reaches it there and nowhere else.
  virtual void enter() {}
  // Blocks. ENOENT: the task went away before its call was received, or no task is left
  // (hung_up() tells). EINTR: kicked.
  [[nodiscard]] virtual ErrnoOr<Notification> receive(NotificationSpace& space) = 0;
  [[nodiscard]] ErrnoOr<Notification> receive() {
    NotificationSpace space;
    return receive(space);
  }
  // Makes receive() of that thread return EINTR if it is waiting right now; otherwise nothing, and
  // no other system call of the thread is disturbed. So repeat until the thread says that it heard.
  virtual void kick(pthread_t receiver) = 0;

  // The notification still stands, so its tid is still the task that was read from.
  [[nodiscard]] virtual bool alive(std::uint64_t id) = 0;
  // The call returns `value`, or fails with `err` when it is not 0.
  [[nodiscard]] virtual int answer(std::uint64_t id, std::int64_t value, int err) = 0;
  // The kernel runs the call with what is in the tenant's memory then: never a security decision.
  [[nodiscard]] virtual int let_run(std::uint64_t id) = 0;
  // Installs `fd` in the task as descriptor `number`, whatever was there, and answers the call with
  // that number, in one step. EBADF: number is not below the task's RLIMIT_NOFILE.
  [[nodiscard]] virtual int inject(std::uint64_t id, int fd, int number, bool close_on_exec) = 0;

  // As inject(), but the call is still to be answered. Where the agent may die at any moment that
  // is the only way: a process that ends while inject() waits for the task leaves an answer without
  // a descriptor, and the task's open() returns 0.
  [[nodiscard]] virtual int place(std::uint64_t id, int fd, int number, bool close_on_exec) = 0;
  // As place(), as the lowest number that is free, closed on exec: the number. EMFILE: there is
  // none below the task's RLIMIT_NOFILE.
  [[nodiscard]] virtual ErrnoOr<int> place_lowest(std::uint64_t id, int fd) = 0;

  // A call waits to be received.
  [[nodiscard]] virtual bool pending() = 0;
  // No task with this filter is left.
  [[nodiscard]] virtual bool hung_up() = 0;
  // Shows EPOLLHUP then. Owned by the port.
  [[nodiscard]] virtual int descriptor() const = 0;
};

// The kernel's. Installs a handler for kick_signal() that does nothing.
// Errors: kUnsupported when the kernel is older than 5.14 (ADDFD_FLAG_SEND), kInvalidArgument when
// the descriptor is no seccomp listener.
[[nodiscard]] Result<std::unique_ptr<NotificationPort>> open_port(UniqueFd listener);

// Directed at receiving threads alone; nothing else in the program may use it.
[[nodiscard]] int kick_signal();

}  // namespace qmasq::vbond

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>
#include <unistd.h>

#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/unique_fd.h"
#include "vbond/kernel/errno_or.h"

namespace qmasq::vbond {

// What the agent asks about tenants' tasks and their descriptor tables. Thread-safe. A task id may
// name another task by the time an answer is used; what each call promises then is said there.
class TaskInspector {
 public:
  // A descriptor in a process.
  struct Holder {
    pid_t pid = 0;
    int fd = -1;
  };

  virtual ~TaskInspector() = default;

  // Process (thread group) of a task. ESRCH.
  [[nodiscard]] virtual ErrnoOr<pid_t> process_of(pid_t tid) = 0;
  // Its short name, printable; "?" when it is gone.
  [[nodiscard]] virtual std::string command_of(pid_t pid) = 0;

  // A number in [first, first + count) that the task does not use and may use. EMFILE: none.
  [[nodiscard]] virtual ErrnoOr<int> free_descriptor(pid_t tid, int first, int count) = 0;

  // Compares the file behind the agent's descriptor with that behind the task's, in an order that
  // lasts until reboot (kcmp(2)): negative, 0 for the same open file, positive. EBADF: the task has
  // no such descriptor. ESRCH. True at the moment of the answer, whoever the task is.
  [[nodiscard]] virtual ErrnoOr<int> compare(int own, pid_t tid, int fd) = 0;
  // Same, for two of the agent's.
  [[nodiscard]] virtual ErrnoOr<int> compare(int own, int other) = 0;

  // A descriptor of the agent's for the task's open file (pidfd_getfd(2)). EBADF. The caller checks
  // that the notification still stands.
  [[nodiscard]] virtual ErrnoOr<UniqueFd> take(pid_t tid, int fd) = 0;
  // Device number when the task's descriptor is a character device; 0: something else. EBADF,
  // ESRCH.
  [[nodiscard]] virtual ErrnoOr<dev_t> device_of(pid_t tid, int fd) = 0;

  // For each of the agent's files, which must be character devices: a descriptor for it in some
  // other process of the host. Looks at every descriptor table there is, so it takes milliseconds
  // and more. What it cannot see: descriptors on their way in a Unix socket, files held by a
  // mapping or an io_uring alone. A process that forks during the look may be missed; look twice.
  [[nodiscard]] virtual std::vector<std::optional<Holder>> find_holders(
      std::span<const int> own) = 0;

  // When the process started, in ticks since boot: with its id, the process itself. ESRCH.
  [[nodiscard]] virtual ErrnoOr<std::uint64_t> started(pid_t pid) = 0;
  // Processes below this one. Those whose parent is gone are nobody's.
  [[nodiscard]] virtual std::vector<pid_t> descendants(pid_t pid) = 0;
  // Kills the process. `still` is asked when the process can not be taken for another any more:
  // that it is the one that is meant. 0, ESRCH, or ECANCELED: it is not.
  [[nodiscard]] virtual int end(pid_t pid, const std::function<bool()>& still) = 0;
  // From now on these processes hold nothing in the eyes of find_holders(): they keep descriptors
  // for the agent.
  virtual void look_past(std::vector<pid_t> /*processes*/) {}
};

// /proc, kcmp(2), pidfd_getfd(2), prlimit(2), pidfd_send_signal(2). Needs CAP_SYS_PTRACE, CAP_KILL.
class ProcTasks final : public TaskInspector {
 public:
  [[nodiscard]] ErrnoOr<pid_t> process_of(pid_t tid) override;
  [[nodiscard]] std::string command_of(pid_t pid) override;
  [[nodiscard]] ErrnoOr<int> free_descriptor(pid_t tid, int first, int count) override;
  [[nodiscard]] ErrnoOr<int> compare(int own, pid_t tid, int fd) override;
  [[nodiscard]] ErrnoOr<int> compare(int own, int other) override;
  [[nodiscard]] ErrnoOr<UniqueFd> take(pid_t tid, int fd) override;
  [[nodiscard]] ErrnoOr<dev_t> device_of(pid_t tid, int fd) override;
  [[nodiscard]] std::vector<std::optional<Holder>> find_holders(std::span<const int> own) override;
  [[nodiscard]] ErrnoOr<std::uint64_t> started(pid_t pid) override;
  [[nodiscard]] std::vector<pid_t> descendants(pid_t pid) override;
  [[nodiscard]] int end(pid_t pid, const std::function<bool()>& still) override;
  void look_past(std::vector<pid_t> processes) override;

 private:
  std::mutex mutex_;
  std::vector<pid_t> passed_over_;  // guarded by mutex_
  const pid_t self_ = getpid();     // asked once: compare() runs at each trapped verb
};

}  // namespace qmasq::vbond

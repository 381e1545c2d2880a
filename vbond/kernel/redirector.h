// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "vbond/kernel/errno_or.h"
#include "vbond/kernel/notification_port.h"

namespace qmasq::vbond {

// Changes where a task that waits in a notification goes on: it is stopped for a few microseconds
// by ptrace(2), and let go again with other registers. x86-64.
//
// The call is answered with ERESTARTNOINTR before anything is changed: should the agent die on the
// way, the kernel makes the call again as the program made it.
//
// Any thread; each call stops and lets go on the thread that it is made from.
class Redirector {
 public:
  enum class Done {
    kSent,     // it is on its way there
    kRepeats,  // it makes its call again as it was: a signal came between
    kTraced,   // somebody else traces it and goes on to; the call is still to be answered
    kGone,     // killed
    kFailed,   // the program's call has failed with `err`
  };
  struct Outcome {
    Done done = Done::kGone;
    int err = 0;
  };
  // Where the trampoline lies (sealed/trampoline.h).
  struct Trampoline {
    std::uint64_t entry = 0;
    std::uint64_t again = 0;
    std::uint64_t after = 0;
  };
  struct Mapping {
    std::uint64_t address = 0;
    std::size_t size = 0;
    int descriptor = -1;  // in the task; shared, for reading. -1: private memory, for writing
    std::uint64_t offset = 0;
    bool execute = false;
  };
  // A line of /proc/PID/maps.
  struct Mapped {
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
    bool read = false;
    bool write = false;
    bool execute = false;
    bool shared = false;
    std::uint64_t offset = 0;
    dev_t device = 0;
    ino_t inode = 0;
  };
  // Of a task that waits in a system call.
  struct Position {
    std::uint64_t third_argument = 0;
    std::uint64_t stack = 0;
    std::uint64_t program = 0;
  };

  virtual ~Redirector() = default;

  // The ioctl() is made once more, with `header` as its argument.
  [[nodiscard]] virtual Outcome send(NotificationPort& port, const Notification& call,
                                     const Trampoline& trampoline, std::uint64_t header) = 0;
  // Has the task map these, none where there is something, close `descriptor`, and make its call
  // again. If the agent dies in the middle of it, so does the program.
  [[nodiscard]] virtual Outcome map(NotificationPort& port, const Notification& call,
                                    std::span<const Mapping> mappings, int descriptor) = 0;

  // The task makes its call again as it was.
  [[nodiscard]] virtual Outcome repeat(NotificationPort& port, const Notification& call) = 0;

  // What is mapped in the task below `end`, up to `into.size()` of it; how many.
  [[nodiscard]] virtual ErrnoOr<std::size_t> look(pid_t tid, std::uint64_t end,
                                                  std::span<Mapped> into) = 0;
  // Whether exactly this range is a mapping of this file. Cheap, and no word on how it is mapped.
  [[nodiscard]] virtual bool has(pid_t tid, std::uint64_t begin, std::uint64_t end, dev_t device,
                                 ino_t inode) = 0;
  // Where brk() began.
  [[nodiscard]] virtual ErrnoOr<std::uint64_t> heap(pid_t tid) = 0;
  // EAGAIN: it runs.
  [[nodiscard]] virtual ErrnoOr<Position> position(pid_t tid) = 0;
};

// The kernel's. Null on other architectures.
[[nodiscard]] std::unique_ptr<Redirector> make_redirector();

// How far a redirection has come; tests end processes there.
enum class RedirectStep { kSeized, kInterrupted, kAnswered, kStopped, kInjecting, kChanged, kLet };
// Before the first redirection.
void observe_redirects(void (*observer)(RedirectStep step, pid_t tid));

}  // namespace qmasq::vbond

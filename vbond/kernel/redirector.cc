// SPDX-License-Identifier: Apache-2.0
#include "vbond/kernel/redirector.h"

#if defined(__x86_64__)

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <string>
#include <string_view>

#include "common/backoff.h"
#include "common/unique_fd.h"

namespace qmasq::vbond {
namespace {

// Of the kernel itself, never seen by programs.
constexpr int kErestartNoIntr = 513;
constexpr std::uint64_t kSyscallLength = 2;  // 0f 05
// A killed agent lets go of what it traced a moment after the next one has taken over its
// descriptors.
constexpr auto kTracerLetsGoWithin = std::chrono::milliseconds(100);

void (*observer)(RedirectStep, pid_t) = nullptr;
void pass(RedirectStep step, pid_t tid) {
  if (observer != nullptr) observer(step, tid);
}

bool trace(int request, pid_t tid, void* address, std::uintptr_t data) {
  return ptrace(static_cast<__ptrace_request>(request), tid, address, data) == 0;
}

// 0 or an errno: EPERM where somebody else traces it, and goes on to.
int seize(pid_t tid, std::uintptr_t options) {
  const auto until = std::chrono::steady_clock::now() + kTracerLetsGoWithin;
  Backoff backoff(std::chrono::milliseconds(1));
  for (;;) {
    if (trace(PTRACE_SEIZE, tid, nullptr, options)) return 0;
    const int err = errno;
    if (err != EPERM || std::chrono::steady_clock::now() >= until) return err;
    backoff.wait();
  }
}

// Nothing: it is gone, and nobody has to wait for it any more.
std::optional<int> wait_stopped(pid_t tid) {
  int status = 0;
  pid_t got = -1;
  do {
    got = waitpid(tid, &status, __WALL | __WNOTHREAD);
  } while (got < 0 && errno == EINTR);
  if (got != tid || !WIFSTOPPED(status)) return std::nullopt;
  return status;
}

// Killed while it was traced: whoever execs in its process waits until it was waited for.
void bury(pid_t tid) {
  while (wait_stopped(tid))
    (void)trace(PTRACE_DETACH, tid, nullptr, 0);
}

// A task that is stopped, and let go again.
class Stopped {
 public:
  using Outcome = Redirector::Outcome;
  using Done = Redirector::Done;

  explicit Stopped(pid_t tid) : tid_(tid) {}

  // Nothing: it is stopped and has the registers with which it came into `call`.
  std::optional<Outcome> stop(NotificationPort& port, const Notification& call,
                              std::uintptr_t options) {
    if (int err = seize(tid_, PTRACE_O_TRACESYSGOOD | options); err != 0)
      return Outcome{err == ESRCH ? Done::kGone : Done::kTraced, 0};
    pass(RedirectStep::kSeized, tid_);
    (void)trace(PTRACE_INTERRUPT, tid_, nullptr, 0);
    pass(RedirectStep::kInterrupted, tid_);
    // If it fails, the call was interrupted or the task killed; either way it stops or ends.
    (void)port.answer(call.id, 0, kErestartNoIntr);
    pass(RedirectStep::kAnswered, tid_);
    auto status = wait_stopped(tid_);
    if (!status) return Outcome{Done::kGone, 0};
    pass(RedirectStep::kStopped, tid_);
    note(*status);
    if (!trace(PTRACE_GETREGS, tid_, nullptr, reinterpret_cast<std::uintptr_t>(&came_))) {
      bury(tid_);
      return Outcome{Done::kGone, 0};
    }
    if (came_.orig_rax == static_cast<std::uint64_t>(call.nr) && came_.rdi == call.args[0] &&
        came_.rsi == call.args[1] && came_.rdx == call.args[2])
      return std::nullopt;
    return let_go(Done::kRepeats);
  }

  [[nodiscard]] const user_regs_struct& came() const { return came_; }
  // Nobody wants it to stop, and no signal is on its way to it.
  [[nodiscard]] bool undisturbed() const { return signal_ == 0 && !in_group_stop_; }

  Outcome go_on(const user_regs_struct& with, Outcome outcome) {
    user_regs_struct regs = with;
    if (!trace(PTRACE_SETREGS, tid_, nullptr, reinterpret_cast<std::uintptr_t>(&regs))) {
      bury(tid_);
      return {Done::kGone, 0};
    }
    pass(RedirectStep::kChanged, tid_);
    return let_go(outcome.done, outcome.err);
  }

  // The call as the program made it, once more; not by the kernel's own restart, which comes with
  // some ways out of a stop and not with others.
  Outcome repeat() {
    user_regs_struct regs = came_;
    regs.rip -= kSyscallLength;
    regs.rax = came_.orig_rax;
    regs.orig_rax = static_cast<std::uint64_t>(-1);
    return go_on(regs, {Done::kRepeats, 0});
  }

  Outcome fail(int err) {
    user_regs_struct regs = came_;
    regs.rax = static_cast<std::uint64_t>(-static_cast<std::int64_t>(err));
    regs.orig_rax = static_cast<std::uint64_t>(-1);
    return go_on(regs, {Done::kFailed, err});
  }

  // One system call of our own, by the instruction that it has just come from. Nothing: a signal
  // came first, or it is gone.
  std::optional<std::int64_t> inject(long nr, const std::array<std::uint64_t, 6>& args) {
    user_regs_struct regs = came_;
    regs.rip -= kSyscallLength;
    regs.rax = static_cast<std::uint64_t>(nr);
    regs.orig_rax = static_cast<std::uint64_t>(-1);
    regs.rdi = args[0];
    regs.rsi = args[1];
    regs.rdx = args[2];
    regs.r10 = args[3];
    regs.r8 = args[4];
    regs.r9 = args[5];
    if (!trace(PTRACE_SETREGS, tid_, nullptr, reinterpret_cast<std::uintptr_t>(&regs)) ||
        !to_syscall_stop()) {
      return std::nullopt;
    }
    pass(RedirectStep::kInjecting, tid_);
    if (!to_syscall_stop()) return std::nullopt;
    user_regs_struct out{};
    if (!trace(PTRACE_GETREGS, tid_, nullptr, reinterpret_cast<std::uintptr_t>(&out)))
      return std::nullopt;
    return static_cast<std::int64_t>(out.rax);
  }

 private:
  void note(int status) {
    const int event = status >> 16;
    const int signal = WSTOPSIG(status);
    signal_ = 0;
    in_group_stop_ = event == PTRACE_EVENT_STOP && signal != SIGTRAP;
    // One that is about to be delivered goes on with it.
    if (event == 0 && signal != (SIGTRAP | 0x80)) signal_ = signal;
  }

  bool to_syscall_stop() {
    if (!trace(PTRACE_SYSCALL, tid_, nullptr, 0)) return false;
    auto status = wait_stopped(tid_);
    if (!status) return false;
    note(*status);
    return WSTOPSIG(*status) == (SIGTRAP | 0x80);
  }

  Outcome let_go(Done done, int err = 0) {
    if (!trace(PTRACE_DETACH, tid_, nullptr, static_cast<std::uintptr_t>(signal_))) {
      bury(tid_);
      return {Done::kGone, 0};
    }
    pass(RedirectStep::kLet, tid_);
    return {done, err};
  }

  const pid_t tid_;
  user_regs_struct came_{};
  int signal_ = 0;
  bool in_group_stop_ = false;
};

std::string proc(pid_t tid, const char* name) {
  return "/proc/" + std::to_string(tid) + "/" + name;
}

// As much as fits; 0 or an errno.
ErrnoOr<std::size_t> read_file(const std::string& path, std::span<char> into) {
  UniqueFd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) return tl::unexpected(errno == ENOENT ? ESRCH : errno);
  std::size_t have = 0;
  while (have < into.size()) {
    const ssize_t got = read(file.get(), into.data() + have, into.size() - have);
    if (got < 0) return tl::unexpected(errno);
    if (got == 0) break;
    have += static_cast<std::size_t>(got);
  }
  return have;
}

std::optional<Redirector::Mapped> parse(const std::string& line) {
  unsigned long long begin = 0;
  unsigned long long end = 0;
  unsigned long long offset = 0;
  unsigned long long inode = 0;
  unsigned major_number = 0;
  unsigned minor_number = 0;
  std::array<char, 5> rights{};
  // NOLINTNEXTLINE(cert-err34-c): the kernel's own numbers
  if (std::sscanf(line.c_str(), "%llx-%llx %4s %llx %x:%x %llu", &begin, &end, rights.data(),
                  &offset, &major_number, &minor_number, &inode) != 7) {
    return std::nullopt;
  }
  return Redirector::Mapped{begin,
                            end,
                            rights[0] == 'r',
                            rights[1] == 'w',
                            rights[2] == 'x',
                            rights[3] == 's',
                            offset,
                            makedev(major_number, minor_number),
                            static_cast<ino_t>(inode)};
}

class PtraceRedirector final : public Redirector {
 public:
  Outcome send(NotificationPort& port, const Notification& call, const Trampoline& trampoline,
               std::uint64_t header) override {
    Stopped task(call.tid);
    if (auto ended = task.stop(port, call, 0)) return *ended;
    user_regs_struct regs = task.came();
    regs.orig_rax = static_cast<std::uint64_t>(-1);
    if (regs.rip == trampoline.after) {
      // It is there already: its own pointer is on its stack.
      regs.rdx = header;
      regs.rip = trampoline.again;
    } else {
      regs.rcx = regs.rip;
      regs.r11 = header;
      regs.rip = trampoline.entry;
    }
    regs.rax = 0;
    return task.go_on(regs, {Done::kSent, 0});
  }

  Outcome map(NotificationPort& port, const Notification& call, std::span<const Mapping> mappings,
              int descriptor) override {
    Stopped task(call.tid);
    if (auto ended = task.stop(port, call, PTRACE_O_EXITKILL)) return *ended;
    if (!task.undisturbed()) return task.repeat();
    int err = 0;
    for (const Mapping& each : mappings) {
      const bool file = each.descriptor >= 0;
      const auto rights = static_cast<std::uint64_t>(
          file ? PROT_READ | (each.execute ? PROT_EXEC : 0) : PROT_READ | PROT_WRITE);
      const auto flags = static_cast<std::uint64_t>(
          MAP_FIXED_NOREPLACE | (file ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS));
      auto got = task.inject(
          SYS_mmap,
          {each.address, each.size, rights, flags,
           static_cast<std::uint64_t>(static_cast<std::int64_t>(each.descriptor)), each.offset});
      if (!got) return task.repeat();
      if (*got < 0) err = static_cast<int>(-*got);
      if (err != 0) break;
    }
    // What else were there to be done about it: a descriptor of theirs that reads.
    if (!task.inject(SYS_close, {static_cast<std::uint64_t>(descriptor), 0, 0, 0, 0, 0}))
      return task.repeat();
    return err != 0 ? task.fail(err) : task.repeat();
  }

  Outcome repeat(NotificationPort& port, const Notification& call) override {
    Stopped task(call.tid);
    if (auto ended = task.stop(port, call, 0)) return *ended;
    return task.repeat();
  }

  ErrnoOr<std::size_t> look(pid_t tid, std::uint64_t end, std::span<Mapped> into) override {
    // The lowest come first. A line of ours is below 90 bytes; one with a long path that comes
    // before takes more.
    std::array<char, 4096> text;
    auto got = read_file(proc(tid, "maps"), text);
    if (!got) return got;
    std::size_t found = 0;
    std::string_view rest(text.data(), *got);
    while (found < into.size()) {
      const auto line_end = rest.find('\n');
      if (line_end == std::string_view::npos) break;
      auto mapped = parse(std::string(rest.substr(0, line_end)));
      if (!mapped || mapped->begin >= end) break;
      into[found++] = *mapped;
      rest.remove_prefix(line_end + 1);
    }
    return found;
  }

  bool has(pid_t tid, std::uint64_t begin, std::uint64_t end, dev_t device, ino_t inode) override {
    std::array<char, 96> path{};
    (void)std::snprintf(path.data(), path.size(), "/proc/%d/map_files/%llx-%llx", tid,
                        static_cast<unsigned long long>(begin),
                        static_cast<unsigned long long>(end));
    struct stat status {};
    return stat(path.data(), &status) == 0 && status.st_dev == device && status.st_ino == inode;
  }

  // Field 47 of /proc/PID/stat; a name, in field 2, may contain anything.
  ErrnoOr<std::uint64_t> heap(pid_t tid) override {
    std::array<char, 1024> text;
    auto got = read_file(proc(tid, "stat"), text);
    if (!got) return tl::unexpected(got.error());
    std::string_view rest(text.data(), *got);
    const auto at = rest.rfind(')');
    if (at == std::string_view::npos) return tl::unexpected(ESRCH);
    rest.remove_prefix(at + 1);
    for (int field = 3; !rest.empty(); ++field) {
      rest.remove_prefix(1);
      const std::string_view word = rest.substr(0, rest.find(' '));
      if (field == 47) {
        std::uint64_t out = 0;
        std::from_chars(word.data(), word.data() + word.size(), out);
        return out;
      }
      rest.remove_prefix(word.size());
    }
    return tl::unexpected(ESRCH);
  }

  ErrnoOr<Position> position(pid_t tid) override {
    std::array<char, 256> text{};
    auto got = read_file(proc(tid, "syscall"), std::span(text).first(text.size() - 1));
    if (!got) return tl::unexpected(got.error());
    unsigned long long third = 0;
    unsigned long long stack = 0;
    unsigned long long program = 0;
    // NOLINTNEXTLINE(cert-err34-c): the kernel's own numbers
    if (std::sscanf(text.data(), "%*s %*s %*s %llx %*s %*s %*s %llx %llx", &third, &stack,
                    &program) != 3) {
      // It waits in user mode, for a page. NOLINTNEXTLINE(cert-err34-c): as above
      if (std::sscanf(text.data(), "-1 %llx %llx", &stack, &program) != 2)
        return tl::unexpected(EAGAIN);
    }
    return Position{third, stack, program};
  }
};

}  // namespace

std::unique_ptr<Redirector> make_redirector() {
  return std::make_unique<PtraceRedirector>();
}

void observe_redirects(void (*set)(RedirectStep, pid_t)) {
  observer = set;
}

}  // namespace qmasq::vbond

#else

namespace qmasq::vbond {

std::unique_ptr<Redirector> make_redirector() {
  return nullptr;
}

void observe_redirects(void (* /*set*/)(RedirectStep, pid_t)) {}

}  // namespace qmasq::vbond

#endif

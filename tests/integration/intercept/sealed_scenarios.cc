// SPDX-License-Identifier: Apache-2.0
#include "tests/integration/intercept/sealed_scenarios.h"

#include <fcntl.h>
#include <linux/prctl.h>
#include <sched.h>
#include <setjmp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <iterator>
#include <thread>
#include <vector>

#include "tests/support/scenario.h"
#include "tests/support/tenant_verbs.h"
#include "vbond/sealed/layout.h"
#include "vbond/uverbs/call_builder.h"
#include "vbond/uverbs/objects.h"

// NOLINTBEGIN(performance-no-int-to-ptr): addresses are what this is about

namespace qmasq::test {
namespace {

using namespace vbond::uverbs;  // NOLINT: the tenant speaks verbs

constexpr auto kRegister = static_cast<std::uint64_t>(WriteCommand::kRegMr);
constexpr auto kQueryDevice = static_cast<std::uint64_t>(WriteCommand::kQueryDevice);

// REG_MR by hand, so that everything about it can be changed at any time.
struct Registration {
  struct Attribute {
    std::uint16_t id = 0;
    std::uint16_t len = 0;
    std::uint16_t flags = kAttrMandatory;
    std::uint16_t elem = 0;
    std::uint64_t data = 0;
  };
  std::uint16_t length = kHeaderSize + 3 * kAttrSize;
  std::uint16_t object = 0;
  std::uint16_t method = kMethodInvokeWrite;
  std::uint16_t attrs = 3;
  std::uint64_t reserved = 0;
  std::uint32_t driver = static_cast<std::uint32_t>(DriverId::kRxe);
  std::uint32_t reserved_too = 0;
  std::array<Attribute, 3> at;
  std::array<std::byte, kRegMrSize> in{};
  std::array<std::byte, 512> out{};

  Registration() {
    RegMr command;
    command.start = command.iova = 0x100000;
    command.length = 4096;
    command.pd_handle = 1;
    (void)encode_reg_mr(command, in);
    at[0] = {attr::kWriteCmd, 8, kAttrMandatory, 0, kRegister};
    at[1] = {attr::kCoreIn, kRegMrSize, kAttrMandatory, 0, reinterpret_cast<std::uint64_t>(&in)};
    at[2] = {attr::kCoreOut, 512, kAttrMandatory, 0, reinterpret_cast<std::uint64_t>(&out)};
  }
};
static_assert(offsetof(Registration, at) == kHeaderSize);

// Not by libc: errno is shared with whoever shares the memory. 0 or an errno. What a system call
// leaves alone is looked at: -1 when it did not.
int make(int fd, Registration& call) {
  long result = 0;
  long rdi = fd;
  long rsi = kVerbsIoctl;
  long rdx = reinterpret_cast<long>(&call);
  long kept = 0;
  __asm__ volatile(
      "mov $8, %%r8; mov $9, %%r9; mov $10, %%r10; movq $0x55, -8(%%rsp); movq $0x66, -128(%%rsp)\n"
      "syscall\n"
      "cmpq $0x55, -8(%%rsp); jne 1f; cmpq $0x66, -128(%%rsp); jne 1f\n"
      "cmp $8, %%r8; jne 1f; cmp $9, %%r9; jne 1f; cmp $10, %%r10; jne 1f; mov $1, %[kept]; 1:"
      : "=a"(result), "+D"(rdi), "+S"(rsi), "+d"(rdx), [kept] "+r"(kept)
      : "a"(SYS_ioctl)
      : "rcx", "r8", "r9", "r10", "r11", "memory", "cc");
  if (kept != 1 || rdi != fd || rsi != kVerbsIoctl || rdx != reinterpret_cast<long>(&call))
    return -1;
  return static_cast<int>(-result);
}

int register_often() {
  const int fd = open_device();
  EXPECT(fd >= 0);
  Registration call;
  for (int i = 0; i < 300; ++i)
    EXPECT(make(fd, call) == ENOTTY);
  return 0;
}

int register_in_threads() {
  const int fd = open_device();
  std::array<std::thread, 16> threads;
  std::atomic<int> wrong{0};
  for (auto& each : threads) {
    each = std::thread([&] {
      Registration call;
      for (int i = 0; i < 50; ++i) {
        if (make(fd, call) != ENOTTY) ++wrong;
      }
    });
  }
  for (auto& each : threads)
    each.join();
  EXPECT(wrong == 0);
  return 0;
}

// While a thread makes calls all the time.
int register_in_children() {
  const int fd = open_device();
  Registration call;
  std::atomic<bool> stop{false};
  std::atomic<int> wrong{0};
  std::thread other([&] {
    Registration own;
    while (!stop) {
      if (make(fd, own) != ENOTTY) ++wrong;
    }
  });
  for (int i = 0; i < 30; ++i) {
    const pid_t child = fork();
    if (child == 0) _exit(make(fd, call) == ENOTTY && open_device() >= 0 ? 0 : 1);
    EXPECT(exit_code_of(child) == 0);
  }
  stop = true;
  other.join();
  EXPECT(wrong == 0);
  // NOLINTNEXTLINE(clang-analyzer-security.insecureAPI.vfork): some libraries do
  const pid_t child = vfork();
  if (child == 0) _exit(make(fd, call) == ENOTTY ? 0 : 1);
  EXPECT(exit_code_of(child) == 0);
  return 0;
}

// Threads are in the middle of their calls then; what comes after has the device, and nothing
// mapped yet.
int register_and_exec() {
  const int fd = open(kVerbsNode, O_RDWR);
  EXPECT(fd == 960);
  for (int i = 0; i < 4; ++i) {
    std::thread([fd] {
      Registration call;
      for (;;)
        (void)make(fd, call);
    }).detach();
  }
  usleep(20'000);
  execl("/proc/self/exe", "intercept_tenant", "-", "sealed-after-exec", nullptr);
  return 1;
}
int register_after_exec() {
  Registration call;
  EXPECT(make(960, call) == ENOTTY);
  EXPECT(make(960, call) == ENOTTY);
  return 0;
}

volatile std::sig_atomic_t hits = 0;

// How long a program is left alone after so many disturbances, microseconds. A call that is
// disturbed starts over, and there are machines on which one takes longer than any fixed pause: the
// pauses grow once there were more disturbances than a fast machine has time for.
long pause_after(long disturbances) {
  return 300 + std::max(0L, disturbances - 500) * 10;
}

void ring_after(long microseconds) {
  const itimerval timer{{0, 0}, {microseconds / 1'000'000, microseconds % 1'000'000}};
  setitimer(ITIMER_REAL, &timer, nullptr);
}

int register_under_signals() {
  const int fd = open_device();
  struct sigaction action {};
  action.sa_handler = [](int) {
    hits = hits + 1;
    ring_after(pause_after(hits));
  };
  for (int flags : {SA_RESTART, 0}) {
    action.sa_flags = flags;
    sigaction(SIGALRM, &action, nullptr);
    hits = 0;
    ring_after(pause_after(0));
    Registration call;
    for (int i = 0; i < 1500; ++i) {
      const int err = make(fd, call);
      // As any call that waits, before the agent has it.
      EXPECT(err == ENOTTY || (flags == 0 && err == EINTR));
    }
    sigset_t alarm;
    sigemptyset(&alarm);
    sigaddset(&alarm, SIGALRM);
    sigprocmask(SIG_BLOCK, &alarm, nullptr);  // or the handler sets the timer again
    EXPECT(hits > 0);
    const itimerval none{};
    setitimer(ITIMER_REAL, &none, nullptr);
    sigprocmask(SIG_UNBLOCK, &alarm, nullptr);
  }
  return 0;
}

int handler_fd = -1;
std::atomic<int> handler_wrong{0};

// After 0.5 to 32 ms: in the middle of a call on fast machines and on slow ones, and not in each,
// since a call that is disturbed starts over.
void ring_once() {
  ring_after(500 << (hits % 7));
}

// The handler makes a call of its own while the thread is on its way to make one.
int register_in_handlers() {
  handler_fd = open_device();
  struct sigaction action {};
  action.sa_flags = SA_RESTART;
  action.sa_handler = [](int) {
    Registration call;
    hits = hits + 1;
    if (make(handler_fd, call) != ENOTTY) ++handler_wrong;
    ring_once();  // after it: however long it takes, the program gets on
  };
  sigaction(SIGALRM, &action, nullptr);
  ring_once();
  Registration call;
  while (hits < 150) {
    EXPECT(make(handler_fd, call) == ENOTTY);
    // TSan keeps a signal until the program comes by a function of libc's.
    itimerval left{};
    getitimer(ITIMER_REAL, &left);
  }
  EXPECT(handler_wrong == 0);
  return 0;
}

int register_while_stopped() {
  const int fd = open_device();
  const pid_t self = getpid();
  const pid_t child = fork();
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (long stops = 0;; ++stops) {
      kill(self, SIGSTOP);
      usleep(200);
      kill(self, SIGCONT);
      usleep(static_cast<useconds_t>(pause_after(stops)));
    }
  }
  Registration call;
  int wrong = 0;
  for (int i = 0; i < 1000; ++i) {
    if (make(fd, call) != ENOTTY) ++wrong;
  }
  kill(child, SIGKILL);
  EXPECT(wrong == 0);
  kill(self, SIGCONT);
  return 0;
}

// A child that traces its parent, until it is killed or its work is done; -1: it cannot.
pid_t tracer(void (*work)(pid_t parent)) {
  const pid_t self = getpid();
  std::array<int, 2> ends{};
  if (pipe(ends.data()) != 0) return -1;
  const pid_t child = fork();
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    const char told = ptrace(PTRACE_SEIZE, self, nullptr, nullptr) == 0 ? 'y' : 'n';
    if (write(ends[1], &told, 1) != 1) _exit(1);
    work(self);
    _exit(0);
  }
  char told = 0;
  const bool traces = read(ends[0], &told, 1) == 1 && told == 'y';
  close(ends[0]);
  close(ends[1]);
  return traces ? child : -1;
}

// A program that traces itself makes no such call; when it has stopped, it does again.
int register_while_traced() {
  const int fd = open_device();
  const pid_t child = tracer([](pid_t parent) {
    int status = 0;
    while (waitpid(parent, &status, __WALL) >= 0) {
      const int signal = (status >> 16) != 0 ? 0 : WSTOPSIG(status);
      if (WIFSTOPPED(status)) ptrace(PTRACE_CONT, parent, nullptr, signal);
    }
  });
  EXPECT(child > 0);
  Registration call;
  for (int i = 0; i < 20; ++i)
    EXPECT(make(fd, call) == EBUSY);
  kill(child, SIGKILL);
  (void)exit_code_of(child);
  EXPECT(make(fd, call) == ENOTTY);
  return 0;
}

// As after an agent that was killed while it had the thread: the next one waits for that moment.
int register_while_a_tracer_ends() {
  const int fd = open_device();
  Registration call;
  for (int i = 0; i < 10; ++i) {
    const pid_t child = tracer([](pid_t) { usleep(10'000); });
    EXPECT(child > 0);
    EXPECT(make(fd, call) == ENOTTY);
    (void)exit_code_of(child);
  }
  return 0;
}

// To be killed at any moment.
int register_for_ever() {
  const int fd = open_device();
  for (int i = 0; i < 3; ++i) {
    std::thread([fd] {
      Registration call;
      for (;;)
        (void)make(fd, call);
    }).detach();
  }
  Registration call;
  (void)make(fd, call);
  std::printf("registering\n");
  std::fflush(stdout);
  for (;;)
    (void)make(fd, call);
}

// ---- an attacker

void pause_for(unsigned& seed, unsigned most) {
  seed = seed * 1103515245 + 12345;
  for (unsigned i = (seed >> 16) % most; i > 0; --i)
    __asm__ volatile("");
}

// What was REG_MR is QUERY_DEVICE half of the time.
[[noreturn]] void swap_for_ever(Registration* call) {
  auto* command = reinterpret_cast<volatile std::uint64_t*>(&call->at[0].data);
  for (unsigned seed = 1;;) {
    *command = kQueryDevice;
    pause_for(seed, 300);
    *command = kRegister;
    pause_for(seed, 900);
  }
}

thread_local sigjmp_buf jump;

constexpr std::uint64_t kSlot = vbond::sealed::slot_page(0);
constexpr std::size_t kPage = vbond::sealed::kPage;

void* at(std::uint64_t address) {
  return reinterpret_cast<void*>(address);
}
bool maps(std::uint64_t address, std::size_t size, int flags) {
  return mmap(at(address), size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1,
              0) == at(address);
}

// Each says whether it has changed, taken or moved what is sealed.
const std::array<bool (*)(), 24> kAttacks = {
    [] { return munmap(at(kSlot), kPage) == 0; },
    [] { return syscall(SYS_munmap, 0, 0x20000) == 0; },
    [] { return munmap(at(vbond::sealed::kBase - kPage), 4 * kPage) == 0; },
    [] { return syscall(SYS_munmap, kSlot | 0x2a00000000000000UL, kPage) == 0; },
    [] { return maps(kSlot, kPage, MAP_FIXED); },
    [] { return maps(0, 0x20000, MAP_FIXED); },
    [] { return maps(kSlot, kPage, MAP_FIXED_NOREPLACE); },
    [] { return maps(kSlot, kPage, 0); },
    [] {
      return mremap(at(kSlot), kPage, kPage, MREMAP_MAYMOVE | MREMAP_FIXED, at(0x5000000000)) !=
             MAP_FAILED;
    },
    [] {
      void* own = mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      const bool won =
          mremap(own, kPage, kPage, MREMAP_MAYMOVE | MREMAP_FIXED, at(kSlot)) != MAP_FAILED;
      munmap(own, kPage);
      return won;
    },
    [] { return mremap(at(kSlot), 0, kPage, MREMAP_MAYMOVE) != MAP_FAILED; },
    [] { return mremap(at(kSlot), kPage, 8 * kPage, MREMAP_MAYMOVE) != MAP_FAILED; },
    [] {
      const int id = shmget(IPC_PRIVATE, kPage, IPC_CREAT | 0600);
      const bool won = shmat(id, at(kSlot), SHM_REMAP) != reinterpret_cast<void*>(-1);
      shmctl(id, IPC_RMID, nullptr);
      return won;
    },
    [] { return syscall(SYS_remap_file_pages, kSlot, kPage, 0, 1, 0) == 0; },
    [] { return mprotect(at(kSlot), kPage, PROT_READ | PROT_WRITE) == 0; },
    [] { return syscall(SYS_pkey_mprotect, kSlot, kPage, PROT_READ | PROT_WRITE, -1) == 0; },
    [] { return madvise(at(kSlot), kPage, MADV_DONTNEED) == 0 && false; },
    [] { return madvise(at(kSlot), kPage, MADV_REMOVE) == 0; },
    [] { return madvise(at(kSlot), kPage, MADV_FREE) == 0; },
    [] { return syscall(SYS_brk, kSlot) == static_cast<long>(kSlot); },
    [] {
      prctl_mm_map map{};
      map.start_code = map.end_code = map.start_data = map.end_data = kSlot;
      map.start_brk = map.brk = map.start_stack = kSlot;
      map.arg_start = map.arg_end = map.env_start = map.env_end = kSlot;
      map.exe_fd = static_cast<__u32>(-1);
      return prctl(PR_SET_MM, PR_SET_MM_MAP, &map, sizeof(map), 0) == 0;
    },
    [] {
      const int memory = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
      const bool won = pwrite(memory, "x", 1, static_cast<off_t>(kSlot)) == 1;
      close(memory);
      return won;
    },
    [] {
      if (sigsetjmp(jump, 1) != 0) return false;
      *reinterpret_cast<volatile char*>(kSlot) = 'x';
      return true;
    },
    [] { return syscall(SYS_arch_prctl, 0x2003 /* ARCH_MAP_VDSO_64 */, kSlot) > 0; },
};

std::atomic<int> attack_wins{0};

[[noreturn]] void attack_for_ever() {
  struct sigaction action {};
  action.sa_handler = [](int) { siglongjmp(jump, 1); };
  sigaction(SIGSEGV, &action, nullptr);
  for (unsigned seed = 7;;) {
    pause_for(seed, 100);
    const std::size_t which = (seed >> 8) % kAttacks.size();
    if (!kAttacks[which]()) continue;
    ++attack_wins;
    std::fprintf(stderr, "attack %zu on sealed memory succeeds\n", which);
  }
}

// The arguments are swapped by a thread, by a process that shares all memory, and by one that
// shares that page; beside them the mapping is attacked. What ran is the test's to see.
int race() {
  const int fd = open_device();
  EXPECT(fd >= 0);
  auto* call = new (mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0))
      Registration;
  (void)make(fd, *call);
  static std::array<std::array<std::byte, 65536>, 2> stacks;
  auto spawn = [](int (*run)(void*), void* argument, auto& stack) {
    clone(run, stack.data() + stack.size(), CLONE_VM | SIGCHLD, argument);
  };
  std::thread(swap_for_ever, call).detach();
  spawn(
      [](void* its) -> int {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        swap_for_ever(static_cast<Registration*>(its));
      },
      call, stacks[0]);
  if (fork() == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    swap_for_ever(call);
  }
  std::thread(attack_for_ever).detach();
  int ran = 0;
  for (int i = 0; i < 3000; ++i) {
    if (make(fd, *call) == ENOTTY) ++ran;
  }
  EXPECT(attack_wins == 0 && ran > 0);
  _exit(0);
}

// Jumps to what is sealed without having been sent there.
int forge() {
  const int fd = open_device();
  Registration call;
  EXPECT(make(fd, call) == ENOTTY);
  for (std::uint64_t page = vbond::sealed::kBase; page < vbond::sealed::kEnd; page += kPage) {
    for (std::uint64_t place = 0; place < kPage; place += 8) {
      if (place > 512 && place < kPage - 512) continue;
      EXPECT(ioctl(fd, kVerbsIoctl, page + place) == -1 && errno == EFAULT);
    }
  }
  EXPECT(make(fd, call) == ENOTTY);
  return 0;
}

}  // namespace

const std::map<std::string, int (*)()>& sealed_scenarios() {
  static const std::map<std::string, int (*)()> scenarios = {
      {"sealed", register_often},
      {"sealed-threads", register_in_threads},
      {"sealed-children", register_in_children},
      {"sealed-exec", register_and_exec},
      {"sealed-after-exec", register_after_exec},
      {"sealed-signals", register_under_signals},
      {"sealed-handlers", register_in_handlers},
      {"sealed-stopped", register_while_stopped},
      {"sealed-traced", register_while_traced},
      {"sealed-tracer-ends", register_while_a_tracer_ends},
      {"sealed-for-ever", register_for_ever},
      {"sealed-race", race},
      {"sealed-forge", forge},
  };
  return scenarios;
}

}  // namespace qmasq::test

// NOLINTEND(performance-no-int-to-ptr)

// SPDX-License-Identifier: Apache-2.0
#include "tests/integration/intercept/tenant_scenarios.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <map>
#include <thread>

#include "tests/integration/intercept/sealed_scenarios.h"
#include "tests/support/scenario.h"
#include "tests/support/tenant_verbs.h"
#include "vbond/filter/filter.h"
#include "vbond/uverbs/call_builder.h"
#include "vbond/uverbs/doorbell.h"
#include "vbond/uverbs/qp.h"

namespace qmasq::test {
namespace {

using namespace vbond::uverbs;  // NOLINT: the tenant speaks verbs

// Answered by the agent alone: works on any context that is the attachment's.
int query_gid(int fd) {
  CallBuilder builder(static_cast<std::uint16_t>(Object::kDevice), kMethodQueryGidEntry, kRxe);
  (void)builder.add_const(attr::kGidEntryPort, 1);
  (void)builder.add_const(attr::kGidEntryIndex, 1);
  std::uint32_t flags = 0;
  (void)builder.add_in(attr::kGidEntryFlags, std::as_bytes(std::span(&flags, 1)));
  (void)builder.add_out(attr::kGidEntryResp, 32);
  return call(fd, builder);
}

// Completion channel, or -1. The stub's is an eventfd.
int create_channel(int fd) {
  auto builder =
      CallBuilder::invoke_write(static_cast<std::uint32_t>(WriteCommand::kCreateCompChannel), kRxe);
  const std::array<std::byte, 8> core_in{};
  (void)builder.add_in(attr::kCoreIn, core_in);
  (void)builder.add_out(attr::kCoreOut, sizeof(int));
  if (call(fd, builder) != 0) return -1;
  int out = -1;
  std::memcpy(&out, builder.out(attr::kCoreOut).data(), sizeof(out));
  return out;
}

// A descriptor that the agent has made is the program's own, and the lowest number there is.
int channels(int fd) {
  const int lowest = dup(fd);
  EXPECT(lowest >= 0 && close(lowest) == 0);
  const int channel = create_channel(fd);
  EXPECT(channel == lowest);
  EXPECT((fcntl(channel, F_GETFD) & FD_CLOEXEC) != 0);
  std::uint64_t events = 3;
  EXPECT(write(channel, &events, sizeof(events)) == sizeof(events));
  events = 0;
  EXPECT(read(channel, &events, sizeof(events)) == sizeof(events) && events == 3);
  EXPECT(close(channel) == 0);
  rlimit before{};
  EXPECT(getrlimit(RLIMIT_NOFILE, &before) == 0);
  const rlimit none{static_cast<rlim_t>(lowest), before.rlim_max};
  EXPECT(setrlimit(RLIMIT_NOFILE, &none) == 0);
  EXPECT(create_channel(fd) == -1 && errno == EMFILE);
  EXPECT(setrlimit(RLIMIT_NOFILE, &before) == 0);
  return 0;
}

int verbs() {
  int fd = open_device();
  EXPECT(fd >= 960 && fd < 1024);
  EXPECT((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
  struct stat status {};
  EXPECT(fstat(fd, &status) == 0 && S_ISCHR(status.st_mode));
  EXPECT(query_gid(fd) == 0);
  EXPECT(channels(fd) == 0);
  int qp = create_qp(fd);
  EXPECT(qp >= 0);
  EXPECT(connect_qp(fd, qp, "10.0.0.2") == 0);
  EXPECT(ring(fd, qp) == static_cast<ssize_t>(kDoorbellSize));
  EXPECT(connect_qp(fd, qp, "10.0.0.9") == -1 && errno == EHOSTUNREACH);
  EXPECT(create_qp(fd, QpType::kUd) == -1 && errno == EACCES);
  EXPECT(create_qp(fd, QpType::kRawPacket) == -1 && errno == EOPNOTSUPP);
  // The kernel cuts the command to 32 bits; so must the filter.
  EXPECT(syscall(SYS_ioctl, fd, 0xabcd00000000UL | kVerbsIoctl, nullptr) == -1 && errno == EFAULT);
  // Ordinary files are as they were.
  char name[] = "/tmp/qmasq-tenant-XXXXXX";
  int file = mkstemp(name);
  EXPECT(file >= 0 && write(file, "x", 1) == 1 && unlink(name) == 0);
  EXPECT(dup2(file, 1000) == 1000 && write(1000, "x", 1) == 1);
  EXPECT(open("/nowhere/at/all", O_RDWR) == -1 && errno == ENOENT);
  return 0;
}

int openings() {
  int a = openat(AT_FDCWD, kVerbsNode, O_RDWR);
  EXPECT(a >= 0 && (fcntl(a, F_GETFD) & FD_CLOEXEC) == 0);
  open_how how{};
  how.flags = O_RDWR | O_CLOEXEC;
  auto b = static_cast<int>(syscall(SYS_openat2, AT_FDCWD, kVerbsNode, &how, sizeof(how)));
  EXPECT(b >= 960 && b != a && query_gid(b) == 0);
#ifdef SYS_open
  auto c = static_cast<int>(syscall(SYS_open, "//dev/./infiniband/uverbs0", O_RDWR));
  EXPECT(c >= 960 && query_gid(c) == 0);
#endif
  EXPECT(open("/dev/infiniband/uverbs9", O_RDWR) == -1 && errno == ENODEV);
  // A second file of one's own would take write(), and write() carries every verb.
  std::string again = "/proc/self/fd/" + std::to_string(a);
  EXPECT(open(again.c_str(), O_RDWR) == -1 && errno == EACCES);
  EXPECT(open(again.c_str(), O_RDONLY) == -1 && errno == EACCES);
  // The node is the host's.
  EXPECT(fchmod(a, 0600) == -1 && errno == EROFS);
  EXPECT(fchown(a, 1, 1) == -1 && errno == EROFS);
  std::string by_thread = "/proc/thread-self/fd/" + std::to_string(a);
  EXPECT(open(by_thread.c_str(), O_WRONLY) == -1 && errno == EACCES);
  return 0;
}

int descriptors() {
  int fd = open_device();
  int copy = dup(fd);
  EXPECT(copy >= 0 && copy < 960 && query_gid(copy) == 0 && create_qp(copy) >= 0);
  EXPECT(close(fd) == 0 && query_gid(copy) == 0);
  EXPECT(query_gid(fd) == -1 && errno == EBADF);
  int null = open("/dev/null", O_RDONLY);
  EXPECT(dup2(null, fd) == fd);
  EXPECT(query_gid(fd) == -1 && errno == ENOTTY);
  EXPECT(query_gid(-1) == -1 && errno == EBADF);
  EXPECT(query_gid(5000) == -1 && errno == EBADF);
  int ends[2] = {};
  EXPECT(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
  EXPECT(query_gid(ends[0]) == -1 && errno == ENOTTY);
  return 0;
}

int threads() {
  int fd = open_device();
  int failures = 0;
  std::array<std::thread, 4> all;
  std::array<int, 4> bad{};
  for (std::size_t i = 0; i < all.size(); ++i) {
    all[i] = std::thread([fd, &bad, i] {
      for (int round = 0; round < 200; ++round) {
        if (query_gid(fd) != 0) ++bad[i];
      }
      if (create_qp(fd) < 0) ++bad[i];
    });
  }
  for (auto& each : all)
    each.join();
  for (int each : bad)
    failures += each;
  EXPECT(failures == 0);
  // A thread with a descriptor table of its own.
  int result = 0;
  std::thread apart([&] {
    result = [&]() -> int {
      EXPECT(unshare(CLONE_FILES) == 0);
      int own = open_device();
      EXPECT(own >= 0 && query_gid(own) == 0);
      return 0;
    }();
  });
  apart.join();
  return result;
}

int forks() {
  int fd = open_device();
  int qp = create_qp(fd);
  EXPECT(qp >= 0);
  pid_t child = fork();
  if (child == 0) {
    // Inherited, and one of its own.
    if (query_gid(fd) != 0 || ring(fd, qp) != static_cast<ssize_t>(kDoorbellSize)) _exit(1);
    int own = open_device();
    _exit(own >= 0 && create_qp(own) >= 0 ? 0 : 2);
  }
  EXPECT(exit_code_of(child) == 0);
  EXPECT(query_gid(fd) == 0);
  return 0;
}

volatile std::sig_atomic_t told = 0;

// The first process ends, its child goes on with the device until it gets SIGUSR1, and then sleeps;
// the test looks at what is left after each.
int orphan() {
  int fd = open_device();
  EXPECT(create_qp(fd) >= 0);
  struct sigaction action {};
  action.sa_handler = [](int) { told = 1; };
  sigaction(SIGUSR1, &action, nullptr);
  pid_t child = fork();
  if (child == 0) {
    while (told == 0) {
      usleep(50'000);
      if (query_gid(fd) != 0 && errno != EINTR) _exit(1);
    }
    close(fd);
    pause();
  }
  std::printf("%d\n", child);
  std::fflush(stdout);
  return 0;
}

int exec() {
  int fd = openat(AT_FDCWD, kVerbsNode, O_RDWR);  // survives exec
  EXPECT(fd == 960);
  execl("/proc/self/exe", "intercept_tenant", "-", "after-exec", nullptr);
  return 1;
}
int after_exec() {
  EXPECT(query_gid(960) == 0 && create_qp(960) >= 0);
  int fd = open_device();
  EXPECT(fd == 961 && query_gid(fd) == 0);
  return 0;
}

int second_listener() {
  auto listener = vbond::install_filter({});
  EXPECT(!listener && listener.error().code == Code::kFailedPrecondition);
  EXPECT(query_gid(open_device()) == 0);
  return 0;
}

#if defined(__x86_64__)
// i386 by the old gate: 5 is open, 20 getpid, 54 ioctl there.
int through_the_i386_gate() {
  for (long nr : {5L, 20L, 54L}) {
    long result = nr;
    __asm__ volatile("int $0x80" : "+a"(result) : "b"(0), "c"(kVerbsIoctl), "d"(0) : "memory");
    EXPECT(result == -ENOSYS);
  }
  return 0;
}
#endif

int other_architectures() {
#if defined(__x86_64__)
  const pid_t child = fork();
  if (child == 0) _exit(through_the_i386_gate());
  const int code = exit_code_of(child);
  // Without i386 emulation (ia32_emulation=0, some hypervisors) the gate itself is a fault: no call
  // is made, by anybody, so there is none to refuse. A filter's answer is never this signal.
  const bool no_gate = code == 100 + SIGSEGV;
  if (no_gate) std::fprintf(stderr, "no i386 system calls on this machine: not tried\n");
  EXPECT(no_gate || code == 0);
  constexpr long kX32 = 0x40000000;
  errno = 0;
  EXPECT(syscall(kX32 | SYS_getpid) == -1 && errno == ENOSYS);
  errno = 0;
  EXPECT(syscall(kX32 | 514 /* ioctl */, 0, kVerbsIoctl, 0) == -1 && errno == ENOSYS);
#endif
  return 0;
}

int hostile() {
  int fd = open_device();
  auto try_call = [&](const void* at) { return ioctl(fd, kVerbsIoctl, at); };
  EXPECT(try_call(nullptr) == -1 && errno == EFAULT);
  // NOLINTBEGIN(performance-no-int-to-ptr): addresses that are none
  EXPECT(try_call(reinterpret_cast<void*>(-24L)) == -1 && errno == EFAULT);
  EXPECT(try_call(reinterpret_cast<void*>(0xffff800000000000UL)) == -1 && errno == EFAULT);
  // NOLINTEND(performance-no-int-to-ptr)
  auto* page = static_cast<unsigned char*>(
      mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  EXPECT(page != MAP_FAILED && munmap(page + 4096, 4096) == 0);
  auto header = [&](std::size_t at, std::uint16_t length, std::uint16_t attrs) {
    std::memset(page, 0, 4096);
    std::memcpy(page + at, &length, 2);
    std::memcpy(page + at + 6, &attrs, 2);
    return page + at;
  };
  EXPECT(try_call(header(4096 - 12, 24, 0)) == -1 && errno == EFAULT);  // half a header
  EXPECT(try_call(header(4096 - 24, 40, 1)) == -1 && errno == EFAULT);  // no attribute
  EXPECT(try_call(header(0, 23, 0)) == -1 && errno == EINVAL);
  EXPECT(try_call(header(0, 40, 2)) == -1 && errno == EINVAL);
  EXPECT(try_call(header(0, 65528, 4094)) == -1 && errno == EINVAL);
  EXPECT(try_call(header(0, 4088, 254)) == -1);  // 254 times attribute 0
  // A header that cannot be written to: results have nowhere to go.
  CallBuilder builder(static_cast<std::uint16_t>(Object::kDevice), kMethodQueryGidEntry, kRxe);
  (void)builder.add_const(attr::kGidEntryPort, 1);
  (void)builder.add_const(attr::kGidEntryIndex, 1);
  std::uint32_t flags = 0;
  (void)builder.add_in(attr::kGidEntryFlags, std::as_bytes(std::span(&flags, 1)));
  (void)builder.add_out(attr::kGidEntryResp, 32);
  auto sealed = builder.seal();
  std::memcpy(page, sealed->data(), sealed->size());
  EXPECT(mprotect(page, 4096, PROT_READ) == 0);
  EXPECT(try_call(page) == -1 && errno == EFAULT);
  EXPECT(mprotect(page, 4096, PROT_READ | PROT_WRITE) == 0);
  EXPECT(try_call(page) == 0);
  EXPECT(syscall(SYS_write, fd, nullptr, 32) == -1 && errno == EFAULT);
  EXPECT(write(fd, page, 4) == -1 && errno == EINVAL);
  std::memset(page, 0, 64);
  page[0] = 26;  // MODIFY_QP
  page[4] = 16;
  EXPECT(write(fd, page, 64) == -1 && errno == EOPNOTSUPP);
  EXPECT(open(reinterpret_cast<const char*>(8), O_RDWR) == -1 && errno == EFAULT);
  EXPECT(query_gid(fd) == 0);
  return 0;
}

int many_opens() {
  for (int i = 0; i < 10'000; ++i) {
    int fd = open_device();
    EXPECT(fd >= 0);
    EXPECT(i % 100 != 0 || query_gid(fd) == 0);
    EXPECT(i % 1000 != 0 || create_qp(fd) >= 0);
    close(fd);
  }
  return 0;
}

// The agent is held up in CREATE_QP of UC by the test; the process is killed there.
int dies_in_call() {
  int fd = open_device();
  (void)create_qp(fd, QpType::kUc);
  return 1;
}

int lives_on() {
  int fd = open_device();
  EXPECT(create_qp(fd) >= 0);
  close(fd);
  std::printf("closed\n");
  std::fflush(stdout);
  pause();
  return 0;
}

// Verbs until killed.
int flood() {
  int fd = open_device();
  std::printf("flooding\n");
  std::fflush(stdout);
  for (;;)
    EXPECT(query_gid(fd) == 0);
}

// Most of 500 verbs take less than a tenth of a second, whatever the others do. Who waits behind a
// flood waits each time; who waits for a core of a busy machine does so now and then.
int sane() {
  using std::chrono::steady_clock;
  int fd = open_device();
  int qp = create_qp(fd);
  int slow = 0;
  for (int i = 0; i < 500; ++i) {
    auto start = steady_clock::now();
    EXPECT(i % 50 != 0 ? query_gid(fd) == 0 : connect_qp(fd, qp, "10.0.0.2") == 0);
    if (steady_clock::now() - start > std::chrono::milliseconds(100)) ++slow;
  }
  EXPECT(slow <= 250);
  return 0;
}

// Signals arrive while the agent works; no call may be torn or lost.
int signals() {
  struct sigaction action {};
  action.sa_handler = [](int) {};
  sigaction(SIGALRM, &action, nullptr);
  int fd = open_device();
  itimerval timer{{0, 200}, {0, 200}};
  setitimer(ITIMER_REAL, &timer, nullptr);
  for (int i = 0; i < 2000; ++i) {
    int result = query_gid(fd);
    // Without WAIT_KILLABLE_RECV a signal may interrupt the call, as any system call.
    EXPECT(result == 0 || errno == EINTR);
  }
  return 0;
}

// Threads make queues until there may be no more, and between that destroy one in three; then all
// are counted and printed, and the program waits for its end.
int hoard() {
  const int fd = open_device();
  EXPECT(fd >= 0);
  std::array<int, 4> made{};
  std::array<int, 4> odd{};  // an errno that was not expected
  std::array<std::thread, 4> threads;
  for (std::size_t i = 0; i < threads.size(); ++i) {
    threads[i] = std::thread([&, i] {
      int refusals = 0;
      for (int step = 0; step < 100'000 && refusals < 3; ++step) {
        const int handle = create_cq(fd);
        if (handle < 0) {
          if (errno != EDQUOT) odd[i] = errno;
          ++refusals;
          continue;
        }
        ++made[i];
        if (step % 3 == 2 && destroy_cq(fd, handle) == 0) --made[i];
      }
    });
  }
  for (auto& thread : threads)
    thread.join();
  for (int each : odd)
    EXPECT(each == 0);
  // What a thread gave back while the others had given up already.
  int all = made[0] + made[1] + made[2] + made[3];
  while (create_cq(fd) >= 0)
    ++all;
  EXPECT(errno == EDQUOT);
  std::printf("%d\n", all);
  std::fflush(stdout);
  for (;;)
    pause();
}

// Calls as fast as it is let, and says how many were refused in the first second.
int impatient() {
  const int fd = open_device();
  EXPECT(fd >= 0);
  int refused = 0;
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(1);
  while (std::chrono::steady_clock::now() < end) {
    if (query_gid(fd) == 0) continue;
    EXPECT(errno == EAGAIN);
    ++refused;
  }
  std::printf("%d\n", refused);
  std::fflush(stdout);
  while (true)
    (void)query_gid(fd);
}

// Descriptor of the reserved range, but the tenant opened the device itself.
int own_device() {
  int fd = open("/dev/full", O_RDWR);  // the stub's verbs device
  EXPECT(fd >= 0 && fd < 960);
  EXPECT(query_gid(fd) == 0 && create_qp(fd) >= 0);
  return 0;
}

int foreign_device() {
  int fd = open("/dev/full", O_RDWR);
  EXPECT(fd >= 0);
  EXPECT(query_gid(fd) == -1 && errno == EOPNOTSUPP);
  EXPECT(dup2(fd, 970) == 970);
  EXPECT(write(970, "12345678", 8) == -1 && errno == EACCES);
  return 0;
}

}  // namespace

int run_scenario(const std::string& name) {
  static const std::map<std::string, int (*)()> scenarios = {
      {"verbs", verbs},
      {"openings", openings},
      {"descriptors", descriptors},
      {"threads", threads},
      {"forks", forks},
      {"orphan", orphan},
      {"exec", exec},
      {"after-exec", after_exec},
      {"second-listener", second_listener},
      {"other-architectures", other_architectures},
      {"hostile", hostile},
      {"many-opens", many_opens},
      {"dies-in-call", dies_in_call},
      {"lives-on", lives_on},
      {"flood", flood},
      {"sane", sane},
      {"signals", signals},
      {"hoard", hoard},
      {"impatient", impatient},
      {"own-device", own_device},
      {"foreign-device", foreign_device},
  };
  for (const auto* each : {&scenarios, &sealed_scenarios()}) {
    if (auto at = each->find(name); at != each->end()) return at->second();
  }
  return 2;
}

}  // namespace qmasq::test

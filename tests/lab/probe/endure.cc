// SPDX-License-Identifier: Apache-2.0
#include <signal.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "common/net_types.h"
#include "tests/lab/probe/probe.h"

// A program that connects queue pairs all the time, and says when one verb did not go as it should,
// and how long the longest took.
namespace qmasq::probe {
namespace {

using std::chrono::steady_clock;

constexpr std::uint8_t kPort = 1;
constexpr int kStanding = 4;  // connected once, before the first round

std::atomic<bool> asked_to_end{false};

struct Tally {
  long rounds = 0;
  long verbs = 0;
  std::vector<double> waits;  // ms, of the longest verb of each round
  double round_longest = 0;
  std::string failure;  // the first: "RTR: EAGAIN in round 7"
  long forbidden_connected = 0;

  // Times a verb; `err`: what it came to.
  template <typename Verb>
  auto timed(Verb verb) {
    const auto start = steady_clock::now();
    auto out = verb();
    const std::chrono::duration<double, std::milli> took = steady_clock::now() - start;
    round_longest = std::max(round_longest, took.count());
    ++verbs;
    return out;
  }
  bool check(const char* what, int err) {
    if (err == 0) return true;
    if (failure.empty())
      failure = std::string(what) + ": " + errno_name(err) + " in round " + std::to_string(rounds);
    return false;
  }
};

ibv_gid gid_of(const std::string& text) {
  ibv_gid out{};
  if (auto gid = parse_gid(text)) std::memcpy(out.raw, gid->raw.data(), sizeof(out.raw));
  return out;
}

// To RTR; the errno.
int connect_to(Tally& tally, ibv_qp* qp, const ibv_gid& peer) {
  ibv_qp_attr attr{};
  attr.qp_state = IBV_QPS_INIT;
  attr.port_num = kPort;
  attr.qp_access_flags = IBV_ACCESS_REMOTE_WRITE;
  int err = tally.timed([&] {
    return ibv_modify_qp(qp, &attr,
                         IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS);
  });
  if (err != 0) return err;
  attr = {};
  attr.qp_state = IBV_QPS_RTR;
  attr.path_mtu = IBV_MTU_1024;
  attr.dest_qp_num = qp->qp_num;
  attr.max_dest_rd_atomic = 1;
  attr.min_rnr_timer = 12;
  attr.ah_attr.is_global = 1;
  attr.ah_attr.grh.dgid = peer;
  attr.ah_attr.grh.sgid_index = 1;
  attr.ah_attr.grh.hop_limit = 1;
  attr.ah_attr.port_num = kPort;
  return tally.timed([&] {
    return ibv_modify_qp(qp, &attr,
                         IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN |
                             IBV_QP_RQ_PSN | IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER);
  });
}

int to_rts(Tally& tally, ibv_qp* qp) {
  ibv_qp_attr attr{};
  attr.qp_state = IBV_QPS_RTS;
  attr.timeout = 14;
  attr.retry_cnt = 7;
  attr.rnr_retry = 7;
  attr.max_rd_atomic = 1;
  return tally.timed([&] {
    return ibv_modify_qp(qp, &attr,
                         IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
                             IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC);
  });
}

ibv_qp* create(Tally& tally, ibv_pd* pd, ibv_cq* cq) {
  ibv_qp_init_attr init{};
  init.send_cq = cq;
  init.recv_cq = cq;
  init.cap.max_send_wr = 4;
  init.cap.max_recv_wr = 4;
  init.cap.max_send_sge = 1;
  init.cap.max_recv_sge = 1;
  init.qp_type = IBV_QPT_RC;
  return tally.timed([&] { return ibv_create_qp(pd, &init); });
}

bool still_leads_to(Tally& tally, ibv_qp* qp, const ibv_gid& peer) {
  ibv_qp_attr attr{};
  ibv_qp_init_attr init{};
  const int err =
      tally.timed([&] { return ibv_query_qp(qp, &attr, IBV_QP_STATE | IBV_QP_AV, &init); });
  if (!tally.check("QUERY_QP", err)) return false;
  const bool same = std::memcmp(attr.ah_attr.grh.dgid.raw, peer.raw, sizeof(peer.raw)) == 0;
  if (attr.qp_state == IBV_QPS_RTS && same) return true;
  return tally.check(
      same ? "a standing connection is in another state" : "a standing connection leads elsewhere",
      EIO);
}

bool one_round(Tally& tally, ibv_pd* pd, ibv_cq* cq, const EndureOptions& options) {
  const ibv_gid peer = gid_of(options.peer_gid);
  ibv_cq* own = tally.timed([&] { return ibv_create_cq(pd->context, 8, nullptr, nullptr, 0); });
  if (!tally.check("CREATE_CQ", own == nullptr ? errno : 0)) return false;
  ibv_qp* qp = create(tally, pd, cq);
  if (!tally.check("CREATE_QP", qp == nullptr ? errno : 0)) return false;
  if (!tally.check("RTR", connect_to(tally, qp, peer))) return false;
  if (!tally.check("RTS", to_rts(tally, qp))) return false;
  if (!still_leads_to(tally, qp, peer)) return false;
  if (!tally.check("DESTROY_QP", tally.timed([&] { return ibv_destroy_qp(qp); }))) return false;
  if (!tally.check("DESTROY_CQ", tally.timed([&] { return ibv_destroy_cq(own); }))) return false;
  if (options.forbidden_gid.empty()) return true;
  qp = create(tally, pd, cq);
  if (!tally.check("CREATE_QP", qp == nullptr ? errno : 0)) return false;
  const int err = connect_to(tally, qp, gid_of(options.forbidden_gid));
  if (err == 0) ++tally.forbidden_connected;
  if (err != 0 && err != EACCES) return tally.check("RTR to the forbidden peer", err);
  return tally.check("DESTROY_QP", tally.timed([&] { return ibv_destroy_qp(qp); }));
}

bool endure_in(Tally& tally, ibv_context* context, const EndureOptions& options) {
  ibv_pd* pd = ibv_alloc_pd(context);
  ibv_cq* cq = ibv_create_cq(context, 64, nullptr, nullptr, 0);
  if (!tally.check("ALLOC_PD, CREATE_CQ", pd == nullptr || cq == nullptr ? errno : 0)) return false;
  const ibv_gid peer = gid_of(options.peer_gid);
  std::array<ibv_qp*, kStanding> standing{};
  for (ibv_qp*& qp : standing) {
    qp = create(tally, pd, cq);
    if (!tally.check("CREATE_QP", qp == nullptr ? errno : 0) ||
        !tally.check("RTR", connect_to(tally, qp, peer)) ||
        !tally.check("RTS", to_rts(tally, qp))) {
      return false;
    }
  }
  std::printf("standing\n");
  std::fflush(stdout);
  const auto end = steady_clock::now() + std::chrono::seconds(options.seconds);
  while (!asked_to_end && steady_clock::now() < end) {
    tally.round_longest = 0;
    ++tally.rounds;
    if (!one_round(tally, pd, cq, options)) return false;
    for (ibv_qp* qp : standing) {
      if (!still_leads_to(tally, qp, peer)) return false;
    }
    if (tally.rounds % 10 == 0) {
      Context other = tally.timed([&] { return open_device(options.device); });
      if (!tally.check("open", other ? 0 : errno)) return false;
    }
    tally.waits.push_back(tally.round_longest);
  }
  return true;
}

}  // namespace

int endure(const EndureOptions& options) {
  ::signal(SIGTERM, [](int) { asked_to_end = true; });
  Tally tally;
  bool endured = false;
  if (Context context = open_device(options.device)) {
    endured = endure_in(tally, context.get(), options);
  } else {
    (void)tally.check("open", errno);
  }
  std::sort(tally.waits.begin(), tally.waits.end());
  const std::size_t count = tally.waits.size();
  nlohmann::ordered_json out;
  out["rounds"] = tally.rounds;
  out["verbs"] = tally.verbs;
  out["failure"] = tally.failure;
  out["forbidden_connected"] = tally.forbidden_connected;
  out["longest_ms"] = count == 0 ? 0 : tally.waits.back();
  out["p99_ms"] = count == 0 ? 0 : tally.waits[count * 99 / 100];
  std::printf("%s\n", out.dump().c_str());
  return endured ? 0 : 1;
}

}  // namespace qmasq::probe

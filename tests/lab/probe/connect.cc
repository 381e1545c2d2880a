// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <map>

#include <nlohmann/json.hpp>

#include "common/net_types.h"
#include "tests/lab/probe/probe.h"

namespace qmasq::probe {
namespace {

constexpr std::uint8_t kPort = 1;

const std::map<std::string, ibv_qp_type> kTypes = {{"rc", IBV_QPT_RC},
                                                   {"uc", IBV_QPT_UC},
                                                   {"ud", IBV_QPT_UD},
                                                   {"xrc", IBV_QPT_XRC_SEND},
                                                   {"raw", IBV_QPT_RAW_PACKET}};

// The kernel's answer to each step that was reached, in order, by name.
using Steps = nlohmann::ordered_json;

struct Objects {
  ibv_pd* pd = nullptr;
  ibv_cq* cq = nullptr;
  ibv_qp* qp = nullptr;
  ibv_ah* ah = nullptr;
  ~Objects() {
    if (ah != nullptr) ibv_destroy_ah(ah);
    if (qp != nullptr) ibv_destroy_qp(qp);
    if (cq != nullptr) ibv_destroy_cq(cq);
    if (pd != nullptr) ibv_dealloc_pd(pd);
  }
  Objects() = default;
  Objects(const Objects&) = delete;
  Objects& operator=(const Objects&) = delete;
};

int create(Objects& objects, ibv_context* context, ibv_qp_type type) {
  objects.pd = ibv_alloc_pd(context);
  objects.cq = ibv_create_cq(context, 8, nullptr, nullptr, 0);
  if (objects.pd == nullptr || objects.cq == nullptr) return errno;
  ibv_qp_init_attr init{};
  init.send_cq = objects.cq;
  init.recv_cq = objects.cq;
  init.cap.max_send_wr = 4;
  init.cap.max_recv_wr = 4;
  init.cap.max_send_sge = 1;
  init.cap.max_recv_sge = 1;
  init.qp_type = type;
  objects.qp = ibv_create_qp(objects.pd, &init);
  return objects.qp != nullptr ? 0 : errno;
}

int to_init(ibv_qp* qp) {
  ibv_qp_attr attr{};
  attr.qp_state = IBV_QPS_INIT;
  attr.port_num = kPort;
  const int keys = qp->qp_type == IBV_QPT_UD ? IBV_QP_QKEY : IBV_QP_ACCESS_FLAGS;
  return ibv_modify_qp(qp, &attr, IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | keys);
}

ibv_ah_attr address_of(const ibv_gid& peer, int gid_index) {
  ibv_ah_attr out{};
  out.is_global = 1;
  out.grh.dgid = peer;
  out.grh.sgid_index = static_cast<std::uint8_t>(gid_index);
  out.grh.hop_limit = 1;
  out.port_num = kPort;
  return out;
}

// UD: ready to receive, and an address handle of the peer.
bool address(Steps& steps, Objects& objects, const ibv_gid& peer, int gid_index) {
  ibv_qp_attr attr{};
  attr.qp_state = IBV_QPS_RTR;
  int err = ibv_modify_qp(objects.qp, &attr, IBV_QP_STATE);
  steps["RTR"] = errno_name(err);
  if (err != 0) return false;
  ibv_ah_attr to = address_of(peer, gid_index);
  objects.ah = ibv_create_ah(objects.pd, &to);
  steps["CREATE_AH"] = errno_name(objects.ah != nullptr ? 0 : errno);
  return objects.ah != nullptr;
}

struct Peer {
  ibv_gid gid{};
  std::uint32_t qpn = 0;
  int gid_index = 0;  // of the own GID that leads to it
};

int to_rtr(ibv_qp* qp, const Peer& peer) {
  ibv_qp_attr attr{};
  attr.qp_state = IBV_QPS_RTR;
  attr.path_mtu = IBV_MTU_1024;
  attr.dest_qp_num = peer.qpn;
  attr.max_dest_rd_atomic = 1;
  attr.min_rnr_timer = 12;
  attr.ah_attr = address_of(peer.gid, peer.gid_index);
  int mask = IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN;
  if (qp->qp_type == IBV_QPT_RC) mask |= IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER;
  return ibv_modify_qp(qp, &attr, mask);
}

int to_rts(ibv_qp* qp) {
  ibv_qp_attr attr{};
  attr.qp_state = IBV_QPS_RTS;
  attr.timeout = 14;
  attr.retry_cnt = 7;
  attr.rnr_retry = 7;
  attr.max_rd_atomic = 1;
  return ibv_modify_qp(qp, &attr,
                       IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
                           IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC);
}

constexpr int kAllAccess = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE |
                           IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_ATOMIC;

// What of all access flags the QP has after it asked for them.
void widen(Steps& steps, ibv_qp* qp) {
  steps["RTS"] = errno_name(to_rts(qp));  // the kernel takes no access flags in RTR
  ibv_qp_attr attr{};
  attr.qp_access_flags = kAllAccess;
  steps["WIDEN"] = errno_name(ibv_modify_qp(qp, &attr, IBV_QP_ACCESS_FLAGS));
  ibv_qp_init_attr init{};
  if (ibv_query_qp(qp, &attr, IBV_QP_ACCESS_FLAGS, &init) != 0) return;
  steps["remote_read"] = (attr.qp_access_flags & IBV_ACCESS_REMOTE_READ) != 0;
  steps["remote_write"] = (attr.qp_access_flags & IBV_ACCESS_REMOTE_WRITE) != 0;
}

// Waits for the error state, then goes the way from RESET on again.
void take_up_again(const Peer& peer, ibv_qp* qp, int seconds) {
  ibv_qp_attr attr{};
  ibv_qp_init_attr init{};
  for (int i = 0; attr.qp_state != IBV_QPS_ERR; ++i) {
    if (i == seconds * 10) return;
    ::usleep(100'000);
    if (ibv_query_qp(qp, &attr, IBV_QP_STATE, &init) != 0) return;
  }
  Steps steps;
  steps["cut"] = true;
  attr = {};
  attr.qp_state = IBV_QPS_RESET;
  steps["RESET"] = errno_name(ibv_modify_qp(qp, &attr, IBV_QP_STATE));
  steps["INIT"] = errno_name(to_init(qp));
  steps["RTR"] = errno_name(to_rtr(qp, peer));
  std::printf("%s\n", steps.dump().c_str());
  std::fflush(stdout);
}

// What the kernel says of the connected QP's peer: must be what the tenant gave.
void query(Steps& steps, ibv_qp* qp) {
  ibv_qp_attr attr{};
  ibv_qp_init_attr init{};
  int err = ibv_query_qp(qp, &attr, IBV_QP_STATE | IBV_QP_AV, &init);
  steps["QUERY_QP"] = errno_name(err);
  if (err != 0) return;
  Gid gid;
  std::memcpy(gid.raw.data(), attr.ah_attr.grh.dgid.raw, gid.raw.size());
  steps["dgid"] = to_string(gid);
  steps["sgid_index"] = attr.ah_attr.grh.sgid_index;
  steps["flow_label"] = attr.ah_attr.grh.flow_label;
}

bool one_connection(Steps& steps, ibv_context* context, const ConnectOptions& options) {
  Objects objects;
  int err = create(objects, context, kTypes.at(options.type));
  steps["CREATE_QP"] = errno_name(err);
  if (err != 0) return false;
  steps["qpn"] = objects.qp->qp_num;
  err = to_init(objects.qp);
  steps["INIT"] = errno_name(err);
  if (err != 0) return false;
  ibv_gid peer{};
  if (options.peer_gid == "self") {
    err = ibv_query_gid(context, kPort, options.gid_index, &peer) == 0 ? 0 : errno;
    steps["QUERY_GID"] = errno_name(err);
    if (err != 0) return false;
  } else {
    auto gid = parse_gid(options.peer_gid);
    if (!gid) {
      std::fprintf(stderr, "qmasq-lab-probe: %s\n", gid.error().message.c_str());
      return false;
    }
    std::memcpy(peer.raw, gid->raw.data(), gid->raw.size());
  }
  const Peer to{peer, options.peer_qpn != 0 ? options.peer_qpn : objects.qp->qp_num,
                options.gid_index};
  if (objects.qp->qp_type == IBV_QPT_UD) {
    if (!address(steps, objects, peer, options.gid_index)) return false;
  } else {
    err = to_rtr(objects.qp, to);
    steps["RTR"] = errno_name(err);
    if (err != 0) return false;
    query(steps, objects.qp);
    if (options.insist) widen(steps, objects.qp);
  }
  if (options.hold_seconds > 0) {
    std::printf("%s\n", steps.dump().c_str());
    std::fflush(stdout);
    if (options.insist) take_up_again(to, objects.qp, options.hold_seconds);
    ::sleep(static_cast<unsigned>(options.hold_seconds));
  }
  return true;
}

}  // namespace

int connect(const ConnectOptions& options) {
  if (!kTypes.contains(options.type)) {
    std::fprintf(stderr, "qmasq-lab-probe: unknown QP type '%s'\n", options.type.c_str());
    return 2;
  }
  Steps steps;
  Context context = open_device(options.device);
  steps["open"] = errno_name(context ? 0 : errno);
  bool connected = context != nullptr;
  for (int i = 0; connected && i < options.rounds; ++i) {
    connected = one_connection(steps, context.get(), options);
  }
  std::printf("%s\n", steps.dump().c_str());
  return connected ? 0 : 1;
}

}  // namespace qmasq::probe

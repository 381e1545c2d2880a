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

int to_rtr(ibv_qp* qp, const ibv_gid& peer, std::uint32_t qpn, int gid_index) {
  ibv_qp_attr attr{};
  attr.qp_state = IBV_QPS_RTR;
  attr.path_mtu = IBV_MTU_1024;
  attr.dest_qp_num = qpn;
  attr.max_dest_rd_atomic = 1;
  attr.min_rnr_timer = 12;
  attr.ah_attr = address_of(peer, gid_index);
  int mask = IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN;
  if (qp->qp_type == IBV_QPT_RC) mask |= IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER;
  return ibv_modify_qp(qp, &attr, mask);
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
  if (objects.qp->qp_type == IBV_QPT_UD) {
    if (!address(steps, objects, peer, options.gid_index)) return false;
  } else {
    std::uint32_t qpn = options.peer_qpn != 0 ? options.peer_qpn : objects.qp->qp_num;
    err = to_rtr(objects.qp, peer, qpn, options.gid_index);
    steps["RTR"] = errno_name(err);
    if (err != 0) return false;
    query(steps, objects.qp);
  }
  if (options.hold_seconds > 0) {
    std::printf("%s\n", steps.dump().c_str());
    std::fflush(stdout);
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

// SPDX-License-Identifier: Apache-2.0
// Verbs that no tenant may do, in the form that the kernel takes them. Each answers with the errno,
// or "done" where the kernel has done it.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <functional>

#include <nlohmann/json.hpp>

#include "tests/attack/program/attack.h"

namespace qmasq::attack {
namespace {

using Answers = nlohmann::ordered_json;

std::string word(int err) {
  return err == 0 ? "done" : errno_name(err);
}

// Any write command by ioctl.
int invoke(int fd, std::uint32_t command, const void* in, std::size_t in_size, void* out = nullptr,
           std::size_t out_size = 0, std::uint64_t high_bits = 0) {
  std::array<std::byte, 64> driver{};
  Invoke request{};
  request.set(command, in, in_size, out, out_size, driver.data());
  return submit(fd, &request, high_bits);
}

constexpr std::uint32_t kExtended = IB_USER_VERBS_CMD_FLAG_EXTENDED;

void directly(Answers& out, Rig& rig, const Target& peer, const Target& target) {
  const ib_uverbs_modify_qp command = rtr_command(rig.qp()->handle, target);
  out["RTR to a physical address"] =
      word(invoke(rig.fd(), IB_USER_VERBS_CMD_MODIFY_QP, &command, sizeof command));
  (void)rig.new_qp();
  const ib_uverbs_modify_qp again = rtr_command(rig.qp()->handle, target);
  out["... with high bits in the command"] = word(invoke(
      rig.fd(), IB_USER_VERBS_CMD_MODIFY_QP, &again, sizeof again, nullptr, 0, 0xdead00000000UL));
  (void)rig.new_qp();
  ib_uverbs_ex_modify_qp extended{};
  extended.base = rtr_command(rig.qp()->handle, target);
  std::array<std::byte, 8> answer{};
  out["... by EX_MODIFY_QP"] =
      word(invoke(rig.fd(), kExtended | IB_USER_VERBS_EX_CMD_MODIFY_QP, &extended, sizeof extended,
                  answer.data(), answer.size()));
  // The virtual address of the peer over every index that is not the tenant's.
  for (int index : {2, 3, 4, 255}) {
    (void)rig.new_qp();
    Target other = peer;
    other.gid_index = static_cast<std::uint8_t>(index);
    out["RTR from sgid_index " + std::to_string(index)] = word(to_rtr(rig.qp(), other));
  }
  (void)rig.new_qp();
  Target as_nic = target;
  as_nic.gid_index = 0;
  out["RTR to a physical address from sgid_index 0"] = word(to_rtr(rig.qp(), as_nic));
  // Without a route, the kernel takes the destination from the LID.
  (void)rig.new_qp();
  ib_uverbs_modify_qp local = rtr_command(rig.qp()->handle, target);
  local.dest.is_global = 0;
  out["RTR without a global route"] =
      word(invoke(rig.fd(), IB_USER_VERBS_CMD_MODIFY_QP, &local, sizeof local));
  // RTS without ever having had a peer.
  (void)rig.new_qp();
  out["RTS without RTR"] = word(to_rts(rig.qp()));
}

// From a connection that is permitted to one that is not.
void away(Answers& out, Rig& rig, const Target& peer, const Target& target) {
  auto connect = [&] {
    if (int err = rig.new_qp(); err != 0) return err;
    if (int err = to_rtr(rig.qp(), peer); err != 0) return err;
    return to_rts(rig.qp());
  };
  auto modify = [&](std::uint8_t state, std::uint32_t mask, bool alternate = false) {
    ib_uverbs_modify_qp command = rtr_command(rig.qp()->handle, target);
    command.qp_state = state;
    command.cur_qp_state = IBV_QPS_SQD;
    command.attr_mask = mask;
    command.path_mig_state = IBV_MIG_REARM;
    command.alt_port_num = kPort;
    if (alternate) command.alt_dest = command.dest;
    return invoke(rig.fd(), IB_USER_VERBS_CMD_MODIFY_QP, &command, sizeof command);
  };
  out["connected"] = word(connect());
  out["RTS with a new address"] = word(modify(IBV_QPS_RTS, IBV_QP_STATE | IBV_QP_AV));
  out["SQD"] = word(modify(IBV_QPS_SQD, IBV_QP_STATE));
  out["SQD with a new address"] = word(modify(IBV_QPS_SQD, IBV_QP_STATE | IBV_QP_AV));
  out["RTS from SQD with a new address"] =
      word(modify(IBV_QPS_RTS, IBV_QP_STATE | IBV_QP_CUR_STATE | IBV_QP_AV));
  (void)connect();
  out["alternate path"] = word(modify(
      IBV_QPS_RTS, IBV_QP_STATE | IBV_QP_ALT_PATH | IBV_QP_PATH_MIG_STATE, /*alternate=*/true));
  out["alternate path and the path as it is"] =
      word(modify(IBV_QPS_RTS, IBV_QP_STATE | IBV_QP_ALT_PATH, /*alternate=*/true));
  (void)rig.new_qp();
  ib_uverbs_modify_qp both = rtr_command(rig.qp()->handle, peer);
  both.attr_mask |= IBV_QP_ALT_PATH;
  both.alt_dest = rtr_command(0, target).dest;
  both.alt_port_num = kPort;
  out["RTR with an alternate path"] =
      word(invoke(rig.fd(), IB_USER_VERBS_CMD_MODIFY_QP, &both, sizeof both));
  // The peer's address again after RESET; then another one.
  (void)connect();
  out["RESET"] = word(modify(IBV_QPS_RESET, IBV_QP_STATE));
  (void)to_init(rig.qp());
  out["up again"] = word(to_rtr(rig.qp(), peer));
  out["RESET again"] = word(modify(IBV_QPS_RESET, IBV_QP_STATE));
  (void)to_init(rig.qp());
  out["RTR to a physical address after RESET"] = word(to_rtr(rig.qp(), target));
}

void queue_pairs(Answers& out, Rig& rig, const Target& target) {
  auto create = [&](int type, std::uint8_t is_target = 0) {
    ib_uverbs_create_qp command{};
    ib_uverbs_create_qp_resp made{};
    command.pd_handle = rig.pd()->handle;
    command.send_cq_handle = rig.cq()->handle;
    command.recv_cq_handle = rig.cq()->handle;
    command.max_send_wr = command.max_recv_wr = 1;
    command.max_send_sge = command.max_recv_sge = 1;
    command.qp_type = static_cast<std::uint8_t>(type);
    command.is_srq = is_target;
    const int err =
        invoke(rig.fd(), IB_USER_VERBS_CMD_CREATE_QP, &command, sizeof command, &made, sizeof made);
    if (err == 0) {
      ib_uverbs_destroy_qp gone{};
      ib_uverbs_destroy_qp_resp answer{};
      gone.qp_handle = made.qp_handle;
      (void)invoke(rig.fd(), IB_USER_VERBS_CMD_DESTROY_QP, &gone, sizeof gone, &answer,
                   sizeof answer);
    }
    return word(err);
  };
  out["QP type SMI"] = create(0);
  out["QP type GSI"] = create(1);
  out["QP type UD"] = create(IB_UVERBS_QPT_UD);
  out["QP type raw packet"] = create(IB_UVERBS_QPT_RAW_PACKET);
  out["QP type XRC initiator"] = create(IB_UVERBS_QPT_XRC_INI);
  out["QP type XRC target"] = create(IB_UVERBS_QPT_XRC_TGT);
  out["QP type driver"] = create(IB_UVERBS_QPT_DRIVER);
  ib_uverbs_open_qp open{};
  ib_uverbs_create_qp_resp opened{};
  open.qpn = target.qpn;
  open.qp_type = IB_UVERBS_QPT_XRC_TGT;
  out["OPEN_QP of another"] =
      word(invoke(rig.fd(), IB_USER_VERBS_CMD_OPEN_QP, &open, sizeof open, &opened, sizeof opened));
  ib_uverbs_open_xrcd domain{};
  ib_uverbs_open_xrcd_resp domain_made{};
  const int file = ::open("/tmp/attack-xrcd", O_RDONLY | O_CREAT | O_CLOEXEC, 0666);
  domain.fd = static_cast<std::uint32_t>(file);
  domain.oflags = O_CREAT;
  out["XRC domain by a file"] = word(invoke(rig.fd(), IB_USER_VERBS_CMD_OPEN_XRCD, &domain,
                                            sizeof domain, &domain_made, sizeof domain_made));
  ::close(file);
  ib_uverbs_create_ah address{};
  ib_uverbs_create_ah_resp address_made{};
  address.pd_handle = rig.pd()->handle;
  std::memcpy(address.attr.grh.dgid, target.gid.raw, 16);
  address.attr.grh.sgid_index = target.gid_index;
  address.attr.is_global = 1;
  address.attr.port_num = kPort;
  out["address handle of a physical address"] =
      word(invoke(rig.fd(), IB_USER_VERBS_CMD_CREATE_AH, &address, sizeof address, &address_made,
                  sizeof address_made));
  ib_uverbs_attach_mcast group{};
  std::memcpy(group.gid, target.gid.raw, 16);
  group.qp_handle = rig.qp()->handle;
  out["multicast"] = word(invoke(rig.fd(), IB_USER_VERBS_CMD_ATTACH_MCAST, &group, sizeof group));
}

void back_doors(Answers& out, Rig& rig) {
  alignas(8) std::array<std::byte, sizeof(ib_uverbs_create_flow) + sizeof(ib_uverbs_flow_spec_eth)>
      flow{};
  std::array<std::byte, 64> answer{};
  auto* rule = reinterpret_cast<ib_uverbs_create_flow*>(flow.data());
  auto* ethernet = reinterpret_cast<ib_uverbs_flow_spec_eth*>(flow.data() + sizeof *rule);
  rule->qp_handle = rig.qp()->handle;
  rule->flow_attr.size = sizeof *ethernet;
  rule->flow_attr.num_of_specs = 1;
  rule->flow_attr.port = kPort;
  ethernet->type = 0x20;
  ethernet->size = sizeof *ethernet;
  out["flow steering"] = word(invoke(rig.fd(), kExtended | IB_USER_VERBS_EX_CMD_CREATE_FLOW,
                                     flow.data(), flow.size(), answer.data(), 8));
  out["work queue"] = word(invoke(rig.fd(), kExtended | IB_USER_VERBS_EX_CMD_CREATE_WQ, flow.data(),
                                  flow.size(), answer.data(), 32));
  struct Door {
    const char* name;
    std::uint16_t object;
    std::uint16_t method;
    std::uint32_t driver;
  };
  constexpr std::uint16_t kDriver = 0x1000;  // where drivers' own numbers begin
  for (const Door& door : {
           Door{"DEVX other command", kDriver, kDriver, RDMA_DRIVER_MLX5},
           Door{"DEVX object", kDriver + 1, kDriver, RDMA_DRIVER_MLX5},
           Door{"DEVX object modify", kDriver + 1, kDriver + 2, RDMA_DRIVER_MLX5},
           Door{"DEVX memory", kDriver + 2, kDriver, RDMA_DRIVER_MLX5},
           Door{"mlx5 flow matcher", kDriver + 3, kDriver, RDMA_DRIVER_MLX5},
           Door{"DEVX by the device's own driver id", kDriver + 1, kDriver, RDMA_DRIVER_RXE},
           Door{"driver's method on a QP", UVERBS_OBJECT_QP, kDriver, RDMA_DRIVER_RXE},
           Door{"driver's method on the device", UVERBS_OBJECT_DEVICE, kDriver + 1,
                RDMA_DRIVER_RXE},
           Door{"unknown object", 0x0fff, 0, RDMA_DRIVER_RXE},
           Door{"flow action", UVERBS_OBJECT_FLOW_ACTION, 0, RDMA_DRIVER_RXE},
           Door{"device memory", UVERBS_OBJECT_DM, 0, RDMA_DRIVER_RXE},
           Door{"counters", UVERBS_OBJECT_COUNTERS, 0, RDMA_DRIVER_RXE},
       }) {
    Method method(door.object, door.method, door.driver);
    out[door.name] = word(method.run(rig.fd()));
  }
}

// Handles count from 0 in each file. Those that this file has not must be nobody's.
void handles(Answers& out, Rig& rig) {
  int found = 0;
  int taken = 0;
  for (std::uint32_t handle = 0; handle < 64; ++handle) {
    if (handle != rig.qp()->handle) {
      ib_uverbs_query_qp query{};
      ib_uverbs_query_qp_resp answer{};
      query.qp_handle = handle;
      query.attr_mask = IBV_QP_STATE;
      if (invoke(rig.fd(), IB_USER_VERBS_CMD_QUERY_QP, &query, sizeof query, &answer,
                 sizeof answer) == 0) {
        ++found;
      }
    }
    if (handle != rig.cq()->handle) {
      ib_uverbs_create_qp command{};
      ib_uverbs_create_qp_resp made{};
      command.pd_handle = rig.pd()->handle;
      command.send_cq_handle = command.recv_cq_handle = handle;
      command.max_send_wr = command.max_recv_wr = 1;
      command.max_send_sge = command.max_recv_sge = 1;
      command.qp_type = IB_UVERBS_QPT_RC;
      if (invoke(rig.fd(), IB_USER_VERBS_CMD_CREATE_QP, &command, sizeof command, &made,
                 sizeof made) == 0) {
        ++taken;
      }
    }
  }
  out["handles of QPs that are not its own"] = found;
  out["handles of CQs that are not its own"] = taken;
}

}  // namespace

int verbs(const std::string& device, const Target& peer, const Target& target) {
  Rig rig(device);
  Answers out;
  out["device"] = rig.error().empty() ? "0" : rig.error();
  if (rig.error().empty()) {
    directly(out, rig, peer, target);
    away(out, rig, peer, target);
    queue_pairs(out, rig, target);
    back_doors(out, rig);
    handles(out, rig);
  }
  std::printf("%s\n", out.dump().c_str());
  return 0;
}

}  // namespace qmasq::attack

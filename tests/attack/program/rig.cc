// SPDX-License-Identifier: Apache-2.0
#include "tests/attack/program/rig.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "common/net_types.h"

namespace qmasq::attack {
namespace {

constexpr std::size_t kDriverOut = 64;

}  // namespace

std::optional<ibv_gid> gid_of(const std::string& text) {
  auto parsed = parse_gid(text);
  if (!parsed) return std::nullopt;
  ibv_gid gid{};
  std::memcpy(gid.raw, parsed->raw.data(), parsed->raw.size());
  return gid;
}

Rig::Rig(const std::string& device, ibv_qp_type type)
    : context_(probe::open_device(device)),
      memory_(std::make_unique<std::array<std::uint64_t, 512>>()),
      type_(type) {
  if (!context_) {
    error_ = "open: " + errno_name(errno);
    return;
  }
  pd_ = ibv_alloc_pd(context_.get());
  cq_ = ibv_create_cq(context_.get(), 16, nullptr, nullptr, 0);
  if (pd_ != nullptr) {
    mr_ = ibv_reg_mr(pd_, memory_->data(), sizeof *memory_,
                     IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ);
  }
  if (pd_ == nullptr || cq_ == nullptr || mr_ == nullptr) {
    error_ = "PD, CQ, MR: " + errno_name(errno);
    return;
  }
  if (int err = new_qp(); err != 0) error_ = "QP: " + errno_name(err);
}

Rig::~Rig() {
  if (qp_ != nullptr) ibv_destroy_qp(qp_);
  if (mr_ != nullptr) ibv_dereg_mr(mr_);
  if (cq_ != nullptr) ibv_destroy_cq(cq_);
  if (pd_ != nullptr) ibv_dealloc_pd(pd_);
}

int Rig::new_qp() {
  if (qp_ != nullptr) ibv_destroy_qp(qp_);
  ibv_qp_init_attr init{};
  init.send_cq = cq_;
  init.recv_cq = cq_;
  init.cap = {4, 4, 1, 1, 0};
  init.qp_type = type_;
  init.sq_sig_all = 1;
  qp_ = ibv_create_qp(pd_, &init);
  if (qp_ == nullptr) return errno;
  return to_init(qp_);
}

int to_init(ibv_qp* qp) {
  ibv_qp_attr attr{};
  attr.qp_state = IBV_QPS_INIT;
  attr.port_num = kPort;
  attr.qp_access_flags = IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ;
  const int keys = qp->qp_type == IBV_QPT_UD ? IBV_QP_QKEY : IBV_QP_ACCESS_FLAGS;
  return ibv_modify_qp(qp, &attr, IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | keys);
}

int to_rtr(ibv_qp* qp, const Target& target) {
  ibv_qp_attr attr{};
  attr.qp_state = IBV_QPS_RTR;
  attr.path_mtu = IBV_MTU_1024;
  attr.dest_qp_num = target.qpn;
  attr.max_dest_rd_atomic = 1;
  attr.min_rnr_timer = 12;
  attr.ah_attr.is_global = 1;
  attr.ah_attr.grh.dgid = target.gid;
  attr.ah_attr.grh.sgid_index = target.gid_index;
  attr.ah_attr.grh.hop_limit = 64;
  attr.ah_attr.port_num = kPort;
  int mask = IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN;
  if (qp->qp_type == IBV_QPT_RC) mask |= IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER;
  return ibv_modify_qp(qp, &attr, mask);
}

int to_rts(ibv_qp* qp) {
  ibv_qp_attr attr{};
  attr.qp_state = IBV_QPS_RTS;
  attr.timeout = 14;
  attr.retry_cnt = 3;
  attr.rnr_retry = 3;
  attr.max_rd_atomic = 1;
  int mask = IBV_QP_STATE | IBV_QP_SQ_PSN;
  if (qp->qp_type == IBV_QPT_RC) {
    mask |= IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY | IBV_QP_MAX_QP_RD_ATOMIC;
  }
  return ibv_modify_qp(qp, &attr, mask);
}

bool write_into(Rig& rig, const Target& target, int milliseconds) {
  rig.memory()[0] = 0x5a5a5a5a5a5a5a5aULL;
  ibv_sge piece{reinterpret_cast<std::uint64_t>(rig.memory().data()), 8, rig.mr()->lkey};
  ibv_send_wr work{};
  work.sg_list = &piece;
  work.num_sge = 1;
  work.opcode = IBV_WR_RDMA_WRITE;
  work.send_flags = IBV_SEND_SIGNALED;
  work.wr.rdma.remote_addr = target.address;
  work.wr.rdma.rkey = target.rkey;
  ibv_send_wr* bad = nullptr;
  if (ibv_post_send(rig.qp(), &work, &bad) != 0) return false;
  for (int i = 0; i < milliseconds; ++i) {
    ibv_wc done{};
    if (ibv_poll_cq(rig.cq(), 1, &done) > 0) return done.status == IBV_WC_SUCCESS;
    ::usleep(1000);
  }
  return false;
}

ib_uverbs_modify_qp rtr_command(std::uint32_t qp_handle, const Target& target) {
  ib_uverbs_modify_qp out{};
  std::memcpy(out.dest.dgid, target.gid.raw, sizeof out.dest.dgid);
  out.dest.sgid_index = target.gid_index;
  out.dest.hop_limit = 64;
  out.dest.is_global = 1;
  out.dest.port_num = kPort;
  out.qp_handle = qp_handle;
  out.attr_mask = IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN |
                  IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER;
  out.dest_qp_num = target.qpn;
  out.qp_state = IBV_QPS_RTR;
  out.path_mtu = IBV_MTU_1024;
  out.max_dest_rd_atomic = 1;
  out.min_rnr_timer = 12;
  return out;
}

ib_uverbs_modify_qp rts_command(std::uint32_t qp_handle) {
  ib_uverbs_modify_qp out{};
  out.qp_handle = qp_handle;
  out.attr_mask = IBV_QP_STATE | IBV_QP_SQ_PSN | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT |
                  IBV_QP_RNR_RETRY | IBV_QP_MAX_QP_RD_ATOMIC;
  out.qp_state = IBV_QPS_RTS;
  out.timeout = 14;
  out.retry_cnt = 3;
  out.rnr_retry = 3;
  out.max_rd_atomic = 1;
  return out;
}

void Invoke::set(std::uint32_t command, const void* core_in, std::size_t core_in_size,
                 void* core_out, std::size_t core_out_size, void* driver_out) {
  bytes.fill(std::byte{0});
  auto* header = reinterpret_cast<ib_uverbs_ioctl_hdr*>(bytes.data());
  header->length = static_cast<__u16>(bytes.size());
  header->object_id = UVERBS_OBJECT_DEVICE;
  header->method_id = UVERBS_METHOD_INVOKE_WRITE;
  header->num_attrs = 4;
  header->driver_id = RDMA_DRIVER_RXE;
  auto fill = [header](std::size_t i, std::uint16_t id, std::size_t size, std::uint64_t data) {
    ib_uverbs_attr& attr = header->attrs[i];
    attr.attr_id = id;
    attr.len = static_cast<__u16>(size);
    attr.flags = UVERBS_ATTR_F_MANDATORY;
    attr.data = data;
  };
  fill(0, UVERBS_ATTR_CORE_IN, core_in_size, reinterpret_cast<std::uint64_t>(core_in));
  fill(1, UVERBS_ATTR_CORE_OUT, core_out_size, reinterpret_cast<std::uint64_t>(core_out));
  fill(2, UVERBS_ATTR_UHW_OUT, kDriverOut, reinterpret_cast<std::uint64_t>(driver_out));
  fill(3, UVERBS_ATTR_WRITE_CMD, sizeof(std::uint64_t), command);
}

int submit(int fd, const void* request, std::uint64_t high_bits) {
  return ::ioctl(fd, RDMA_VERBS_IOCTL | high_bits, request) < 0 ? errno : 0;
}

Method::Method(std::uint16_t object, std::uint16_t method, std::uint32_t driver) {
  header()->length = sizeof(ib_uverbs_ioctl_hdr);
  header()->object_id = object;
  header()->method_id = method;
  header()->driver_id = driver;
}

void Method::add(std::uint16_t id, std::uint16_t size, std::uint64_t data) {
  ib_uverbs_attr& attr = header()->attrs[header()->num_attrs++];
  attr.attr_id = id;
  attr.len = size;
  attr.flags = UVERBS_ATTR_F_MANDATORY;
  attr.data = data;
  header()->length = static_cast<__u16>(header()->length + sizeof attr);
}

Method& Method::in(std::uint16_t id, const void* data, std::uint16_t size) {
  std::uint64_t word = reinterpret_cast<std::uint64_t>(data);
  // Up to 8 bytes travel in the attribute itself.
  if (size <= sizeof word) {
    word = 0;
    std::memcpy(&word, data, size);
  }
  add(id, size, word);
  return *this;
}

Method& Method::out(std::uint16_t id, void* data, std::uint16_t size) {
  add(id, size, reinterpret_cast<std::uint64_t>(data));
  return *this;
}

Method& Method::value(std::uint16_t id, std::uint64_t value) {
  add(id, sizeof value, value);
  return *this;
}

Invoke Method::as_invoke() const {
  Invoke out{};
  std::memcpy(out.bytes.data(), bytes_.data(), out.bytes.size());
  return out;
}

}  // namespace qmasq::attack

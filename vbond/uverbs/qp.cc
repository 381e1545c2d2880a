// SPDX-License-Identifier: Apache-2.0
#include "vbond/uverbs/qp.h"

#include <linux/types.h>
#include <rdma/ib_user_ioctl_verbs.h>
#include <rdma/ib_user_verbs.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "vbond/uverbs/request.h"

namespace qmasq::vbond::uverbs {
namespace {

// IB_QP_CREATE_SOURCE_QPN of the kernel; the write form's way to say that source_qpn counts.
constexpr std::uint32_t kCreateSourceQpn = 1U << 10;
constexpr std::uint32_t kCreateSqSigAll = IB_UVERBS_QP_CREATE_SQ_SIG_ALL;
constexpr std::uint32_t kCompMaskIndTable = IB_UVERBS_CREATE_QP_MASK_IND_TABLE;

QpDest from_abi(const ib_uverbs_qp_dest& in) {
  QpDest out;
  std::memcpy(out.dgid.raw.data(), in.dgid, sizeof(in.dgid));
  out.flow_label = in.flow_label;
  out.dlid = in.dlid;
  out.sgid_index = in.sgid_index;
  out.hop_limit = in.hop_limit;
  out.traffic_class = in.traffic_class;
  out.sl = in.sl;
  out.src_path_bits = in.src_path_bits;
  out.static_rate = in.static_rate;
  out.is_global = in.is_global != 0;
  out.port_num = in.port_num;
  return out;
}

ib_uverbs_qp_dest to_abi(const QpDest& in) {
  ib_uverbs_qp_dest out{};
  std::memcpy(out.dgid, in.dgid.raw.data(), sizeof(out.dgid));
  out.flow_label = in.flow_label;
  out.dlid = in.dlid;
  out.sgid_index = in.sgid_index;
  out.hop_limit = in.hop_limit;
  out.traffic_class = in.traffic_class;
  out.sl = in.sl;
  out.src_path_bits = in.src_path_bits;
  out.static_rate = in.static_rate;
  out.is_global = in.is_global ? 1 : 0;
  out.port_num = in.port_num;
  return out;
}

// The five caps have the same names in all structures that carry them.
template <typename Abi>
QpCap cap_from_abi(const Abi& in) {
  return {in.max_send_wr, in.max_recv_wr, in.max_send_sge, in.max_recv_sge, in.max_inline_data};
}
template <typename Abi>
void cap_to_abi(const QpCap& in, Abi& out) {
  out.max_send_wr = in.max_send_wr;
  out.max_recv_wr = in.max_recv_wr;
  out.max_send_sge = in.max_send_sge;
  out.max_recv_sge = in.max_recv_sge;
  out.max_inline_data = in.max_inline_data;
}

// What ib_uverbs_create_qp and ib_uverbs_ex_create_qp have in common.
template <typename Abi>
CreateQp create_from_abi(const Abi& in) {
  CreateQp out;
  out.type = static_cast<QpType>(in.qp_type);
  out.user_handle = in.user_handle;
  // For an XRC target the field holds the handle of its domain.
  (out.type == QpType::kXrcTgt ? out.xrcd : out.pd) = in.pd_handle;
  out.send_cq = in.send_cq_handle;
  out.recv_cq = in.recv_cq_handle;
  if (in.is_srq != 0) out.srq = in.srq_handle;
  out.cap = cap_from_abi(in);
  out.sq_sig_all = in.sq_sig_all != 0;
  return out;
}
template <typename Abi>
void create_to_abi(const CreateQp& in, Abi& out) {
  out.qp_type = static_cast<std::uint8_t>(in.type);
  out.user_handle = in.user_handle;
  out.pd_handle = (in.type == QpType::kXrcTgt ? in.xrcd : in.pd).value_or(0);
  out.send_cq_handle = in.send_cq.value_or(0);
  out.recv_cq_handle = in.recv_cq.value_or(0);
  out.is_srq = in.srq ? 1 : 0;
  out.srq_handle = in.srq.value_or(0);
  cap_to_abi(in.cap, out);
  out.sq_sig_all = in.sq_sig_all ? 1 : 0;
}

// OBJECT_QP / CREATE, all in attributes.
ErrnoOr<CreateQp> decode_create_qp_ioctl(const CallBuilder& call) {
  CreateQp out;
  const auto type = call.value(attr::kCreateQpType);
  const auto user_handle = call.value(attr::kCreateQpUserHandle);
  if (!type || *type > UINT32_MAX || !user_handle) return tl::unexpected(EINVAL);
  out.type = static_cast<QpType>(*type);
  out.user_handle = *user_handle;

  ib_uverbs_qp_cap cap{};
  const auto cap_bytes = call.in(attr::kCreateQpCap);
  if (cap_bytes.size() < sizeof(cap)) return tl::unexpected(EINVAL);
  if (const int err = read_request(cap_bytes, sizeof(cap), cap); err != 0) {
    return tl::unexpected(err);
  }
  out.cap = cap_from_abi(cap);

  const std::uint64_t flags = call.value(attr::kCreateQpFlags).value_or(0);
  if (flags > UINT32_MAX) return tl::unexpected(EINVAL);
  out.sq_sig_all = (flags & kCreateSqSigAll) != 0;
  out.create_flags = static_cast<std::uint32_t>(flags) & ~kCreateSqSigAll;

  const struct {
    std::uint16_t id;
    std::optional<std::uint32_t>& to;
  } handles[] = {
      {attr::kCreateQpXrcd, out.xrcd},      {attr::kCreateQpPd, out.pd},
      {attr::kCreateQpSrq, out.srq},        {attr::kCreateQpSendCq, out.send_cq},
      {attr::kCreateQpRecvCq, out.recv_cq}, {attr::kCreateQpIndTable, out.ind_table},
  };
  for (const auto& [id, to] : handles) {
    if (!call.has(id)) continue;
    to = call.handle(id);
    if (!to) return tl::unexpected(ENOENT);  // as the kernel for a handle that does not exist
  }
  if (const auto qpn = call.value(attr::kCreateQpSourceQpn)) {
    out.source_qpn = static_cast<std::uint32_t>(*qpn);
  }
  return out;
}

// What a QP is asked to become and what it is have these fields in common, under one name in
// struct ib_uverbs_modify_qp and struct ib_uverbs_query_qp_resp.
template <typename Abi, typename Attributes>
void attributes_from_abi(const Abi& abi, Attributes& out) {
  out.dest = from_abi(abi.dest);
  out.alt_dest = from_abi(abi.alt_dest);
  out.qkey = abi.qkey;
  out.rq_psn = abi.rq_psn;
  out.sq_psn = abi.sq_psn;
  out.dest_qpn = Qpn{abi.dest_qp_num};
  out.access_flags = abi.qp_access_flags;
  out.pkey_index = abi.pkey_index;
  out.alt_pkey_index = abi.alt_pkey_index;
  out.state = static_cast<QpState>(abi.qp_state);
  out.cur_state = static_cast<QpState>(abi.cur_qp_state);
  out.path_mtu = abi.path_mtu;
  out.path_mig_state = abi.path_mig_state;
  out.max_rd_atomic = abi.max_rd_atomic;
  out.max_dest_rd_atomic = abi.max_dest_rd_atomic;
  out.min_rnr_timer = abi.min_rnr_timer;
  out.port_num = abi.port_num;
  out.timeout = abi.timeout;
  out.retry_count = abi.retry_cnt;
  out.rnr_retry = abi.rnr_retry;
  out.alt_port_num = abi.alt_port_num;
  out.alt_timeout = abi.alt_timeout;
}

template <typename Attributes, typename Abi>
void attributes_to_abi(const Attributes& in, Abi& out) {
  out.dest = to_abi(in.dest);
  out.alt_dest = to_abi(in.alt_dest);
  out.qkey = in.qkey;
  out.rq_psn = in.rq_psn;
  out.sq_psn = in.sq_psn;
  out.dest_qp_num = in.dest_qpn.value;
  out.qp_access_flags = in.access_flags;
  out.pkey_index = in.pkey_index;
  out.alt_pkey_index = in.alt_pkey_index;
  out.qp_state = static_cast<std::uint8_t>(in.state);
  out.cur_qp_state = static_cast<std::uint8_t>(in.cur_state);
  out.path_mtu = in.path_mtu;
  out.path_mig_state = in.path_mig_state;
  out.max_rd_atomic = in.max_rd_atomic;
  out.max_dest_rd_atomic = in.max_dest_rd_atomic;
  out.min_rnr_timer = in.min_rnr_timer;
  out.port_num = in.port_num;
  out.timeout = in.timeout;
  out.retry_cnt = in.retry_count;
  out.rnr_retry = in.rnr_retry;
  out.alt_port_num = in.alt_port_num;
  out.alt_timeout = in.alt_timeout;
}

}  // namespace

ErrnoOr<ModifyQp> decode_modify_qp(std::span<const std::byte> core_in, Form form) {
  ib_uverbs_ex_modify_qp abi{};
  const bool ex = form == Form::kWriteEx;
  const int err = ex ? read_request(core_in, kModifyQpSize, abi)
                     : read_request(core_in, kModifyQpSize, abi.base);
  if (err != 0) return tl::unexpected(err);
  const ib_uverbs_modify_qp& in = abi.base;
  const std::uint32_t known = qp_mask::kStandard | (ex ? qp_mask::kRateLimit : 0);
  if ((in.attr_mask & ~known) != 0) return tl::unexpected(EOPNOTSUPP);
  constexpr auto kLastState = static_cast<std::uint8_t>(QpState::kErr);
  if (((in.attr_mask & qp_mask::kState) != 0 && in.qp_state > kLastState) ||
      ((in.attr_mask & qp_mask::kCurState) != 0 && in.cur_qp_state > kLastState)) {
    return tl::unexpected(EINVAL);
  }
  ModifyQp out;
  attributes_from_abi(in, out);
  out.qp_handle = in.qp_handle;
  out.attr_mask = in.attr_mask;
  out.en_sqd_async_notify = in.en_sqd_async_notify;
  out.rate_limit = abi.rate_limit;
  return out;
}

bool encode_modify_qp(const ModifyQp& in, Form form, std::span<std::byte> core_in) {
  ib_uverbs_ex_modify_qp abi{};
  attributes_to_abi(in, abi.base);
  abi.base.qp_handle = in.qp_handle;
  abi.base.attr_mask = in.attr_mask;
  abi.base.en_sqd_async_notify = in.en_sqd_async_notify;
  abi.rate_limit = in.rate_limit;
  // A shorter extended request is sound as long as the rate is not asked for.
  if (form == Form::kWriteEx && core_in.size() >= sizeof(abi)) return write_abi(abi, core_in);
  if (in.sets(qp_mask::kRateLimit)) return false;
  return write_abi(abi.base, core_in);
}

ErrnoOr<QueryQp> decode_query_qp(std::span<const std::byte> core_in) {
  ib_uverbs_query_qp abi{};
  if (const int err = read_request(core_in, kQueryQpSize, abi); err != 0) {
    return tl::unexpected(err);
  }
  return QueryQp{abi.qp_handle, abi.attr_mask};
}

bool encode_query_qp(const QueryQp& in, std::span<std::byte> core_in) {
  ib_uverbs_query_qp abi{};
  abi.qp_handle = in.qp_handle;
  abi.attr_mask = in.attr_mask;
  return write_abi(abi, core_in);
}

ErrnoOr<QueryQpResp> decode_query_qp_resp(std::span<const std::byte> core_out) {
  ib_uverbs_query_qp_resp abi{};
  if (!read_response(core_out, abi)) return tl::unexpected(EINVAL);
  QueryQpResp out;
  attributes_from_abi(abi, out);
  out.cap = cap_from_abi(abi);
  out.sq_draining = abi.sq_draining;
  out.sq_sig_all = abi.sq_sig_all;
  return out;
}

bool encode_query_qp_resp(const QueryQpResp& in, std::span<std::byte> core_out) {
  ib_uverbs_query_qp_resp out{};
  attributes_to_abi(in, out);
  cap_to_abi(in.cap, out);
  out.sq_draining = in.sq_draining;
  out.sq_sig_all = in.sq_sig_all;
  return write_abi(out, core_out);
}

ErrnoOr<CreateQp> decode_create_qp(const CallBuilder& call, const Verb& verb) {
  if (verb.key.form == Form::kIoctl) return decode_create_qp_ioctl(call);
  return decode_create_qp_write(call.in(attr::kCoreIn), verb.key.form);
}

ErrnoOr<CreateQp> decode_create_qp_write(std::span<const std::byte> core_in, Form form) {
  if (form == Form::kWrite) {
    ib_uverbs_create_qp abi{};
    if (const int err = read_request(core_in, kCreateQpSize, abi); err != 0) {
      return tl::unexpected(err);
    }
    return create_from_abi(abi);
  }
  ib_uverbs_ex_create_qp abi{};
  constexpr std::size_t kLeast = offsetof(ib_uverbs_ex_create_qp, create_flags);
  if (const int err = read_request(core_in, kLeast, abi); err != 0) return tl::unexpected(err);
  if ((abi.comp_mask & ~kCompMaskIndTable) != 0 || abi.reserved != 0) {
    return tl::unexpected(EINVAL);
  }
  CreateQp out = create_from_abi(abi);
  out.create_flags = abi.create_flags & ~kCreateSourceQpn;
  if ((abi.create_flags & kCreateSourceQpn) != 0) out.source_qpn = abi.source_qpn;
  if ((abi.comp_mask & kCompMaskIndTable) != 0) out.ind_table = abi.rwq_ind_tbl_handle;
  return out;
}

bool encode_create_qp_write(const CreateQp& in, Form form, std::span<std::byte> core_in) {
  if (form == Form::kWrite) {
    if (in.ind_table || in.source_qpn || in.create_flags != 0) return false;  // no place for them
    ib_uverbs_create_qp abi{};
    create_to_abi(in, abi);
    return write_abi(abi, core_in);
  }
  ib_uverbs_ex_create_qp abi{};
  create_to_abi(in, abi);
  abi.create_flags = in.create_flags | (in.source_qpn ? kCreateSourceQpn : 0);
  abi.source_qpn = in.source_qpn.value_or(0);
  abi.comp_mask = in.ind_table ? kCompMaskIndTable : 0;
  abi.rwq_ind_tbl_handle = in.ind_table.value_or(0);
  return write_abi(abi, core_in);
}

ErrnoOr<CreateQpResp> decode_create_qp_resp(const CallBuilder& call, const Verb& verb) {
  CreateQpResp out;
  if (verb.key.form == Form::kIoctl) {
    const auto handle = call.handle(attr::kCreateQpHandle);
    ib_uverbs_qp_cap cap{};
    std::uint32_t qpn = 0;
    if (!handle || !call.valid_output(attr::kCreateQpRespCap) ||
        !call.valid_output(attr::kCreateQpRespQpn) ||
        !read_response(call.out(attr::kCreateQpRespCap), cap) ||
        !read_response(call.out(attr::kCreateQpRespQpn), qpn)) {
      return tl::unexpected(EINVAL);
    }
    out.qp_handle = *handle;
    out.qpn = Qpn{qpn};
    out.cap = cap_from_abi(cap);
    return out;
  }
  // The head of ib_uverbs_ex_create_qp_resp is the same structure.
  ib_uverbs_create_qp_resp abi{};
  if (!call.valid_output(attr::kCoreOut) || !read_response(call.out(attr::kCoreOut), abi)) {
    return tl::unexpected(EINVAL);
  }
  out.qp_handle = abi.qp_handle;
  out.qpn = Qpn{abi.qpn};
  out.cap = cap_from_abi(abi);
  return out;
}

bool encode_create_qp_resp(const CreateQpResp& in, std::span<std::byte> core_out) {
  ib_uverbs_create_qp_resp abi{};
  abi.qp_handle = in.qp_handle;
  abi.qpn = in.qpn.value;
  cap_to_abi(in.cap, abi);
  return write_abi(abi, core_out);
}

ErrnoOr<std::uint32_t> decode_destroy_qp(const CallBuilder& call, const Verb& verb) {
  if (verb.key.form == Form::kIoctl) {
    const auto handle = call.handle(attr::kDestroyQpHandle);
    if (!handle) return tl::unexpected(ENOENT);
    return *handle;
  }
  ib_uverbs_destroy_qp abi{};
  if (const int err = read_request(call.in(attr::kCoreIn), sizeof(abi), abi); err != 0) {
    return tl::unexpected(err);
  }
  return abi.qp_handle;
}

}  // namespace qmasq::vbond::uverbs

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "common/net_types.h"
#include "vbond/uverbs/abi.h"
#include "vbond/uverbs/call_builder.h"
#include "vbond/uverbs/verb.h"

// Codecs of the queue pair verbs. Each decoder takes the bytes of the agent's copy and answers
// with the kernel's errno; each encoder writes exactly the size it names and returns false when
// the span is shorter. Surplus bytes of a request must be zero (EOPNOTSUPP), as in the kernel's
// uverbs_request(); reserved fields are dropped. ABI: struct names of rdma/ib_user_verbs.h.
namespace qmasq::vbond::uverbs {

// struct ib_uverbs_qp_dest: an address vector in MODIFY_QP and QUERY_QP.
inline constexpr std::size_t kQpDestSize = 32;
struct QpDest {
  Gid dgid;
  std::uint32_t flow_label = 0;  // 20 bits
  std::uint16_t dlid = 0;
  std::uint8_t sgid_index = 0;
  std::uint8_t hop_limit = 0;
  std::uint8_t traffic_class = 0;
  std::uint8_t sl = 0;
  std::uint8_t src_path_bits = 0;
  std::uint8_t static_rate = 0;
  bool is_global = false;  // RoCE has no other
  std::uint8_t port_num = 0;
  friend bool operator==(const QpDest&, const QpDest&) = default;
};

// struct ib_uverbs_modify_qp and ib_uverbs_ex_modify_qp. A field counts only when its bit of
// attr_mask is set: dest with qp_mask::kAv, and alt_dest, which names an address just as well, with
// kAltPath.
inline constexpr std::size_t kModifyQpSize = 112;
inline constexpr std::size_t kExModifyQpSize = 120;
struct ModifyQp {
  QpDest dest;
  QpDest alt_dest;
  std::uint32_t qp_handle = 0;
  std::uint32_t attr_mask = 0;  // qp_mask
  std::uint32_t qkey = 0;
  std::uint32_t rq_psn = 0;
  std::uint32_t sq_psn = 0;
  Qpn dest_qpn;
  std::uint32_t access_flags = 0;  // access
  std::uint16_t pkey_index = 0;
  std::uint16_t alt_pkey_index = 0;
  QpState state = QpState::kReset;
  QpState cur_state = QpState::kReset;
  std::uint8_t path_mtu = 0;
  std::uint8_t path_mig_state = 0;
  std::uint8_t en_sqd_async_notify = 0;
  std::uint8_t max_rd_atomic = 0;
  std::uint8_t max_dest_rd_atomic = 0;
  std::uint8_t min_rnr_timer = 0;
  std::uint8_t port_num = 0;
  std::uint8_t timeout = 0;
  std::uint8_t retry_count = 0;
  std::uint8_t rnr_retry = 0;
  std::uint8_t alt_port_num = 0;
  std::uint8_t alt_timeout = 0;
  std::uint32_t rate_limit = 0;  // kbit/s; EX_MODIFY_QP only

  [[nodiscard]] bool sets(std::uint32_t bit) const { return (attr_mask & bit) != 0; }
  // The step to state `to` is asked for.
  [[nodiscard]] bool goes_to(QpState to) const { return sets(qp_mask::kState) && state == to; }
  friend bool operator==(const ModifyQp&, const ModifyQp&) = default;
};
// ENOSPC shorter than kModifyQpSize; EOPNOTSUPP surplus that is not zero, or bits of attr_mask that
// the form does not have; EINVAL a state that does not exist.
[[nodiscard]] ErrnoOr<ModifyQp> decode_modify_qp(std::span<const std::byte> core_in, Form form);
// Writes kModifyQpSize (kWrite) or, when there is room for it, kExModifyQpSize bytes (kWriteEx).
[[nodiscard]] bool encode_modify_qp(const ModifyQp& in, Form form, std::span<std::byte> core_in);

// struct ib_uverbs_query_qp
inline constexpr std::size_t kQueryQpSize = 16;
struct QueryQp {
  std::uint32_t qp_handle = 0;
  std::uint32_t attr_mask = 0;
  friend bool operator==(const QueryQp&, const QueryQp&) = default;
};
[[nodiscard]] ErrnoOr<QueryQp> decode_query_qp(std::span<const std::byte> core_in);
[[nodiscard]] bool encode_query_qp(const QueryQp& in, std::span<std::byte> core_in);

// struct ib_uverbs_qp_cap
inline constexpr std::size_t kQpCapSize = 20;
struct QpCap {
  std::uint32_t max_send_wr = 0;
  std::uint32_t max_recv_wr = 0;
  std::uint32_t max_send_sge = 0;
  std::uint32_t max_recv_sge = 0;
  std::uint32_t max_inline_data = 0;
  friend bool operator==(const QpCap&, const QpCap&) = default;
};

// struct ib_uverbs_query_qp_resp. The kernel fills dest and alt_dest in physical terms, whatever
// attr_mask asked for: both must be turned back before the tenant sees them.
inline constexpr std::size_t kQueryQpRespSize = 128;
struct QueryQpResp {
  QpDest dest;
  QpDest alt_dest;
  QpCap cap;
  std::uint32_t qkey = 0;
  std::uint32_t rq_psn = 0;
  std::uint32_t sq_psn = 0;
  Qpn dest_qpn;
  std::uint32_t access_flags = 0;
  std::uint16_t pkey_index = 0;
  std::uint16_t alt_pkey_index = 0;
  QpState state = QpState::kReset;
  QpState cur_state = QpState::kReset;
  std::uint8_t path_mtu = 0;
  std::uint8_t path_mig_state = 0;
  std::uint8_t sq_draining = 0;
  std::uint8_t max_rd_atomic = 0;
  std::uint8_t max_dest_rd_atomic = 0;
  std::uint8_t min_rnr_timer = 0;
  std::uint8_t port_num = 0;
  std::uint8_t timeout = 0;
  std::uint8_t retry_count = 0;
  std::uint8_t rnr_retry = 0;
  std::uint8_t alt_port_num = 0;
  std::uint8_t alt_timeout = 0;
  std::uint8_t sq_sig_all = 0;
  friend bool operator==(const QueryQpResp&, const QueryQpResp&) = default;
};
// EINVAL when shorter than kQueryQpRespSize.
[[nodiscard]] ErrnoOr<QueryQpResp> decode_query_qp_resp(std::span<const std::byte> core_out);
[[nodiscard]] bool encode_query_qp_resp(const QueryQpResp& in, std::span<std::byte> core_out);

// CREATE_QP in any of its three forms: OBJECT_QP / CREATE, struct ib_uverbs_create_qp, struct
// ib_uverbs_ex_create_qp. In the write forms every handle is there even when it means nothing.
struct CreateQp {
  QpType type{};  // may be a number that has no name
  std::uint64_t user_handle = 0;
  std::optional<std::uint32_t> pd;
  std::optional<std::uint32_t> xrcd;
  std::optional<std::uint32_t> send_cq;
  std::optional<std::uint32_t> recv_cq;
  std::optional<std::uint32_t> srq;
  std::optional<std::uint32_t> ind_table;
  QpCap cap;
  std::uint32_t create_flags = 0;
  bool sq_sig_all = false;
  std::optional<std::uint32_t> source_qpn;  // needs CAP_NET_RAW in the kernel
  friend bool operator==(const CreateQp&, const CreateQp&) = default;
};
// Reads the agent's copy, so call it after inputs() have been copied. EINVAL, ENOSPC, EOPNOTSUPP
// as the kernel for the form.
[[nodiscard]] ErrnoOr<CreateQp> decode_create_qp(const CallBuilder& call, const Verb& verb);

// The write forms alone.
inline constexpr std::size_t kCreateQpSize = 56;
inline constexpr std::size_t kExCreateQpSize = 64;
[[nodiscard]] ErrnoOr<CreateQp> decode_create_qp_write(std::span<const std::byte> core_in,
                                                       Form form);
[[nodiscard]] bool encode_create_qp_write(const CreateQp& in, Form form,
                                          std::span<std::byte> core_in);

// struct ib_uverbs_create_qp_resp, or the outputs of OBJECT_QP / CREATE.
inline constexpr std::size_t kCreateQpRespSize = 32;
struct CreateQpResp {
  std::uint32_t qp_handle = 0;
  Qpn qpn;
  QpCap cap;
  friend bool operator==(const CreateQpResp&, const CreateQpResp&) = default;
};
// After the ioctl succeeded. EINVAL when the kernel's answer is not all there.
[[nodiscard]] ErrnoOr<CreateQpResp> decode_create_qp_resp(const CallBuilder& call,
                                                          const Verb& verb);
[[nodiscard]] bool encode_create_qp_resp(const CreateQpResp& in, std::span<std::byte> core_out);

// DESTROY_QP: the handle, from either form (struct ib_uverbs_destroy_qp, 16 bytes).
[[nodiscard]] ErrnoOr<std::uint32_t> decode_destroy_qp(const CallBuilder& call, const Verb& verb);

}  // namespace qmasq::vbond::uverbs

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "vbond/uverbs/abi.h"
#include "vbond/uverbs/call.h"
#include "vbond/uverbs/call_builder.h"
#include "vbond/uverbs/qp.h"
#include "vbond/uverbs/verb.h"

// Requests of the other objects, as far as a check looks into them: memory regions and queues for
// quotas, SRQs and XRC domains for what they may be, address handles. Errors and rules as in qp.h.
//
// Those that the tenant runs itself can be read through a CallBuilder, too: from_call() lays out
// and checks, inputs() says what to copy; then it is dropped, not executed.
namespace qmasq::vbond::uverbs {

// REG_MR (struct ib_uverbs_reg_mr) and REG_DMABUF_MR.
inline constexpr std::size_t kRegMrSize = 40;
struct RegMr {
  std::uint64_t start = 0;  // tenant address, or offset in the dma-buf
  std::uint64_t length = 0;
  std::uint64_t iova = 0;
  std::uint32_t pd_handle = 0;
  std::uint32_t access_flags = 0;  // access
  friend bool operator==(const RegMr&, const RegMr&) = default;
};
[[nodiscard]] ErrnoOr<RegMr> decode_reg_mr(const CallBuilder& call, const Verb& verb);
[[nodiscard]] ErrnoOr<RegMr> decode_reg_mr_write(std::span<const std::byte> core_in);
[[nodiscard]] bool encode_reg_mr(const RegMr& in, std::span<std::byte> core_in);

// REREG_MR (struct ib_uverbs_rereg_mr). Of `memory` counts what `flags` names.
inline constexpr std::size_t kReregMrSize = 48;
struct ReregMr {
  static constexpr std::uint32_t kTranslation = 1U << 0;  // start, length, iova
  static constexpr std::uint32_t kPd = 1U << 1;
  static constexpr std::uint32_t kAccess = 1U << 2;
  std::uint32_t mr_handle = 0;
  std::uint32_t flags = 0;
  RegMr memory;
  friend bool operator==(const ReregMr&, const ReregMr&) = default;
};
[[nodiscard]] ErrnoOr<ReregMr> decode_rereg_mr(std::span<const std::byte> core_in);
[[nodiscard]] bool encode_rereg_mr(const ReregMr& in, std::span<std::byte> core_in);

// CREATE_CQ in its three forms.
struct CreateCq {
  std::uint32_t cqe = 0;
  std::uint32_t comp_vector = 0;
  std::int64_t comp_channel = -1;  // descriptor in the tenant's table; negative: none
  friend bool operator==(const CreateCq&, const CreateCq&) = default;
};
[[nodiscard]] ErrnoOr<CreateCq> decode_create_cq(const CallBuilder& call, const Verb& verb);
// Write forms: they have the descriptor in the command itself, not as an attribute. False: ioctl
// form, or too short.
bool set_comp_channel(CallBuilder& call, const Verb& verb, std::int32_t fd);

// The handle of what the kernel has made, of any verb that makes an object in any of its forms.
// EINVAL: it is not there.
[[nodiscard]] ErrnoOr<std::uint32_t> decode_made_handle(const CallBuilder& call, const Verb& verb);
// The handle in DESTROY_CQ, DESTROY_SRQ, DEREG_MR, DEALLOC_PD, DEALLOC_MW, CLOSE_XRCD in their two
// forms, and in MLX5_FREE_UAR.
[[nodiscard]] ErrnoOr<std::uint32_t> decode_destroyed_handle(const CallBuilder& call,
                                                             const Verb& verb);

// The descriptor that the kernel has made: by ALLOC_ASYNC_EVENT, CREATE_COMP_CHANNEL, or
// GET_CONTEXT in its write form. EINVAL: there is none.
[[nodiscard]] ErrnoOr<int> decode_made_fd(const CallBuilder& call, const Verb& verb);
// The number that the tenant is told instead. False: there is no room for it.
[[nodiscard]] bool set_made_fd(CallBuilder& call, const Verb& verb, int fd);

// ADVISE_MR: not to come back before the pages are there (IB_UVERBS_ADVISE_MR_FLAG_FLUSH) is not
// asked for any more.
void clear_advice_to_wait(CallBuilder& call);

// MODIFY_SRQ of rxe (struct rxe_modify_srq_cmd): where it writes the place of the queue that has
// become another size (struct mminfo).
inline constexpr std::size_t kQueuePlaceSize = 16;
// The address; nothing: there is none. It is `to` in the call from then on. Driver data of another
// driver are none that anybody reads: they are zeroed. EINVAL: too short for an address.
[[nodiscard]] ErrnoOr<std::optional<std::uint64_t>> redirect_queue_place(CallBuilder& call,
                                                                         DriverId driver,
                                                                         std::uint64_t to);

enum class SrqType : std::uint32_t { kBasic = 0, kXrc = 1, kTagMatching = 2 };

// CREATE_SRQ in its two forms and CREATE_XSRQ.
struct CreateSrq {
  SrqType type = SrqType::kBasic;  // may be a number that has no name
  std::uint32_t pd_handle = 0;
  std::uint32_t max_wr = 0;
  std::uint32_t max_sge = 0;
  friend bool operator==(const CreateSrq&, const CreateSrq&) = default;
};
[[nodiscard]] ErrnoOr<CreateSrq> decode_create_srq(const CallBuilder& call, const Verb& verb);

// OPEN_XRCD (struct ib_uverbs_open_xrcd). With a file, the domain is shared with whoever opens it
// by the same inode; -1 keeps it to this descriptor.
inline constexpr std::size_t kOpenXrcdSize = 16;
struct OpenXrcd {
  std::int32_t fd = -1;
  std::uint32_t oflags = 0;
  friend bool operator==(const OpenXrcd&, const OpenXrcd&) = default;
};
[[nodiscard]] ErrnoOr<OpenXrcd> decode_open_xrcd(std::span<const std::byte> core_in);
[[nodiscard]] bool encode_open_xrcd(const OpenXrcd& in, std::span<std::byte> core_in);

// CREATE_AH (struct ib_uverbs_create_ah). The same address vector as in MODIFY_QP, laid out
// differently.
inline constexpr std::size_t kCreateAhSize = 56;
struct CreateAh {
  std::uint64_t user_handle = 0;
  std::uint32_t pd_handle = 0;
  QpDest dest;
  friend bool operator==(const CreateAh&, const CreateAh&) = default;
};
[[nodiscard]] ErrnoOr<CreateAh> decode_create_ah(std::span<const std::byte> core_in);
[[nodiscard]] bool encode_create_ah(const CreateAh& in, std::span<std::byte> core_in);
// The handle in its answer (struct ib_uverbs_create_ah_resp); EINVAL: the answer is too short.
inline constexpr std::size_t kCreateAhRespSize = 4;
[[nodiscard]] ErrnoOr<std::uint32_t> decode_create_ah_resp(std::span<const std::byte> core_out);

// DESTROY_AH in its two forms: the handle.
[[nodiscard]] ErrnoOr<std::uint32_t> decode_destroy_ah(const CallBuilder& call, const Verb& verb);

}  // namespace qmasq::vbond::uverbs

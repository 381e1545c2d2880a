// SPDX-License-Identifier: Apache-2.0
#include "vbond/uverbs/objects.h"

#include <linux/types.h>
#include <rdma/ib_user_ioctl_cmds.h>
#include <rdma/ib_user_ioctl_verbs.h>
#include <rdma/ib_user_verbs.h>
#include <rdma/rdma_user_rxe.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>

#include "vbond/uverbs/request.h"

namespace qmasq::vbond::uverbs {
namespace {

template <typename Abi>
RegMr memory_from_abi(const Abi& in) {
  return {in.start, in.length, in.hca_va, in.pd_handle, in.access_flags};
}
template <typename Abi>
void memory_to_abi(const RegMr& in, Abi& out) {
  out.start = in.start;
  out.length = in.length;
  out.hca_va = in.iova;
  out.pd_handle = in.pd_handle;
  out.access_flags = in.access_flags;
}

template <typename Abi>
CreateCq cq_from_abi(const Abi& in) {
  return {in.cqe, in.comp_vector, in.comp_channel};
}

// Of the one attribute of that kind.
std::optional<std::uint32_t> handle_of_kind(const CallBuilder& call, const Verb& verb, Kind kind) {
  for (const AttrSpec& spec : verb.attrs) {
    if (spec.kind == kind) return call.handle(spec.id);
  }
  return std::nullopt;
}

std::uint32_t low32(const CallBuilder& call, std::uint16_t id) {
  return static_cast<std::uint32_t>(call.value(id).value_or(0));
}

}  // namespace

ErrnoOr<RegMr> decode_reg_mr(const CallBuilder& call, const Verb& verb) {
  if (verb.key.form != Form::kIoctl) return decode_reg_mr_write(call.in(attr::kCoreIn));
  // REG_DMABUF_MR
  const auto pd = call.handle(UVERBS_ATTR_REG_DMABUF_MR_PD_HANDLE);
  if (!pd) return tl::unexpected(ENOENT);
  const std::uint64_t flags = call.value(UVERBS_ATTR_REG_DMABUF_MR_ACCESS_FLAGS).value_or(0);
  if (flags > UINT32_MAX) return tl::unexpected(EINVAL);
  return RegMr{call.value(UVERBS_ATTR_REG_DMABUF_MR_OFFSET).value_or(0),
               call.value(UVERBS_ATTR_REG_DMABUF_MR_LENGTH).value_or(0),
               call.value(UVERBS_ATTR_REG_DMABUF_MR_IOVA).value_or(0), *pd,
               static_cast<std::uint32_t>(flags)};
}

ErrnoOr<RegMr> decode_reg_mr_write(std::span<const std::byte> core_in) {
  ib_uverbs_reg_mr abi{};
  if (const int err = read_request(core_in, kRegMrSize, abi); err != 0) return tl::unexpected(err);
  return memory_from_abi(abi);
}

bool encode_reg_mr(const RegMr& in, std::span<std::byte> core_in) {
  ib_uverbs_reg_mr abi{};
  memory_to_abi(in, abi);
  return write_abi(abi, core_in);
}

ErrnoOr<ReregMr> decode_rereg_mr(std::span<const std::byte> core_in) {
  ib_uverbs_rereg_mr abi{};
  if (const int err = read_request(core_in, kReregMrSize, abi); err != 0) {
    return tl::unexpected(err);
  }
  return ReregMr{abi.mr_handle, abi.flags, memory_from_abi(abi)};
}

bool encode_rereg_mr(const ReregMr& in, std::span<std::byte> core_in) {
  ib_uverbs_rereg_mr abi{};
  abi.mr_handle = in.mr_handle;
  abi.flags = in.flags;
  memory_to_abi(in.memory, abi);
  return write_abi(abi, core_in);
}

ErrnoOr<CreateCq> decode_create_cq(const CallBuilder& call, const Verb& verb) {
  if (verb.key.form == Form::kIoctl) {
    CreateCq out{low32(call, UVERBS_ATTR_CREATE_CQ_CQE),
                 low32(call, UVERBS_ATTR_CREATE_CQ_COMP_VECTOR), -1};
    for (const auto& fd : call.fds()) {
      if (fd.attr_id == UVERBS_ATTR_CREATE_CQ_COMP_CHANNEL) out.comp_channel = fd.tenant_fd;
    }
    return out;
  }
  const auto core_in = call.in(attr::kCoreIn);
  if (verb.key.form == Form::kWrite) {
    ib_uverbs_create_cq abi{};
    if (const int err = read_request(core_in, sizeof(abi), abi); err != 0) {
      return tl::unexpected(err);
    }
    return cq_from_abi(abi);
  }
  ib_uverbs_ex_create_cq abi{};
  if (const int err = read_request(core_in, sizeof(abi), abi); err != 0) {
    return tl::unexpected(err);
  }
  if (abi.comp_mask != 0 || abi.reserved != 0) return tl::unexpected(EINVAL);
  return cq_from_abi(abi);
}

bool set_comp_channel(CallBuilder& call, const Verb& verb, std::int32_t fd) {
  if (verb.key.form == Form::kIoctl) return false;
  const std::size_t at = verb.key.form == Form::kWrite
                             ? offsetof(ib_uverbs_create_cq, comp_channel)
                             : offsetof(ib_uverbs_ex_create_cq, comp_channel);
  auto core_in = call.in(attr::kCoreIn);
  if (core_in.size() < at + sizeof(fd)) return false;
  std::memcpy(core_in.data() + at, &fd, sizeof(fd));
  return true;
}

ErrnoOr<std::uint32_t> decode_made_handle(const CallBuilder& call, const Verb& verb) {
  // In all responses of the write forms the handle comes first.
  static_assert(offsetof(ib_uverbs_create_cq_resp, cq_handle) == 0);
  static_assert(offsetof(ib_uverbs_ex_create_cq_resp, base) == 0);
  static_assert(offsetof(ib_uverbs_create_srq_resp, srq_handle) == 0);
  static_assert(offsetof(ib_uverbs_create_qp_resp, qp_handle) == 0);
  static_assert(offsetof(ib_uverbs_ex_create_qp_resp, base) == 0);
  static_assert(offsetof(ib_uverbs_create_ah_resp, ah_handle) == 0);
  static_assert(offsetof(ib_uverbs_alloc_pd_resp, pd_handle) == 0);
  static_assert(offsetof(ib_uverbs_alloc_mw_resp, mw_handle) == 0);
  static_assert(offsetof(ib_uverbs_open_xrcd_resp, xrcd_handle) == 0);
  if (verb.key.form != Form::kIoctl) {
    std::uint32_t handle = 0;
    if (!call.valid_output(attr::kCoreOut) || !read_response(call.out(attr::kCoreOut), handle))
      return tl::unexpected(EINVAL);
    return handle;
  }
  const auto handle = handle_of_kind(call, verb, Kind::kIdrNew);
  if (!handle) return tl::unexpected(EINVAL);
  return *handle;
}

ErrnoOr<std::uint32_t> decode_destroyed_handle(const CallBuilder& call, const Verb& verb) {
  if (verb.key.form == Form::kIoctl) {
    const auto handle = handle_of_kind(call, verb, Kind::kIdrDestroy);
    if (!handle) return tl::unexpected(ENOENT);
    return *handle;
  }
  const auto core_in = call.in(attr::kCoreIn);
  if (verb.handler != Handler::kDestroyCq && verb.handler != Handler::kDestroySrq) {
    // Of the others it is all there is.
    static_assert(sizeof(ib_uverbs_dereg_mr) == sizeof(std::uint32_t) &&
                  sizeof(ib_uverbs_dealloc_pd) == sizeof(std::uint32_t) &&
                  sizeof(ib_uverbs_dealloc_mw) == sizeof(std::uint32_t) &&
                  sizeof(ib_uverbs_close_xrcd) == sizeof(std::uint32_t));
    std::uint32_t handle = 0;
    if (const int err = read_request(core_in, sizeof(handle), handle); err != 0) {
      return tl::unexpected(err);
    }
    return handle;
  }
  // struct ib_uverbs_destroy_srq is the same.
  static_assert(offsetof(ib_uverbs_destroy_cq, cq_handle) ==
                offsetof(ib_uverbs_destroy_srq, srq_handle));
  ib_uverbs_destroy_cq abi{};
  if (const int err = read_request(core_in, sizeof(abi), abi); err != 0) {
    return tl::unexpected(err);
  }
  return abi.cq_handle;
}

ErrnoOr<int> decode_made_fd(const CallBuilder& call, const Verb& verb) {
  std::uint32_t fd = 0;
  if (verb.key.form == Form::kIoctl) {
    const auto made = handle_of_kind(call, verb, Kind::kFdNew);
    if (!made) return tl::unexpected(EINVAL);
    fd = *made;
  } else {
    static_assert(offsetof(ib_uverbs_create_comp_channel_resp, fd) == 0);
    static_assert(offsetof(ib_uverbs_get_context_resp, async_fd) == 0);
    if (!call.valid_output(attr::kCoreOut) || !read_response(call.out(attr::kCoreOut), fd))
      return tl::unexpected(EINVAL);
  }
  if (fd > INT32_MAX) return tl::unexpected(EINVAL);
  return static_cast<int>(fd);
}

bool set_made_fd(CallBuilder& call, const Verb& verb, int fd) {
  if (verb.key.form != Form::kIoctl) return write_abi(fd, call.out(attr::kCoreOut));
  for (const AttrSpec& spec : verb.attrs) {
    if (spec.kind == Kind::kFdNew) return call.set_fd(spec.id, fd);
  }
  return false;
}

void clear_advice_to_wait(CallBuilder& call) {
  static_assert(attr::kAdviseMrFlags == UVERBS_ATTR_ADVISE_MR_FLAGS);
  const auto flags = call.value(attr::kAdviseMrFlags);
  if (!flags) return;
  (void)call.set_value(attr::kAdviseMrFlags,
                       *flags & ~std::uint64_t{IB_UVERBS_ADVISE_MR_FLAG_FLUSH});
}

ErrnoOr<std::optional<std::uint64_t>> redirect_queue_place(CallBuilder& call, DriverId driver,
                                                           std::uint64_t to) {
  static_assert(kQueuePlaceSize == sizeof(mminfo));
  const auto uhw_in = call.in(attr::kUhwIn);
  if (driver != DriverId::kRxe) {
    std::fill(uhw_in.begin(), uhw_in.end(), std::byte{0});
    return std::nullopt;
  }
  if (uhw_in.empty()) return std::nullopt;
  rxe_modify_srq_cmd command{};
  if (!read_response(uhw_in, command)) return tl::unexpected(EINVAL);
  const std::uint64_t address = command.mmap_info_addr;
  command.mmap_info_addr = to;
  if (!write_abi(command, uhw_in)) return tl::unexpected(EINVAL);
  return address;
}

ErrnoOr<CreateSrq> decode_create_srq(const CallBuilder& call, const Verb& verb) {
  if (verb.key.form == Form::kIoctl) {
    const auto type = call.value(UVERBS_ATTR_CREATE_SRQ_TYPE);
    if (!type || *type > UINT32_MAX) return tl::unexpected(EINVAL);
    const auto pd = call.handle(UVERBS_ATTR_CREATE_SRQ_PD_HANDLE);
    if (!pd) return tl::unexpected(ENOENT);
    return CreateSrq{static_cast<SrqType>(*type), *pd, low32(call, UVERBS_ATTR_CREATE_SRQ_MAX_WR),
                     low32(call, UVERBS_ATTR_CREATE_SRQ_MAX_SGE)};
  }
  const auto core_in = call.in(attr::kCoreIn);
  if (verb.handler == Handler::kCreateXsrq) {
    ib_uverbs_create_xsrq abi{};
    if (const int err = read_request(core_in, sizeof(abi), abi); err != 0) {
      return tl::unexpected(err);
    }
    return CreateSrq{static_cast<SrqType>(abi.srq_type), abi.pd_handle, abi.max_wr, abi.max_sge};
  }
  ib_uverbs_create_srq abi{};
  if (const int err = read_request(core_in, sizeof(abi), abi); err != 0) {
    return tl::unexpected(err);
  }
  return CreateSrq{SrqType::kBasic, abi.pd_handle, abi.max_wr, abi.max_sge};
}

ErrnoOr<OpenXrcd> decode_open_xrcd(std::span<const std::byte> core_in) {
  ib_uverbs_open_xrcd abi{};
  if (const int err = read_request(core_in, kOpenXrcdSize, abi); err != 0) {
    return tl::unexpected(err);
  }
  return OpenXrcd{static_cast<std::int32_t>(abi.fd), abi.oflags};
}

bool encode_open_xrcd(const OpenXrcd& in, std::span<std::byte> core_in) {
  ib_uverbs_open_xrcd abi{};
  abi.fd = static_cast<std::uint32_t>(in.fd);
  abi.oflags = in.oflags;
  return write_abi(abi, core_in);
}

ErrnoOr<CreateAh> decode_create_ah(std::span<const std::byte> core_in) {
  ib_uverbs_create_ah abi{};
  if (const int err = read_request(core_in, kCreateAhSize, abi); err != 0) {
    return tl::unexpected(err);
  }
  CreateAh out;
  out.user_handle = abi.user_handle;
  out.pd_handle = abi.pd_handle;
  std::memcpy(out.dest.dgid.raw.data(), abi.attr.grh.dgid, sizeof(abi.attr.grh.dgid));
  out.dest.flow_label = abi.attr.grh.flow_label;
  out.dest.sgid_index = abi.attr.grh.sgid_index;
  out.dest.hop_limit = abi.attr.grh.hop_limit;
  out.dest.traffic_class = abi.attr.grh.traffic_class;
  out.dest.dlid = abi.attr.dlid;
  out.dest.sl = abi.attr.sl;
  out.dest.src_path_bits = abi.attr.src_path_bits;
  out.dest.static_rate = abi.attr.static_rate;
  out.dest.is_global = abi.attr.is_global != 0;
  out.dest.port_num = abi.attr.port_num;
  return out;
}

bool encode_create_ah(const CreateAh& in, std::span<std::byte> core_in) {
  ib_uverbs_create_ah abi{};
  abi.user_handle = in.user_handle;
  abi.pd_handle = in.pd_handle;
  std::memcpy(abi.attr.grh.dgid, in.dest.dgid.raw.data(), sizeof(abi.attr.grh.dgid));
  abi.attr.grh.flow_label = in.dest.flow_label;
  abi.attr.grh.sgid_index = in.dest.sgid_index;
  abi.attr.grh.hop_limit = in.dest.hop_limit;
  abi.attr.grh.traffic_class = in.dest.traffic_class;
  abi.attr.dlid = in.dest.dlid;
  abi.attr.sl = in.dest.sl;
  abi.attr.src_path_bits = in.dest.src_path_bits;
  abi.attr.static_rate = in.dest.static_rate;
  abi.attr.is_global = in.dest.is_global ? 1 : 0;
  abi.attr.port_num = in.dest.port_num;
  return write_abi(abi, core_in);
}

ErrnoOr<std::uint32_t> decode_create_ah_resp(std::span<const std::byte> core_out) {
  ib_uverbs_create_ah_resp abi{};
  if (!read_response(core_out, abi)) return tl::unexpected(EINVAL);
  return abi.ah_handle;
}

ErrnoOr<std::uint32_t> decode_destroy_ah(const CallBuilder& call, const Verb& verb) {
  if (verb.key.form == Form::kIoctl) {
    const auto handle = call.handle(attr::kDestroyAhHandle);
    if (!handle) return tl::unexpected(ENOENT);
    return *handle;
  }
  ib_uverbs_destroy_ah abi{};
  if (const int err = read_request(call.in(attr::kCoreIn), sizeof(abi), abi); err != 0) {
    return tl::unexpected(err);
  }
  return abi.ah_handle;
}

}  // namespace qmasq::vbond::uverbs

// SPDX-License-Identifier: Apache-2.0
#include "vbond/uverbs/doorbell.h"

#include <linux/types.h>
#include <rdma/ib_user_verbs.h>

#include <cerrno>
#include <cstring>

#include "vbond/uverbs/request.h"

namespace qmasq::vbond::uverbs {
namespace {

constexpr std::size_t kHdr = sizeof(ib_uverbs_cmd_hdr);

}  // namespace

ErrnoOr<Doorbell> decode_doorbell(std::span<const std::byte> bytes, std::size_t count) {
  ib_uverbs_cmd_hdr hdr{};
  if (count < kHdr || !read_response(bytes, hdr)) return tl::unexpected(EINVAL);
  if (hdr.command != IB_USER_VERBS_CMD_POST_SEND) return tl::unexpected(EOPNOTSUPP);
  if (std::size_t{hdr.in_words} * 4 != count) return tl::unexpected(EINVAL);
  ib_uverbs_post_send cmd{};
  if (count < kDoorbellSize || !read_response(bytes.subspan(kHdr), cmd)) {
    return tl::unexpected(ENOSPC);
  }
  if (std::size_t{hdr.out_words} * 4 < kDoorbellRespSize) return tl::unexpected(ENOSPC);
  if (count > kDoorbellSize || cmd.wr_count != 0 || cmd.sge_count != 0) {
    return tl::unexpected(EOPNOTSUPP);
  }
  if (cmd.wqe_size < sizeof(ib_uverbs_send_wr)) return tl::unexpected(EINVAL);
  return Doorbell{cmd.qp_handle, cmd.response};
}

bool encode_doorbell(const Doorbell& in, std::span<std::byte> out) {
  if (out.size() < kDoorbellSize) return false;
  ib_uverbs_cmd_hdr hdr{};
  hdr.command = IB_USER_VERBS_CMD_POST_SEND;
  hdr.in_words = kDoorbellSize / 4;
  hdr.out_words = kDoorbellRespSize / 4;
  ib_uverbs_post_send cmd{};
  cmd.response = in.response;
  cmd.qp_handle = in.qp_handle;
  cmd.wqe_size = 128;  // sizeof(struct ibv_send_wr), what the providers put there
  return write_abi(hdr, out) && write_abi(cmd, out.subspan(kHdr));
}

CallBuilder ring_call(std::uint32_t qp_handle, std::uint32_t driver_id) {
  ib_uverbs_post_send cmd{};
  cmd.qp_handle = qp_handle;
  cmd.wqe_size = sizeof(ib_uverbs_send_wr);
  CallBuilder out = CallBuilder::invoke_write(IB_USER_VERBS_CMD_POST_SEND, driver_id);
  // 24 bytes in, 4 out, three attributes: always room.
  (void)out.add_in(attr::kCoreIn, std::as_bytes(std::span(&cmd, 1)));
  (void)out.add_out(attr::kCoreOut, kDoorbellRespSize);
  return out;
}

}  // namespace qmasq::vbond::uverbs

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "vbond/uverbs/abi.h"
#include "vbond/uverbs/call_builder.h"

// The one write() that a tenant's program makes on a verbs descriptor: the doorbell of software
// NICs. rxe and siw (rdma-core 44) write struct ib_uverbs_cmd_hdr + ib_uverbs_post_send, 32 bytes,
// with no work requests in it (those lie in the mapped queue) and a pointer for a 4-byte answer.
// The kernel takes write() only from the task that opened the file, so the agent rings instead, by
// INVOKE_WRITE. Receives and CQ arming need no write(): the former only fill the mapped queue, the
// latter is an INVOKE_WRITE on rxe and a flag in shared memory on siw.
namespace qmasq::vbond::uverbs {

inline constexpr std::size_t kDoorbellSize = 32;
struct Doorbell {
  std::uint32_t qp_handle = 0;
  std::uint64_t response = 0;  // tenant address for kDoorbellRespSize bytes
  friend bool operator==(const Doorbell&, const Doorbell&) = default;
};
inline constexpr std::size_t kDoorbellRespSize = 4;  // struct ib_uverbs_post_send_resp: bad_wr

// `count`: the length that the tenant gave to write(). `bytes`: the first kDoorbellSize bytes of
// it, or all when there are fewer, copied once. Anything but an empty POST_SEND is refused. Errors
// as ib_uverbs_write() and ib_uverbs_post_send() give them: EINVAL length, in_words or wqe_size
// wrong, ENOSPC too short for the command, EOPNOTSUPP another command or one with work requests.
[[nodiscard]] ErrnoOr<Doorbell> decode_doorbell(std::span<const std::byte> bytes,
                                                std::size_t count);

// The bytes that a tenant writes. For tests.
[[nodiscard]] bool encode_doorbell(const Doorbell& in, std::span<std::byte> out);

// The same ring as a call of the agent's own. Its answer is out(attr::kCoreOut), 4 bytes.
[[nodiscard]] CallBuilder ring_call(std::uint32_t qp_handle, std::uint32_t driver_id);

}  // namespace qmasq::vbond::uverbs

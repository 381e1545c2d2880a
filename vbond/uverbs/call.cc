// SPDX-License-Identifier: Apache-2.0
#include "vbond/uverbs/call.h"

#include <cerrno>
#include <cstring>

namespace qmasq::vbond::uverbs {
namespace {

// A UVERBS_ATTR_CONST_IN read as a 32-bit number, then uapi_get_method().
bool sound_command(const Attr& cmd) {
  constexpr std::uint64_t kBits = kWriteExtended | kWriteCommandMask;
  return cmd.len == sizeof(cmd.data) && cmd.elem_id == 0 && cmd.reserved == 0 &&
         (cmd.data & ~kBits) == 0;
}

// The kernel takes the attributes one after the other before it looks for the command, so one that
// it does not know decides when it comes first.
int command_error(const Call& call) {
  for (std::size_t i = 0; i < call.num_attrs(); ++i) {
    const Attr attr = call.attr(i);
    const bool known =
        attr.id <= attr::kWriteCmd || attr.id == attr::kUhwIn || attr.id == attr::kUhwOut;
    if (!known && attr.mandatory()) return EPROTONOSUPPORT;
    if (attr.id == attr::kWriteCmd && attr.len != sizeof(attr.data)) return EINVAL;
  }
  return EINVAL;
}

}  // namespace

ErrnoOr<Header> decode_header(std::span<const std::byte> bytes) {
  if (bytes.size() < kHeaderSize) return tl::unexpected(EFAULT);
  Header out;
  std::uint64_t reserved1 = 0;
  std::uint32_t reserved2 = 0;
  const std::byte* at = bytes.data();
  std::memcpy(&out.length, at, 2);
  std::memcpy(&out.object_id, at + 2, 2);
  std::memcpy(&out.method_id, at + 4, 2);
  std::memcpy(&out.num_attrs, at + 6, 2);
  std::memcpy(&reserved1, at + 8, 8);
  std::memcpy(&out.driver_id, at + 16, 4);
  std::memcpy(&reserved2, at + 20, 4);
  // The order of these checks is that of ib_uverbs_ioctl(), for the errno when several fail.
  if (out.length > kMaxCallSize || out.length != kHeaderSize + out.num_attrs * kAttrSize) {
    return tl::unexpected(EINVAL);
  }
  if (reserved1 != 0 || reserved2 != 0) return tl::unexpected(EPROTONOSUPPORT);
  return out;
}

std::optional<std::size_t> Call::index_of(std::uint16_t id) const {
  const std::byte* at = bytes_.data() + kHeaderSize;
  for (std::size_t i = 0; i < header_.num_attrs; ++i, at += kAttrSize) {
    std::uint16_t here = 0;
    std::memcpy(&here, at, 2);
    if (here == id) return i;
  }
  return std::nullopt;
}

std::optional<Attr> Call::find(std::uint16_t id) const {
  auto index = index_of(id);
  if (!index) return std::nullopt;
  return attr(*index);
}

std::optional<std::uint64_t> Call::value(std::uint16_t id) const {
  auto found = find(id);
  if (!found || !found->is_inline()) return std::nullopt;
  std::uint64_t out = 0;
  std::memcpy(&out, &found->data, found->len);
  return out;
}

ErrnoOr<Call> decode_call(std::span<const std::byte> bytes) {
  auto header = decode_header(bytes);
  if (!header) return tl::unexpected(header.error());
  if (bytes.size() < header->length) return tl::unexpected(EFAULT);
  Call call(*header, bytes.first(header->length));
  if (call.is_invoke_write()) {
    const auto cmd = call.find(attr::kWriteCmd);
    if (!cmd || !sound_command(*cmd)) return tl::unexpected(command_error(call));
    call.write_cmd_ = static_cast<std::uint32_t>(cmd->data);
  }
  return call;
}

}  // namespace qmasq::vbond::uverbs

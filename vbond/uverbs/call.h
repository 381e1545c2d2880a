// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>

#include "vbond/uverbs/abi.h"

// Decoder of the ioctl(RDMA_VERBS_IOCTL) envelope: struct ib_uverbs_ioctl_hdr and its struct
// ib_uverbs_attr. Works on bytes that were copied once from the tenant; never allocates. Values
// only, any thread.
namespace qmasq::vbond::uverbs {

struct Header {
  std::uint16_t length = 0;  // of header and attributes together
  std::uint16_t object_id = 0;
  std::uint16_t method_id = 0;
  std::uint16_t num_attrs = 0;
  std::uint32_t driver_id = 0;
};

// Needs the first kHeaderSize bytes; more is ignored. Errors, as ib_uverbs_ioctl() gives them:
// EFAULT fewer bytes than a header, EINVAL length above kMaxCallSize or not that of num_attrs,
// EPROTONOSUPPORT a reserved field is set. driver_id is not judged: the kernel answers EINVAL when
// it is not the device's.
[[nodiscard]] ErrnoOr<Header> decode_header(std::span<const std::byte> bytes);

// One attribute as user space wrote it.
struct Attr {
  std::uint16_t id = 0;
  std::uint16_t len = 0;    // of the payload; 0 for objects and descriptors
  std::uint16_t flags = 0;  // kAttrMandatory
  std::uint8_t elem_id = 0;
  std::uint8_t reserved = 0;
  // A tenant address, an inline payload, an object handle or a descriptor number: the verb table
  // says which.
  std::uint64_t data = 0;

  [[nodiscard]] bool mandatory() const { return (flags & kAttrMandatory) != 0; }
  // For input attributes: the payload is `data` itself.
  [[nodiscard]] bool is_inline() const { return len <= kInlineSize; }
  // How the kernel reads a descriptor attribute.
  [[nodiscard]] std::int64_t fd() const { return static_cast<std::int64_t>(data); }
};

// A decoded call. Views the bytes it was decoded from: they must outlive it and must not change,
// so they are the agent's copy, never the tenant's memory.
class Call {
 public:
  [[nodiscard]] const Header& header() const { return header_; }
  [[nodiscard]] std::uint16_t object_id() const { return header_.object_id; }
  [[nodiscard]] std::uint16_t method_id() const { return header_.method_id; }
  [[nodiscard]] std::uint32_t driver_id() const { return header_.driver_id; }

  [[nodiscard]] std::size_t num_attrs() const { return header_.num_attrs; }
  // REQUIRES: index < num_attrs().
  [[nodiscard]] Attr attr(std::size_t index) const;
  // The first attribute with this id. A second one is an error that check_attrs() finds.
  [[nodiscard]] std::optional<Attr> find(std::uint16_t id) const;
  // Index of that attribute.
  [[nodiscard]] std::optional<std::size_t> index_of(std::uint16_t id) const;
  // An inline input of at most 8 bytes as a number, shorter ones zero-extended as the kernel does.
  // Nothing when the attribute is absent or lies behind a pointer.
  [[nodiscard]] std::optional<std::uint64_t> value(std::uint16_t id) const;

  [[nodiscard]] bool is_invoke_write() const {
    return header_.object_id == static_cast<std::uint16_t>(Object::kDevice) &&
           header_.method_id == kMethodInvokeWrite;
  }
  // The WRITE_CMD of an INVOKE_WRITE: command number and kWriteExtended. 0 for other calls.
  [[nodiscard]] std::uint32_t write_cmd() const { return write_cmd_; }

  // Header and attributes as they came, header().length bytes.
  [[nodiscard]] std::span<const std::byte> bytes() const { return bytes_; }

 private:
  friend ErrnoOr<Call> decode_call(std::span<const std::byte> bytes);
  Call(const Header& header, std::span<const std::byte> bytes) : header_(header), bytes_(bytes) {}

  Header header_;
  std::uint32_t write_cmd_ = 0;
  std::span<const std::byte> bytes_;
};

// Decodes header and attributes. `bytes` may be longer than the call; shorter is EFAULT, and
// decode_header().length says how many are needed. A call that is INVOKE_WRITE must carry one
// sound WRITE_CMD: otherwise EINVAL, as the kernel's handler answers, or EPROTONOSUPPORT when an
// unknown mandatory attribute comes before that.
[[nodiscard]] ErrnoOr<Call> decode_call(std::span<const std::byte> bytes);

inline Attr Call::attr(std::size_t index) const {
  Attr out;
  const std::byte* at = bytes_.data() + kHeaderSize + index * kAttrSize;
  std::memcpy(&out.id, at, 2);
  std::memcpy(&out.len, at + 2, 2);
  std::memcpy(&out.flags, at + 4, 2);
  std::memcpy(&out.elem_id, at + 6, 1);
  std::memcpy(&out.reserved, at + 7, 1);
  std::memcpy(&out.data, at + 8, 8);
  return out;
}

}  // namespace qmasq::vbond::uverbs

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "vbond/uverbs/abi.h"
#include "vbond/uverbs/call.h"
#include "vbond/uverbs/fixed_vector.h"
#include "vbond/uverbs/verb.h"

// A call that the agent executes (or answers) itself, in buffers of its own.
//
// For a tenant's call:
//   auto built = CallBuilder::from_call(call, *verb);             checks, lays out
//   for (auto& in : built->inputs())  read in.bytes.size() bytes at in.address of the tenant
//   for (auto& fd : built->fds())     set_fd(fd.attr_id, the agent's descriptor of the same file)
//   judge and change in(...), then    ioctl(fd, kVerbsIoctl, built->seal()->data())
//   change out(...), then             write each of write_backs(header address) to the tenant
// A call that the agent answers without the kernel uses answer() in place of the ioctl.
//
// For a call of the agent's own: construct, add_*, seal(), ioctl, out()/handle().
//
// Not thread-safe. Movable; spans that it gave are void after a move or another add_*.
namespace qmasq::vbond::uverbs {

class CallBuilder {
 public:
  static constexpr std::size_t kMaxBuilderAttrs = 32;        // the largest verb has 17
  static constexpr std::size_t kMaxPayloadBytes = 1U << 20;  // of all attributes; one has < 64 KiB

  CallBuilder(std::uint16_t object_id, std::uint16_t method_id, std::uint32_t driver_id);
  // DEVICE / INVOKE_WRITE of a write command (| kWriteExtended).
  static CallBuilder invoke_write(std::uint32_t write_cmd, std::uint32_t driver_id);

  // Takes over a tenant's call: known attributes only, inputs still to be copied, outputs zeroed.
  // Errors: those of check_attrs(); ENOMEM above kMaxPayloadBytes.
  [[nodiscard]] static ErrnoOr<CallBuilder> from_call(const Call& call, const Verb& verb);

  // Each returns 0, EINVAL (too many attributes, payload above 65535 bytes) or ENOMEM.
  [[nodiscard]] int add_in(std::uint16_t id, std::span<const std::byte> payload);
  [[nodiscard]] int add_const(std::uint16_t id, std::uint64_t value);
  [[nodiscard]] int add_out(std::uint16_t id, std::size_t size);
  [[nodiscard]] int add_idr(std::uint16_t id, std::uint32_t handle);
  [[nodiscard]] int add_idr_new(std::uint16_t id);
  [[nodiscard]] int add_fd(std::uint16_t id, int fd);

  // A payload that is still in the tenant's memory, and where the agent's copy of it goes.
  struct Input {
    std::uint64_t address = 0;
    std::span<std::byte> bytes;
  };
  using Inputs = FixedVector<Input, kMaxBuilderAttrs>;
  [[nodiscard]] Inputs inputs();

  // Descriptors in the tenant's table that the agent must put its own in place of.
  struct Fd {
    std::uint16_t attr_id = 0;
    std::int64_t tenant_fd = -1;
  };
  using Fds = FixedVector<Fd, kMaxBuilderAttrs>;
  [[nodiscard]] Fds fds() const;
  // False when the call has no such descriptor attribute. For kFdNew: the number of it that the
  // tenant is told.
  bool set_fd(std::uint16_t attr_id, int fd);

  // The agent's copy of a payload, to read and to change; empty when absent.
  [[nodiscard]] std::span<std::byte> in(std::uint16_t id);
  [[nodiscard]] std::span<const std::byte> in(std::uint16_t id) const;
  [[nodiscard]] std::span<std::byte> out(std::uint16_t id);
  [[nodiscard]] std::span<const std::byte> out(std::uint16_t id) const;
  // An input of at most 8 bytes as a number, zero-extended.
  [[nodiscard]] std::optional<std::uint64_t> value(std::uint16_t id) const;
  bool set_value(std::uint16_t id, std::uint64_t value);
  // Handle of an object attribute: given for kIdrIn, made by the kernel for kIdrNew. Of kFdNew: the
  // descriptor, where the kernel has made one.
  [[nodiscard]] std::optional<std::uint32_t> handle(std::uint16_t id) const;
  [[nodiscard]] bool has(std::uint16_t id) const;

  // The bytes for ioctl(). Errors: EBADF when a tenant's descriptor has not been replaced.
  // The kernel writes into them; call it once, right before the ioctl.
  [[nodiscard]] ErrnoOr<std::span<std::byte>> seal();

  // All of an ordinary call at one place, such that another process can go on with it: executed in
  // memory that outlives this one, the kernel's answer is there whatever happens to the caller.
  struct Image;
  // As seal(), but the call lies in `image`, where the kernel writes to; handles to come read as
  // none until it has. ENOSPC: payloads are too large for it.
  [[nodiscard]] ErrnoOr<std::span<std::byte>> seal_into(Image& image);
  // What the kernel made of it there.
  void take_back(const Image& image);
  // Nothing: it is none. Only to be looked at and to be written back, not executed.
  [[nodiscard]] static std::optional<CallBuilder> from_image(const Image& image);

  // The kernel (or answer()) said that this output is valid.
  [[nodiscard]] bool valid_output(std::uint16_t id) const;

  // Gives an output in the kernel's place: as much of `payload` as fits. `zero_rest` clears what
  // the tenant's buffer has beyond, as the kernel does for a structure; without it (arrays) the
  // rest is left alone. False when the call has no such output.
  bool answer(std::uint16_t id, std::span<const std::byte> payload, bool zero_rest);

  // What has to reach the tenant's memory after success, and nothing else: valid outputs, their
  // kAttrValidOutput flag, new handles and descriptors. Not to be used after a failed call.
  struct WriteBack {
    std::uint64_t address = 0;
    std::span<const std::byte> bytes;
  };
  using WriteBacks = FixedVector<WriteBack, 2 * kMaxBuilderAttrs>;
  [[nodiscard]] WriteBacks write_backs(std::uint64_t tenant_header) const;

 private:
  struct Slot {
    std::uint16_t id = 0;
    Kind kind = Kind::kPtrIn;
    std::uint16_t tenant_index = 0;  // of the attribute in the tenant's call
    std::uint16_t len = 0;
    std::uint32_t offset = 0;   // of the payload in the arena, when not inline
    std::uint32_t written = 0;  // bytes of an output that go back
    bool from_tenant = false;
    bool mandatory = false;
    bool copy_in = false;  // payload still in the tenant's memory
    bool fd_pending = false;
    std::uint64_t tenant_address = 0;
  };

  // from_call() on a fresh one: 0 or an errno.
  [[nodiscard]] int take_over(const Call& call, const Verb& verb);
  [[nodiscard]] int add_slot(const Slot& slot, std::uint8_t elem_id, std::uint64_t data);
  [[nodiscard]] int reserve(std::size_t size, std::uint32_t& offset);
  [[nodiscard]] std::byte* arena();
  [[nodiscard]] const std::byte* arena() const;
  [[nodiscard]] std::byte* attr_at(std::size_t slot);
  [[nodiscard]] const std::byte* attr_at(std::size_t slot) const;
  [[nodiscard]] std::optional<std::size_t> slot_of(std::uint16_t id) const;
  [[nodiscard]] static bool in_header(const Slot& slot);

  static constexpr std::size_t kSmallArena = 1024;
  CallBuilder() = default;

  FixedVector<Slot, kMaxBuilderAttrs> slots_;
  std::size_t arena_used_ = 0;
  bool on_heap_ = false;
  // Header and attributes as the kernel gets them; slot i is attribute i.
  std::array<std::byte, kHeaderSize + kMaxBuilderAttrs * kAttrSize> header_;
  alignas(8) std::array<std::byte, kSmallArena> small_;  // payloads of ordinary calls
  std::vector<std::byte> heap_;                          // payloads once they outgrow it
};

struct CallBuilder::Image {
  std::uint32_t slots_used = 0;
  std::uint32_t arena_used = 0;
  std::array<Slot, kMaxBuilderAttrs> slots;
  alignas(8) std::array<std::byte, kHeaderSize + kMaxBuilderAttrs * kAttrSize> header;
  alignas(8) std::array<std::byte, kSmallArena> arena;
};

}  // namespace qmasq::vbond::uverbs

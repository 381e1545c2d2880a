// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "vbond/uverbs/call.h"
#include "vbond/uverbs/verb.h"

// Where sealed arguments lie in a tenant, and how a call is laid out there (docs/adr/0029). Values
// only.
//
//   0x10000  code (trampoline.h)
//   0x11000  slot 0, sealed   | payloads ...  copy table | header | inputs |
//   0x12000  its tail         | outputs ...              the tenant's own memory
//   0x13000  slot 1, sealed
//   ...
//
// Header and inputs end with the sealed page. What the kernel writes into while it runs the call,
// the attributes of outputs and of new objects, comes right behind, where it can be written, and
// where the tenant may write too: an output goes where the tenant likes.
namespace qmasq::vbond::sealed {

// The lowest address that programs may have mapped unless vm.mmap_min_addr says otherwise.
inline constexpr std::uint64_t kBase = 0x10000;
inline constexpr std::size_t kPage = 4096;
inline constexpr unsigned kSlots = 8;
inline constexpr std::uint64_t kEnd = kBase + kPage + std::uint64_t{2} * kSlots * kPage;
// In the file everything lies as far from its beginning as in the tenant from kBase.
inline constexpr std::size_t kFileSize = kEnd - kBase;

[[nodiscard]] constexpr std::uint64_t slot_page(unsigned slot) {
  return kBase + kPage + std::uint64_t{2} * slot * kPage;
}
[[nodiscard]] constexpr std::uint64_t tail_page(unsigned slot) {
  return slot_page(slot) + kPage;
}
// The slot in whose sealed page this is.
[[nodiscard]] std::optional<unsigned> slot_of(std::uint64_t address);

// A mapping of its own in the tenant.
struct Range {
  std::uint64_t address = 0;
  std::size_t size = 0;
  bool sealed = false;  // of the file, shared and not to be written; else a tail
  bool code = false;
};
inline constexpr std::size_t kRanges = std::size_t{2} * kSlots;
// In the order of addresses.
[[nodiscard]] Range range(std::size_t index);
// The one that the slot lies in.
[[nodiscard]] Range range_of_slot(unsigned slot);

// In front of the header: how many attributes are to be copied back, whence and whither. Distances
// from the header, counted down.
inline constexpr std::size_t kMostOutputs = 16;
inline constexpr std::size_t kCountAt = 8;
inline constexpr std::size_t kToAt = kCountAt + 8 * kMostOutputs;
inline constexpr std::size_t kFromAt = kToAt + 8 * kMostOutputs;

// A call as it lies in a slot: the agent's own copy of it.
class LaidCall {
 public:
  // A payload that is still to be read from the program.
  struct Payload {
    std::uint64_t from = 0;
    std::span<std::byte> bytes;
  };

  LaidCall();
  LaidCall(LaidCall&&) = default;
  LaidCall& operator=(LaidCall&&) = default;

  // Where the header is in the tenant.
  [[nodiscard]] std::uint64_t header() const { return slot_page(slot_) + header_at_; }
  [[nodiscard]] unsigned slot() const { return slot_; }
  // The sealed page, and where it is.
  [[nodiscard]] std::span<const std::byte> page() const { return std::span(bytes_).first(kPage); }
  // The beginning of the tail.
  [[nodiscard]] std::span<const std::byte> tail() const {
    return std::span(bytes_).subspan(kPage, tail_size_);
  }
  // Header and attributes.
  [[nodiscard]] std::span<const std::byte> call() const {
    return std::span(bytes_).subspan(header_at_, kPage - header_at_ + tail_size_);
  }
  [[nodiscard]] std::span<const Payload> payloads() const { return payloads_; }

 private:
  friend uverbs::ErrnoOr<LaidCall> lay_out(const uverbs::Call& call, const uverbs::Verb& verb,
                                           unsigned slot, std::uint64_t header);
  unsigned slot_ = 0;
  std::size_t header_at_ = kPage;
  std::size_t tail_size_ = 0;
  std::vector<std::byte> bytes_;
  std::vector<Payload> payloads_;  // into bytes_
};

// Lays out a call whose attributes are good (check_attrs with UnknownAttrs::kRefuse): inputs first,
// then outputs, payloads where the agent decides. Optional inputs that it does not have get an
// empty one where the kernel takes that for none, so that nobody can make one of an output: an
// attribute that comes twice is refused. `header`: where the program has it. E2BIG: it does not
// fit.
[[nodiscard]] uverbs::ErrnoOr<LaidCall> lay_out(const uverbs::Call& call, const uverbs::Verb& verb,
                                                unsigned slot, std::uint64_t header);

}  // namespace qmasq::vbond::sealed

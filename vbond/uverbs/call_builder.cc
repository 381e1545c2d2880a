// SPDX-License-Identifier: Apache-2.0
#include "vbond/uverbs/call_builder.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace qmasq::vbond::uverbs {
namespace {

// Offsets in struct ib_uverbs_ioctl_hdr and struct ib_uverbs_attr.
constexpr std::size_t kNumAttrsAt = 6;
constexpr std::size_t kDriverAt = 16;
constexpr std::size_t kLenAt = 2;
constexpr std::size_t kFlagsAt = 4;
constexpr std::size_t kElemAt = 6;
constexpr std::size_t kDataAt = 8;

constexpr std::size_t kMaxOneAttr = 0xffff;
constexpr std::uint64_t kNoDescriptor = ~std::uint64_t{0};

template <typename T>
void put(std::byte* at, T value) {
  std::memcpy(at, &value, sizeof(value));
}
template <typename T>
T get(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof(value));
  return value;
}

bool is_payload(Kind kind) {
  return kind == Kind::kPtrIn || kind == Kind::kConstIn || kind == Kind::kFlagsIn ||
         kind == Kind::kEnumIn || kind == Kind::kIdrsIn;
}
bool is_fd(Kind kind) {
  return kind == Kind::kFdIn || kind == Kind::kRawFdIn;
}

}  // namespace

CallBuilder::CallBuilder(std::uint16_t object_id, std::uint16_t method_id,
                         std::uint32_t driver_id) {
  std::memset(header_.data(), 0, kHeaderSize);
  put(header_.data() + 2, object_id);
  put(header_.data() + 4, method_id);
  put(header_.data() + kDriverAt, driver_id);
}

CallBuilder CallBuilder::invoke_write(std::uint32_t write_cmd, std::uint32_t driver_id) {
  CallBuilder out(static_cast<std::uint16_t>(Object::kDevice), kMethodInvokeWrite, driver_id);
  // The first attribute always has room.
  (void)out.add_const(attr::kWriteCmd, write_cmd);
  return out;
}

ErrnoOr<CallBuilder> CallBuilder::from_call(const Call& call, const Verb& verb) {
  // One object and one return: it is built where the caller has it, not copied there.
  ErrnoOr<CallBuilder> built(tl::in_place, call.object_id(), call.method_id(), call.driver_id());
  if (const int err = built->take_over(call, verb); err != 0) built = tl::unexpected(err);
  return built;
}

int CallBuilder::take_over(const Call& call, const Verb& verb) {
  if (const int err = check_attrs(call, verb, UnknownAttrs::kDrop); err != 0) return err;
  for (std::size_t i = 0; i < call.num_attrs(); ++i) {
    const Attr attr = call.attr(i);
    const AttrSpec* spec = find_spec(verb, attr.id);
    if (spec == nullptr) continue;
    Slot slot;
    slot.id = attr.id;
    slot.kind = spec->kind;
    slot.tenant_index = static_cast<std::uint16_t>(i);
    slot.from_tenant = true;
    slot.mandatory = attr.mandatory();
    slot.len = attr.len;
    std::uint64_t data = attr.data;
    if (!in_header(slot)) {
      slot.tenant_address = attr.data;
      slot.copy_in = spec->kind != Kind::kPtrOut;
      if (const int err = reserve(attr.len, slot.offset); err != 0) return err;
      slot.written = attr.len;
    } else if (is_fd(spec->kind)) {
      slot.fd_pending = true;
    } else if (spec->kind == Kind::kIdrNew) {
      data = 0;
    } else if (spec->kind == Kind::kFdNew) {
      data = kNoDescriptor;
    }
    if (const int err = add_slot(slot, attr.elem_id, data); err != 0) return err;
  }
  return 0;
}

int CallBuilder::add_in(std::uint16_t id, std::span<const std::byte> payload) {
  if (payload.size() > kMaxOneAttr) return EINVAL;
  Slot slot;
  slot.id = id;
  slot.kind = Kind::kPtrIn;
  slot.mandatory = true;
  slot.len = static_cast<std::uint16_t>(payload.size());
  std::uint64_t data = 0;
  if (in_header(slot)) {
    std::copy(payload.begin(), payload.end(), reinterpret_cast<std::byte*>(&data));
  } else {
    if (const int err = reserve(payload.size(), slot.offset); err != 0) return err;
    std::memcpy(arena() + slot.offset, payload.data(), payload.size());
  }
  return add_slot(slot, 0, data);
}

int CallBuilder::add_const(std::uint16_t id, std::uint64_t value) {
  Slot slot;
  slot.id = id;
  slot.kind = Kind::kConstIn;
  slot.mandatory = true;
  slot.len = sizeof(value);
  return add_slot(slot, 0, value);
}

int CallBuilder::add_out(std::uint16_t id, std::size_t size) {
  if (size > kMaxOneAttr) return EINVAL;
  Slot slot;
  slot.id = id;
  slot.kind = Kind::kPtrOut;
  slot.mandatory = true;
  slot.len = static_cast<std::uint16_t>(size);
  slot.written = slot.len;
  if (const int err = reserve(size, slot.offset); err != 0) return err;
  return add_slot(slot, 0, 0);
}

int CallBuilder::add_idr(std::uint16_t id, std::uint32_t handle) {
  Slot slot;
  slot.id = id;
  slot.kind = Kind::kIdrIn;
  slot.mandatory = true;
  return add_slot(slot, 0, handle);
}

int CallBuilder::add_idr_new(std::uint16_t id) {
  Slot slot;
  slot.id = id;
  slot.kind = Kind::kIdrNew;
  slot.mandatory = true;
  return add_slot(slot, 0, 0);
}

int CallBuilder::add_fd(std::uint16_t id, int fd) {
  Slot slot;
  slot.id = id;
  slot.kind = Kind::kFdIn;
  slot.mandatory = true;
  return add_slot(slot, 0, static_cast<std::uint64_t>(std::int64_t{fd}));
}

CallBuilder::Inputs CallBuilder::inputs() {
  Inputs out;
  for (const Slot& slot : slots_) {
    if (slot.copy_in) {
      (void)out.push_back({slot.tenant_address, {arena() + slot.offset, slot.len}});
    }
  }
  return out;
}

CallBuilder::Fds CallBuilder::fds() const {
  Fds out;
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    if (slots_[i].from_tenant && is_fd(slots_[i].kind)) {
      (void)out.push_back({slots_[i].id, get<std::int64_t>(attr_at(i) + kDataAt)});
    }
  }
  return out;
}

bool CallBuilder::set_fd(std::uint16_t attr_id, int fd) {
  const auto index = slot_of(attr_id);
  if (!index || !(is_fd(slots_[*index].kind) || slots_[*index].kind == Kind::kFdNew)) return false;
  put(attr_at(*index) + kDataAt, std::int64_t{fd});
  slots_[*index].fd_pending = false;
  return true;
}

std::span<std::byte> CallBuilder::in(std::uint16_t id) {
  const auto index = slot_of(id);
  if (!index || !is_payload(slots_[*index].kind)) return {};
  const Slot& slot = slots_[*index];
  return {in_header(slot) ? attr_at(*index) + kDataAt : arena() + slot.offset, slot.len};
}

std::span<const std::byte> CallBuilder::in(std::uint16_t id) const {
  const auto index = slot_of(id);
  if (!index || !is_payload(slots_[*index].kind)) return {};
  const Slot& slot = slots_[*index];
  return {in_header(slot) ? attr_at(*index) + kDataAt : arena() + slot.offset, slot.len};
}

std::span<std::byte> CallBuilder::out(std::uint16_t id) {
  const auto index = slot_of(id);
  if (!index || slots_[*index].kind != Kind::kPtrOut) return {};
  return {arena() + slots_[*index].offset, slots_[*index].len};
}

std::span<const std::byte> CallBuilder::out(std::uint16_t id) const {
  const auto index = slot_of(id);
  if (!index || slots_[*index].kind != Kind::kPtrOut) return {};
  return {arena() + slots_[*index].offset, slots_[*index].len};
}

std::optional<std::uint64_t> CallBuilder::value(std::uint16_t id) const {
  const auto bytes = in(id);
  if (bytes.data() == nullptr || bytes.size() > kInlineSize) return std::nullopt;
  std::uint64_t out = 0;
  std::memcpy(&out, bytes.data(), bytes.size());
  return out;
}

bool CallBuilder::set_value(std::uint16_t id, std::uint64_t value) {
  const auto bytes = in(id);
  if (bytes.data() == nullptr || bytes.size() > kInlineSize) return false;
  std::memcpy(bytes.data(), &value, bytes.size());
  return true;
}

std::optional<std::uint32_t> CallBuilder::handle(std::uint16_t id) const {
  const auto index = slot_of(id);
  if (!index) return std::nullopt;
  const Kind kind = slots_[*index].kind;
  if (kind != Kind::kIdrIn && kind != Kind::kIdrNew && kind != Kind::kIdrDestroy &&
      kind != Kind::kFdNew) {
    return std::nullopt;
  }
  const auto data = get<std::uint64_t>(attr_at(*index) + kDataAt);
  // The kernel has no handles beyond 32 bits; a tenant's nonsense must not look like one.
  if (data > UINT32_MAX) return std::nullopt;
  return static_cast<std::uint32_t>(data);
}

bool CallBuilder::has(std::uint16_t id) const {
  return slot_of(id).has_value();
}

ErrnoOr<std::span<std::byte>> CallBuilder::seal() {
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    const Slot& slot = slots_[i];
    if (slot.fd_pending) return tl::unexpected(EBADF);
    if (!in_header(slot)) {
      put(attr_at(i) + kDataAt,
          static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(arena() + slot.offset)));
    }
  }
  const std::size_t length = kHeaderSize + slots_.size() * kAttrSize;
  put(header_.data(), static_cast<std::uint16_t>(length));
  put(header_.data() + kNumAttrsAt, static_cast<std::uint16_t>(slots_.size()));
  return std::span(header_.data(), length);
}

ErrnoOr<std::span<std::byte>> CallBuilder::seal_into(Image& image) {
  if (on_heap_) return tl::unexpected(ENOSPC);
  auto sealed = seal();
  if (!sealed) return sealed;
  std::copy(slots_.begin(), slots_.end(), image.slots.begin());
  std::memcpy(image.header.data(), sealed->data(), sealed->size());
  std::memcpy(image.arena.data(), small_.data(), arena_used_);
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    std::byte* const data = image.header.data() + kHeaderSize + i * kAttrSize + kDataAt;
    if (!in_header(slots_[i])) {
      put(data, static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(image.arena.data()) +
                                           slots_[i].offset));
    } else if (slots_[i].kind == Kind::kIdrNew) {
      put(data, ~std::uint64_t{0});
    }
  }
  image.slots_used = static_cast<std::uint32_t>(slots_.size());
  image.arena_used = static_cast<std::uint32_t>(arena_used_);
  return std::span(image.header).first(sealed->size());
}

void CallBuilder::take_back(const Image& image) {
  std::memcpy(header_.data(), image.header.data(), kHeaderSize + slots_.size() * kAttrSize);
  std::memcpy(small_.data(), image.arena.data(), arena_used_);
}

std::optional<CallBuilder> CallBuilder::from_image(const Image& image) {
  if (image.slots_used > kMaxBuilderAttrs || image.arena_used > kSmallArena) return std::nullopt;
  CallBuilder out;
  for (std::size_t i = 0; i < image.slots_used; ++i) {
    const Slot& slot = image.slots[i];
    const bool inside = slot.offset <= image.arena_used &&
                        slot.len <= image.arena_used - slot.offset && slot.written <= slot.len;
    if (!in_header(slot) && !inside) return std::nullopt;
    (void)out.slots_.push_back(slot);
  }
  out.arena_used_ = image.arena_used;
  out.take_back(image);
  return out;
}

bool CallBuilder::valid_output(std::uint16_t id) const {
  const auto index = slot_of(id);
  return index && slots_[*index].kind == Kind::kPtrOut &&
         (get<std::uint16_t>(attr_at(*index) + kFlagsAt) & kAttrValidOutput) != 0;
}

bool CallBuilder::answer(std::uint16_t id, std::span<const std::byte> payload, bool zero_rest) {
  const auto index = slot_of(id);
  if (!index || slots_[*index].kind != Kind::kPtrOut) return false;
  Slot& slot = slots_[*index];
  const std::size_t size = std::min<std::size_t>(slot.len, payload.size());
  if (size != 0) std::memcpy(arena() + slot.offset, payload.data(), size);
  if (zero_rest && size < slot.len) std::memset(arena() + slot.offset + size, 0, slot.len - size);
  slot.written = static_cast<std::uint32_t>(zero_rest ? slot.len : size);
  std::byte* flags = attr_at(*index) + kFlagsAt;
  put(flags, static_cast<std::uint16_t>(get<std::uint16_t>(flags) | kAttrValidOutput));
  return true;
}

CallBuilder::WriteBacks CallBuilder::write_backs(std::uint64_t tenant_header) const {
  WriteBacks out;
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    const Slot& slot = slots_[i];
    if (!slot.from_tenant) continue;
    const std::uint64_t tenant_attr = tenant_header + kHeaderSize + slot.tenant_index * kAttrSize;
    if (slot.kind == Kind::kPtrOut) {
      if ((get<std::uint16_t>(attr_at(i) + kFlagsAt) & kAttrValidOutput) == 0) continue;
      if (slot.written != 0) {
        (void)out.push_back({slot.tenant_address, {arena() + slot.offset, slot.written}});
      }
      (void)out.push_back({tenant_attr + kFlagsAt, {attr_at(i) + kFlagsAt, 2}});
    } else if (slot.kind == Kind::kIdrNew || slot.kind == Kind::kFdNew) {
      (void)out.push_back({tenant_attr + kDataAt, {attr_at(i) + kDataAt, 8}});
    }
  }
  return out;
}

int CallBuilder::add_slot(const Slot& slot, std::uint8_t elem_id, std::uint64_t data) {
  if (!slots_.push_back(slot)) return EINVAL;
  std::byte* at = attr_at(slots_.size() - 1);
  put(at, slot.id);
  put(at + kLenAt, slot.len);
  put(at + kFlagsAt, slot.mandatory ? kAttrMandatory : std::uint16_t{0});
  put(at + kElemAt, std::uint16_t{elem_id});
  put(at + kDataAt, data);
  return 0;
}

// Room for a payload, zeroed, at a multiple of 8.
int CallBuilder::reserve(std::size_t size, std::uint32_t& offset) {
  const std::size_t rounded = (size + 7) & ~std::size_t{7};
  if (arena_used_ + rounded > kMaxPayloadBytes) return ENOMEM;
  offset = static_cast<std::uint32_t>(arena_used_);
  if (!on_heap_ && arena_used_ + rounded <= kSmallArena) {
    std::memset(small_.data() + arena_used_, 0, rounded);
  } else if (on_heap_) {
    heap_.resize(arena_used_ + rounded);
  } else {
    heap_.resize(arena_used_ + rounded);
    std::memcpy(heap_.data(), small_.data(), arena_used_);
    on_heap_ = true;
  }
  arena_used_ += rounded;
  return 0;
}

std::byte* CallBuilder::arena() {
  return on_heap_ ? heap_.data() : small_.data();
}
const std::byte* CallBuilder::arena() const {
  return on_heap_ ? heap_.data() : small_.data();
}

std::byte* CallBuilder::attr_at(std::size_t slot) {
  return header_.data() + kHeaderSize + slot * kAttrSize;
}
const std::byte* CallBuilder::attr_at(std::size_t slot) const {
  return header_.data() + kHeaderSize + slot * kAttrSize;
}

std::optional<std::size_t> CallBuilder::slot_of(std::uint16_t id) const {
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    if (slots_[i].id == id) return i;
  }
  return std::nullopt;
}

// Whether all there is to the attribute lies in its `data`.
bool CallBuilder::in_header(const Slot& slot) {
  if (slot.kind == Kind::kPtrOut) return false;
  return !is_payload(slot.kind) || slot.len <= kInlineSize;
}

}  // namespace qmasq::vbond::uverbs

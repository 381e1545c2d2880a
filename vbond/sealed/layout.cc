// SPDX-License-Identifier: Apache-2.0
#include "vbond/sealed/layout.h"

#include <cerrno>
#include <cstring>

namespace qmasq::vbond::sealed {
namespace {

using uverbs::Attr;
using uverbs::AttrSpec;
using uverbs::Kind;

bool is_output(const AttrSpec& spec) {
  return spec.kind == Kind::kPtrOut || spec.kind == Kind::kIdrNew || spec.kind == Kind::kFdNew;
}

bool has_payload(const AttrSpec& spec, const Attr& attr) {
  switch (spec.kind) {
    case Kind::kPtrIn:
    case Kind::kEnumIn:
    case Kind::kIdrsIn:
      return !attr.is_inline();
    default:
      return false;
  }
}

// What stands for an input that is not there; nothing: the kernel knows no such thing.
std::optional<Attr> none_of(const AttrSpec& spec) {
  Attr out;
  out.id = spec.id;
  if (spec.kind == Kind::kPtrIn && spec.min == 0) return out;
  if (spec.kind == Kind::kFlagsIn) {
    out.len = 8;
    return out;
  }
  return std::nullopt;
}

void put(std::byte* to, const Attr& attr) {
  std::memcpy(to, &attr.id, 2);
  std::memcpy(to + 2, &attr.len, 2);
  std::memcpy(to + 4, &attr.flags, 2);
  std::memcpy(to + 6, &attr.elem_id, 1);
  std::memcpy(to + 7, &attr.reserved, 1);
  std::memcpy(to + 8, &attr.data, 8);
}

void put_number(std::byte* to, std::uint64_t value) {
  std::memcpy(to, &value, sizeof(value));
}

}  // namespace

std::optional<unsigned> slot_of(std::uint64_t address) {
  if (address < slot_page(0) || address >= kEnd) return std::nullopt;
  const std::uint64_t page = (address - slot_page(0)) / kPage;
  if (page % 2 != 0) return std::nullopt;
  return static_cast<unsigned>(page / 2);
}

Range range(std::size_t index) {
  const auto slot = static_cast<unsigned>(index / 2);
  if (index == 0) return {kBase, 2 * kPage, true, true};
  if (index % 2 == 0) return {slot_page(slot), kPage, true, false};
  return {tail_page(slot), kPage, false, false};
}

Range range_of_slot(unsigned slot) {
  return range(std::size_t{2} * slot);
}

LaidCall::LaidCall() : bytes_(2 * kPage) {}

uverbs::ErrnoOr<LaidCall> lay_out(const uverbs::Call& call, const uverbs::Verb& verb, unsigned slot,
                                  std::uint64_t header) {
  struct Output {
    Attr attr;
    std::size_t index = 0;
  };
  std::vector<Attr> inputs;
  std::vector<Output> outputs;
  LaidCall out;
  out.slot_ = slot;
  std::size_t used = 0;
  for (std::size_t i = 0; i < call.num_attrs(); ++i) {
    Attr attr = call.attr(i);
    const AttrSpec* spec = uverbs::find_spec(verb, attr.id);
    if (spec == nullptr) return tl::unexpected(EPROTONOSUPPORT);
    if (is_output(*spec)) {
      outputs.push_back({attr, i});
      continue;
    }
    if (has_payload(*spec, attr)) {
      if (attr.len > kPage - used) return tl::unexpected(E2BIG);
      out.payloads_.push_back({attr.data, std::span(out.bytes_).subspan(used, attr.len)});
      attr.data = slot_page(slot) + used;
      used += (attr.len + std::size_t{7}) & ~std::size_t{7};
    }
    inputs.push_back(attr);
  }
  for (const AttrSpec& spec : verb.attrs) {
    if (is_output(spec) || call.find(spec.id)) continue;
    if (auto none = none_of(spec)) inputs.push_back(*none);
  }
  const std::size_t sealed = uverbs::kHeaderSize + inputs.size() * uverbs::kAttrSize;
  out.tail_size_ = outputs.size() * uverbs::kAttrSize;
  if (outputs.size() > kMostOutputs || used + kFromAt + sealed > kPage ||
      sealed + out.tail_size_ > uverbs::kMaxCallSize) {
    return tl::unexpected(E2BIG);
  }
  out.header_at_ = kPage - sealed;
  std::byte* at = out.bytes_.data() + out.header_at_;
  std::memcpy(at, call.bytes().data(), uverbs::kHeaderSize);
  const auto length = static_cast<std::uint16_t>(sealed + out.tail_size_);
  const auto attrs = static_cast<std::uint16_t>(inputs.size() + outputs.size());
  std::memcpy(at, &length, sizeof(length));
  std::memcpy(at + 6, &attrs, sizeof(attrs));
  put_number(at - kCountAt, outputs.size());
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    put_number(at - kFromAt + 8 * i, tail_page(slot) + i * uverbs::kAttrSize);
    put_number(at - kToAt + 8 * i,
               header + uverbs::kHeaderSize + outputs[i].index * uverbs::kAttrSize);
    put(out.bytes_.data() + kPage + i * uverbs::kAttrSize, outputs[i].attr);
  }
  at += uverbs::kHeaderSize;
  for (const Attr& attr : inputs) {
    put(at, attr);
    at += uverbs::kAttrSize;
  }
  return out;
}

}  // namespace qmasq::vbond::sealed

// SPDX-License-Identifier: Apache-2.0
#include "tests/fuzz/intercept_script/draft.h"

#include <algorithm>
#include <cstring>

namespace qmasq::fuzz {

namespace uverbs = vbond::uverbs;
using uverbs::Form;
using uverbs::Kind;

namespace {

// Small numbers: handles, lengths and indexes that mean something.
std::vector<std::byte> pattern(const Step& step, std::size_t size) {
  std::vector<std::byte> out(size);
  const std::uint8_t seeds[] = {step.c, step.d, step.e, step.f};
  for (std::size_t i = 0; i < size; i += sizeof(std::uint32_t))
    out[i] = static_cast<std::byte>(seeds[i / sizeof(std::uint32_t) % 4] % 8);
  const std::size_t place = size == 0 ? 0 : step.y % size;
  if (step.y != 0 && size >= sizeof(step.x)) {
    std::memcpy(out.data() + std::min(place, size - sizeof(step.x)), &step.x, sizeof(step.x));
  }
  return out;
}

}  // namespace

Draft Draft::ioctl(std::uint16_t object, std::uint16_t method) {
  Draft out;
  out.object_ = object;
  out.method_ = method;
  return out;
}

Draft Draft::write(std::uint32_t command) {
  Draft out = ioctl(uverbs::Object::kDevice, uverbs::kMethodInvokeWrite);
  out.number(uverbs::attr::kWriteCmd, command);
  return out;
}

Draft Draft::of(const uverbs::Verb& verb, const Step& step) {
  if (verb.key.form != Form::kIoctl) {
    const std::uint32_t extended = verb.key.form == Form::kWriteEx ? uverbs::kWriteExtended : 0;
    Draft out = write(verb.key.method | extended);
    if (verb.core_in_min != 0) out.in(uverbs::attr::kCoreIn, pattern(step, verb.core_in_min));
    if (verb.core_out_min != 0) out.out(uverbs::attr::kCoreOut, verb.core_out_min);
    if ((step.b & 1U) != 0) out.in(uverbs::attr::kUhwIn, pattern(step, 16));
    return out;
  }
  // Rows for "any" object or method: the step says which.
  const bool any_object = verb.key.object == 0xffff;
  const bool any_method = verb.key.method == 0xffff;
  Draft out = ioctl(any_object ? static_cast<std::uint16_t>(step.x) : verb.key.object,
                    any_method ? static_cast<std::uint16_t>(step.y) : verb.key.method);
  unsigned optional = step.b;
  std::size_t number = 0;
  const std::uint8_t handles[] = {step.c, step.d, step.e, step.f};
  for (const uverbs::AttrSpec& spec : verb.attrs) {
    const std::uint8_t pick = handles[number++ % 4];
    if (!spec.mandatory && ((optional >>= 1U) & 1U) == 0) continue;
    switch (spec.kind) {
      case Kind::kPtrIn:
      case Kind::kEnumIn:
        out.in(spec.id, pattern(step, spec.min));
        break;
      case Kind::kPtrOut:
        out.out(spec.id, spec.max == 0xffff ? spec.min + pick % 64U : spec.max);
        break;
      case Kind::kConstIn:
      case Kind::kFlagsIn:
        out.number(spec.id, pick % 8U);
        break;
      case Kind::kIdrsIn:
        out.number(spec.id, pick % 8U, 4);
        break;
      case Kind::kRawFdIn:
      case Kind::kFdIn:
      case Kind::kFdNew:
      case Kind::kIdrIn:
      case Kind::kIdrNew:
      case Kind::kIdrDestroy:
        out.handle(spec.id, pick % 8U);
        break;
    }
  }
  return out;
}

Draft& Draft::in(std::uint16_t id, std::span<const std::byte> payload) {
  Attribute out;
  out.id = id;
  out.len = static_cast<std::uint16_t>(payload.size());
  if (payload.size() <= uverbs::kInlineSize) {
    if (!payload.empty()) std::memcpy(&out.data, payload.data(), payload.size());
  } else {
    out.payload.assign(payload.begin(), payload.end());
    out.pointer = true;
  }
  attributes_.push_back(std::move(out));
  return *this;
}

Draft& Draft::number(std::uint16_t id, std::uint64_t value, std::uint16_t size) {
  attributes_.push_back({id, size, value, {}, false});
  return *this;
}

Draft& Draft::out(std::uint16_t id, std::size_t size) {
  attributes_.push_back({id, static_cast<std::uint16_t>(size), 0,
                         std::vector<std::byte>(size, std::byte{0xee}), true});
  return *this;
}

void Draft::twist(std::uint8_t kind, std::uint8_t at, std::uint32_t value) {
  twisted_ = true;
  twist_kind_ = kind;
  twist_at_ = at;
  twist_value_ = value;
}

std::uint64_t Draft::place(test::FakeKernel& kernel, pid_t process, bool scattered) {
  const std::size_t fixed = uverbs::kHeaderSize + attributes_.size() * uverbs::kAttrSize;
  std::size_t size = fixed;
  if (!scattered) {
    for (const Attribute& each : attributes_)
      size += (each.payload.size() + 7) / 8 * 8;
  }
  const std::uint64_t address = kernel.map(process, size);
  std::vector<std::byte> bytes(size);
  auto put = [&](std::size_t at, auto value) {
    std::memcpy(bytes.data() + at, &value, sizeof(value));
  };
  put(0, static_cast<std::uint16_t>(fixed));
  put(2, object_);
  put(4, method_);
  put(6, static_cast<std::uint16_t>(attributes_.size()));
  put(16, driver_id);
  std::size_t next = fixed;
  for (std::size_t i = 0; i < attributes_.size(); ++i) {
    Attribute& each = attributes_[i];
    if (each.pointer && scattered) {
      each.data = kernel.map(process, each.payload);
    } else if (each.pointer) {
      each.data = address + next;
      if (!each.payload.empty())
        std::memcpy(bytes.data() + next, each.payload.data(), each.payload.size());
      next += (each.payload.size() + 7) / 8 * 8;
    }
    const std::size_t at = uverbs::kHeaderSize + i * uverbs::kAttrSize;
    put(at, each.id);
    put(at + 2, each.len);
    put(at + 4, uverbs::kAttrMandatory);
    put(at + 8, each.data);
  }
  if (twisted_) spoil(std::span(bytes).first(fixed), address);
  kernel.poke(process, address, bytes);
  return address;
}

void Draft::spoil(std::span<std::byte> header, std::uint64_t address) const {
  auto put = [&](std::size_t at, auto value) {
    std::memcpy(header.data() + at, &value, sizeof(value));
  };
  const auto small = static_cast<std::uint16_t>(twist_value_);
  const std::size_t index = attributes_.empty() ? 0 : twist_at_ % attributes_.size();
  const std::size_t attribute = uverbs::kHeaderSize + index * uverbs::kAttrSize;
  constexpr unsigned kOfHeader = 7;
  unsigned kind = twist_kind_ % 16U;
  if (attributes_.empty()) kind %= kOfHeader;
  switch (kind) {
    case 0:
      put(0, small);
      break;
    case 1:
      put(6, small);
      break;
    case 2:
      put(8, twist_value_);
      break;
    case 3:
      put(16, twist_value_);
      break;
    case 4:
      put(2, small);
      break;
    case 5:
      put(4, small);
      break;
    case 6:
      put(20, twist_value_);
      break;
    case 7:
      put(attribute, small);
      break;
    case 8:
      put(attribute + 2, small);
      break;
    case 9:
      put(attribute + 4, small);
      break;
    case 10:
      put(attribute + 6, small);
      break;
    case 11:
      put(attribute + 8, twist_value_);
      break;
    case 12:  // answers over the call itself
      put(attribute + 8, address + small % (header.size() + 8));
      break;
    case 13:
      put(attribute + 8, ~std::uint64_t{0} - small);
      break;
    case 14: {  // twice the same
      const std::size_t other =
          uverbs::kHeaderSize + twist_value_ % attributes_.size() * uverbs::kAttrSize;
      std::vector<std::byte> copy(
          header.begin() + static_cast<std::ptrdiff_t>(other),
          header.begin() + static_cast<std::ptrdiff_t>(other) + uverbs::kAttrSize);
      std::copy(copy.begin(), copy.end(), header.begin() + static_cast<std::ptrdiff_t>(attribute));
      break;
    }
    default:
      put(attribute + 12, twist_value_);
      break;
  }
}

}  // namespace qmasq::fuzz

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "vbond/uverbs/abi.h"

// A second way to lay out a call, plain and independent of the library's own, for its tests.
namespace qmasq::vbond::uverbs {

template <std::size_t N>
std::vector<std::byte> bytes_of(const std::uint8_t (&raw)[N]) {
  std::vector<std::byte> out(N);
  std::memcpy(out.data(), raw, N);
  return out;
}

class Wire {
 public:
  Wire(std::uint16_t object, std::uint16_t method, std::uint32_t driver = 14) {
    bytes_.resize(24);
    poke<std::uint16_t>(2, object);
    poke<std::uint16_t>(4, method);
    poke<std::uint32_t>(16, driver);
    poke<std::uint16_t>(0, 24);
  }
  // INVOKE_WRITE of a command.
  static Wire command(std::uint32_t cmd) {
    Wire out(0, 0);
    out.attr(2, 8, cmd);
    return out;
  }

  Wire& attr(std::uint16_t id, std::uint16_t len, std::uint64_t data,
             std::uint16_t flags = kAttrMandatory, std::uint16_t elem_and_reserved = 0) {
    const std::size_t at = bytes_.size();
    bytes_.resize(at + 16);
    poke(at, id);
    poke(at + 2, len);
    poke(at + 4, flags);
    poke(at + 6, elem_and_reserved);
    poke(at + 8, data);
    poke<std::uint16_t>(0, static_cast<std::uint16_t>(bytes_.size()));
    poke<std::uint16_t>(6, static_cast<std::uint16_t>((bytes_.size() - 24) / 16));
    return *this;
  }
  template <typename T>
  Wire& poke(std::size_t at, T value) {
    std::memcpy(bytes_.data() + at, &value, sizeof(value));
    return *this;
  }
  Wire& resize(std::size_t size) {
    bytes_.resize(size);
    return *this;
  }
  [[nodiscard]] std::span<const std::byte> bytes() const { return bytes_; }

 private:
  std::vector<std::byte> bytes_;
};

template <typename T>
T peek(std::span<const std::byte> bytes, std::size_t at) {
  T out{};
  std::memcpy(&out, bytes.data() + at, sizeof(out));
  return out;
}

}  // namespace qmasq::vbond::uverbs

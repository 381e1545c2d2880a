// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <span>
#include <type_traits>

// Reading and writing of uapi structures, for the codecs' .cc files.
namespace qmasq::vbond::uverbs {

// As the kernel's uverbs_request(): 0, ENOSPC below `least` bytes, EOPNOTSUPP when there is more
// than the structure and the surplus is not zero. What is missing of the structure is zero.
template <typename Abi>
[[nodiscard]] int read_request(std::span<const std::byte> bytes, std::size_t least, Abi& out) {
  static_assert(std::is_trivially_copyable_v<Abi>);
  if (bytes.size() < least) return ENOSPC;
  out = {};
  std::memcpy(&out, bytes.data(), std::min(bytes.size(), sizeof(Abi)));
  if (bytes.size() > sizeof(Abi)) {
    for (const std::byte surplus : bytes.subspan(sizeof(Abi))) {
      if (surplus != std::byte{0}) return EOPNOTSUPP;
    }
  }
  return 0;
}

// False when the kernel's answer is shorter than the structure.
template <typename Abi>
[[nodiscard]] bool read_response(std::span<const std::byte> bytes, Abi& out) {
  static_assert(std::is_trivially_copyable_v<Abi>);
  if (bytes.size() < sizeof(Abi)) return false;
  std::memcpy(&out, bytes.data(), sizeof(Abi));
  return true;
}

template <typename Abi>
[[nodiscard]] bool write_abi(const Abi& in, std::span<std::byte> bytes) {
  static_assert(std::is_trivially_copyable_v<Abi>);
  if (bytes.size() < sizeof(Abi)) return false;
  std::memcpy(bytes.data(), &in, sizeof(Abi));
  return true;
}

}  // namespace qmasq::vbond::uverbs

// SPDX-License-Identifier: Apache-2.0
#include "vbond/guard/guard.h"

namespace qmasq::vbond {
namespace {

// enum uapi_radix_data of the kernel, unchanged since 4.20.
constexpr std::uint16_t kDriver = 0x1000;  // UVERBS_API_NS_FLAG
constexpr unsigned kMethodShift = 6;
constexpr unsigned kObjectShift = 11;
constexpr std::uint32_t kCoreObjects = 20;
constexpr std::uint32_t kDriverObjects = 32 - kCoreObjects;
constexpr std::uint32_t kCoreMethods = 22;
constexpr std::uint32_t kDriverMethods = 30 - kCoreMethods;

}  // namespace

std::uint32_t method_key(std::uint16_t object, std::uint16_t method) {
  std::uint32_t object_key = object;
  if ((object & kDriver) != 0) {
    object_key = object & ~std::uint32_t{kDriver};
    if (object_key >= kDriverObjects) return 0;
    object_key += kCoreObjects;
  } else if (object_key >= kCoreObjects) {
    return 0;
  }
  std::uint32_t key = std::uint32_t{method} + 1;
  if ((method & kDriver) != 0) {
    key = method & ~std::uint32_t{kDriver};
    if (key >= kDriverMethods) return 0;
    key += kCoreMethods;
  } else if (key >= kCoreMethods) {
    return 0;
  }
  return (object_key << kObjectShift) | (key << kMethodShift);
}

}  // namespace qmasq::vbond

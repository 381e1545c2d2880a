// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "common/net_types.h"
#include "common/rate.h"

// A QoS policy as a value. What each limit means and its bounds: schema/proto/qmasq/v1/qos.proto.
namespace qmasq::qos {

inline constexpr std::uint32_t kDefaultWeight = 10;
inline constexpr std::uint32_t kMaxWeight = 100;

struct Bandwidth {
  std::optional<BitsPerSecond> guaranteed;
  std::optional<BitsPerSecond> maximum;
  std::optional<std::uint64_t> burst;  // bytes
  std::uint32_t weight = kDefaultWeight;
  // Anything that somebody has to enforce; a weight alone is not.
  [[nodiscard]] bool limits() const { return guaranteed || maximum || burst; }
  bool operator==(const Bandwidth&) const = default;
};

// What is counted while it exists. Names as in QosQuotas: to_string.
enum class Resource : std::uint8_t {
  kQueuePairs,
  kCompletionQueues,
  kMemoryRegions,
  kSharedReceiveQueues,
  kPinnedBytes,
};
inline constexpr std::size_t kResources = 5;
[[nodiscard]] const char* to_string(Resource resource);

struct Quotas {
  std::array<std::optional<std::uint64_t>, kResources> limits;
  [[nodiscard]] const std::optional<std::uint64_t>& of(Resource resource) const {
    return limits[static_cast<std::size_t>(resource)];
  }
  bool operator==(const Quotas&) const = default;
};

// What is counted by the second. Names as in QosVerbRates: to_string.
enum class VerbKind : std::uint8_t { kContexts, kQueuePairs, kConnects, kVerbs };
inline constexpr std::size_t kVerbKinds = 4;
[[nodiscard]] const char* to_string(VerbKind kind);

struct VerbRate {
  std::uint32_t per_second = 0;
  std::uint32_t burst = 0;  // at once after a pause; never 0 where there is a rate
  bool operator==(const VerbRate&) const = default;
};

struct VerbRates {
  std::array<std::optional<VerbRate>, kVerbKinds> rates;
  [[nodiscard]] const std::optional<VerbRate>& of(VerbKind kind) const {
    return rates[static_cast<std::size_t>(kind)];
  }
  bool operator==(const VerbRates&) const = default;
};

struct Policy {
  QosPolicyUid uid;
  std::string id;  // "gold"
  Bandwidth bandwidth;
  std::optional<std::uint8_t> dscp;  // 0 to 63
  Quotas quotas;
  VerbRates verb_rates;
  bool operator==(const Policy&) const = default;
};

}  // namespace qmasq::qos

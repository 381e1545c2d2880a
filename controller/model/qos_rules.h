// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "common/result.h"
#include "controller/model/types.h"
#include "qos/policy.h"

// What a QoS policy may say, and administrators of NICs. Bounds are those of qos.proto and
// host.proto. Pure; every failure is kInvalidArgument with the field.
namespace qmasq::controller {

// In a store. Every agent holds all of them.
inline constexpr std::size_t kMostPolicies = 1000;
// Bits per second: no rate can be written that is above it.
inline constexpr std::uint64_t kMostRate = 10'000'000'000'000;
inline constexpr std::size_t kMostNicRates = 128;

// A policy as it came: nothing is checked, nothing was narrowed.
struct AskedPolicy {
  struct Rate {
    std::uint64_t per_second = 0;
    std::uint64_t burst = 0;  // 0: as per_second
  };
  std::optional<std::uint64_t> guaranteed_bps, maximum_bps, burst_bytes, weight, dscp;
  std::array<std::optional<std::uint64_t>, qos::kResources> quotas;  // by qos::Resource
  std::array<std::optional<Rate>, qos::kVerbKinds> verb_rates;       // by qos::VerbKind
};

// The limits, without uid and id. Fields are below "qos_policy".
[[nodiscard]] Result<qos::Policy> check_policy(const AskedPolicy& asked);

// Fields are below "host.nic_rates".
[[nodiscard]] Status check_nic_rates(std::span<const NicRate> rates);

}  // namespace qmasq::controller

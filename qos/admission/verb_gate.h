// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <initializer_list>
#include <optional>

#include "qos/policy.h"

namespace qmasq::qos {

// A rate with a burst, counted in whole numbers: nothing is lost to rounding. Starts full. Not
// thread-safe. The time never goes back.
class TokenBucket {
 public:
  using Time = std::chrono::steady_clock::time_point;

  TokenBucket(const VerbRate& rate, Time now);
  // Keeps what is in it, as far as the new burst has room.
  void set_rate(const VerbRate& rate, Time now);
  [[nodiscard]] const VerbRate& rate() const { return rate_; }

  // Whether there is a token; take() then takes it.
  [[nodiscard]] bool has(Time now);
  void take();

 private:
  void fill(Time now);

  VerbRate rate_;
  std::uint64_t credit_ = 0;  // kPerToken of it are a token
  Time last_;
};

// Several kinds of verbs.
class VerbKinds {
 public:
  constexpr VerbKinds() = default;
  constexpr VerbKinds(std::initializer_list<VerbKind> kinds) {
    for (VerbKind kind : kinds)
      bits_ |= bit(kind);
  }
  [[nodiscard]] constexpr bool has(VerbKind kind) const { return (bits_ & bit(kind)) != 0; }
  [[nodiscard]] constexpr bool empty() const { return bits_ == 0; }

 private:
  static constexpr unsigned bit(VerbKind kind) { return 1U << static_cast<unsigned>(kind); }
  unsigned bits_ = 0;
};

// The verb rates of an endpoint, or of its VPC on this host. Pure; not thread-safe.
class VerbGate {
 public:
  using Time = TokenBucket::Time;

  void set_rates(const VerbRates& rates, Time now);
  [[nodiscard]] bool limits() const;
  [[nodiscard]] bool limits(VerbKind kind) const { return bucket(kind).has_value(); }
  // Null: no limit.
  [[nodiscard]] const VerbRate* rate(VerbKind kind) const {
    return bucket(kind) ? &bucket(kind)->rate() : nullptr;
  }

  // The first kind of which there is no token now.
  [[nodiscard]] std::optional<VerbKind> lacks(VerbKinds kinds, Time now);
  // REQUIRES: lacks() said none, with nothing between.
  void take(VerbKinds kinds);

 private:
  [[nodiscard]] const std::optional<TokenBucket>& bucket(VerbKind kind) const {
    return buckets_[static_cast<std::size_t>(kind)];
  }
  std::array<std::optional<TokenBucket>, kVerbKinds> buckets_;
};

struct OverRate {
  VerbKind kind = VerbKind::kVerbs;
  bool of_vpc = false;
  VerbRate rate;
};
// Asks both: a token of each kind from each, or none from either.
[[nodiscard]] std::optional<OverRate> admit(VerbGate& own, VerbGate& of_vpc, VerbKinds kinds,
                                            VerbGate::Time now);

}  // namespace qmasq::qos

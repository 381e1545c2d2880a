// SPDX-License-Identifier: Apache-2.0
#include "qos/admission/verb_gate.h"

#include <algorithm>

namespace qmasq::qos {
namespace {

// One token is as much credit as a rate of one per second brings in a second of nanoseconds.
constexpr std::uint64_t kPerToken = 1'000'000'000;

std::uint64_t room(const VerbRate& rate) {
  return std::max<std::uint64_t>(rate.burst, 1) * kPerToken;
}

}  // namespace

TokenBucket::TokenBucket(const VerbRate& rate, Time now)
    : rate_(rate), credit_(room(rate)), last_(now) {}

void TokenBucket::set_rate(const VerbRate& rate, Time now) {
  fill(now);
  rate_ = rate;
  credit_ = std::min(credit_, room(rate));
}

void TokenBucket::fill(Time now) {
  if (now <= last_) return;
  const auto passed = static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(now - last_).count());
  last_ = now;
  const std::uint64_t missing = room(rate_) - credit_;
  // Compared by division: the product may not fit.
  if (rate_.per_second != 0 && passed >= missing / rate_.per_second + 1) {
    credit_ = room(rate_);
  } else {
    credit_ = std::min(room(rate_), credit_ + passed * rate_.per_second);
  }
}

bool TokenBucket::has(Time now) {
  fill(now);
  return credit_ >= kPerToken;
}

void TokenBucket::take() {
  credit_ -= std::min(credit_, kPerToken);
}

void VerbGate::set_rates(const VerbRates& rates, Time now) {
  for (std::size_t i = 0; i < kVerbKinds; ++i) {
    const auto& rate = rates.rates[i];
    auto& at = buckets_[i];
    if (!rate) {
      at.reset();
    } else if (!at) {
      at.emplace(*rate, now);
    } else if (at->rate() != *rate) {
      at->set_rate(*rate, now);
    }
  }
}

bool VerbGate::limits() const {
  return std::any_of(buckets_.begin(), buckets_.end(),
                     [](const auto& each) { return each.has_value(); });
}

std::optional<VerbKind> VerbGate::lacks(VerbKinds kinds, Time now) {
  for (std::size_t i = 0; i < kVerbKinds; ++i) {
    const auto kind = static_cast<VerbKind>(i);
    if (kinds.has(kind) && buckets_[i] && !buckets_[i]->has(now)) return kind;
  }
  return std::nullopt;
}

void VerbGate::take(VerbKinds kinds) {
  for (std::size_t i = 0; i < kVerbKinds; ++i) {
    if (kinds.has(static_cast<VerbKind>(i)) && buckets_[i]) buckets_[i]->take();
  }
}

std::optional<OverRate> admit(VerbGate& own, VerbGate& of_vpc, VerbKinds kinds,
                              VerbGate::Time now) {
  if (auto kind = own.lacks(kinds, now)) return OverRate{*kind, false, *own.rate(*kind)};
  if (auto kind = of_vpc.lacks(kinds, now)) return OverRate{*kind, true, *of_vpc.rate(*kind)};
  own.take(kinds);
  of_vpc.take(kinds);
  return std::nullopt;
}

}  // namespace qmasq::qos

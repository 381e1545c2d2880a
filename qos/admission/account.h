// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "qos/policy.h"

namespace qmasq::qos {

// Of each resource so many; kPinnedBytes in bytes.
using Amounts = std::array<std::uint64_t, kResources>;

[[nodiscard]] inline Amounts amounts_of(Resource resource, std::uint64_t count = 1) {
  Amounts out{};
  out[static_cast<std::size_t>(resource)] = count;
  return out;
}

class Account;

// Why something was not reserved.
struct Excess {
  Resource resource = Resource::kQueuePairs;
  const Account* account = nullptr;  // whose limit it is
  std::uint64_t limit = 0;
  std::uint64_t used = 0;   // before
  std::uint64_t asked = 0;  // beyond that
};

// What somebody has, and may have: an endpoint, or above it its VPC on this host, which has the sum
// of its endpoints. A limit refuses what is new and takes nothing away. Pure; not thread-safe:
// accounts with a common parent share a lock of their owner's.
class Account {
 public:
  // Not owned; must outlive this.
  explicit Account(Account* parent = nullptr) : parent_(parent) {}
  // What it still has goes back to the parent.
  ~Account();
  Account(const Account&) = delete;
  Account& operator=(const Account&) = delete;

  void set_limits(const Quotas& limits) { limits_ = limits; }
  [[nodiscard]] const Quotas& limits() const { return limits_; }
  [[nodiscard]] const Amounts& used() const { return used_; }
  [[nodiscard]] std::uint64_t used(Resource resource) const {
    return used_[static_cast<std::size_t>(resource)];
  }

  // All of it here and above, or nothing anywhere; then the first limit that it would exceed, this
  // account's own before the parent's. What is not asked for is not looked at.
  [[nodiscard]] std::optional<Excess> reserve(const Amounts& amounts);
  // Whatever the limits say: it exists already.
  void charge(const Amounts& amounts);
  // REQUIRES: it was reserved or charged.
  void release(const Amounts& amounts);

 private:
  [[nodiscard]] std::optional<Excess> excess(const Amounts& amounts) const;

  Account* const parent_;
  Quotas limits_;
  Amounts used_{};
};

}  // namespace qmasq::qos

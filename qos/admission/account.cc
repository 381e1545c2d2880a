// SPDX-License-Identifier: Apache-2.0
#include "qos/admission/account.h"

#include <cassert>

namespace qmasq::qos {

Account::~Account() {
  if (parent_ != nullptr && used_ != Amounts{}) parent_->release(used_);
}

std::optional<Excess> Account::excess(const Amounts& amounts) const {
  for (std::size_t i = 0; i < kResources; ++i) {
    const auto& limit = limits_.limits[i];
    if (amounts[i] == 0 || !limit) continue;
    if (used_[i] > *limit || amounts[i] > *limit - used_[i]) {
      return Excess{static_cast<Resource>(i), this, *limit, used_[i], amounts[i]};
    }
  }
  return std::nullopt;
}

std::optional<Excess> Account::reserve(const Amounts& amounts) {
  for (const Account* at = this; at != nullptr; at = at->parent_) {
    if (auto found = at->excess(amounts)) return found;
  }
  charge(amounts);
  return std::nullopt;
}

void Account::charge(const Amounts& amounts) {
  for (Account* at = this; at != nullptr; at = at->parent_) {
    for (std::size_t i = 0; i < kResources; ++i)
      at->used_[i] += amounts[i];
  }
}

void Account::release(const Amounts& amounts) {
  for (Account* at = this; at != nullptr; at = at->parent_) {
    for (std::size_t i = 0; i < kResources; ++i) {
      assert(at->used_[i] >= amounts[i]);
      at->used_[i] -= amounts[i];
    }
  }
}

}  // namespace qmasq::qos

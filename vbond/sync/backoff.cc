// SPDX-License-Identifier: Apache-2.0
#include "vbond/sync/backoff.h"

#include <algorithm>
#include <utility>

namespace qmasq::vbond {

Backoff::Backoff(Options options, std::function<double()> random)
    : options_(options), random_(std::move(random)), whole_(options.first) {}

std::chrono::milliseconds Backoff::upper_half(std::chrono::milliseconds whole) {
  auto half = whole / 2;
  auto more = static_cast<double>((whole - half).count()) * std::clamp(random_(), 0.0, 1.0);
  return half + std::chrono::milliseconds(static_cast<std::chrono::milliseconds::rep>(more));
}

std::chrono::milliseconds Backoff::next() {
  auto out = upper_half(whole_);
  whole_ = std::min(whole_ * 2, options_.longest);
  return out;
}

std::chrono::milliseconds Backoff::after_refusal() {
  return upper_half(options_.refused);
}

void Backoff::reset() {
  whole_ = options_.first;
}

}  // namespace qmasq::vbond

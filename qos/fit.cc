// SPDX-License-Identifier: Apache-2.0
#include "qos/fit.h"

#include <algorithm>
#include <limits>

namespace qmasq::qos {
namespace {

// So many promises that their sum has no number are too many by any measure.
BitsPerSecond sum(BitsPerSecond a, BitsPerSecond b) {
  constexpr std::uint64_t kMost = std::numeric_limits<std::uint64_t>::max();
  return {a.value > kMost - b.value ? kMost : a.value + b.value};
}

}  // namespace

BitsPerSecond promised(const FitVpc& vpc) {
  BitsPerSecond endpoints;
  for (const FitVpc::Endpoint& endpoint : vpc.endpoints)
    endpoints = sum(endpoints, endpoint.bandwidth.guaranteed.value_or(BitsPerSecond{}));
  return std::max(endpoints, vpc.bandwidth.guaranteed.value_or(BitsPerSecond{}));
}

BitsPerSecond promised(std::span<const FitVpc> vpcs) {
  BitsPerSecond out;
  for (const FitVpc& vpc : vpcs)
    out = sum(out, promised(vpc));
  return out;
}

}  // namespace qmasq::qos

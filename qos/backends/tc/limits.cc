// SPDX-License-Identifier: Apache-2.0
#include "qos/backends/tc/limits.h"

#include <algorithm>
#include <limits>

#include "qos/policy.h"

namespace qmasq::qos::tc {
namespace {

__extension__ using Wide = unsigned __int128;

constexpr std::uint64_t kTickNs = 64;
constexpr std::uint64_t kNsPerSecond = 1'000'000'000;
constexpr std::uint32_t kMostTicks = std::numeric_limits<std::uint32_t>::max();
constexpr std::uint32_t kTicksPerSecond = kNsPerSecond / kTickNs;
constexpr std::uint32_t kWeightBits = 0x7f;
constexpr std::uint32_t kMostBurst = kMostTicks - 2 * kTicksPerSecond;

std::uint64_t bytes_per_second(BitsPerSecond rate) {
  return std::max<std::uint64_t>(rate.value / 8, 1);
}

// Rounded up: never less than was asked for.
std::uint32_t ticks_of(std::uint64_t bytes, std::uint64_t rate) {
  // Clipped as bytes: what comes back for the longest time there is then comes to the same ticks.
  Wide most = Wide{kMostBurst} * kTickNs * rate / kNsPerSecond;
  Wide per_second = Wide{rate} * kTickNs;
  return static_cast<std::uint32_t>((std::min<Wide>(bytes, most) * kNsPerSecond + per_second - 1) /
                                    per_second);
}

// What a class may run ahead besides, for a kernel that comes late to send.
std::uint32_t slack_of(std::uint64_t rate) {
  return std::min(ticks_of(kSlackBytes, rate), kTicksPerSecond / 10);
}

// The largest multiple of `step`^n that is above `low` and at most `high`, for the largest n.
struct Round {
  std::uint64_t value;
  int power;
};
Round roundest(std::uint64_t low, std::uint64_t high, std::uint64_t step) {
  Round best{high, 0};
  std::uint64_t unit = step;
  for (int power = 1; unit <= high; ++power) {
    std::uint64_t candidate = high / unit * unit;
    if (candidate <= low) break;
    best = {candidate, power};
    if (unit > std::numeric_limits<std::uint64_t>::max() / step) break;
    unit *= step;
  }
  return best;
}

std::uint64_t burst_of(std::uint32_t ticks, std::uint64_t rate) {
  auto bytes = [rate](std::uint64_t count) {
    return static_cast<std::uint64_t>(Wide{count} * kTickNs * rate / kNsPerSecond);
  };
  if (ticks == 0) return 0;
  std::uint64_t low = bytes(ticks - 1);
  std::uint64_t high = bytes(ticks);
  if (high <= low) return high;  // a tick is less than a byte: exact
  Round binary = roundest(low, high, 2);
  Round decimal = roundest(low, high, 10);
  // A decimal place is worth 3.3 binary ones.
  return decimal.power * 10 > binary.power * 3 ? decimal.value : binary.value;
}

}  // namespace

Class to_class(const Node& node, Handle id, Handle parent, std::uint32_t parent_weight) {
  Class spec;
  spec.id = id;
  spec.parent = parent;
  spec.rate = bytes_per_second(node.guaranteed);
  spec.ceil = std::max(bytes_per_second(node.maximum), spec.rate);
  spec.rate_mpu = kRateMark;
  spec.ceil_mpu = kCeilMark;
  spec.cbuffer = ticks_of(node.burst, spec.ceil) + slack_of(spec.ceil);
  std::uint32_t ahead =
      std::min(ticks_of(node.burst, spec.rate), kTicksPerSecond) + slack_of(spec.rate);
  spec.buffer = ((ahead + kWeightBits) & ~kWeightBits) | node.weight;
  std::uint32_t factor = node.id.kind == NodeId::Kind::kEndpoint ? parent_weight : kDefaultWeight;
  spec.quantum = std::max(kFrame, kFrame * node.weight * factor / kDefaultWeight);
  return spec;
}

Node limits_of(const Class& spec) {
  Node node;
  node.guaranteed = BitsPerSecond{spec.rate * 8};
  node.maximum = BitsPerSecond{spec.ceil * 8};
  std::uint64_t ceil = std::max<std::uint64_t>(spec.ceil, 1);
  std::uint32_t slack = slack_of(ceil);
  node.burst = burst_of(spec.cbuffer > slack ? spec.cbuffer - slack : 0, ceil);
  node.weight = std::clamp(spec.buffer & kWeightBits, 1U, kMaxWeight);
  return node;
}

bool is_marked(const Class& spec) {
  return spec.rate_mpu == kRateMark && spec.ceil_mpu == kCeilMark;
}

Node as_programmed(const Node& node) {
  Node there = limits_of(to_class(node, kOurs, kOurs, kDefaultWeight));
  there.id = node.id;
  there.parent = node.parent;
  there.ports = node.ports;
  return there;
}

}  // namespace qmasq::qos::tc

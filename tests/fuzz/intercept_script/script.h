// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

// The grammar of an input: one byte that says what kind of host it is (Mode), then steps of 16
// bytes each, so that whatever a mutation puts there is a step, and steps can be moved about.
namespace qmasq::fuzz {

struct Step {
  std::uint8_t op = 0;   // which action, Player::play()
  std::uint8_t who = 0;  // which process and thread
  std::uint8_t a = 0;    // what each action makes of these stands with it
  std::uint8_t b = 0;
  std::uint8_t c = 0;
  std::uint8_t d = 0;
  std::uint8_t e = 0;
  std::uint8_t f = 0;
  std::uint32_t x = 0;
  std::uint32_t y = 0;
};
static_assert(sizeof(Step) == 16);
inline constexpr std::size_t kModeSize = 1;
inline constexpr std::size_t kMostSteps = 64;
inline constexpr std::size_t kMostScript = kModeSize + kMostSteps * sizeof(Step);

struct Mode {
  bool hardware = false;      // a NIC whose tenants run what pins memory themselves
  bool tenant_opens = false;  // `open: tenant`
  bool few_contexts = false;  // two at once
  bool datagrams = false;     // both VPCs admit UD at first
  bool two_threads = false;   // of the first program of each tenant
};

struct Script {
  Mode mode;
  std::vector<Step> steps;
};

inline Script parse(std::span<const std::uint8_t> bytes) {
  Script out;
  if (bytes.empty()) return out;
  const unsigned bits = bytes[0];
  out.mode.hardware = (bits & 1U) != 0;
  out.mode.tenant_opens = (bits & 6U) == 6U;
  out.mode.few_contexts = (bits & 8U) != 0;
  out.mode.datagrams = (bits & 16U) != 0;
  out.mode.two_threads = (bits & 32U) != 0;
  for (std::size_t at = kModeSize;
       at + sizeof(Step) <= bytes.size() && out.steps.size() < kMostSteps; at += sizeof(Step)) {
    Step step;
    std::memcpy(&step, bytes.data() + at, sizeof(step));
    out.steps.push_back(step);
  }
  return out;
}

}  // namespace qmasq::fuzz

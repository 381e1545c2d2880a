// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "qos/plan.h"
#include "qos/policy.h"

// Plans as people read them.
namespace qmasq::qos::test {

inline constexpr std::uint64_t kMbit = 1'000'000;

// Rates in Mbit/s; 0: none.
[[nodiscard]] Bandwidth limits(std::uint64_t guaranteed, std::uint64_t maximum,
                               std::uint32_t weight = kDefaultWeight);

// One line for each node, in order: "vpc 1: 15Mbit to 20Mbit". What is not said is that of no
// policy.
[[nodiscard]] std::vector<std::string> lines(const Plan& plan);

// What is wrong with it: a parent that is missing, children that are guaranteed more than their
// parent, a maximum above the parent's, a port of two endpoints... Empty: nothing.
[[nodiscard]] std::string fault(const Plan& plan);
// The same of the tree alone, whatever its figures.
[[nodiscard]] std::string fault_of_tree(const Plan& plan);

}  // namespace qmasq::qos::test

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "cli/failure.h"
#include "qmasq/v1/host.pb.h"

// Host.nic_rates as typed: "rxe0=30Mbit", "rxe0=none". Pure.
namespace qmasq::cli {

// Device to bits per second; 0: what the driver says.
using NicRateChanges = std::map<std::string, std::uint64_t>;

// Failures name `option`. A device may be there once.
[[nodiscard]] Outcome<NicRateChanges> parse_nic_rates(std::string_view option,
                                                      const std::vector<std::string>& typed);
// To the rates that `host` has; those of other devices stay. In order of devices.
void apply(const NicRateChanges& changes, v1::Host& host);

}  // namespace qmasq::cli

// SPDX-License-Identifier: Apache-2.0
#include "cli/qos/nic_rates.h"

#include <fmt/format.h>

#include "cli/qos/words.h"
#include "common/rate.h"

namespace qmasq::cli {

Outcome<NicRateChanges> parse_nic_rates(std::string_view option,
                                        const std::vector<std::string>& typed) {
  NicRateChanges out;
  for (const std::string& text : typed) {
    const std::size_t equals = text.find('=');
    if (equals == std::string::npos || equals == 0) {
      constexpr std::size_t kMost = 60;
      return failed(kExitUsage, fmt::format("{}: '{}' is not as expected: say rxe0=30Mbit, or "
                                            "rxe0=none",
                                            option, text.substr(0, kMost)));
    }
    const std::string device = text.substr(0, equals);
    const std::string value = text.substr(equals + 1);
    std::uint64_t rate_bps = 0;
    if (value != kNone) {
      auto rate = parse_rate(value);
      if (!rate) {
        return failed(kExitUsage, fmt::format("{} {}: {}", option, device, rate.error().message));
      }
      if (rate->value == 0) {
        return failed(kExitUsage, fmt::format("{} {}: 0 would leave tenants nothing; 'none' means "
                                              "what the driver says",
                                              option, device));
      }
      rate_bps = rate->value;
    }
    if (!out.emplace(device, rate_bps).second) {
      return failed(kExitUsage, fmt::format("{}: {} is there twice", option, device));
    }
  }
  return out;
}

void apply(const NicRateChanges& changes, v1::Host& host) {
  NicRateChanges rates;
  for (const v1::NicRate& rate : host.nic_rates())
    rates[rate.device()] = rate.rate_bps();
  for (const auto& [device, rate_bps] : changes)
    rates[device] = rate_bps;
  host.clear_nic_rates();
  for (const auto& [device, rate_bps] : rates) {
    if (rate_bps == 0) continue;
    v1::NicRate& rate = *host.add_nic_rates();
    rate.set_device(device);
    rate.set_rate_bps(rate_bps);
  }
}

}  // namespace qmasq::cli

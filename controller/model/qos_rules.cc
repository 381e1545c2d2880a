// SPDX-License-Identifier: Apache-2.0
#include "controller/model/qos_rules.h"

#include <fmt/format.h>

#include <limits>
#include <string>
#include <string_view>
#include <unordered_set>

#include "common/rate.h"

namespace qmasq::controller {
namespace {

constexpr std::uint64_t kLeastRate = 8000;
constexpr std::uint64_t kLeastBurst = 4096;
constexpr std::uint64_t kMostBurst = std::uint64_t{1} << 30U;
constexpr std::uint64_t kMostDscp = 63;
constexpr std::uint64_t kMostObjects = std::numeric_limits<std::int32_t>::max();
constexpr std::uint64_t kLeastPinned = 4096;
constexpr std::uint64_t kMostPinned = std::uint64_t{1} << 60U;
constexpr std::uint64_t kMostVerbs = 1'000'000;
constexpr std::uint64_t kLeastNicRate = 1000;
constexpr std::size_t kMaxDevice = 64;

tl::unexpected<Error> wrong(std::string text, std::string field) {
  return fail(Code::kInvalidArgument, std::move(text), std::move(field));
}

std::string rate_text(std::uint64_t bps) {
  return to_string(BitsPerSecond{bps});
}
std::string plain(std::uint64_t number) {
  return std::to_string(number);
}

// `show` writes a value as people do.
template <typename Show>
Status check_bounds(std::uint64_t value, std::uint64_t least, std::uint64_t most, Show show,
                    std::string_view field) {
  if (value >= least && value <= most) return {};
  std::string text =
      fmt::format("{} is not between {} and {}", show(value), show(least), show(most));
  if (value == 0) text += "; leave it out for no limit";
  return wrong(std::move(text), fmt::format("qos_policy.{}", field));
}

Result<std::optional<BitsPerSecond>> check_rate(const std::optional<std::uint64_t>& asked,
                                                std::string_view field) {
  if (!asked) return std::optional<BitsPerSecond>();
  QMASQ_TRY(check_bounds(*asked, kLeastRate, kMostRate, rate_text, field));
  return std::optional(BitsPerSecond{*asked});
}

Status check_bandwidth(const AskedPolicy& asked, qos::Bandwidth& out) {
  QMASQ_ASSIGN(out.guaranteed, check_rate(asked.guaranteed_bps, "guaranteed_bps"));
  QMASQ_ASSIGN(out.maximum, check_rate(asked.maximum_bps, "maximum_bps"));
  if (out.guaranteed && out.maximum && *out.maximum < *out.guaranteed) {
    return wrong(fmt::format("{} is below the guarantee of {}", to_string(*out.maximum),
                             to_string(*out.guaranteed)),
                 "qos_policy.maximum_bps");
  }
  if (asked.burst_bytes) {
    QMASQ_TRY(
        check_bounds(*asked.burst_bytes, kLeastBurst, kMostBurst, size_to_string, "burst_bytes"));
    out.burst = *asked.burst_bytes;
  }
  if (asked.weight) {
    QMASQ_TRY(check_bounds(*asked.weight, 1, qos::kMaxWeight, plain, "weight"));
    out.weight = static_cast<std::uint32_t>(*asked.weight);
  }
  return {};
}

Status check_quotas(const AskedPolicy& asked, qos::Quotas& out) {
  for (std::size_t i = 0; i < qos::kResources; ++i) {
    const auto& limit = asked.quotas[i];
    if (!limit) continue;
    const auto resource = static_cast<qos::Resource>(i);
    const std::string field = fmt::format("quotas.{}", qos::to_string(resource));
    if (resource == qos::Resource::kPinnedBytes) {
      QMASQ_TRY(check_bounds(*limit, kLeastPinned, kMostPinned, size_to_string, field));
    } else {
      QMASQ_TRY(check_bounds(*limit, 1, kMostObjects, plain, field));
    }
    out.limits[i] = *limit;
  }
  return {};
}

Status check_verb_rates(const AskedPolicy& asked, qos::VerbRates& out) {
  for (std::size_t i = 0; i < qos::kVerbKinds; ++i) {
    const auto& rate = asked.verb_rates[i];
    if (!rate) continue;
    const std::string field =
        fmt::format("verb_rates.{}", qos::to_string(static_cast<qos::VerbKind>(i)));
    QMASQ_TRY(check_bounds(rate->per_second, 1, kMostVerbs, plain, field + ".per_second"));
    const std::uint64_t burst = rate->burst == 0 ? rate->per_second : rate->burst;
    QMASQ_TRY(check_bounds(burst, 1, kMostVerbs, plain, field + ".burst"));
    out.rates[i] = qos::VerbRate{static_cast<std::uint32_t>(rate->per_second),
                                 static_cast<std::uint32_t>(burst)};
  }
  return {};
}

}  // namespace

Result<qos::Policy> check_policy(const AskedPolicy& asked) {
  qos::Policy out;
  QMASQ_TRY(check_bandwidth(asked, out.bandwidth));
  if (asked.dscp) {
    // 0 is a mark like any other, and the one of packets without.
    if (*asked.dscp > kMostDscp) {
      return wrong(fmt::format("{} is not between 0 and {}", *asked.dscp, kMostDscp),
                   "qos_policy.dscp");
    }
    out.dscp = static_cast<std::uint8_t>(*asked.dscp);
  }
  QMASQ_TRY(check_quotas(asked, out.quotas));
  QMASQ_TRY(check_verb_rates(asked, out.verb_rates));
  return out;
}

Status check_nic_rates(std::span<const NicRate> rates) {
  if (rates.size() > kMostNicRates) {
    return wrong(fmt::format("{} NICs: at most {}", rates.size(), kMostNicRates), "host.nic_rates");
  }
  std::unordered_set<std::string_view> devices;
  for (std::size_t i = 0; i < rates.size(); ++i) {
    const NicRate& rate = rates[i];
    const std::string field = fmt::format("host.nic_rates[{}]", i);
    if (rate.device.empty() || rate.device.size() > kMaxDevice) {
      return wrong("a device name has 1 to 64 bytes", field + ".device");
    }
    if (!devices.insert(rate.device).second) {
      return wrong(fmt::format("{} is in the list twice", rate.device), field + ".device");
    }
    if (rate.rate_bps < kLeastNicRate || rate.rate_bps > kMostRate) {
      return wrong(fmt::format("{} is not between {} and {}", rate_text(rate.rate_bps),
                               rate_text(kLeastNicRate), rate_text(kMostRate)),
                   field + ".rate_bps");
    }
  }
  return {};
}

}  // namespace qmasq::controller

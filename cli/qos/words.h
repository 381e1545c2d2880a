// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "cli/failure.h"
#include "qmasq/v1/qos.pb.h"

// Words and figures of QoS as people type and read them. Pure, any thread.
namespace qmasq::cli {

// What takes a limit, a policy or a NIC's rate away.
inline constexpr std::string_view kNone = "none";

// "qps" or "queue_pairs" is the field "queue_pairs" of QosQuotas; likewise cqs, mrs, srqs, pinned.
// Failures name the words there are.
[[nodiscard]] Outcome<std::string> quota_field(std::string_view word);
// "qps", for the field; what is unknown stays as it is.
[[nodiscard]] std::string quota_word(std::string_view field);
// Of QosVerbRates: contexts, qps, connects, verbs.
[[nodiscard]] Outcome<std::string> verb_field(std::string_view word);
[[nodiscard]] std::string verb_word(std::string_view field);

// 0 to 63, or a name of RFC 2474 (cs0 to cs7), 2597 (af11 to af43), 3246 (ef), 5865 (va), 8622
// (le).
[[nodiscard]] Outcome<std::uint32_t> parse_dscp(std::string_view text);
// "46 (ef)", "5".
[[nodiscard]] std::string dscp_text(std::uint32_t dscp);

// "50", "50/s", "50/s,burst=100".
[[nodiscard]] Outcome<v1::QosVerbRate> parse_verb_rate(std::string_view text);
// "50/s", or "50/s,burst=100" where the burst is another figure.
[[nodiscard]] std::string verb_rate_text(std::uint32_t per_second, std::uint32_t burst);

// Configured figures exactly, as they are typed ("15Mbit", "64KiB"); empty where there is none.
[[nodiscard]] std::string rate_text(std::uint64_t bits_per_second);
[[nodiscard]] std::string quota_text(std::string_view field, std::uint64_t value);
// "qps=100,pinned=1GiB" and "qps=50/s,burst=100 verbs=1000/s"; empty: none.
[[nodiscard]] std::string quotas_text(const v1::QosQuotas& quotas, std::string_view separator);
[[nodiscard]] std::string verb_rates_text(const v1::QosVerbRates& rates,
                                          std::string_view separator);

// Observed figures, three digits: "19.8 Mbit/s", "1.23 GB".
[[nodiscard]] std::string observed_rate(double bits_per_second);
[[nodiscard]] std::string observed_bytes(std::uint64_t bytes);

// "gold" or "qosPolicies/gold" as its full name; "none" as the empty one.
[[nodiscard]] Outcome<std::string> policy_or_none(std::string_view option, std::string_view text);

}  // namespace qmasq::cli

// SPDX-License-Identifier: Apache-2.0
#include "vbond/sync/policy_from.h"

#include <fmt/format.h>
#include <google/protobuf/unknown_field_set.h>

#include <string_view>
#include <utility>

#include "common/resource_name.h"
#include "qmasq/v1/qos.pb.h"
#include "vbond/sync/refusal.h"

namespace qmasq::vbond {
namespace {

using qos::Resource;
using qos::VerbKind;

struct Bounds {
  std::uint64_t least;
  std::uint64_t most;
};
constexpr Bounds kRate{8000, 10'000'000'000'000};
constexpr Bounds kBurst{4096, 1U << 30U};
constexpr Bounds kWeight{1, qos::kMaxWeight};
constexpr Bounds kDscp{0, 63};
constexpr Bounds kCount{1, (std::uint64_t{1} << 31U) - 1};
constexpr Bounds kPinned{4096, std::uint64_t{1} << 60U};
constexpr Bounds kPerSecond{1, 1'000'000};

tl::unexpected<Error> refuse(std::string problem) {
  return fail(Code::kInvalidArgument, std::move(problem));
}

Status check(std::string_view field, std::uint64_t value, Bounds bounds) {
  if (value >= bounds.least && value <= bounds.most) return {};
  return refuse(
      fmt::format("{} {} is not one of {} to {}", field, value, bounds.least, bounds.most));
}

// A field that a newer controller put in may be a limit.
template <typename Message>
Status check_known(const Message& message, std::string_view what) {
  if (message.GetReflection()->GetUnknownFields(message).empty()) return {};
  return refuse(
      fmt::format("{}has a field that this agent does not know: is the controller newer?", what));
}

Result<qos::Bandwidth> bandwidth_from(const v1::QosPolicy& message) {
  qos::Bandwidth out;
  if (message.has_guaranteed_bps()) {
    QMASQ_TRY(check("guaranteed_bps", message.guaranteed_bps(), kRate));
    out.guaranteed = BitsPerSecond{message.guaranteed_bps()};
  }
  if (message.has_maximum_bps()) {
    QMASQ_TRY(check("maximum_bps", message.maximum_bps(), kRate));
    out.maximum = BitsPerSecond{message.maximum_bps()};
  }
  if (out.guaranteed && out.maximum && *out.guaranteed > *out.maximum) {
    return refuse(fmt::format("guaranteed_bps {} is above maximum_bps {}", out.guaranteed->value,
                              out.maximum->value));
  }
  if (message.has_burst_bytes()) {
    QMASQ_TRY(check("burst_bytes", message.burst_bytes(), kBurst));
    out.burst = message.burst_bytes();
  }
  if (message.has_weight()) {
    QMASQ_TRY(check("weight", message.weight(), kWeight));
    out.weight = message.weight();
  }
  return out;
}

Result<qos::Quotas> quotas_from(const v1::QosQuotas& message) {
  QMASQ_TRY(check_known(message, "quotas "));
  qos::Quotas out;
  auto take = [&](Resource resource, bool has, std::uint64_t value, Bounds bounds) -> Status {
    if (!has) return {};
    QMASQ_TRY(check(fmt::format("quotas.{}", to_string(resource)), value, bounds));
    out.limits[static_cast<std::size_t>(resource)] = value;
    return {};
  };
  QMASQ_TRY(take(Resource::kQueuePairs, message.has_queue_pairs(), message.queue_pairs(), kCount));
  QMASQ_TRY(take(Resource::kCompletionQueues, message.has_completion_queues(),
                 message.completion_queues(), kCount));
  QMASQ_TRY(take(Resource::kMemoryRegions, message.has_memory_regions(), message.memory_regions(),
                 kCount));
  QMASQ_TRY(take(Resource::kSharedReceiveQueues, message.has_shared_receive_queues(),
                 message.shared_receive_queues(), kCount));
  QMASQ_TRY(
      take(Resource::kPinnedBytes, message.has_pinned_bytes(), message.pinned_bytes(), kPinned));
  return out;
}

Result<qos::VerbRates> verb_rates_from(const v1::QosVerbRates& message) {
  QMASQ_TRY(check_known(message, "verb_rates "));
  qos::VerbRates out;
  auto take = [&](VerbKind kind, bool has, const v1::QosVerbRate& rate) -> Status {
    if (!has) return {};
    const std::string field = fmt::format("verb_rates.{}", to_string(kind));
    QMASQ_TRY(check_known(rate, field + " "));
    QMASQ_TRY(check(field + ".per_second", rate.per_second(), kPerSecond));
    // 0 is what people write for "as per_second".
    const std::uint32_t burst = rate.burst() == 0 ? rate.per_second() : rate.burst();
    QMASQ_TRY(check(field + ".burst", burst, kPerSecond));
    out.rates[static_cast<std::size_t>(kind)] = qos::VerbRate{rate.per_second(), burst};
    return {};
  };
  QMASQ_TRY(take(VerbKind::kContexts, message.has_contexts(), message.contexts()));
  QMASQ_TRY(take(VerbKind::kQueuePairs, message.has_queue_pairs(), message.queue_pairs()));
  QMASQ_TRY(take(VerbKind::kConnects, message.has_connects(), message.connects()));
  QMASQ_TRY(take(VerbKind::kVerbs, message.has_verbs(), message.verbs()));
  return out;
}

Result<qos::Policy> policy_of(const v1::QosPolicy& message) {
  qos::Policy out;
  QMASQ_ASSIGN(out.id, parse_qos_policy_name(message.name()));
  if (message.uid() == 0) return refuse("has no uid");
  out.uid = QosPolicyUid{message.uid()};
  QMASQ_TRY(check_known(message, ""));
  QMASQ_ASSIGN(out.bandwidth, bandwidth_from(message));
  if (message.has_dscp()) {
    QMASQ_TRY(check("dscp", message.dscp(), kDscp));
    out.dscp = static_cast<std::uint8_t>(message.dscp());
  }
  QMASQ_ASSIGN(out.quotas, quotas_from(message.quotas()));
  QMASQ_ASSIGN(out.verb_rates, verb_rates_from(message.verb_rates()));
  return out;
}

}  // namespace

Result<qos::Policy> policy_from(const v1::QosPolicy& message) {
  auto policy = policy_of(message);
  if (!policy) return bad("QoS policy", message.name(), policy.error().message);
  return policy;
}

Result<QosPolicyUid> policy_reference(const std::string& name, std::uint64_t uid) {
  if (name.empty()) return QosPolicyUid{uid};
  if (auto id = parse_qos_policy_name(name); !id) return tl::unexpected(std::move(id).error());
  // A policy that lost its uid on the way would be one that is not enforced.
  if (uid == 0) return refuse(fmt::format("names {} and gives no uid of it", shown(name)));
  return QosPolicyUid{uid};
}

}  // namespace qmasq::vbond

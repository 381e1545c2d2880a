// SPDX-License-Identifier: Apache-2.0
#include "common/resource_name.h"
#include "controller/model/request_rules.h"
#include "controller/wire/convert.h"

namespace qmasq::controller {
namespace {

void to_proto(const qos::Quotas& quotas, v1::QosQuotas* out) {
  using qos::Resource;
  auto small = [&](Resource resource) {
    return static_cast<std::uint32_t>(*quotas.of(resource));  // at most 2^31 - 1
  };
  if (quotas.of(Resource::kQueuePairs)) out->set_queue_pairs(small(Resource::kQueuePairs));
  if (quotas.of(Resource::kCompletionQueues)) {
    out->set_completion_queues(small(Resource::kCompletionQueues));
  }
  if (quotas.of(Resource::kMemoryRegions)) {
    out->set_memory_regions(small(Resource::kMemoryRegions));
  }
  if (quotas.of(Resource::kSharedReceiveQueues)) {
    out->set_shared_receive_queues(small(Resource::kSharedReceiveQueues));
  }
  if (auto bytes = quotas.of(Resource::kPinnedBytes)) out->set_pinned_bytes(*bytes);
}

void to_proto(const qos::VerbRates& rates, v1::QosVerbRates* out) {
  using qos::VerbKind;
  auto put = [&](VerbKind kind, auto make) {
    const auto& rate = rates.of(kind);
    if (!rate) return;
    v1::QosVerbRate* message = make();
    message->set_per_second(rate->per_second);
    message->set_burst(rate->burst);
  };
  put(VerbKind::kContexts, [&] { return out->mutable_contexts(); });
  put(VerbKind::kQueuePairs, [&] { return out->mutable_queue_pairs(); });
  put(VerbKind::kConnects, [&] { return out->mutable_connects(); });
  put(VerbKind::kVerbs, [&] { return out->mutable_verbs(); });
}

}  // namespace

void to_proto(const QosPolicy& from, v1::QosPolicy* out) {
  const qos::Policy& policy = from.policy;
  out->set_name(qos_policy_name(policy.id));
  out->set_uid(policy.uid.value);
  out->set_description(from.description);
  out->set_etag(etag(policy.uid.value, from.version));
  to_proto(from.create_time, out->mutable_create_time());
  to_proto(from.update_time, out->mutable_update_time());
  out->set_revision(from.revision.value);
  const qos::Bandwidth& bandwidth = policy.bandwidth;
  if (bandwidth.guaranteed) out->set_guaranteed_bps(bandwidth.guaranteed->value);
  if (bandwidth.maximum) out->set_maximum_bps(bandwidth.maximum->value);
  if (bandwidth.burst) out->set_burst_bytes(*bandwidth.burst);
  out->set_weight(bandwidth.weight);
  if (policy.dscp) out->set_dscp(*policy.dscp);
  if (policy.quotas != qos::Quotas{}) to_proto(policy.quotas, out->mutable_quotas());
  if (policy.verb_rates != qos::VerbRates{}) {
    to_proto(policy.verb_rates, out->mutable_verb_rates());
  }
}

}  // namespace qmasq::controller

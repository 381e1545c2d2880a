// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <google/protobuf/descriptor.h>

#include "common/resource_name.h"
#include "controller/model/qos_rules.h"
#include "controller/model/request_rules.h"
#include "controller/service/actions.h"
#include "controller/wire/convert.h"

namespace qmasq::controller {
namespace {

constexpr std::size_t kMostNamed = 5;  // in an error message

AskedPolicy read_asked(const v1::QosPolicy& message) {
  AskedPolicy out;
  if (message.has_guaranteed_bps()) out.guaranteed_bps = message.guaranteed_bps();
  if (message.has_maximum_bps()) out.maximum_bps = message.maximum_bps();
  if (message.has_burst_bytes()) out.burst_bytes = message.burst_bytes();
  if (message.has_weight()) out.weight = message.weight();
  if (message.has_dscp()) out.dscp = message.dscp();

  const v1::QosQuotas& quotas = message.quotas();
  auto quota = [&](qos::Resource resource) -> std::optional<std::uint64_t>& {
    return out.quotas[static_cast<std::size_t>(resource)];
  };
  if (quotas.has_queue_pairs()) quota(qos::Resource::kQueuePairs) = quotas.queue_pairs();
  if (quotas.has_completion_queues()) {
    quota(qos::Resource::kCompletionQueues) = quotas.completion_queues();
  }
  if (quotas.has_memory_regions()) quota(qos::Resource::kMemoryRegions) = quotas.memory_regions();
  if (quotas.has_shared_receive_queues()) {
    quota(qos::Resource::kSharedReceiveQueues) = quotas.shared_receive_queues();
  }
  if (quotas.has_pinned_bytes()) quota(qos::Resource::kPinnedBytes) = quotas.pinned_bytes();

  const v1::QosVerbRates& rates = message.verb_rates();
  auto put = [&](qos::VerbKind kind, bool there, const v1::QosVerbRate& rate) {
    if (!there) return;
    out.verb_rates[static_cast<std::size_t>(kind)] = {rate.per_second(), rate.burst()};
  };
  put(qos::VerbKind::kContexts, rates.has_contexts(), rates.contexts());
  put(qos::VerbKind::kQueuePairs, rates.has_queue_pairs(), rates.queue_pairs());
  put(qos::VerbKind::kConnects, rates.has_connects(), rates.connects());
  put(qos::VerbKind::kVerbs, rates.has_verbs(), rates.verbs());
  return out;
}

// `to`'s field becomes what `from`'s is; what is not set there is cleared. REQUIRES: `path` names
// a field of the message that is no list, or "field.field".
void copy_field(const google::protobuf::Message& from, std::string_view path,
                google::protobuf::Message* to) {
  using google::protobuf::FieldDescriptor;
  const std::size_t dot = path.find('.');
  const auto* field = from.GetDescriptor()->FindFieldByName(std::string(path.substr(0, dot)));
  const auto* reflection = from.GetReflection();
  if (dot != std::string_view::npos) {
    copy_field(reflection->GetMessage(from, field), path.substr(dot + 1),
               reflection->MutableMessage(to, field));
    return;
  }
  if (!reflection->HasField(from, field)) {
    reflection->ClearField(to, field);
    return;
  }
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_UINT32:
      reflection->SetUInt32(to, field, reflection->GetUInt32(from, field));
      break;
    case FieldDescriptor::CPPTYPE_UINT64:
      reflection->SetUInt64(to, field, reflection->GetUInt64(from, field));
      break;
    case FieldDescriptor::CPPTYPE_STRING:
      reflection->SetString(to, field, reflection->GetString(from, field));
      break;
    default:
      reflection->MutableMessage(to, field)->CopyFrom(reflection->GetMessage(from, field));
      break;
  }
}

bool same_promise(const qos::Bandwidth& a, const qos::Bandwidth& b) {
  return a.guaranteed == b.guaranteed && a.maximum == b.maximum;
}

Status check_unused(ReadView& view, const QosPolicy& policy) {
  const QosPolicyUid uid = policy.policy.uid;
  QMASQ_ASSIGN(auto vpcs, view.count_policy_vpcs(uid));
  QMASQ_ASSIGN(auto endpoints, view.count_policy_endpoints(uid));
  if (vpcs + endpoints == 0) return {};
  QMASQ_ASSIGN(auto names, view.policy_vpcs(uid, kMostNamed));
  QMASQ_ASSIGN(auto more, view.policy_endpoints(uid, kMostNamed - names.size()));
  names.insert(names.end(), more.begin(), more.end());
  std::string who = fmt::format("{}", fmt::join(names, ", "));
  if (vpcs + endpoints > names.size()) {
    who += fmt::format(" and {} more", vpcs + endpoints - names.size());
  }
  return fail(Code::kFailedPrecondition,
              fmt::format("{} VPCs and {} endpoints have {}: {}; give them another or none first",
                          vpcs, endpoints, qos_policy_name(policy.policy.id), who),
              "name");
}

}  // namespace

Result<QosPolicyPtr> require_policy(ReadView& view, std::string_view name, std::string_view field) {
  QMASQ_ASSIGN(std::string id, in_field(parse_qos_policy_name(name), field));
  QMASQ_ASSIGN(QosPolicyPtr policy, view.find_policy(id));
  if (policy) return policy;
  return fail(Code::kNotFound, fmt::format("there is no {}", qos_policy_name(id)),
              std::string(field));
}

Result<PolicyReference> read_policy(ReadView& view, std::string_view name, std::string_view field) {
  if (name.empty()) return PolicyReference{};
  QMASQ_ASSIGN(auto policy, require_policy(view, name, field));
  return PolicyReference{policy->policy.uid, policy->policy.id};
}

Result<QosPolicyPtr> create_policy(WriteView& view, const v1::CreateQosPolicyRequest& request) {
  QMASQ_TRY(in_field(check_qos_policy_id(request.qos_policy_id()), "qos_policy_id"));
  const auto& asked = request.qos_policy();
  QMASQ_TRY(check_description(asked.description(), "qos_policy.description"));
  QosPolicy policy;
  QMASQ_ASSIGN(policy.policy, check_policy(read_asked(asked)));
  QMASQ_ASSIGN(auto taken, view.find_policy(request.qos_policy_id()));
  if (taken) {
    return fail(Code::kAlreadyExists,
                fmt::format("{} exists already", qos_policy_name(taken->policy.id)),
                "qos_policy_id");
  }
  QMASQ_ASSIGN(auto count, view.count_policies());
  if (count >= kMostPolicies) {
    return fail(Code::kResourceExhausted,
                fmt::format("there are {} QoS policies, as many as can be: delete one that nobody "
                            "has, or let more VPCs and endpoints have the same",
                            count),
                "qos_policy_id");
  }
  policy.description = asked.description();
  policy.policy.id = request.qos_policy_id();
  QMASQ_ASSIGN(policy.policy.uid.value, view.new_uid());
  return view.put(std::move(policy));
}

Result<QosPolicyPtr> update_policy(WriteView& view, const v1::UpdateQosPolicyRequest& request,
                                   Oversubscriptions& over) {
  const auto& asked = request.qos_policy();
  QMASQ_ASSIGN(QosPolicyPtr before, require_policy(view, asked.name(), "qos_policy.name"));
  const QosPolicyUid uid = before->policy.uid;
  QMASQ_TRY(check_etag(asked.etag(), uid.value, before->version, asked.name()));
  constexpr std::string_view kFields[] = {"description",
                                          "guaranteed_bps",
                                          "maximum_bps",
                                          "burst_bytes",
                                          "weight",
                                          "dscp",
                                          "quotas",
                                          "verb_rates",
                                          "quotas.queue_pairs",
                                          "quotas.completion_queues",
                                          "quotas.memory_regions",
                                          "quotas.shared_receive_queues",
                                          "quotas.pinned_bytes",
                                          "verb_rates.contexts",
                                          "verb_rates.queue_pairs",
                                          "verb_rates.connects",
                                          "verb_rates.verbs"};
  const std::span<const std::string_view> defaults = std::span(kFields).first(8);
  const auto& paths = request.update_mask().paths();
  QMASQ_ASSIGN(auto fields,
               check_mask(std::vector<std::string>(paths.begin(), paths.end()), kFields, defaults));
  v1::QosPolicy merged;
  to_proto(*before, &merged);
  for (const auto& field : fields)
    copy_field(asked, field, &merged);
  QMASQ_TRY(check_description(merged.description(), "qos_policy.description"));

  QosPolicy policy = *before;
  policy.description = merged.description();
  QMASQ_ASSIGN(policy.policy, check_policy(read_asked(merged)));
  policy.policy.uid = uid;
  policy.policy.id = before->policy.id;
  if (policy.policy == before->policy && policy.description == before->description) return before;
  const qos::Bandwidth& was = before->policy.bandwidth;
  const bool new_maximum = policy.policy.bandwidth.maximum != was.maximum;
  if (same_promise(policy.policy.bandwidth, was)) return view.put(std::move(policy));

  QMASQ_ASSIGN(auto hosts, view.hosts_of(uid));
  QMASQ_ASSIGN(auto check, GuaranteeCheck::begin(view, std::move(hosts)));
  QMASQ_ASSIGN(QosPolicyPtr after, view.put(std::move(policy)));
  auto field_of = [&](const Excess& excess) {
    const bool by_maximum =
        excess.kind == Excess::Kind::kMaximum ||
        (excess.kind == Excess::Kind::kVpc && excess.policy == uid && new_maximum);
    return by_maximum ? "qos_policy.maximum_bps" : "qos_policy.guaranteed_bps";
  };
  QMASQ_ASSIGN(over, check.finish(view, {request.force(), request.validate_only()}, field_of));
  return after;
}

Status delete_policy(WriteView& view, const v1::DeleteQosPolicyRequest& request) {
  QMASQ_ASSIGN(auto policy, require_policy(view, request.name(), "name"));
  QMASQ_TRY(check_etag(request.etag(), policy->policy.uid.value, policy->version, request.name()));
  QMASQ_TRY(check_unused(view, *policy));
  return view.remove(policy);
}

}  // namespace qmasq::controller

// SPDX-License-Identifier: Apache-2.0
// QoS policies to rows and back. Limits that are not set are NULL; they read back as 0, which no
// limit may be. Of DSCP, which may, -1 stands for none.
#include "controller/store/sqlite/rows.h"

namespace qmasq::controller::sqlite {
namespace {

constexpr int kFirstQuota = 12;
constexpr int kFirstRate = kFirstQuota + static_cast<int>(qos::kResources);

std::int64_t column(std::uint64_t value) {
  return static_cast<std::int64_t>(value);
}
std::uint64_t unsigned_column(const Query& query, int index) {
  return static_cast<std::uint64_t>(query.number(index));
}

std::optional<std::uint64_t> limit(const Query& query, int index) {
  const std::uint64_t value = unsigned_column(query, index);
  if (value == 0) return std::nullopt;
  return value;
}

std::optional<BitsPerSecond> rate(const Query& query, int index) {
  auto value = limit(query, index);
  if (!value) return std::nullopt;
  return BitsPerSecond{*value};
}

void bind(Query& query, const std::optional<std::uint64_t>& value) {
  query.bind(column(value.value_or(0)));
}

void bind(Query& query, const std::optional<BitsPerSecond>& value) {
  query.bind(column(value ? value->value : 0));
}

}  // namespace

Result<std::vector<QosPolicyPtr>> read_policies(Query query) {
  std::vector<QosPolicyPtr> out;
  for (;;) {
    QMASQ_ASSIGN(bool row, query.step());
    if (!row) return out;
    auto made = std::make_shared<QosPolicy>();
    qos::Policy& policy = made->policy;
    policy.uid = QosPolicyUid{unsigned_column(query, 0)};
    policy.id = query.text(1);
    made->description = query.text(2);
    made->version = unsigned_column(query, 3);
    made->revision = Revision{unsigned_column(query, 4)};
    made->create_time = from_micros(query.number(5));
    made->update_time = from_micros(query.number(6));
    policy.bandwidth.guaranteed = rate(query, 7);
    policy.bandwidth.maximum = rate(query, 8);
    policy.bandwidth.burst = limit(query, 9);
    policy.bandwidth.weight = static_cast<std::uint32_t>(query.number(10));
    if (query.number(11) >= 0) policy.dscp = static_cast<std::uint8_t>(query.number(11));
    for (std::size_t i = 0; i < qos::kResources; ++i)
      policy.quotas.limits[i] = limit(query, kFirstQuota + static_cast<int>(i));
    for (std::size_t i = 0; i < qos::kVerbKinds; ++i) {
      const int at = kFirstRate + 2 * static_cast<int>(i);
      if (query.number(at) == 0) continue;
      policy.verb_rates.rates[i] = qos::VerbRate{static_cast<std::uint32_t>(query.number(at)),
                                                 static_cast<std::uint32_t>(query.number(at + 1))};
    }
    out.push_back(std::move(made));
  }
}

Status write_policy(Connection& connection, const QosPolicy& policy, const QosPolicy* before) {
  const char* sql =
      before != nullptr
          ? "UPDATE qos_policies SET id = ?2, description = ?3, version = ?4, revision = ?5, "
            "create_time = ?6, update_time = ?7, guaranteed_bps = nullif(?8, 0), "
            "maximum_bps = nullif(?9, 0), burst_bytes = nullif(?10, 0), weight = ?11, "
            "dscp = nullif(?12, -1), quota_queue_pairs = nullif(?13, 0), "
            "quota_completion_queues = nullif(?14, 0), quota_memory_regions = nullif(?15, 0), "
            "quota_shared_receive_queues = nullif(?16, 0), quota_pinned_bytes = nullif(?17, 0), "
            "rate_contexts = nullif(?18, 0), burst_contexts = nullif(?19, 0), "
            "rate_queue_pairs = nullif(?20, 0), burst_queue_pairs = nullif(?21, 0), "
            "rate_connects = nullif(?22, 0), burst_connects = nullif(?23, 0), "
            "rate_verbs = nullif(?24, 0), burst_verbs = nullif(?25, 0) WHERE uid = ?1"
          : "INSERT INTO qos_policies (uid, id, description, version, revision, create_time, "
            "update_time, guaranteed_bps, maximum_bps, burst_bytes, weight, dscp, "
            "quota_queue_pairs, quota_completion_queues, quota_memory_regions, "
            "quota_shared_receive_queues, quota_pinned_bytes, rate_contexts, burst_contexts, "
            "rate_queue_pairs, burst_queue_pairs, rate_connects, burst_connects, rate_verbs, "
            "burst_verbs) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, nullif(?8, 0), nullif(?9, 0), "
            "nullif(?10, 0), ?11, nullif(?12, -1), nullif(?13, 0), nullif(?14, 0), "
            "nullif(?15, 0), nullif(?16, 0), nullif(?17, 0), nullif(?18, 0), nullif(?19, 0), "
            "nullif(?20, 0), nullif(?21, 0), nullif(?22, 0), nullif(?23, 0), nullif(?24, 0), "
            "nullif(?25, 0))";
  QMASQ_ASSIGN(Query query, connection.query(sql));
  const qos::Policy& value = policy.policy;
  query.bind(column(value.uid.value)).bind(value.id).bind(policy.description);
  query.bind(column(policy.version)).bind(column(policy.revision.value));
  query.bind(to_micros(policy.create_time)).bind(to_micros(policy.update_time));
  bind(query, value.bandwidth.guaranteed);
  bind(query, value.bandwidth.maximum);
  bind(query, value.bandwidth.burst);
  query.bind(column(value.bandwidth.weight));
  query.bind(value.dscp ? std::int64_t{*value.dscp} : std::int64_t{-1});
  for (const auto& quota : value.quotas.limits)
    bind(query, quota);
  for (const auto& rate : value.verb_rates.rates) {
    query.bind(column(rate ? rate->per_second : 0)).bind(column(rate ? rate->burst : 0));
  }
  return query.run();
}

}  // namespace qmasq::controller::sqlite

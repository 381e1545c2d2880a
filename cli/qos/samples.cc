// SPDX-License-Identifier: Apache-2.0
#include "cli/qos/samples.h"

#include <google/protobuf/util/time_util.h>

#include <algorithm>
#include <utility>

namespace qmasq::cli {
namespace {

constexpr double kBitsPerByte = 8;
constexpr double kNanoseconds = 1e9;

// A counter that went back began anew in between: how much came before nobody knows.
std::optional<double> per_second(std::uint64_t before, std::uint64_t now, double seconds) {
  if (now < before) return {};
  return static_cast<double>(now - before) / seconds;
}

// The tighter of two maxima, and whether what is programmed keeps to it.
void limit(const v1::QosNode* vpc, const v1::QosNode& endpoint, TopRow& row) {
  std::optional<std::uint64_t> programmed;
  for (const v1::QosNode* node : {vpc, &endpoint}) {
    if (node == nullptr) continue;
    if (node->configured().has_maximum_bps()) {
      const std::uint64_t maximum = node->configured().maximum_bps();
      row.limit_bps = std::min(row.limit_bps.value_or(maximum), maximum);
    }
    if (node->programmed().has_maximum_bps()) {
      const std::uint64_t maximum = node->programmed().maximum_bps();
      programmed = std::min(programmed.value_or(maximum), maximum);
    }
  }
  if (!row.limit_bps) return;
  // Backends round, down; a percent is room enough for one that rounds otherwise.
  constexpr std::uint64_t kPercent = 100;
  row.limit_enforced = programmed && *programmed <= *row.limit_bps + *row.limit_bps / kPercent;
}

bool faster(const TopRow& a, const TopRow& b) {
  if (a.rate_bps != b.rate_bps) {
    if (!a.rate_bps || !b.rate_bps) return a.rate_bps.has_value();
    return *a.rate_bps > *b.rate_bps;
  }
  return std::tie(a.endpoint, a.host, a.device) < std::tie(b.endpoint, b.host, b.device);
}

}  // namespace

std::optional<double> TopRow::share() const {
  if (!rate_bps || nic_rate_bps == 0) return {};
  return *rate_bps / static_cast<double>(nic_rate_bps);
}

TopSamples::Node TopSamples::since(const Host* before, std::int64_t time_ns, const Key& key,
                                   const v1::QosNode& node) {
  Node now{node.observed().bytes(), node.observed().overlimits(), {}, {}};
  if (before == nullptr || !node.has_observed()) return now;
  const auto last = before->nodes.find(key);
  if (last == before->nodes.end() || time_ns < before->time_ns) return now;
  if (time_ns == before->time_ns) return last->second;
  const double seconds = static_cast<double>(time_ns - before->time_ns) / kNanoseconds;
  now.rate_bps = per_second(last->second.bytes, now.bytes, seconds / kBitsPerByte);
  now.throttled = per_second(last->second.overlimits, now.overlimits, seconds);
  // Both began anew, whichever shows it.
  if (!now.rate_bps || !now.throttled) now.rate_bps = now.throttled = {};
  return now;
}

TopFrame TopSamples::add(const v1::ShowQosResponse& answer) {
  TopFrame frame;
  std::map<std::string, Host> hosts;
  for (const v1::HostQos& told : answer.hosts()) {
    if (!told.error().empty()) {
      frame.unanswered.push_back({told.host(), told.error()});
      continue;
    }
    Host host;
    host.time_ns = google::protobuf::util::TimeUtil::TimestampToNanoseconds(told.time());
    frame.time_ns = std::max(frame.time_ns, host.time_ns);
    const auto known = hosts_.find(told.host());
    const Host* before = known == hosts_.end() ? nullptr : &known->second;
    for (const v1::NicQos& nic : told.nics()) {
      const v1::QosNode* vpc = nullptr;  // parents stand before their children
      for (const v1::QosNode& node : nic.nodes()) {
        if (node.kind() == v1::QosNode::VPC) vpc = &node;
        if (node.kind() != v1::QosNode::ENDPOINT) continue;
        TopRow row{node.name(), told.host(), nic.device(), {}, {}, nic.rate_bps(), {}, true};
        const bool child = vpc != nullptr && node.name().starts_with(vpc->name() + "/");
        limit(child ? vpc : nullptr, node, row);
        Key key{nic.device(), node.name()};
        const Node now = since(before, host.time_ns, key, node);
        row.rate_bps = now.rate_bps;
        row.throttled = now.throttled;
        frame.rows.push_back(std::move(row));
        host.nodes.insert_or_assign(std::move(key), now);
      }
    }
    hosts.insert_or_assign(told.host(), std::move(host));
  }
  hosts_ = std::move(hosts);
  std::sort(frame.rows.begin(), frame.rows.end(), faster);
  return frame;
}

}  // namespace qmasq::cli

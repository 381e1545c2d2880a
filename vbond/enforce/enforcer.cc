// SPDX-License-Identifier: Apache-2.0
#include "vbond/enforce/enforcer.h"

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "vbond/rename/connection_table.h"
#include "vbond/rename/policy_change.h"
#include "vbond/rename/policy_metrics.h"

namespace qmasq::vbond {

Enforcer::Enforcer(conntrack::Tracker& tracker, const conntrack::GroupSets& sets,
                   const ConnectionTable& connections, netlink::Loop& worker, const Clock& clock,
                   PolicyMetrics* metrics, Carry carry)
    : tracker_(tracker),
      sets_(sets),
      connections_(connections),
      worker_(worker),
      clock_(clock),
      metrics_(metrics),
      carry_(std::move(carry)) {}

Status Enforcer::check(const Change& /*change*/) {
  return {};
}

void Enforcer::apply(const Change& change) {
  const auto arrived = clock_.now();
  auto effects =
      std::make_shared<const std::vector<conntrack::Effect>>(tracker_.apply(policy_change(change)));
  if (metrics_ != nullptr) metrics_->show(tracker_, sets_);
  if (effects->empty() && connections_.datagram_queue_pairs().empty()) return;
  worker_.post([this, effects, arrived] {
    carry_(*effects);
    if (metrics_ == nullptr) return;
    const auto cuts = std::count_if(effects->begin(), effects->end(), [](const auto& effect) {
      return effect.kind == conntrack::Effect::Kind::kCut;
    });
    metrics_->observe_cuts(static_cast<std::size_t>(cuts), clock_.now() - arrived);
    metrics_->show(tracker_, sets_);
  });
}

}  // namespace qmasq::vbond

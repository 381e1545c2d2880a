// SPDX-License-Identifier: Apache-2.0
#include "vbond/qos/policy_table.h"

#include <algorithm>
#include <utility>

namespace qmasq::vbond {
namespace {

// Same value, though maybe not the same object.
bool same(const std::shared_ptr<const qos::Policy>& a,
          const std::shared_ptr<const qos::Policy>& b) {
  return a == b || (a && b && *a == *b);
}

bool same(const GovernedPtr& a, const GovernedPtr& b) {
  return a && b && a->vpc == b->vpc && a->name == b->name && a->vpc_name == b->vpc_name &&
         same(a->own, b->own) && same(a->of_vpc, b->of_vpc);
}

}  // namespace

std::optional<std::uint8_t> GovernedEndpoint::dscp() const {
  if (own && own->dscp) return own->dscp;
  return of_vpc ? of_vpc->dscp : std::nullopt;
}

void PolicyTable::set_host(HostUid uid) {
  std::lock_guard lock(mutex_);
  host_ = uid;
}

GovernedPtr PolicyTable::find(EndpointUid uid) const {
  std::lock_guard lock(mutex_);
  auto found = governed_.find(uid);
  return found == governed_.end() ? nullptr : found->second;
}

std::vector<GovernedPtr> PolicyTable::list() const {
  std::vector<GovernedPtr> out;
  {
    std::lock_guard lock(mutex_);
    out.reserve(governed_.size());
    for (const auto& [uid, governed] : governed_)
      out.push_back(governed);
  }
  std::sort(out.begin(), out.end(),
            [](const GovernedPtr& a, const GovernedPtr& b) { return a->uid < b->uid; });
  return out;
}

Status PolicyTable::check(const Change&) {
  return {};
}

void PolicyTable::clear() {
  policies_.clear();
  vpcs_.clear();
  endpoints_.clear();
}

void PolicyTable::put(const EndpointView& view) {
  if (view.host != host_) {
    endpoints_.erase(view.uid);
    return;
  }
  endpoints_[view.uid] = {view.vpc, view.name, view.qos_policy};
}

PolicyTable::PolicyPtr PolicyTable::policy(QosPolicyUid uid) const {
  auto found = policies_.find(uid);
  return found == policies_.end() ? nullptr : found->second;
}

GovernedPtr PolicyTable::make(EndpointUid uid, const EndpointEntry& entry) const {
  GovernedEndpoint out;
  out.uid = uid;
  out.vpc = entry.vpc;
  out.name = entry.name;
  out.own = policy(entry.policy);
  if (auto vpc = vpcs_.find(entry.vpc); vpc != vpcs_.end()) {
    out.vpc_name = vpc->second.name;
    out.of_vpc = policy(vpc->second.policy);
  }
  return std::make_shared<const GovernedEndpoint>(std::move(out));
}

void PolicyTable::apply(const Change& change) {
  Changed changed;
  {
    std::lock_guard lock(mutex_);
    if (change.snapshot) clear();
    for (QosPolicyUid uid : change.removed_policies)
      policies_.erase(uid);
    for (const qos::Policy& policy : change.policies)
      policies_[policy.uid] = std::make_shared<const qos::Policy>(policy);
    for (VpcUid uid : change.removed_vpcs) {
      vpcs_.erase(uid);
      std::erase_if(endpoints_, [&](const auto& entry) { return entry.second.vpc == uid; });
    }
    for (const VpcView& vpc : change.vpcs)
      vpcs_[vpc.uid] = {vpc.name, vpc.qos_policy};
    for (EndpointUid uid : change.removed_endpoints)
      endpoints_.erase(uid);
    for (const EndpointView& endpoint : change.endpoints)
      put(endpoint);

    for (auto held = governed_.begin(); held != governed_.end();) {
      if (endpoints_.contains(held->first)) {
        ++held;
        continue;
      }
      changed.emplace_back(held->first, nullptr);
      held = governed_.erase(held);
    }
    // Few endpoints are on a host beside what one change of the state costs anyway.
    for (const auto& [uid, entry] : endpoints_) {
      GovernedPtr now = make(uid, entry);
      GovernedPtr& held = governed_[uid];
      if (same(held, now)) continue;
      held = now;
      changed.emplace_back(uid, std::move(now));
    }
  }
  if (changed.empty()) return;
  for (const Listener& listener : listeners_)
    listener(changed);
}

}  // namespace qmasq::vbond

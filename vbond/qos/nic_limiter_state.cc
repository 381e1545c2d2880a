// SPDX-License-Identifier: Apache-2.0
// What a NIC's limiter says of itself: which limits hold, and what is there.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "vbond/qos/nic_limiter.h"

namespace qmasq::vbond {
namespace {

using qos::NodeId;
using Kind = qos::NodeId::Kind;

// A NIC that is promised to its last bit still has the least for everybody who was promised
// nothing: some kbit/s, which no one would measure.
bool negligible(const qos::Shortfall& shortfall) {
  return shortfall.asked.value - shortfall.planned.value <= shortfall.asked.value / 100;
}

}  // namespace

std::string NicLimiter::shared_obstacle() const {
  if (!capabilities_) return why_not_;
  if (rate_.value == 0) {
    return "the rate of this NIC is not known: give it one in nic_rates of its host";
  }
  if (!read_error_.empty() && !read_) return read_error_;
  if (auto root = failures_.find(NodeId::nic()); root != failures_.end()) return root->second;
  return {};
}

std::string NicLimiter::obstacle(NodeId id) const {
  if (auto shared = shared_obstacle(); !shared.empty()) return shared;
  if (id.kind == Kind::kVpc && !capabilities_->per_vpc) {
    return fmt::format("{} does not tell VPCs apart", backend_name_);
  }
  if (id.kind == Kind::kEndpoint) {
    if (!capabilities_->per_endpoint) {
      return fmt::format("{} does not tell endpoints apart", backend_name_);
    }
    const Endpoint& endpoint = endpoints_.at(EndpointUid{id.uid});
    if (endpoint.ports.count == 0) {
      return "all UDP source ports of this host are taken by other endpoints";
    }
    auto parent = failures_.find(NodeId::vpc(endpoint.governed->vpc));
    if (parent != failures_.end()) return parent->second;
  }
  if (auto own = failures_.find(id); own != failures_.end()) return own->second;
  auto told = planned_.nodes.find(id);
  auto has = programmed_.nodes.find(id);
  if (!attempted_) return "it is not programmed yet";
  if (id.kind == Kind::kVpc && told == planned_.nodes.end()) {
    return "all UDP source ports of this host are taken by other endpoints";
  }
  if (told == planned_.nodes.end() || has == programmed_.nodes.end() ||
      told->second != has->second) {
    return "it is not programmed yet";
  }
  return {};
}

std::vector<std::string> NicLimiter::judge(NodeId id, const std::string& name,
                                           const qos::Bandwidth& limits) const {
  std::vector<std::string> out;
  const std::string against = obstacle(id);
  auto say = [&](const char* kind, const std::string& why) {
    out.push_back(fmt::format("{} of {} on {}: {}", kind, name, device_, why));
  };
  auto check = [&](bool configured, const char* kind, bool able) {
    if (!configured) return false;
    if (!against.empty()) {
      say(kind, against);
      return false;
    }
    if (!able) say(kind, fmt::format("{} has no such limit", backend_name_));
    return able;
  };
  const bool can = capabilities_.has_value();
  if (check(limits.guaranteed.has_value(), "guarantee", can && capabilities_->guarantee)) {
    if (auto found = shortfalls_.find(id); found != shortfalls_.end()) {
      say("guarantee",
          fmt::format("{} of {}, because guarantees add up to more than there is",
                      to_string(found->second.planned), to_string(found->second.asked)));
    }
  }
  if (check(limits.maximum.has_value(), "maximum", can && capabilities_->maximum)) {
    const BitsPerSecond planned = programmed_.nodes.at(id).maximum;
    if (planned > *limits.maximum) {
      say("maximum", fmt::format("{} instead of {}: so that none of so many endpoints starves",
                                 to_string(planned), to_string(*limits.maximum)));
    }
  }
  (void)check(limits.burst.has_value(), "burst", can && capabilities_->burst);
  return out;
}

std::vector<LimitChange> NicLimiter::judge() {
  std::map<NodeId, qos::Shortfall> shortfalls;
  for (const qos::Shortfall& one : planner_.shortfalls()) {
    if (!negligible(one)) shortfalls.emplace(one.node, one);
  }
  if (shortfalls != shortfalls_) {
    for (const auto& [id, one] : shortfalls_)
      dirty_.insert(id);
    for (const auto& [id, one] : shortfalls)
      dirty_.insert(id);
    shortfalls_ = std::move(shortfalls);
  }
  NodeIds ids = std::exchange(dirty_, {});
  if (std::exchange(all_dirty_, false)) {
    for (const auto& [uid, vpc] : vpcs_)
      ids.insert(NodeId::vpc(uid));
    for (const auto& [uid, endpoint] : endpoints_)
      ids.insert(NodeId::endpoint(uid));
    for (const auto& [id, why] : unenforced_)
      ids.insert(id);
  }
  std::vector<LimitChange> out;
  auto set = [&](NodeId id, const std::string& name, std::vector<std::string> now) {
    auto held = unenforced_.find(id);
    if (now.empty()) {
      if (held == unenforced_.end()) return;
      unenforced_.erase(held);
    } else {
      if (held != unenforced_.end() && held->second == now) return;
      unenforced_[id] = now;
    }
    out.push_back({id, name, std::move(now)});
  };
  for (NodeId id : ids) {
    if (id.kind == Kind::kVpc) {
      auto vpc = vpcs_.find(VpcUid{id.uid});
      if (vpc == vpcs_.end()) {
        unenforced_.erase(id);
      } else if (vpc->second.policy) {
        set(id, vpc->second.name, judge(id, vpc->second.name, vpc->second.policy->bandwidth));
      } else {
        set(id, vpc->second.name, {});
      }
    } else if (id.kind == Kind::kEndpoint) {
      auto endpoint = endpoints_.find(EndpointUid{id.uid});
      if (endpoint == endpoints_.end()) {
        unenforced_.erase(id);
        continue;
      }
      const GovernedEndpoint& governed = *endpoint->second.governed;
      set(id, governed.name,
          governed.own ? judge(id, governed.name, governed.own->bandwidth)
                       : std::vector<std::string>());
    }
  }
  return out;
}

void NicLimiter::report(EndpointUid uid, std::vector<std::string>& unenforced) const {
  std::lock_guard lock(mutex_);
  auto endpoint = endpoints_.find(uid);
  if (endpoint == endpoints_.end()) return;
  for (NodeId id : {NodeId::vpc(endpoint->second.governed->vpc), NodeId::endpoint(uid)}) {
    auto found = unenforced_.find(id);
    if (found == unenforced_.end()) continue;
    unenforced.insert(unenforced.end(), found->second.begin(), found->second.end());
  }
}

BitsPerSecond NicLimiter::promised() const {
  std::uint64_t sum = 0;
  for (const auto& [uid, vpc] : vpcs_) {
    std::uint64_t of_endpoints = 0;
    for (EndpointUid endpoint : vpc.endpoints) {
      const auto& own = endpoints_.at(endpoint).governed->own;
      if (own && own->bandwidth.guaranteed) of_endpoints += own->bandwidth.guaranteed->value;
    }
    const std::uint64_t own = vpc.policy && vpc.policy->bandwidth.guaranteed
                                  ? vpc.policy->bandwidth.guaranteed->value
                                  : 0;
    sum += std::max(own, of_endpoints);
  }
  return BitsPerSecond{sum};
}

std::size_t NicLimiter::planned_count() const {
  if (rate_.value == 0) return 0;
  std::size_t out = 0;
  std::set<VpcUid> vpcs;
  for (const auto& [uid, endpoint] : endpoints_) {
    if (endpoint.ports.count == 0) continue;
    ++out;
    vpcs.insert(endpoint.governed->vpc);
  }
  return out == 0 ? 0 : out + vpcs.size() + 2;
}

NodeState NicLimiter::node_state(NodeId id) const {
  NodeState out;
  out.id = id;
  if (id.kind == Kind::kNic) out.name = device_;
  if (id.kind == Kind::kVpc) {
    const Vpc& vpc = vpcs_.at(VpcUid{id.uid});
    out.name = out.vpc_name = vpc.name;
    out.policy = vpc.policy;
    if (vpc.policy) out.dscp = vpc.policy->dscp;
  }
  if (id.kind == Kind::kEndpoint) {
    const Endpoint& endpoint = endpoints_.at(EndpointUid{id.uid});
    out.name = endpoint.governed->name;
    out.vpc_name = endpoint.governed->vpc_name;
    out.policy = endpoint.governed->own;
    out.dscp = endpoint.governed->dscp();
    out.ports = endpoint.ports;
  }
  if (auto found = programmed_.nodes.find(id); found != programmed_.nodes.end()) {
    out.programmed = found->second;
  }
  if (auto found = unenforced_.find(id); found != unenforced_.end()) out.unenforced = found->second;
  if (const Traffic* traffic = totals_.find(id);
      traffic != nullptr && capabilities_ && capabilities_->counters) {
    out.traffic = *traffic;
  }
  return out;
}

NicState NicLimiter::state(VpcUid only) const {
  std::lock_guard lock(mutex_);
  NicState out;
  out.device = device_;
  out.rate = rate_;
  out.rate_by_admin = by_admin_;
  out.backend = backend_name_;
  out.capabilities = capabilities_;
  out.message = shared_obstacle();
  if (out.message.empty()) out.message = read_error_;
  if (out.message.empty()) out.message = sample_error_;
  if (out.message.empty() && !failures_.empty()) {
    out.message =
        fmt::format("{} nodes could not be programmed, the first ({}): {}", failures_.size(),
                    to_string(failures_.begin()->first), failures_.begin()->second);
  }
  out.guaranteed = promised();
  out.planned = planned_count();
  out.programmed = programmed_.nodes.size();
  out.nodes.push_back(node_state(NodeId::nic()));
  if (only.value == 0) out.nodes.push_back(node_state(NodeId::other()));
  for (const auto& [uid, vpc] : vpcs_) {
    if (only.value == 0 || only == uid) out.nodes.push_back(node_state(NodeId::vpc(uid)));
  }
  for (const auto& [uid, endpoint] : endpoints_) {
    if (only.value != 0 && only != endpoint.governed->vpc) continue;
    out.nodes.push_back(node_state(NodeId::endpoint(uid)));
  }
  return out;
}

}  // namespace qmasq::vbond

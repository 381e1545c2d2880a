// SPDX-License-Identifier: Apache-2.0
#include "qos/planner.h"

#include <algorithm>
#include <cstddef>
#include <map>
#include <optional>
#include <utility>

#include "qos/steps.h"

namespace qmasq::qos {
namespace {

constexpr std::uint64_t kLeast = kLeastGuarantee.value;
constexpr std::uint64_t kMostRate = 10'000'000'000'000;
constexpr std::uint64_t kLeastBurst = std::uint64_t{16} << 10U;
constexpr std::uint64_t kNone = ~std::uint64_t{0};

__extension__ using Wide = unsigned __int128;

// Shares `budget` out among claims that add up to `claims`, in proportion, rounded down.
class Shares {
 public:
  Shares() = default;
  Shares(std::uint64_t budget, std::uint64_t claims) : budget_(budget), claims_(claims) {
    if (!fit()) ratio_ = static_cast<std::uint64_t>((Wide{budget} << 64U) / claims);
  }
  [[nodiscard]] bool fit() const { return claims_ <= budget_; }
  [[nodiscard]] std::uint64_t of(std::uint64_t claim) const {
    if (fit()) return claim;
    // claim * budget_ / claims_ without a division of 128 bits for each. The ratio is rounded down:
    // what it gives is right or one too small, and the remainder (less than twice `claims_`, so it
    // is whole in 64 bits) tells.
    const auto share = static_cast<std::uint64_t>((Wide{claim} * ratio_) >> 64U);
    const std::uint64_t remainder = claim * budget_ - share * claims_;
    return remainder >= claims_ ? share + 1 : share;
  }
  // All claims come to the same.
  [[nodiscard]] bool same(const Shares& other) const {
    if (fit() || other.fit()) return fit() && other.fit();
    return budget_ == other.budget_ && claims_ == other.claims_;
  }

 private:
  std::uint64_t budget_ = 0;
  std::uint64_t claims_ = 0;
  std::uint64_t ratio_ = 0;  // budget_ / claims_, times 2^64
};

// A policy with its bounds kept.
struct Limits {
  std::uint64_t guaranteed = 0;  // 0: none
  std::uint64_t maximum = kNone;
  std::uint64_t burst = kNone;  // kNone: by the maximum
  std::uint32_t weight = kDefaultWeight;
  bool operator==(const Limits&) const = default;

  Limits() = default;
  explicit Limits(const Bandwidth& bandwidth)
      : guaranteed(bandwidth.guaranteed ? std::min(bandwidth.guaranteed->value, kMostRate) : 0),
        maximum(bandwidth.maximum ? std::min(bandwidth.maximum->value, kMostRate) : kNone),
        burst(bandwidth.burst.value_or(kNone)),
        weight(std::clamp<std::uint32_t>(bandwidth.weight, 1, kMaxWeight)) {}
};

std::uint64_t burst_of(std::uint64_t policy, std::uint64_t maximum) {
  if (policy != kNone) return policy;
  return std::max(maximum / 8 / 100, kLeastBurst);  // 10 ms of it, in bytes
}

// What is planned and what was handed out of one node. Handed-out nodes outlive their subject until
// their removal has been handed out too.
struct Tracked {
  Node want;
  Node have;
  bool wanted = false;
  bool had = false;
  bool listed = false;  // among Impl's changed ones

  [[nodiscard]] bool differs() const { return wanted != had || (wanted && want != have); }
};

struct Vpc;

struct Endpoint {
  static constexpr std::size_t kUntouched = ~std::size_t{0};
  Tracked node;
  Vpc* vpc = nullptr;        // null: removed
  std::size_t position = 0;  // in vpc->endpoints
  Limits limits;
  PortBlock ports;
  std::size_t touched_at = kUntouched;  // in vpc->touched

  [[nodiscard]] std::uint64_t claim() const {
    return std::max(std::min(limits.guaranteed, limits.maximum), kLeast);
  }
};

struct Vpc {
  Tracked node;
  bool put = false;  // by put_vpc()
  Limits limits;
  std::vector<Endpoint*> endpoints;
  std::vector<Endpoint*> touched;  // whose own figures may have changed
  std::uint64_t asked = 0;         // sums over the endpoints
  std::uint64_t claims = 0;
  bool stale = false;  // in Impl's stale ones

  // As last settled.
  std::uint64_t counted_claim = 0;  // in Impl::claims_; 0: no endpoints then
  std::uint64_t counted_least = 0;
  Shares shares;  // among the endpoints, of what is beyond the least
  bool planned = false;
  bool replan = false;  // in Impl's to_replan

  [[nodiscard]] std::uint64_t least() const { return endpoints.size() * kLeast; }
};

}  // namespace

struct Planner::Impl {
  std::uint64_t rate = 0;
  // By uid, which is the order of steps. Entries do not move.
  std::map<std::uint64_t, Vpc> vpcs;
  std::map<std::uint64_t, Endpoint> endpoints;
  Tracked nic;
  Tracked other;

  // Of VPCs with endpoints, as last settled.
  std::uint64_t claims = 0;
  std::uint64_t leasts = 0;
  std::vector<std::pair<std::uint64_t, Vpc*>> stale;
  bool rate_changed = false;
  // As last settled.
  std::uint64_t maximum = 0;    // of the NIC; 0: no plan
  Shares shares;                // among the VPCs, of what is beyond the least
  std::vector<Vpc*> to_replan;  // all of their endpoints; empty between calls
  // Nodes of VPCs and endpoints that may differ from what was handed out.
  std::vector<std::pair<std::uint64_t, Vpc*>> changed_vpcs;
  std::vector<std::pair<std::uint64_t, Endpoint*>> changed_endpoints;

  Impl() {
    nic.want.id = nic.want.parent = NodeId::nic();
    other.want.id = NodeId::other();
    other.want.parent = NodeId::nic();
    nic.want.weight = other.want.weight = kDefaultWeight;
  }

  void mark(std::uint64_t uid, Vpc& vpc) {
    if (vpc.stale) return;
    vpc.stale = true;
    stale.emplace_back(uid, &vpc);
  }
  static void touch(Endpoint& endpoint) {
    if (endpoint.touched_at != Endpoint::kUntouched) return;
    endpoint.touched_at = endpoint.vpc->touched.size();
    endpoint.vpc->touched.push_back(&endpoint);
  }
  Vpc& vpc_of(std::uint64_t uid) {
    auto [entry, added] = vpcs.try_emplace(uid);
    if (added) {
      entry->second.node.want.id = NodeId::vpc(VpcUid{uid});
      entry->second.node.want.parent = NodeId::nic();
    }
    return entry->second;
  }
  void list(std::uint64_t uid, Vpc& vpc) {
    if (vpc.node.listed || !vpc.node.differs()) return;
    vpc.node.listed = true;
    changed_vpcs.emplace_back(uid, &vpc);
  }
  void list(Endpoint& endpoint) {
    if (endpoint.node.listed || !endpoint.node.differs()) return;
    endpoint.node.listed = true;
    changed_endpoints.emplace_back(endpoint.node.want.id.uid, &endpoint);
  }

  void count(Endpoint& endpoint) {
    endpoint.vpc->asked += endpoint.limits.guaranteed;
    endpoint.vpc->claims += endpoint.claim();
  }
  void discount(Endpoint& endpoint) {
    endpoint.vpc->asked -= endpoint.limits.guaranteed;
    endpoint.vpc->claims -= endpoint.claim();
  }
  // The entry stays until its removal is handed out.
  void take_out(Endpoint& endpoint) {
    Vpc& vpc = *endpoint.vpc;
    discount(endpoint);
    vpc.endpoints[endpoint.position] = vpc.endpoints.back();
    vpc.endpoints[endpoint.position]->position = endpoint.position;
    vpc.endpoints.pop_back();
    if (endpoint.touched_at != Endpoint::kUntouched) {
      vpc.touched[endpoint.touched_at] = vpc.touched.back();
      vpc.touched[endpoint.touched_at]->touched_at = endpoint.touched_at;
      vpc.touched.pop_back();
      endpoint.touched_at = Endpoint::kUntouched;
    }
    mark(vpc.node.want.id.uid, vpc);
    endpoint.vpc = nullptr;
    endpoint.node.wanted = false;
  }
  void leave(Endpoint& endpoint) {
    take_out(endpoint);
    list(endpoint);
    if (!endpoint.node.listed) endpoints.erase(endpoint.node.want.id.uid);
  }

  void settle();
  void settle(Vpc& vpc);
  void replan_endpoints();
  void plan_endpoint(Vpc& vpc, Endpoint& endpoint);
  void drop_if_unused(std::uint64_t uid, Vpc& vpc);
};

// What a VPC is guaranteed and its endpoints', once the NIC is settled.
void Planner::Impl::settle(Vpc& vpc) {
  Node& node = vpc.node.want;
  const bool planned = maximum != 0 && !vpc.endpoints.empty();
  if (planned) {
    const std::uint64_t least = vpc.least();
    const std::uint64_t old_maximum = node.maximum.value;
    node.maximum.value = std::max(std::min(vpc.limits.maximum, maximum), least);
    node.guaranteed.value = least + shares.of(vpc.counted_claim - least);
    node.burst = burst_of(vpc.limits.burst, node.maximum.value);
    node.weight = vpc.limits.weight;
    const Shares now{node.guaranteed.value - least, vpc.claims - least};
    const bool same_shares = now.same(vpc.shares);
    vpc.shares = now;
    if (!vpc.planned || old_maximum != node.maximum.value || !same_shares) {
      vpc.replan = true;
      to_replan.push_back(&vpc);
    } else {
      for (Endpoint* endpoint : vpc.touched)
        plan_endpoint(vpc, *endpoint);
    }
    for (Endpoint* endpoint : vpc.touched)
      endpoint->touched_at = Endpoint::kUntouched;
    vpc.touched.clear();
  } else if (vpc.planned) {
    for (Endpoint* endpoint : vpc.endpoints) {
      endpoint->node.wanted = false;
      list(*endpoint);
    }
  }
  vpc.planned = planned;
  vpc.node.wanted = planned;
  list(node.id.uid, vpc);
}

void Planner::Impl::replan_endpoints() {
  std::size_t count = 0;
  for (const Vpc* vpc : to_replan)
    count += vpc->endpoints.size();
  if (count > endpoints.size() / 4) {
    // As they lie in memory, and as they will be handed out.
    for (auto& [uid, endpoint] : endpoints) {
      if (endpoint.vpc != nullptr && endpoint.vpc->replan) plan_endpoint(*endpoint.vpc, endpoint);
    }
  } else {
    for (Vpc* vpc : to_replan) {
      for (Endpoint* endpoint : vpc->endpoints)
        plan_endpoint(*vpc, *endpoint);
    }
  }
  for (Vpc* vpc : to_replan)
    vpc->replan = false;
  to_replan.clear();
}

void Planner::Impl::plan_endpoint(Vpc& vpc, Endpoint& endpoint) {
  Node& node = endpoint.node.want;
  node.parent = vpc.node.want.id;
  node.maximum.value =
      std::min(std::max(endpoint.limits.maximum, kLeast), vpc.node.want.maximum.value);
  node.guaranteed.value = kLeast + vpc.shares.of(endpoint.claim() - kLeast);
  node.burst = burst_of(endpoint.limits.burst, node.maximum.value);
  node.weight = endpoint.limits.weight;
  node.ports = endpoint.ports;
  endpoint.node.wanted = true;
  list(endpoint);
}

void Planner::Impl::settle() {
  if (stale.empty() && !rate_changed) return;
  for (auto& [uid, vpc] : stale) {
    leasts += vpc->least() - vpc->counted_least;
    vpc->counted_least = vpc->least();
  }
  const std::uint64_t old_maximum = maximum;
  const Shares old_shares = shares;
  maximum = rate == 0 || leasts == 0 ? 0 : std::max(rate, leasts + kLeast);

  auto recount = [this](Vpc& vpc) {
    claims -= vpc.counted_claim;
    vpc.counted_claim = 0;
    if (vpc.endpoints.empty()) return;
    const std::uint64_t most = std::max(std::min(vpc.limits.maximum, maximum), vpc.least());
    vpc.counted_claim = std::min(std::max(vpc.limits.guaranteed, vpc.claims), most);
    claims += vpc.counted_claim;
  };
  const bool every_vpc = maximum != old_maximum;
  if (every_vpc) {
    for (auto& [uid, vpc] : vpcs)
      recount(vpc);
  } else {
    for (auto& [uid, vpc] : stale)
      recount(*vpc);
  }
  shares = maximum == 0 ? Shares{} : Shares{maximum - kLeast - leasts, claims - leasts};

  nic.wanted = other.wanted = maximum != 0;
  nic.want.guaranteed.value = nic.want.maximum.value = other.want.maximum.value = maximum;
  other.want.guaranteed.value = kLeast;
  nic.want.burst = other.want.burst = burst_of(kNone, maximum);

  const bool same_shares = shares.same(old_shares);
  if (every_vpc || !same_shares) {
    for (auto& [uid, vpc] : vpcs)
      settle(vpc);
  } else {
    for (auto& [uid, vpc] : stale)
      settle(*vpc);
  }
  replan_endpoints();
  for (auto& [uid, vpc] : stale) {
    vpc->stale = false;
    drop_if_unused(uid, *vpc);
  }
  stale.clear();
  rate_changed = false;
}

void Planner::Impl::drop_if_unused(std::uint64_t uid, Vpc& vpc) {
  if (!vpc.put && vpc.endpoints.empty() && !vpc.node.listed && !vpc.node.had && !vpc.stale)
    vpcs.erase(uid);
}

Planner::Planner() : impl_(std::make_unique<Impl>()) {}
Planner::~Planner() = default;
Planner::Planner(Planner&&) noexcept = default;
Planner& Planner::operator=(Planner&&) noexcept = default;

void Planner::set_rate(BitsPerSecond rate) {
  const std::uint64_t kept = std::min(rate.value, kMostRate);
  if (kept == impl_->rate) return;
  impl_->rate = kept;
  impl_->rate_changed = true;
}

void Planner::put_vpc(VpcUid uid, const Bandwidth& bandwidth) {
  Vpc& vpc = impl_->vpc_of(uid.value);
  const Limits limits(bandwidth);
  vpc.put = true;
  if (vpc.limits == limits) return;
  vpc.limits = limits;
  impl_->mark(uid.value, vpc);
}

void Planner::remove_vpc(VpcUid uid) {
  auto found = impl_->vpcs.find(uid.value);
  if (found == impl_->vpcs.end()) return;
  Vpc& vpc = found->second;
  while (!vpc.endpoints.empty())
    impl_->leave(*vpc.endpoints.back());
  vpc.put = false;
  vpc.limits = Limits();
  impl_->mark(uid.value, vpc);
}

void Planner::put_endpoint(EndpointUid uid, VpcUid vpc_uid, const Bandwidth& bandwidth,
                           PortBlock ports) {
  Vpc& vpc = impl_->vpc_of(vpc_uid.value);
  auto [entry, added] = impl_->endpoints.try_emplace(uid.value);
  Endpoint& endpoint = entry->second;
  if (added) endpoint.node.want.id = NodeId::endpoint(uid);
  const Limits limits(bandwidth);
  if (endpoint.vpc == &vpc) {
    if (endpoint.limits == limits && endpoint.ports == ports) return;
    impl_->discount(endpoint);
  } else {
    if (endpoint.vpc != nullptr) {
      impl_->take_out(endpoint);
      impl_->list(endpoint);  // its new VPC may have no plan yet
    }
    endpoint.vpc = &vpc;
    endpoint.position = vpc.endpoints.size();
    vpc.endpoints.push_back(&endpoint);
  }
  endpoint.limits = limits;
  endpoint.ports = ports;
  impl_->count(endpoint);
  impl_->touch(endpoint);
  impl_->mark(vpc_uid.value, vpc);
}

void Planner::remove_endpoint(EndpointUid uid) {
  auto found = impl_->endpoints.find(uid.value);
  if (found == impl_->endpoints.end() || found->second.vpc == nullptr) return;
  impl_->leave(found->second);
}

Plan Planner::plan() const {
  impl_->settle();
  Plan plan;
  auto put = [&plan](const Tracked& node) {
    if (node.wanted) plan.nodes.emplace_hint(plan.nodes.end(), node.want.id, node.want);
  };
  put(impl_->nic);
  put(impl_->other);
  for (const auto& [uid, vpc] : impl_->vpcs)
    put(vpc.node);
  for (const auto& [uid, endpoint] : impl_->endpoints)
    put(endpoint.node);
  return plan;
}

std::vector<Step> Planner::take_changes() {
  impl_->settle();
  auto& vpcs = impl_->changed_vpcs;
  auto& endpoints = impl_->changed_endpoints;
  std::sort(vpcs.begin(), vpcs.end());
  // Many at once are in order already.
  if (!std::is_sorted(endpoints.begin(), endpoints.end()))
    std::sort(endpoints.begin(), endpoints.end());
  std::vector<NodeChange> changes;
  changes.reserve(2 + vpcs.size() + endpoints.size());
  auto add = [&changes](const Tracked& node) {
    if (!node.differs()) return;
    changes.push_back({node.had ? &node.have : nullptr, node.wanted ? &node.want : nullptr});
  };
  add(impl_->nic);
  add(impl_->other);
  for (const auto& [uid, vpc] : vpcs)
    add(vpc->node);
  for (const auto& [uid, endpoint] : endpoints)
    add(endpoint->node);
  std::vector<Step> steps = steps_of(changes);

  auto hand_out = [](Tracked& node) {
    node.had = node.wanted;
    if (node.had) node.have = node.want;
    node.listed = false;
  };
  hand_out(impl_->nic);
  hand_out(impl_->other);
  for (auto& [uid, vpc] : vpcs) {
    hand_out(vpc->node);
    impl_->drop_if_unused(uid, *vpc);
  }
  for (auto& [uid, endpoint] : endpoints) {
    hand_out(endpoint->node);
    if (endpoint->vpc == nullptr) impl_->endpoints.erase(uid);
  }
  vpcs.clear();
  endpoints.clear();
  return steps;
}

void Planner::assume(const Plan& programmed) {
  impl_->settle();
  for (Tracked* node : {&impl_->nic, &impl_->other})
    node->had = false;
  for (auto& [uid, vpc] : impl_->vpcs)
    vpc.node.had = false;
  for (auto& [uid, endpoint] : impl_->endpoints)
    endpoint.node.had = false;
  for (const auto& [id, node] : programmed.nodes) {
    Tracked* tracked = nullptr;
    switch (id.kind) {
      case NodeId::Kind::kNic:
        tracked = &impl_->nic;
        break;
      case NodeId::Kind::kOther:
        tracked = &impl_->other;
        break;
      case NodeId::Kind::kVpc:
        tracked = &impl_->vpc_of(id.uid).node;
        break;
      case NodeId::Kind::kEndpoint:
        tracked = &impl_->endpoints.try_emplace(id.uid).first->second.node;
        tracked->want.id = id;
        break;
    }
    tracked->had = true;
    tracked->have = node;
  }
  for (auto entry = impl_->vpcs.begin(); entry != impl_->vpcs.end();) {
    auto next = std::next(entry);
    impl_->list(entry->first, entry->second);
    entry = next;
  }
  for (auto& [uid, endpoint] : impl_->endpoints)
    impl_->list(endpoint);
}

std::vector<Shortfall> Planner::shortfalls() const {
  impl_->settle();
  std::vector<Shortfall> out;
  auto look = [&out](const Tracked& node, std::uint64_t asked) {
    if (node.wanted && node.want.guaranteed.value < asked)
      out.push_back({node.want.id, BitsPerSecond{asked}, node.want.guaranteed});
  };
  for (const auto& [uid, vpc] : impl_->vpcs)
    look(vpc.node, std::max(vpc.limits.guaranteed, vpc.asked));
  for (const auto& [uid, endpoint] : impl_->endpoints) {
    if (endpoint.vpc != nullptr) look(endpoint.node, endpoint.limits.guaranteed);
  }
  return out;
}

}  // namespace qmasq::qos

// SPDX-License-Identifier: Apache-2.0
#include "qos/backends/tc/scan.h"

#include <linux/if_ether.h>

#include <array>
#include <bit>
#include <optional>
#include <set>
#include <utility>

#include "qos/backends/tc/limits.h"

namespace qmasq::qos::tc {
namespace {

struct Family {
  std::uint16_t protocol;
  std::uint16_t offset;  // of its priority
};
constexpr std::array<Family, 2> kFamilies{{{ETH_P_IP, 0}, {ETH_P_IPV6, 1}}};
constexpr std::uint32_t kOtherHandle = 1;

// Which of the families a filter of ours at these priorities is for.
std::optional<std::size_t> family_of(const Filter& filter, std::uint16_t priority) {
  for (std::size_t i = 0; i < kFamilies.size(); ++i) {
    if (filter.priority == priority + kFamilies[i].offset &&
        filter.protocol == kFamilies[i].protocol) {
      return i;
    }
  }
  return std::nullopt;
}

std::optional<PortBlock> block_of(const Filter& filter) {
  if (!filter.match || filter.match->destination_port != kRocePort) return std::nullopt;
  auto size =
      static_cast<std::uint32_t>(static_cast<std::uint16_t>(~filter.match->source_mask)) + 1;
  if (!std::has_single_bit(size) || size > 0x8000) return std::nullopt;
  return PortBlock{filter.match->source_port, static_cast<std::uint16_t>(size)};
}

class Scanner {
 public:
  Scanner(std::span<const Class> classes, std::span<const Filter> filters) : filters_(filters) {
    for (const Class& one : classes) {
      found_.minors.push_back(minor_of(one.id));
      classes_[one.id] = &one;
    }
  }

  Scan run(const Backend::VpcOf& vpc_of, const std::unordered_map<Handle, VpcUid>& vpcs) {
    const Class* nic = class_at(with_minor(kNicMinor));
    if (nic != nullptr) hold(NodeId::nic(), NodeId::nic(), {}, *nic);
    scan_other();
    for (const auto& [id, vpc] : vpcs)
      hold_vpc(id, vpc);
    for (const Filter& filter : filters_) {
      auto family = family_of(filter, kEndpointPriority);
      if (family && filter.kind == "flower") pairs_[filter.handle][*family] = &filter;
    }
    for (const auto& [handle, pair] : pairs_)
      scan_endpoint(EndpointUid{handle}, pair, vpc_of);
    drop_filters();
    drop_classes();
    return std::move(found_);
  }

 private:
  using Pair = std::array<const Filter*, kFamilies.size()>;

  const Class* class_at(Handle id) const {
    auto at = classes_.find(id);
    return at == classes_.end() ? nullptr : at->second;
  }

  void hold(NodeId id, NodeId parent, PortBlock ports, const Class& spec) {
    Held held{limits_of(spec), spec.id, spec};
    held.node.id = id;
    held.node.parent = parent;
    held.node.ports = ports;
    found_.nodes.emplace(id, held);
    held_.insert(spec.id);
  }

  void keep(const Pair& pair) {
    for (const Filter* filter : pair)
      kept_.insert(filter);
  }

  void scan_other() {
    const Class* other = class_at(with_minor(kOtherMinor));
    Pair pair{};
    for (const Filter& filter : filters_) {
      auto family = family_of(filter, kOtherPriority);
      if (family && filter.handle == kOtherHandle && filter.target == with_minor(kOtherMinor)) {
        pair[*family] = &filter;
      }
    }
    if (other == nullptr || pair[0] == nullptr || pair[1] == nullptr) return;
    hold(NodeId::other(), NodeId::nic(), {}, *other);
    keep(pair);
  }

  bool hold_vpc(Handle id, VpcUid vpc) {
    auto there = found_.nodes.find(NodeId::vpc(vpc));
    if (there != found_.nodes.end()) return there->second.id == id;
    const Class* spec = class_at(id);
    if (spec == nullptr || spec->parent != with_minor(kNicMinor) || held_.contains(id))
      return false;
    hold(NodeId::vpc(vpc), NodeId::nic(), {}, *spec);
    return true;
  }

  // Half of an endpoint is nothing: it is made anew.
  void scan_endpoint(EndpointUid uid, const Pair& pair, const Backend::VpcOf& vpc_of) {
    if (pair[0] == nullptr || pair[1] == nullptr || pair[0]->target != pair[1]->target) return;
    auto block = block_of(*pair[0]);
    const Class* spec = class_at(pair[0]->target);
    if (!block || block != block_of(*pair[1]) || spec == nullptr || held_.contains(spec->id))
      return;
    auto vpc = vpc_of(uid);
    if (!vpc || !hold_vpc(spec->parent, *vpc)) return;
    hold(NodeId::endpoint(uid), NodeId::vpc(*vpc), *block, *spec);
    keep(pair);
  }

  void drop_filters() {
    for (const Filter& filter : filters_) {
      bool ours = family_of(filter, kEndpointPriority) || family_of(filter, kOtherPriority);
      if (!ours || filter.kind != "flower" || kept_.contains(&filter)) continue;
      found_.leftovers.emplace_back(DeleteFilter{filter.priority, filter.protocol, filter.handle});
    }
  }

  // Classes are three deep: those below others first.
  void drop_classes() {
    std::vector<Operation> upper;
    for (const auto& [id, spec] : classes_) {
      if (!is_marked(*spec) || held_.contains(id)) continue;
      if (spec->parent == kRoot || spec->parent == with_minor(kNicMinor)) {
        upper.emplace_back(DeleteClass{id});
      } else {
        found_.leftovers.emplace_back(DeleteClass{id});
      }
    }
    found_.leftovers.insert(found_.leftovers.end(), upper.begin(), upper.end());
  }

  std::span<const Filter> filters_;
  std::map<Handle, const Class*> classes_;
  std::map<std::uint32_t, Pair> pairs_;
  std::set<Handle> held_;
  std::set<const Filter*> kept_;
  Scan found_;
};

}  // namespace

std::vector<Filter> filters_of(const Node& node, Handle target) {
  std::vector<Filter> filters;
  bool endpoint = node.id.kind == NodeId::Kind::kEndpoint;
  for (const Family& family : kFamilies) {
    Filter filter;
    filter.priority =
        static_cast<std::uint16_t>((endpoint ? kEndpointPriority : kOtherPriority) + family.offset);
    filter.protocol = family.protocol;
    filter.handle = endpoint ? static_cast<std::uint32_t>(node.id.uid) : kOtherHandle;
    filter.target = target;
    filter.match.emplace();
    filter.match->destination_port = kRocePort;
    if (endpoint) {
      filter.match->source_port = node.ports.first;
      filter.match->source_mask = static_cast<std::uint16_t>(~(node.ports.count - 1U));
    }
    filters.push_back(std::move(filter));
  }
  return filters;
}

Scan scan(std::span<const Class> classes, std::span<const Filter> filters,
          const Backend::VpcOf& vpc_of, const std::unordered_map<Handle, VpcUid>& vpcs) {
  return Scanner(classes, filters).run(vpc_of, vpcs);
}

}  // namespace qmasq::qos::tc

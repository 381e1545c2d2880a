// SPDX-License-Identifier: Apache-2.0
// The plain alternatives: rules scanned in order of precedence, and one hash map of everything.
#include <absl/container/flat_hash_map.h>

#include <algorithm>
#include <cstring>
#include <set>
#include <unordered_map>

#include "bench/policy/world.h"

namespace qmasq::bench {
namespace {

using conntrack::Match;
using conntrack::Remote;
using conntrack::Rule;

class Scanned final : public Rules {
 public:
  explicit Scanned(const World& world) {
    for (const auto& group : world.groups) {
      auto& rules = rules_[group.uid.value];
      rules = group.rules;
      std::stable_sort(rules.begin(), rules.end(), [](const Rule& a, const Rule& b) {
        return Match::order_of(a) < Match::order_of(b);
      });
    }
  }
  [[nodiscard]] std::string name() const override { return "rules scanned in order"; }
  [[nodiscard]] std::uint32_t decide(const Question& question) const override {
    std::uint32_t best = Match::kNoOrder;
    for (SecurityGroupUid own : question.own->groups) {
      for (const Rule& rule : rules_.find(own.value)->second) {
        const std::uint32_t order = Match::order_of(rule);
        if (order >= best) break;
        if (rule.direction == question.direction && matches(rule, question)) {
          best = order;
          break;
        }
      }
    }
    return best;
  }

 private:
  static bool matches(const Rule& rule, const Question& question) {
    if (!rule.covers(conntrack::Transport::kRc)) return false;
    if (rule.remote.kind == Remote::Kind::kAny) return true;
    if (rule.remote.kind == Remote::Kind::kCidr) {
      return rule.remote.cidr.contains(question.peer_address);
    }
    const auto& groups = question.peer->groups;
    return std::find(groups.begin(), groups.end(), rule.remote.group) != groups.end();
  }

  std::unordered_map<std::uint64_t, std::vector<Rule>> rules_;
};

// What a rule is found by. `length` 33: a group, 34: any.
struct Key {
  std::uint64_t own = 0;
  std::uint64_t remote = 0;
  std::uint32_t direction = 0;
  std::uint32_t length = 0;
  bool operator==(const Key&) const = default;
  template <typename H>
  friend H AbslHashValue(H h, const Key& key) {
    return H::combine(std::move(h), key.own, key.remote, key.direction, key.length);
  }
};
struct StdHash {
  std::size_t operator()(const Key& key) const {
    std::uint64_t mixed = (key.own * 0x9E3779B97F4A7C15ULL) ^ key.remote;
    mixed = (mixed ^ (mixed >> 29U)) * 0xD6E8FEB86659FD93ULL;
    return mixed ^ (mixed >> 32U) ^ (key.direction << 7U) ^ key.length;
  }
};

constexpr std::uint32_t kGroupKey = 33;
constexpr std::uint32_t kAnyKey = 34;

template <typename Map>
class Indexed final : public Rules {
 public:
  Indexed(std::string name, const World& world) : name_(std::move(name)) {
    for (const auto& group : world.groups) {
      for (const Rule& rule : group.rules) {
        Key key{group.uid.value, 0, static_cast<std::uint32_t>(rule.direction), kAnyKey};
        if (rule.remote.kind == Remote::Kind::kGroup) {
          key.remote = rule.remote.group.value;
          key.length = kGroupKey;
        } else if (rule.remote.kind == Remote::Kind::kCidr) {
          key.remote = rule.remote.cidr.address.v4();
          key.length = rule.remote.cidr.length;
          lengths_[group.uid.value].insert(rule.remote.cidr.length);
        }
        auto [it, fresh] = map_.try_emplace(key, Match::order_of(rule));
        if (!fresh) it->second = std::min(it->second, Match::order_of(rule));
      }
    }
  }
  [[nodiscard]] std::string name() const override { return name_; }
  [[nodiscard]] std::uint32_t decide(const Question& question) const override {
    std::uint32_t best = Match::kNoOrder;
    auto look = [&](const Key& key) {
      if (auto it = map_.find(key); it != map_.end()) best = std::min(best, it->second);
    };
    const auto direction = static_cast<std::uint32_t>(question.direction);
    for (SecurityGroupUid own : question.own->groups) {
      look({own.value, 0, direction, kAnyKey});
      for (SecurityGroupUid peer : question.peer->groups)
        look({own.value, peer.value, direction, kGroupKey});
      auto lengths = lengths_.find(own.value);
      if (lengths == lengths_.end()) continue;
      for (std::uint32_t length : lengths->second) {
        const std::uint32_t mask = length == 0 ? 0 : ~std::uint32_t{0} << (32U - length);
        look({own.value, question.peer_address.v4() & mask, direction, length});
      }
    }
    return best;
  }

 private:
  const std::string name_;
  Map map_;
  std::unordered_map<std::uint64_t, std::set<std::uint32_t>> lengths_;
};

}  // namespace

std::unique_ptr<Rules> scanned_rules(const World& world) {
  return std::make_unique<Scanned>(world);
}
std::unique_ptr<Rules> absl_rules(const World& world) {
  return std::make_unique<Indexed<absl::flat_hash_map<Key, std::uint32_t>>>("absl::flat_hash_map",
                                                                            world);
}
std::unique_ptr<Rules> std_rules(const World& world) {
  return std::make_unique<Indexed<std::unordered_map<Key, std::uint32_t, StdHash>>>(
      "std::unordered_map", world);
}

}  // namespace qmasq::bench

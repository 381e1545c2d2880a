// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <vector>

#include "common/net_types.h"
#include "conntrack/types.h"

namespace qmasq::conntrack {

// What a question to some rules found: the best precedence among those that match, and what all of
// that precedence permit together. Lower order is better; deny comes before allow of the same
// priority, so two matches of one order have one action.
struct Match {
  static constexpr std::uint32_t kNoOrder = std::numeric_limits<std::uint32_t>::max();

  std::uint32_t order = kNoOrder;
  std::uint16_t rule = 0;  // index of the first of them in Group::rules
  Operations operations;   // union
  bool log = false;        // one of them logs

  [[nodiscard]] bool found() const { return order != kNoOrder; }
  [[nodiscard]] bool allows() const { return found() && (order & 1U) != 0; }
  // (65535 - priority) * 2, plus 1 for allow.
  static std::uint32_t order_of(const Rule& rule);
  static Match of(const Rule& rule, std::uint16_t index);
  // Commutative and associative, so it does not matter how an index groups its rules.
  void merge(const Match& other) {
    if (other.order < order) {
      *this = other;
    } else if (other.order == order && found()) {
      rule = rule < other.rule ? rule : other.rule;
      operations = operations | other.operations;
      log = log || other.log;
    }
  }
  bool operator==(const Match&) const = default;
};

// The rules of one group, compiled: immutable, shared by all endpoints that carry the group. Made
// once for each revision of it. A verdict looks at the programs of an endpoint's groups side by
// side, not at a program for each combination of groups: those would all have to be made again when
// one group changes (docs/adr has the figures).
class Program {
 public:
  [[nodiscard]] static std::shared_ptr<const Program> compile(Group group);

  // Best match of the enforced rules. `peer_groups` in any order.
  [[nodiscard]] Match find(Direction direction, Transport transport,
                           std::span<const SecurityGroupUid> peer_groups,
                           const IpAddress& peer) const {
    return indexes_[enforced_[index(direction, transport)]].find(peer_groups, peer);
  }
  // The same of the shadow rules.
  [[nodiscard]] Match find_shadow(Direction direction, Transport transport,
                                  std::span<const SecurityGroupUid> peer_groups,
                                  const IpAddress& peer) const {
    return indexes_[shadow_[index(direction, transport)]].find(peer_groups, peer);
  }
  // The best precedence of an enforced rule that allows, whoever the peer is (kNoOrder: there is
  // none), and of one that denies every peer.
  [[nodiscard]] std::uint32_t best_allow(Direction direction, Transport transport) const {
    return best_allow_[index(direction, transport)];
  }
  [[nodiscard]] std::uint32_t denies_all(Direction direction, Transport transport) const {
    const Match& any = indexes_[enforced_[index(direction, transport)]].any;
    return any.found() && !any.allows() ? any.order : Match::kNoOrder;
  }
  // A verdict can depend on addresses.
  [[nodiscard]] bool uses_addresses() const { return uses_addresses_; }
  [[nodiscard]] bool has_shadow() const { return has_shadow_; }
  // Indexes of all rules that match, enforced and shadow, by precedence. Looks at each rule: for
  // explanations.
  [[nodiscard]] std::vector<std::uint16_t> all_matching(
      Direction direction, Transport transport, std::span<const SecurityGroupUid> peer_groups,
      const IpAddress& peer) const;

  [[nodiscard]] const Group& group() const { return group_; }
  [[nodiscard]] std::size_t memory_bytes() const;

 private:
  struct GroupEntry {
    SecurityGroupUid group;
    Match match;
  };
  struct PrefixEntry {
    IpAddress address;  // masked
    Match match;        // merged with those of all shorter prefixes around it
  };
  // Open-addressing hash of entries; a power of two, at most half full.
  template <typename Entry>
  struct Slots {
    std::vector<Entry> entries;  // empty: nothing
    std::size_t mask = 0;
  };
  struct Length {
    std::uint8_t bits;  // of 128
    Slots<PrefixEntry> slots;
  };
  // Up to so many entries are scanned: side by side in memory, they cost less than a hash of them.
  static constexpr std::size_t kFew = 12;
  struct FewPrefix {
    std::uint32_t address;  // IPv4, masked
    std::uint32_t mask;
    Match match;
  };
  // Rules of one direction and transport.
  struct Index {
    Match any;
    std::vector<GroupEntry> few_groups;  // either these
    Slots<GroupEntry> groups;            // or these
    std::vector<FewPrefix> few_v4;       // either these
    std::vector<Length> v4;              // or these; longest first
    std::vector<Length> v6;

    [[nodiscard]] Match find(std::span<const SecurityGroupUid> peer_groups,
                             const IpAddress& peer) const;
    void find_group(SecurityGroupUid group, Match& out) const;
    void find_prefix(const IpAddress& peer, Match& out) const;
    void add_groups(const std::vector<Rule>& rules, std::span<const std::uint16_t> members);
    void add_prefixes(const std::vector<Rule>& rules, std::span<const std::uint16_t> members);
    void add_few_v4(const std::vector<Rule>& rules, std::span<const std::uint16_t> members);
    [[nodiscard]] std::size_t memory_bytes() const;
  };

  static std::size_t index(Direction direction, Transport transport) {
    return static_cast<std::size_t>(direction) * kTransports + static_cast<std::size_t>(transport);
  }
  static Index build(const std::vector<Rule>& rules, std::span<const std::uint16_t> members);

  Group group_;
  // One for each set of rules that stands behind some direction and transport.
  std::vector<Index> indexes_;
  std::array<std::uint8_t, kDirections * kTransports> enforced_{};  // places in indexes_
  std::array<std::uint8_t, kDirections * kTransports> shadow_{};
  std::array<std::uint32_t, kDirections * kTransports> best_allow_{};
  bool uses_addresses_ = false;
  bool has_shadow_ = false;
};
using ProgramPtr = std::shared_ptr<const Program>;

}  // namespace qmasq::conntrack

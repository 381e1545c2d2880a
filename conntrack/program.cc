// SPDX-License-Identifier: Apache-2.0
#include "conntrack/program.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <utility>

namespace qmasq::conntrack {
namespace {

constexpr std::uint8_t kV4Bits = 96;  // of the v4-mapped form before the address itself

std::uint64_t mix(std::uint64_t value) {
  value *= 0x9E3779B97F4A7C15ULL;
  return value ^ (value >> 32U);
}

std::uint64_t hash_of(SecurityGroupUid group) {
  return mix(group.value);
}

std::uint64_t hash_of(const IpAddress& address) {
  std::uint64_t high = 0;
  std::uint64_t low = 0;
  std::memcpy(&high, address.bytes.data(), 8);
  std::memcpy(&low, address.bytes.data() + 8, 8);
  return mix(low ^ (high * 0xD6E8FEB86659FD93ULL));
}

// The first `bits` of 128.
IpAddress masked(IpAddress address, std::uint8_t bits) {
  for (std::size_t i = 0; i < address.bytes.size(); ++i) {
    const std::size_t first = i * 8;
    if (first + 8 <= bits) continue;
    const unsigned kept = first >= bits ? 0 : static_cast<unsigned>(bits - first);
    address.bytes[i] &= static_cast<std::uint8_t>(0xff00U >> kept);
  }
  return address;
}

// The length that the prefix has among 128 bits.
std::uint8_t bits_of(const IpPrefix& prefix) {
  return static_cast<std::uint8_t>(prefix.length + (prefix.address.is_v4() ? kV4Bits : 0));
}

std::size_t room_for(std::size_t count) {
  std::size_t room = 2;
  while (room < 2 * count)
    room *= 2;
  return room;
}

}  // namespace

std::uint32_t Match::order_of(const Rule& rule) {
  return (std::uint32_t{65535} - rule.priority) * 2 + (rule.action == Action::kAllow ? 1 : 0);
}

Match Match::of(const Rule& rule, std::uint16_t index) {
  return {order_of(rule), index, rule.action == Action::kAllow ? rule.operations : Operations{},
          rule.log};
}

Match Program::Index::find(std::span<const SecurityGroupUid> peer_groups,
                           const IpAddress& peer) const {
  Match out = any;
  if (!few_groups.empty()) {
    for (const GroupEntry& entry : few_groups) {
      for (SecurityGroupUid group : peer_groups) {
        if (entry.group == group) out.merge(entry.match);
      }
    }
  } else if (!groups.entries.empty()) {
    for (SecurityGroupUid group : peer_groups)
      find_group(group, out);
  }
  find_prefix(peer, out);
  return out;
}

void Program::Index::find_group(SecurityGroupUid group, Match& out) const {
  for (std::size_t at = hash_of(group) & groups.mask;; at = (at + 1) & groups.mask) {
    const GroupEntry& entry = groups.entries[at];
    if (entry.group == group) out.merge(entry.match);
    if (entry.group == group || entry.group.value == 0) return;
  }
}

void Program::Index::find_prefix(const IpAddress& peer, Match& out) const {
  const bool is_v4 = peer.is_v4();
  if (is_v4 && !few_v4.empty()) {
    const std::uint32_t address = peer.v4();
    for (const FewPrefix& prefix : few_v4) {
      if ((address & prefix.mask) == prefix.address) out.merge(prefix.match);
    }
    return;
  }
  for (const Length& length : is_v4 ? v4 : v6) {
    const IpAddress wanted = masked(peer, length.bits);
    const Slots<PrefixEntry>& slots = length.slots;
    for (std::size_t at = hash_of(wanted) & slots.mask;; at = (at + 1) & slots.mask) {
      const PrefixEntry& entry = slots.entries[at];
      if (!entry.match.found()) break;
      if (entry.address != wanted) continue;
      out.merge(entry.match);
      return;  // holds what all shorter ones say
    }
  }
}

void Program::Index::add_groups(const std::vector<Rule>& rules,
                                std::span<const std::uint16_t> members) {
  std::map<SecurityGroupUid, Match> found;
  for (std::uint16_t member : members) {
    const Rule& rule = rules[member];
    if (rule.remote.kind != Remote::Kind::kGroup) continue;
    found[rule.remote.group].merge(Match::of(rule, member));
  }
  if (found.size() <= kFew) {
    for (const auto& [group, match] : found)
      few_groups.push_back({group, match});
    return;
  }
  groups.entries.resize(room_for(found.size()));
  groups.mask = groups.entries.size() - 1;
  for (const auto& [group, match] : found) {
    std::size_t at = hash_of(group) & groups.mask;
    while (groups.entries[at].group.value != 0)
      at = (at + 1) & groups.mask;
    groups.entries[at] = {group, match};
  }
}

void Program::Index::add_few_v4(const std::vector<Rule>& rules,
                                std::span<const std::uint16_t> members) {
  for (std::uint16_t member : members) {
    const IpPrefix& range = rules[member].remote.cidr;
    const std::uint32_t mask = range.length == 0 ? 0 : ~std::uint32_t{0} << (32U - range.length);
    few_v4.push_back({range.address.v4() & mask, mask, Match::of(rules[member], member)});
  }
}

void Program::Index::add_prefixes(const std::vector<Rule>& rules,
                                  std::span<const std::uint16_t> members) {
  // By family, then by length, shortest first: what is around a prefix is complete before it.
  std::array<std::map<std::uint8_t, std::map<IpAddress, Match>>, 2> found;
  for (std::uint16_t member : members) {
    const Rule& rule = rules[member];
    const std::uint8_t bits = bits_of(rule.remote.cidr);
    found[rule.remote.cidr.address.is_v4() ? 0 : 1][bits][masked(rule.remote.cidr.address, bits)]
        .merge(Match::of(rule, member));
  }
  for (std::size_t family = 0; family < found.size(); ++family) {
    std::vector<Length>& lengths = family == 0 ? v4 : v6;
    for (auto at = found[family].begin(); at != found[family].end(); ++at) {
      auto& [bits, prefixes] = *at;
      for (auto& [address, match] : prefixes) {
        // The longest around it has those around that one in it already.
        for (auto around = at; around != found[family].begin();) {
          --around;
          auto covering = around->second.find(masked(address, around->first));
          if (covering == around->second.end()) continue;
          match.merge(covering->second);
          break;
        }
      }
      Length length{bits, {}};
      length.slots.entries.resize(room_for(prefixes.size()));
      length.slots.mask = length.slots.entries.size() - 1;
      for (const auto& [address, match] : prefixes) {
        std::size_t slot = hash_of(address) & length.slots.mask;
        while (length.slots.entries[slot].match.found())
          slot = (slot + 1) & length.slots.mask;
        length.slots.entries[slot] = {address, match};
      }
      lengths.push_back(std::move(length));
    }
    std::reverse(lengths.begin(), lengths.end());
  }
}

std::size_t Program::Index::memory_bytes() const {
  std::size_t bytes = sizeof(Index) + few_v4.capacity() * sizeof(FewPrefix) +
                      (few_groups.capacity() + groups.entries.capacity()) * sizeof(GroupEntry);
  for (const auto* lengths : {&v4, &v6}) {
    for (const Length& length : *lengths)
      bytes += sizeof(Length) + length.slots.entries.capacity() * sizeof(PrefixEntry);
  }
  return bytes;
}

Program::Index Program::build(const std::vector<Rule>& rules,
                              std::span<const std::uint16_t> members) {
  Index index;
  for (std::uint16_t member : members) {
    if (rules[member].remote.kind == Remote::Kind::kAny) {
      index.any.merge(Match::of(rules[member], member));
    }
  }
  index.add_groups(rules, members);
  std::vector<std::uint16_t> v4;
  std::vector<std::uint16_t> hashed;  // all of IPv6, and IPv4 where there is much of it
  for (std::uint16_t member : members) {
    if (rules[member].remote.kind != Remote::Kind::kCidr) continue;
    (rules[member].remote.cidr.address.is_v4() ? v4 : hashed).push_back(member);
  }
  if (v4.size() <= kFew) {
    index.add_few_v4(rules, v4);
  } else {
    hashed.insert(hashed.end(), v4.begin(), v4.end());
  }
  index.add_prefixes(rules, hashed);
  return index;
}

ProgramPtr Program::compile(Group group) {
  auto program = std::make_shared<Program>();
  program->group_ = std::move(group);
  const std::vector<Rule>& rules = program->group_.rules;
  for (const Rule& rule : rules) {
    program->has_shadow_ = program->has_shadow_ || rule.shadow;
    program->uses_addresses_ = program->uses_addresses_ || rule.remote.kind == Remote::Kind::kCidr;
  }
  // Members to the index that was made of them.
  std::map<std::vector<std::uint16_t>, std::uint8_t> made;
  for (Direction direction : {Direction::kIngress, Direction::kEgress}) {
    for (Transport transport : {Transport::kRc, Transport::kUc, Transport::kUd, Transport::kXrc}) {
      std::uint32_t& best_allow = program->best_allow_[Program::index(direction, transport)];
      best_allow = Match::kNoOrder;
      for (bool shadow : {false, true}) {
        std::vector<std::uint16_t> members;
        for (std::size_t i = 0; i < rules.size(); ++i) {
          const Rule& rule = rules[i];
          if (rule.direction != direction || rule.shadow != shadow || !rule.covers(transport)) {
            continue;
          }
          members.push_back(static_cast<std::uint16_t>(i));
          if (!shadow && rule.action == Action::kAllow) {
            best_allow = std::min(best_allow, Match::order_of(rule));
          }
        }
        auto [index, fresh] =
            made.try_emplace(members, static_cast<std::uint8_t>(program->indexes_.size()));
        if (fresh) program->indexes_.push_back(build(rules, members));
        auto& place = shadow ? program->shadow_ : program->enforced_;
        place[Program::index(direction, transport)] = index->second;
      }
    }
  }
  return program;
}

std::vector<std::uint16_t> Program::all_matching(Direction direction, Transport transport,
                                                 std::span<const SecurityGroupUid> peer_groups,
                                                 const IpAddress& peer) const {
  std::vector<std::uint16_t> out;
  for (std::size_t i = 0; i < group_.rules.size(); ++i) {
    const Rule& rule = group_.rules[i];
    if (rule.direction != direction || !rule.covers(transport)) continue;
    bool matches = rule.remote.kind == Remote::Kind::kAny;
    if (rule.remote.kind == Remote::Kind::kCidr) {
      matches = rule.remote.cidr.address.is_v4() == peer.is_v4() &&
                masked(peer, bits_of(rule.remote.cidr)) == rule.remote.cidr.address;
    } else if (rule.remote.kind == Remote::Kind::kGroup) {
      matches =
          std::find(peer_groups.begin(), peer_groups.end(), rule.remote.group) != peer_groups.end();
    }
    if (matches) out.push_back(static_cast<std::uint16_t>(i));
  }
  std::stable_sort(out.begin(), out.end(), [&](std::uint16_t a, std::uint16_t b) {
    return Match::order_of(group_.rules[a]) < Match::order_of(group_.rules[b]);
  });
  return out;
}

std::size_t Program::memory_bytes() const {
  std::size_t bytes = sizeof(Program) + group_.rules.capacity() * sizeof(Rule);
  for (const Index& index : indexes_)
    bytes += index.memory_bytes();
  return bytes;
}

}  // namespace qmasq::conntrack

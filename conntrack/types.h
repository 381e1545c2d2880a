// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/net_types.h"

// Security groups as values. What they mean stands in docs/security-groups.md; the messages of the
// API in schema/proto/qmasq/v1/security_group.proto.
namespace qmasq::conntrack {

enum class Transport : std::uint8_t { kRc, kUc, kUd, kXrc };
inline constexpr std::size_t kTransports = 4;

enum class Direction : std::uint8_t { kIngress, kEgress };
inline constexpr std::size_t kDirections = 2;

enum class Action : std::uint8_t { kDeny, kAllow };

// A set of what a peer may do to this side's memory.
struct Operations {
  static constexpr std::uint8_t kSend = 1;
  static constexpr std::uint8_t kRead = 2;
  static constexpr std::uint8_t kWrite = 4;
  static constexpr std::uint8_t kAtomic = 8;
  static constexpr std::uint8_t kAll = 15;

  std::uint8_t bits = 0;

  static constexpr Operations all() { return {kAll}; }
  [[nodiscard]] constexpr bool has(std::uint8_t operation) const { return (bits & operation) != 0; }
  // Nothing of `other` is missing here.
  [[nodiscard]] constexpr bool covers(Operations other) const { return (other.bits & ~bits) == 0; }
  constexpr bool operator==(const Operations&) const = default;
};
[[nodiscard]] constexpr Operations operator|(Operations a, Operations b) {
  return {static_cast<std::uint8_t>(a.bits | b.bits)};
}
[[nodiscard]] constexpr Operations operator&(Operations a, Operations b) {
  return {static_cast<std::uint8_t>(a.bits & b.bits)};
}

// The other side, as a rule names it.
struct Remote {
  enum class Kind : std::uint8_t { kAny, kCidr, kGroup };
  Kind kind = Kind::kAny;
  IpPrefix cidr;           // kCidr: no host bits set
  SecurityGroupUid group;  // kGroup
  std::string group_id;    // kGroup: "clients", for people
  bool operator==(const Remote&) const = default;
};

struct Rule {
  std::string id;
  Direction direction = Direction::kIngress;
  std::uint16_t priority = 0;  // the highest that matches decides; deny before allow among equals
  Action action = Action::kAllow;
  // None: any. A rule that allows any does not allow UD, which must be named; a rule that denies
  // any denies UD, too.
  std::optional<Transport> transport;
  Remote remote;
  Operations operations = Operations::all();  // of a rule that allows
  bool log = false;
  bool shadow = false;  // counted, not enforced
  bool operator==(const Rule&) const = default;

  [[nodiscard]] bool covers(Transport asked) const {
    if (transport) return *transport == asked;
    return asked != Transport::kUd || action == Action::kDeny;
  }
};

struct Group {
  SecurityGroupUid uid;
  VpcUid vpc;
  std::string name;  // "vpcs/blue/securityGroups/web"
  std::vector<Rule> rules;
  bool operator==(const Group&) const = default;
};

inline constexpr std::size_t kMostRules = 10'000;         // of one group
inline constexpr std::size_t kMostGroupsOfEndpoint = 16;  // that one endpoint carries

}  // namespace qmasq::conntrack

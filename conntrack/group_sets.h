// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <unordered_map>
#include <vector>

#include "conntrack/program.h"
#include "conntrack/verdict.h"

namespace qmasq::conntrack {

// Names a combination of groups. 0: none at all.
using SetId = std::uint32_t;

// A combination of groups that endpoints carry, with the program of each. Immutable, shared.
struct GroupSet {
  std::vector<SecurityGroupUid> groups;  // sorted
  std::vector<ProgramPtr> programs;      // of those that are known, in the order of `groups`
  bool uses_addresses = false;
  bool has_shadow = false;

  [[nodiscard]] Party party(const IpAddress& address) const { return {programs, groups, address}; }
  [[nodiscard]] bool carries(SecurityGroupUid group) const;
};
using GroupSetPtr = std::shared_ptr<const GroupSet>;

[[nodiscard]] GroupSetPtr make_group_set(std::vector<SecurityGroupUid> groups,
                                         std::span<const ProgramPtr> programs);

// The groups that are held, and their combinations by number, so that a map of a million endpoints
// needs four bytes for each. A group that endpoints carry and that is not (yet) held has no rules:
// that closes, it opens nothing.
//
// Thread-safe; its lock is a leaf, held over no call out of here.
class GroupSets {
 public:
  GroupSets();

  // The number of the combination, with one more holder; duplicates do not matter.
  [[nodiscard]] SetId acquire(std::span<const SecurityGroupUid> groups);
  // One more holder of a number that has one.
  void acquire(SetId set);
  void release(SetId set);

  // REQUIRES: somebody holds it.
  [[nodiscard]] GroupSetPtr get(SetId set) const;

  // Null: not held.
  [[nodiscard]] ProgramPtr program(SecurityGroupUid group) const;
  // What was there before, or null.
  ProgramPtr put(ProgramPtr program);
  ProgramPtr remove(SecurityGroupUid group);
  [[nodiscard]] std::vector<SecurityGroupUid> held() const;
  [[nodiscard]] std::vector<SetId> sets_with(SecurityGroupUid group) const;

  struct Size {
    std::size_t groups = 0;
    std::size_t rules = 0;
    std::size_t sets = 0;
  };
  [[nodiscard]] Size size() const;

 private:
  struct Row {
    GroupSetPtr set;
    std::size_t holders = 0;  // 0: the place is free
  };

  // REQUIRES of all: mutex_ held.
  void remake(SecurityGroupUid group);
  [[nodiscard]] GroupSetPtr make(std::vector<SecurityGroupUid> groups) const;

  mutable std::mutex mutex_;
  std::unordered_map<SecurityGroupUid, ProgramPtr> programs_;
  std::vector<Row> rows_;  // by SetId; row 0 is the empty set and stays
  std::vector<SetId> free_;
  std::map<std::vector<SecurityGroupUid>, SetId> numbers_;
  std::unordered_map<SecurityGroupUid, std::vector<SetId>> sets_with_;
};

}  // namespace qmasq::conntrack

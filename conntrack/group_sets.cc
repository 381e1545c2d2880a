// SPDX-License-Identifier: Apache-2.0
#include "conntrack/group_sets.h"

#include <algorithm>
#include <utility>

namespace qmasq::conntrack {

bool GroupSet::carries(SecurityGroupUid group) const {
  return std::binary_search(groups.begin(), groups.end(), group);
}

GroupSetPtr make_group_set(std::vector<SecurityGroupUid> groups,
                           std::span<const ProgramPtr> programs) {
  auto set = std::make_shared<GroupSet>();
  set->groups = std::move(groups);
  set->programs.assign(programs.begin(), programs.end());
  for (const ProgramPtr& program : set->programs) {
    set->uses_addresses = set->uses_addresses || program->uses_addresses();
    set->has_shadow = set->has_shadow || program->has_shadow();
  }
  return set;
}

GroupSets::GroupSets() {
  rows_.push_back({std::make_shared<GroupSet>(), 1});
}

SetId GroupSets::acquire(std::span<const SecurityGroupUid> groups) {
  if (groups.empty()) return 0;
  std::vector<SecurityGroupUid> sorted(groups.begin(), groups.end());
  std::sort(sorted.begin(), sorted.end());
  sorted.erase(std::unique(sorted.begin(), sorted.end()), sorted.end());
  std::lock_guard lock(mutex_);
  auto [it, fresh] = numbers_.try_emplace(sorted, 0);
  if (!fresh) {
    ++rows_[it->second].holders;
    return it->second;
  }
  if (free_.empty()) {
    it->second = static_cast<SetId>(rows_.size());
    rows_.emplace_back();
  } else {
    it->second = free_.back();
    free_.pop_back();
  }
  for (SecurityGroupUid group : sorted)
    sets_with_[group].push_back(it->second);
  rows_[it->second] = {make(std::move(sorted)), 1};
  return it->second;
}

void GroupSets::acquire(SetId set) {
  if (set == 0) return;
  std::lock_guard lock(mutex_);
  ++rows_[set].holders;
}

void GroupSets::release(SetId set) {
  if (set == 0) return;
  std::lock_guard lock(mutex_);
  Row& row = rows_[set];
  if (--row.holders != 0) return;
  for (SecurityGroupUid group : row.set->groups) {
    auto it = sets_with_.find(group);
    std::erase(it->second, set);
    if (it->second.empty()) sets_with_.erase(it);
  }
  numbers_.erase(row.set->groups);
  row.set.reset();
  free_.push_back(set);
}

GroupSetPtr GroupSets::get(SetId set) const {
  std::lock_guard lock(mutex_);
  return rows_[set].set;
}

ProgramPtr GroupSets::program(SecurityGroupUid group) const {
  std::lock_guard lock(mutex_);
  auto it = programs_.find(group);
  return it == programs_.end() ? nullptr : it->second;
}

ProgramPtr GroupSets::put(ProgramPtr program) {
  const SecurityGroupUid group = program->group().uid;
  std::lock_guard lock(mutex_);
  ProgramPtr before = std::exchange(programs_[group], std::move(program));
  remake(group);
  return before;
}

ProgramPtr GroupSets::remove(SecurityGroupUid group) {
  std::lock_guard lock(mutex_);
  auto it = programs_.find(group);
  if (it == programs_.end()) return nullptr;
  ProgramPtr before = std::move(it->second);
  programs_.erase(it);
  remake(group);
  return before;
}

std::vector<SecurityGroupUid> GroupSets::held() const {
  std::lock_guard lock(mutex_);
  std::vector<SecurityGroupUid> out;
  out.reserve(programs_.size());
  for (const auto& [group, program] : programs_)
    out.push_back(group);
  return out;
}

std::vector<SetId> GroupSets::sets_with(SecurityGroupUid group) const {
  std::lock_guard lock(mutex_);
  auto it = sets_with_.find(group);
  return it == sets_with_.end() ? std::vector<SetId>{} : it->second;
}

GroupSets::Size GroupSets::size() const {
  std::lock_guard lock(mutex_);
  Size out;
  out.groups = programs_.size();
  for (const auto& [group, program] : programs_)
    out.rules += program->group().rules.size();
  out.sets = numbers_.size();
  return out;
}

void GroupSets::remake(SecurityGroupUid group) {
  auto it = sets_with_.find(group);
  if (it == sets_with_.end()) return;
  for (SetId set : it->second)
    rows_[set].set = make(rows_[set].set->groups);
}

GroupSetPtr GroupSets::make(std::vector<SecurityGroupUid> groups) const {
  std::vector<ProgramPtr> programs;
  programs.reserve(groups.size());
  for (SecurityGroupUid group : groups) {
    if (auto it = programs_.find(group); it != programs_.end()) programs.push_back(it->second);
  }
  return make_group_set(std::move(groups), programs);
}

}  // namespace qmasq::conntrack

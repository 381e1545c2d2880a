// SPDX-License-Identifier: Apache-2.0
#include "keeper/holdings.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <string>
#include <utility>

namespace qmasq::keeper {
namespace {

// Not a number to any base: no id has this name.
constexpr const char* kTableName = "tag-table";
constexpr int kNameBase = 36;

std::string name_of(std::uint64_t id) {
  char text[16];  // NOLINT: 13 digits at most
  auto end = std::to_chars(text, text + sizeof(text), id, kNameBase).ptr;
  return {text, end};
}

// 0: no name of ours.
std::uint64_t id_of(std::string_view name) {
  std::uint64_t id = 0;
  auto read = std::from_chars(name.data(), name.data() + name.size(), id, kNameBase);
  return read.ec == std::errc() && read.ptr == name.data() + name.size() ? id : 0;
}

}  // namespace

Result<Holdings> Holdings::open(std::size_t most, std::vector<Stored> found,
                                ServiceManager& manager) {
  UniqueFd left;
  std::map<std::uint64_t, UniqueFd> held;
  for (Stored& one : found) {
    if (one.name == kTableName) {
      left = std::move(one.descriptor);
    } else if (const std::uint64_t id = id_of(one.name); id != 0) {
      held.insert_or_assign(id, std::move(one.descriptor));
    } else {
      std::fprintf(stderr, "qmasq-keeper: closes \"%s\", which it did not store\n",
                   one.name.c_str());
      manager.remove(one.name);
    }
  }
  const bool had_table = left.valid();
  auto adopted = had_table ? TagTable::adopt(std::move(left), most)
                           : Result<TagTable>(fail(Code::kNotFound, "it was not stored"));
  if (adopted) {
    Holdings out(most, std::move(*adopted), manager);
    out.match(std::move(held));
    return out;
  }
  if (!held.empty() || had_table) {
    std::fprintf(stderr, "qmasq-keeper: the tags of %zu descriptors are lost: %s\n", held.size(),
                 adopted.error().message.c_str());
  }
  if (had_table) manager.remove(kTableName);
  QMASQ_ASSIGN(auto tags, TagTable::create(std::max(most, held.size())));
  manager.store(kTableName, tags.descriptor());
  Holdings out(most, std::move(tags), manager);
  for (auto& [id, descriptor] : held) {
    out.tags_.skip_to(id);
    (void)out.tags_.set(id, {});
  }
  out.held_ = std::move(held);
  return out;
}

void Holdings::match(std::map<std::uint64_t, UniqueFd> found) {
  std::vector<std::uint64_t> without;
  tags_.for_each([&](std::uint64_t id) {
    auto descriptor = found.find(id);
    if (descriptor == found.end()) {
      without.push_back(id);
      return;
    }
    held_.emplace(id, std::move(descriptor->second));
    found.erase(descriptor);
  });
  for (std::uint64_t id : without)
    tags_.erase(id);
  for (auto& [id, descriptor] : found)
    manager_->remove(name_of(id));
}

std::uint64_t Holdings::put(std::string_view tag, UniqueFd descriptor) {
  if (held_.size() >= most_) return 0;
  const std::uint64_t id = tags_.next_id();
  if (!tags_.set(id, tag)) return 0;
  manager_->store(name_of(id), descriptor.get());
  held_.emplace(id, std::move(descriptor));
  return id;
}

bool Holdings::retag(std::uint64_t id, std::string_view tag) {
  return held_.contains(id) && tags_.set(id, tag);
}

bool Holdings::drop(std::uint64_t id) {
  auto found = held_.find(id);
  if (found == held_.end()) return false;
  tags_.erase(id);
  held_.erase(found);
  manager_->remove(name_of(id));
  return true;
}

std::uint64_t Holdings::next(std::uint64_t id) const {
  auto found = held_.lower_bound(id);
  return found == held_.end() ? 0 : found->first;
}

int Holdings::descriptor(std::uint64_t id) const {
  auto found = held_.find(id);
  return found == held_.end() ? -1 : found->second.get();
}

}  // namespace qmasq::keeper

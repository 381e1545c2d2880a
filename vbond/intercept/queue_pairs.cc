// SPDX-License-Identifier: Apache-2.0
#include "vbond/intercept/queue_pairs.h"

#include <algorithm>

namespace qmasq::vbond {
namespace {

constexpr std::size_t kMostExpected = 4096;

}  // namespace

void QueuePairs::add(std::uint32_t handle) {
  handles_.insert(handle);
  count();
}

void QueuePairs::remove(std::uint32_t handle) {
  handles_.erase(handle);
  count();
}

void QueuePairs::clear() {
  handles_.clear();
  count();
}

void QueuePairs::count() {
  const auto change = static_cast<int>(handles_.size()) - static_cast<int>(size());
  if (change == 0) return;
  size_.store(handles_.size(), std::memory_order_relaxed);
  metrics_.add_queue_pairs(change);
}

void QueuePairs::expect(uverbs::QpType type) {
  if (expected_.size() >= kMostExpected) expected_.erase(expected_.begin());
  expected_.push_back(type);
}

uverbs::QpType QueuePairs::take_expected() {
  if (expected_.empty() || !std::equal(expected_.begin() + 1, expected_.end(), expected_.begin()))
    return {};
  const uverbs::QpType type = expected_.back();
  expected_.pop_back();
  return type;
}

}  // namespace qmasq::vbond

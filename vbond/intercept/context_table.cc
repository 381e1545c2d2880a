// SPDX-License-Identifier: Apache-2.0
#include "vbond/intercept/context_table.h"

#include <algorithm>
#include <cerrno>
#include <utility>

namespace qmasq::vbond {
namespace {

// Tasks come and go; hints of dead ones are dropped all at once when there are too many.
constexpr std::size_t kMostHints = 4096;

std::uint64_t hint_key(pid_t tid, int fd) {
  return (static_cast<std::uint64_t>(static_cast<std::uint32_t>(tid)) << 32U) |
         static_cast<std::uint32_t>(fd);
}

}  // namespace

template <typename Compare>
ErrnoOr<std::shared_ptr<Context>> ContextTable::search(Compare compare) const {
  auto low = contexts_.begin();
  auto high = contexts_.end();
  while (low < high) {
    auto middle = low + (high - low) / 2;
    auto order = compare((*middle)->file->descriptor());
    if (!order) return tl::unexpected(order.error());
    if (*order == 0) return *middle;
    if (*order < 0) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return tl::unexpected(ENOENT);
}

bool ContextTable::add(std::shared_ptr<Context> context) {
  std::lock_guard lock(mutex_);
  if (closed_) return false;
  insert(std::move(context));
  return true;
}

ErrnoOr<std::shared_ptr<Context>> ContextTable::add_or_find(std::shared_ptr<Context> context) {
  std::lock_guard lock(mutex_);
  if (closed_) return tl::unexpected(ENODEV);
  const int own = context->file->descriptor();
  auto there = search([&](int each) { return tasks_.compare(each, own); });
  if (there || there.error() != ENOENT) return there;
  insert(context);
  return context;
}

void ContextTable::insert(std::shared_ptr<Context> context) {
  const int own = context->file->descriptor();
  auto at = std::partition_point(contexts_.begin(), contexts_.end(), [&](const auto& each) {
    return tasks_.compare(each->file->descriptor(), own).value_or(1) < 0;
  });
  contexts_.insert(at, std::move(context));
}

bool ContextTable::remove(const Context& context) {
  std::lock_guard lock(mutex_);
  auto at = std::find_if(contexts_.begin(), contexts_.end(),
                         [&](const auto& each) { return each.get() == &context; });
  if (at == contexts_.end()) return false;
  contexts_.erase(at);
  return true;
}

std::vector<std::shared_ptr<Context>> ContextTable::close() {
  std::lock_guard lock(mutex_);
  closed_ = true;
  hints_.clear();
  return std::exchange(contexts_, {});
}

ErrnoOr<std::shared_ptr<Context>> ContextTable::find(pid_t tid, int fd) {
  if (fd < 0) return tl::unexpected(EBADF);
  const std::uint64_t key = hint_key(tid, fd);
  std::lock_guard lock(mutex_);
  if (auto hint = hints_.find(key); hint != hints_.end()) {
    // A closed context may still be in use by another thread; it is not in the table then.
    //
    // The comparison is made each time, although it is a fifth of what a connect costs the agent. A
    // tenant could gain nothing by an old hint: it leads to a context of its own attachment. But
    // an honest program could lose: dup2(), or close() and a descriptor that comes through a
    // socket, put another context at the number without the agent's seeing it, and the verb would
    // go to the wrong one. And it spares asking whether the task is alive (Trap::prove).
    if (auto context = hint->second.lock()) {
      auto order = tasks_.compare(context->file->descriptor(), tid, fd);
      if (!order) return tl::unexpected(order.error());
      if (*order == 0) return context;
    }
    hints_.erase(hint);
  }
  auto found = search([&](int own) { return tasks_.compare(own, tid, fd); });
  if (found) {
    if (hints_.size() >= kMostHints) hints_.clear();
    hints_[key] = *found;
  }
  return found;
}

bool ContextTable::has_file(int own) {
  std::lock_guard lock(mutex_);
  return search([&](int mine) { return tasks_.compare(mine, own); }).has_value();
}

std::vector<std::shared_ptr<Context>> ContextTable::all() const {
  std::lock_guard lock(mutex_);
  return contexts_;
}

std::size_t ContextTable::size() const {
  std::lock_guard lock(mutex_);
  return contexts_.size();
}

}  // namespace qmasq::vbond

// SPDX-License-Identifier: Apache-2.0
#include "vbond/intercept/holder_watch.h"

#include <algorithm>
#include <utility>

#include "vbond/intercept/attachment.h"
#include "vbond/intercept/services.h"

namespace qmasq::vbond {
namespace {

constexpr unsigned kMissesForAbandoned = 2;
constexpr int kRestFactor = 10;

}  // namespace

HolderWatch::Contexts HolderWatch::suspects(const Contexts& contexts) {
  Contexts out;
  for (const auto& context : contexts) {
    std::lock_guard lock(context->holder_mutex);
    if (!context->handed_over) continue;
    auto order = services_.parts.tasks.compare(context->file->descriptor(), context->holder.pid,
                                               context->holder.fd);
    if (order && *order == 0) {
      context->misses = 0;
    } else {
      out.push_back(context);
    }
  }
  return out;
}

HolderWatch::Contexts HolderWatch::search(const Contexts& suspects, unsigned limit) {
  const Clock& clock = services_.parts.clock;
  std::vector<int> files;
  files.reserve(suspects.size());
  for (const auto& context : suspects)
    files.push_back(context->file->descriptor());
  auto start = clock.now();
  auto holders = services_.parts.tasks.find_holders(files);
  auto took = clock.now() - start;
  services_.metrics.count_scan(took);

  Contexts out;
  for (std::size_t i = 0; i < suspects.size(); ++i) {
    Context& context = *suspects[i];
    std::lock_guard lock(context.holder_mutex);
    if (i < holders.size() && holders[i]) {
      context.holder = *holders[i];
      context.misses = 0;
    } else if (++context.misses >= limit) {
      out.push_back(suspects[i]);
    }
  }
  return out;
}

void HolderWatch::round(const std::vector<std::shared_ptr<Attachment>>& attachments) {
  Contexts all;
  std::vector<std::size_t> owner;
  for (std::size_t i = 0; i < attachments.size(); ++i) {
    for (auto& context : suspects(attachments[i]->contexts().all())) {
      all.push_back(std::move(context));
      owner.push_back(i);
    }
  }
  if (all.empty()) return;
  std::lock_guard lock(mutex_);
  const auto start = services_.parts.clock.now();
  if (start < next_search_) return;
  const Contexts gone = search(all, kMissesForAbandoned);
  const auto end = services_.parts.clock.now();
  next_search_ = end + (end - start) * kRestFactor;
  for (const auto& context : gone) {
    auto at = static_cast<std::size_t>(std::find(all.begin(), all.end(), context) - all.begin());
    Attachment& attachment = *attachments[owner[at]];
    if (attachment.contexts().remove(*context)) attachment.bury({context}, /*abandoned=*/true);
  }
}

bool HolderWatch::collect(Attachment& attachment) {
  Contexts gone = suspects(attachment.contexts().all());
  if (gone.empty()) return false;
  std::lock_guard lock(mutex_);
  for (unsigned i = 0; i < kMissesForAbandoned && !gone.empty(); ++i)
    gone = search(gone, 1);
  bool any = false;
  for (const auto& context : gone) {
    if (!attachment.contexts().remove(*context)) continue;
    attachment.bury({context}, /*abandoned=*/true);
    any = true;
  }
  return any;
}

}  // namespace qmasq::vbond

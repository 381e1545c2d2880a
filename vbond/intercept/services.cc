// SPDX-License-Identifier: Apache-2.0
#include "vbond/intercept/services.h"

#include "vbond/intercept/attachment.h"
#include "vbond/survival/ledger.h"

namespace qmasq::vbond {

bool StateGate::wait(const Attachment& attachment) {
  if (!attachment.restored || open_.load(std::memory_order_acquire)) return true;
  // Looks up now and then, as nobody tells it that the attachment ends.
  constexpr std::chrono::milliseconds kLook{50};
  std::unique_lock lock(mutex_);
  while (!open_.load(std::memory_order_relaxed)) {
    if (attachment.stopping() || std::chrono::steady_clock::now() >= until_) return false;
    opened_.wait_for(lock, kLook);
  }
  return true;
}

void StateGate::open() {
  {
    std::lock_guard lock(mutex_);
    open_.store(true, std::memory_order_release);
  }
  opened_.notify_all();
}

std::uint64_t Services::context_number() {
  if (Ledger* kept = ledger()) return kept->next_context();
  return next_context.fetch_add(1, std::memory_order_relaxed);
}

}  // namespace qmasq::vbond

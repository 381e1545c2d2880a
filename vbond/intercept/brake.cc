// SPDX-License-Identifier: Apache-2.0
#include "vbond/intercept/brake.h"

namespace qmasq::vbond {

std::chrono::milliseconds Brake::refused(Time now) {
  std::lock_guard lock(mutex_);
  const bool again = last_ && now - *last_ < kPause;
  last_ = now;
  return again ? kDelay : std::chrono::milliseconds(0);
}

void Brake::wait(std::chrono::milliseconds time) {
  if (time.count() == 0) return;
  std::unique_lock lock(mutex_);
  released_cv_.wait_for(lock, time, [&] { return released_; });
}

void Brake::release() {
  {
    std::lock_guard lock(mutex_);
    released_ = true;
  }
  released_cv_.notify_all();
}

}  // namespace qmasq::vbond

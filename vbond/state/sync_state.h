// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <mutex>
#include <string>
#include <utility>

#include "common/net_types.h"

namespace qmasq::vbond {

struct SyncStatus {
  // The stream to the controller stands: it answered our Hello.
  bool connected = false;
  // All state was here at least once since the agent started. Stays true while the controller is
  // away: what is held goes on being used.
  bool in_sync = false;
  Revision held;
  // Newest revision the controller spoke of; above `held` while a batch is on its way or rejected.
  Revision newest;
  // Of the last stream that ended badly or the last batch rejected; empty once in sync again.
  std::string last_error;
};

// Where the agent stands with the controller. Written by sync, read by every part; thread-safe.
// in_sync() is one atomic load, for the path of each verb.
class SyncState {
 public:
  [[nodiscard]] bool in_sync() const { return in_sync_.load(std::memory_order_acquire); }

  [[nodiscard]] SyncStatus status() const {
    std::lock_guard lock(mutex_);
    SyncStatus out = status_;
    out.in_sync = in_sync();
    return out;
  }

  void set_connected(bool connected) {
    std::lock_guard lock(mutex_);
    status_.connected = connected;
  }
  void set_newest(Revision newest) {
    std::lock_guard lock(mutex_);
    status_.newest = newest;
  }
  void set_held(Revision held) {
    std::lock_guard lock(mutex_);
    status_.held = held;
    if (status_.newest < held) status_.newest = held;
  }
  void set_error(std::string error) {
    std::lock_guard lock(mutex_);
    status_.last_error = std::move(error);
  }
  // Everything up to `held` is applied.
  void mark_in_sync(Revision held) {
    {
      std::lock_guard lock(mutex_);
      status_.held = held;
      status_.newest = held;
      status_.last_error.clear();
    }
    in_sync_.store(true, std::memory_order_release);
  }

 private:
  std::atomic<bool> in_sync_ = false;
  mutable std::mutex mutex_;
  SyncStatus status_;  // its in_sync is not used: in_sync_ is
};

}  // namespace qmasq::vbond

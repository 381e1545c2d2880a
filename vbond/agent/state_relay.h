// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <utility>
#include <vector>

#include "vbond/state/change.h"
#include "vbond/sync/session.h"

namespace qmasq::vbond {

// Hands the controller's state to the parts of the agent: all of them check a change before the
// first applies it. On sync's thread.
class StateRelay final : public Follower {
 public:
  struct Hooks {
    std::function<void(HostUid)> welcomed;
    std::function<void()> in_sync;
  };
  // Called in this order. Nothing is owned.
  StateRelay(std::vector<ChangeObserver*> observers, Hooks hooks)
      : observers_(std::move(observers)), hooks_(std::move(hooks)) {}

  void welcomed(HostUid host) override { hooks_.welcomed(host); }
  Status check(const Change& change) override {
    for (ChangeObserver* observer : observers_)
      QMASQ_TRY(observer->check(change));
    return {};
  }
  void apply(const Change& change) override {
    for (ChangeObserver* observer : observers_)
      observer->apply(change);
  }
  void in_sync() override { hooks_.in_sync(); }

 private:
  const std::vector<ChangeObserver*> observers_;
  const Hooks hooks_;
};

}  // namespace qmasq::vbond

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <mutex>
#include <vector>

#include "vbond/guard/guard.h"

namespace qmasq::test {

// The guard in memory; the test plays the kernel: begin() and land() what was permitted, condemn().
class FakeGuard final : public vbond::Guard {
 public:
  struct Entry {
    std::uint64_t context = 0;
    State state;
    Call call;
    unsigned permits = 0;
    unsigned withdrawals = 0;
    bool released = false;
  };

  Entry entry(Slot slot) const {
    std::lock_guard lock(mutex_);
    return entries_.at(slot);
  }
  // The only one there is.
  Slot only() const {
    std::lock_guard lock(mutex_);
    return entries_.size() == 1 ? entries_.begin()->first : 0;
  }
  // Whether the kernel begins a verb call of this task with this argument of ioctl().
  bool admits(Slot slot, pid_t tid, std::uint64_t argument) const {
    std::lock_guard lock(mutex_);
    const Entry& entry = entries_.at(slot);
    return !entry.state.condemned && entry.state.flight == Flight::kPermitted &&
           entry.call.tid == tid && entry.call.argument == argument;
  }
  void begin(Slot slot) { set(slot, Flight::kRunning); }
  void land(Slot slot) { set(slot, Flight::kNone); }
  void condemn(Slot slot) {
    std::lock_guard lock(mutex_);
    entries_.at(slot).state.condemned = true;
  }
  void refuse_next(int err) {
    std::lock_guard lock(mutex_);
    refusal_ = err;
  }
  std::vector<dev_t> devices() const {
    std::lock_guard lock(mutex_);
    return devices_;
  }

  std::string describe() const override { return "on"; }
  Status ready() override { return {}; }
  vbond::ErrnoOr<Slot> manage(int /*descriptor*/, std::uint64_t context) override {
    std::lock_guard lock(mutex_);
    if (refusal_ != 0) return tl::unexpected(std::exchange(refusal_, 0));
    entries_[++last_].context = context;
    return last_;
  }
  Status open_by_tenants(dev_t device) override {
    std::lock_guard lock(mutex_);
    devices_.push_back(device);
    return {};
  }
  State state(Slot slot) const override {
    std::lock_guard lock(mutex_);
    auto at = entries_.find(slot);
    return at == entries_.end() ? State{} : at->second.state;
  }
  void permit(Slot slot, const Call& call) override {
    std::lock_guard lock(mutex_);
    Entry& entry = entries_.at(slot);
    entry.call = call;
    entry.state.flight = Flight::kPermitted;
    entry.state.tid = call.tid;
    ++entry.permits;
  }
  bool withdraw(Slot slot) override {
    std::lock_guard lock(mutex_);
    Entry& entry = entries_.at(slot);
    if (entry.state.flight != Flight::kPermitted) return false;
    entry.state.flight = Flight::kNone;
    ++entry.withdrawals;
    return true;
  }
  void release(Slot slot) override {
    std::lock_guard lock(mutex_);
    entries_.at(slot).released = true;
  }
  void listen(Listener /*listener*/) override {}
  void stop() override {}

 private:
  void set(Slot slot, Flight flight) {
    std::lock_guard lock(mutex_);
    entries_.at(slot).state.flight = flight;
  }

  mutable std::mutex mutex_;  // guards all below
  std::map<Slot, Entry> entries_;
  std::vector<dev_t> devices_;
  Slot last_ = 0;
  int refusal_ = 0;
};

}  // namespace qmasq::test

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>
#include <map>

#include "common/clock.h"
#include "vbond/netlink/loop.h"

namespace qmasq::test {

class ManualClock final : public Clock {
 public:
  [[nodiscard]] std::chrono::steady_clock::time_point now() const override { return now_; }
  [[nodiscard]] std::chrono::system_clock::time_point wall() const override {
    return std::chrono::system_clock::time_point{} + now_.time_since_epoch();
  }
  void advance(std::chrono::milliseconds by) { now_ += by; }

 private:
  std::chrono::steady_clock::time_point now_{std::chrono::hours(1)};
};

// A Loop for one thread: what is posted runs in run(). A binder that waits for the loop cannot be
// used with it unless another thread waits; set inline_posts for that: post() runs at once.
class ManualLoop final : public vbond::netlink::Loop {
 public:
  explicit ManualLoop(ManualClock& clock) : clock_(clock) {}
  void post(Task task) override;
  void post_at(std::chrono::steady_clock::time_point when, Task task) override;
  [[nodiscard]] Status watch(int fd, Task task) override;
  void unwatch(int fd) override;

  // Until nothing is due and no watched descriptor is readable.
  void run();
  // Turns the clock in steps, running what comes due on the way.
  void pass_time(std::chrono::milliseconds by);
  bool inline_posts = false;

 private:
  bool step();
  ManualClock& clock_;
  std::deque<Task> tasks_;
  std::multimap<std::chrono::steady_clock::time_point, Task> later_;
  std::map<int, Task> watched_;
};

}  // namespace qmasq::test

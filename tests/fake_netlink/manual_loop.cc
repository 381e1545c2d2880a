// SPDX-License-Identifier: Apache-2.0
#include "tests/fake_netlink/manual_loop.h"

#include <poll.h>

#include <utility>

namespace qmasq::test {

void ManualLoop::post(Task task) {
  if (inline_posts) {
    task();
  } else {
    tasks_.push_back(std::move(task));
  }
}

void ManualLoop::post_at(std::chrono::steady_clock::time_point when, Task task) {
  later_.emplace(when, std::move(task));
}

Status ManualLoop::watch(int fd, Task task) {
  watched_[fd] = std::move(task);
  return {};
}

void ManualLoop::unwatch(int fd) {
  watched_.erase(fd);
}

bool ManualLoop::step() {
  if (!tasks_.empty()) {
    Task task = std::move(tasks_.front());
    tasks_.pop_front();
    task();
    return true;
  }
  if (!later_.empty() && later_.begin()->first <= clock_.now()) {
    Task task = std::move(later_.begin()->second);
    later_.erase(later_.begin());
    task();
    return true;
  }
  for (const auto& [fd, task] : watched_) {
    pollfd ready{fd, POLLIN, 0};
    if (::poll(&ready, 1, 0) == 1) {
      Task copy = task;
      copy();
      return true;
    }
  }
  return false;
}

void ManualLoop::run() {
  while (step()) {
  }
}

void ManualLoop::pass_time(std::chrono::milliseconds by) {
  auto end = clock_.now() + by;
  run();
  while (!later_.empty() && later_.begin()->first <= end) {
    auto gap = later_.begin()->first - clock_.now();
    if (gap.count() > 0) {
      clock_.advance(std::chrono::ceil<std::chrono::milliseconds>(gap));
    }
    run();
  }
  if (clock_.now() < end) {
    clock_.advance(std::chrono::ceil<std::chrono::milliseconds>(end - clock_.now()));
  }
  run();
}

}  // namespace qmasq::test

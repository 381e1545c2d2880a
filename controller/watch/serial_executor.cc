// SPDX-License-Identifier: Apache-2.0
#include "controller/watch/serial_executor.h"

#include <utility>

namespace qmasq::controller {

SerialExecutor::SerialExecutor(std::function<void()> tick, std::chrono::milliseconds interval)
    : tick_(std::move(tick)), interval_(interval), thread_([this] { run(); }) {}

SerialExecutor::~SerialExecutor() {
  stop();
}

void SerialExecutor::post(std::function<void()> work) {
  {
    std::lock_guard lock(mutex_);
    if (stopping_) return;
    queue_.push_back(std::move(work));
  }
  work_.notify_one();
}

void SerialExecutor::wait_for_room(std::size_t most) {
  std::unique_lock lock(mutex_);
  room_.wait(lock, [&] { return stopping_ || queue_.size() <= most; });
}

void SerialExecutor::stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  work_.notify_one();
  room_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void SerialExecutor::run() {
  auto next_tick = std::chrono::steady_clock::now() + interval_;
  std::vector<std::function<void()>> batch;
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      work_.wait_until(lock, next_tick, [&] { return stopping_ || !queue_.empty(); });
      if (stopping_ && queue_.empty()) return;
      std::swap(batch, queue_);
    }
    room_.notify_all();
    for (auto& work : batch)
      work();
    batch.clear();
    if (auto now = std::chrono::steady_clock::now(); now >= next_tick) {
      tick_();
      next_tick = now + interval_;
    }
  }
}

}  // namespace qmasq::controller

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <functional>
#include <memory>

#include "common/clock.h"
#include "common/result.h"

// The one thread on which the agent configures and follows the network.
namespace qmasq::vbond::netlink {

// Runs tasks one after another. Overlay and Binder keep their state on it, without locks.
class Loop {
 public:
  using Task = std::function<void()>;
  virtual ~Loop() = default;
  // Any thread. Tasks run in the order of posting. After stop: dropped (and destroyed).
  virtual void post(Task task) = 0;
  // Any thread. Runs once, not before `when` of the injected clock.
  virtual void post_at(std::chrono::steady_clock::time_point when, Task task) = 0;
  // Loop's thread only. `task` runs whenever `fd` is readable, until unwatch(fd); the caller
  // unwatches before it closes the descriptor.
  [[nodiscard]] virtual Status watch(int fd, Task task) = 0;
  virtual void unwatch(int fd) = 0;
};

// A Loop with a thread of its own (epoll). Its clock must be the system's: it sleeps in the kernel.
class LoopThread final : public Loop {
 public:
  // Starts the thread.
  [[nodiscard]] static Result<std::unique_ptr<LoopThread>> start();
  ~LoopThread() override;  // stops
  LoopThread(const LoopThread&) = delete;
  LoopThread& operator=(const LoopThread&) = delete;

  void post(Task task) override;
  void post_at(std::chrono::steady_clock::time_point when, Task task) override;
  [[nodiscard]] Status watch(int fd, Task task) override;
  void unwatch(int fd) override;
  // Ends the thread after the task that runs now; what waits is dropped. Call it before what the
  // tasks use is destroyed. Idempotent; not from the loop's thread.
  void stop();

 private:
  struct Impl;
  explicit LoopThread(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace qmasq::vbond::netlink

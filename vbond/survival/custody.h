// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "common/result.h"
#include "vbond/keeper/keeper.h"
#include "vbond/survival/tags.h"

namespace qmasq::vbond {

// What of the agent's descriptors is to outlive it, and where that stands with the keeper.
//
// A keeper that is lost takes nothing from the agent: it goes on with its own descriptors, looks
// for the keeper every `retry`, and gives it everything again when there is one. What it made
// meanwhile would not survive it. Thread-safe; put() and drop() take a round trip to the keeper.
class Custody {
 public:
  struct Options {
    std::function<Result<std::unique_ptr<Keeper>>()> connect;
    std::chrono::milliseconds retry{1000};
    // Called on a change of state(), from any thread that found out.
    std::function<void(const std::string& state)> changed = [](const std::string&) {};
    // Called with each new keeper's.
    std::function<void(pid_t keeper)> found = [](pid_t) {};
  };
  // A descriptor in custody. `descriptor` stays the caller's and open until drop().
  class Kept {
   public:
    Kept(std::string tag, int descriptor) : tag_(std::move(tag)), descriptor_(descriptor) {}

   private:
    friend class Custody;
    const std::string tag_;
    const int descriptor_;
    Keeper::Id id_ = 0;  // 0: not held now
  };
  using Ticket = std::shared_ptr<Kept>;

  Custody(std::unique_ptr<Keeper> keeper, Options options);
  // Ends the session. What is held stays held.
  ~Custody();
  Custody(const Custody&) = delete;
  Custody& operator=(const Custody&) = delete;

  // From the return on it outlives the agent, unless the keeper is lost or full, which is said in
  // state() and the log.
  [[nodiscard]] Ticket put(const Tag& tag, int descriptor);
  // Of what the keeper holds since before this agent.
  [[nodiscard]] Ticket adopt(Keeper::Id id, const Tag& tag, int descriptor);
  void drop(const Ticket& ticket);
  // Held since before this agent, and of no use.
  void drop(Keeper::Id id);

  // Of the keeper; 0: there is none, or it is not to be seen.
  [[nodiscard]] pid_t keeper() const;
  // "on", "full: ..." or "lost: ...".
  [[nodiscard]] std::string state() const;
  // In custody, and of these what the keeper does have.
  struct Count {
    std::size_t all = 0;
    std::size_t held = 0;
  };
  [[nodiscard]] Count count() const;

 private:
  // REQUIRES of these: mutex_ held.
  void give(Kept& kept);
  void lose(const Error& error);
  void look();
  void set_state(std::string state);
  void watch_loop();

  const Options options_;
  mutable std::mutex mutex_;  // guards all below
  std::condition_variable wake_;
  std::unique_ptr<Keeper> keeper_;  // null: lost
  std::list<Ticket> kept_;
  std::string state_ = "on";
  bool stopping_ = false;
  std::thread watcher_;
};

}  // namespace qmasq::vbond

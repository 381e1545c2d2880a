// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <pthread.h>
#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "common/net_types.h"
#include "vbond/admission/admission_control.h"
#include "vbond/intercept/brake.h"
#include "vbond/intercept/context_table.h"
#include "vbond/intercept/flights.h"
#include "vbond/kernel/notification_port.h"
#include "vbond/survival/custody.h"

namespace qmasq::vbond {

struct CallSlot;
class SealedCalls;
struct Services;

// One listener: a program that attached, and all it forks or execs.
//
// Threads. Each attachment has receivers of its own: threads that block in the kernel for a trapped
// call, serve it from beginning to end, and answer. Between attachments the scheduler shares the
// CPUs, as it does between any threads; so a tenant that floods, or whose memory does not come
// (userfaultfd), or whose verb keeps the NIC busy, costs others no more than a busy process would,
// and no queue of ours sits between a call and its answer. Handing a call from one thread to
// another would cost about as much as the whole trap.
//
// It starts with one receiver, the cheapest for a program that makes one call after the other
// (with SYNC_WAKE_UP the answer needs no second CPU). The steward calls tend() every `stall`
// while there is traffic, and adds a receiver, up to max_receivers, when none is free:
// all serve a call that takes longer than `stall`, or calls queue up round after round. Receivers
// that are not needed any more end by themselves. A tenant that stalls all of its receivers has
// stalled itself.
//
// Contexts are closed in a thread of the attachment too: closing a file with thousands of QPs takes
// as long as the NIC wants.
class Attachment {
 public:
  // `slot`: where the call is noted for who comes after this agent; null: nowhere.
  using Handler = std::function<void(Attachment&, const Notification&, CallSlot* slot)>;
  // The program.
  struct Identity {
    EndpointUid endpoint;
    std::string endpoint_name;
    pid_t pid = 0;
    std::string command;
    std::uint64_t number = 0;  // of its listener, never given twice; 0: it does not survive
    Custody::Ticket custody;   // of its listener
    bool restored = false;     // it attached to an agent before this one
  };

  Attachment(Services& services, std::unique_ptr<NotificationPort> port, Identity identity,
             Handler handler, std::function<void()> wake_steward);
  // Waits for all threads of the attachment.
  ~Attachment();
  Attachment(const Attachment&) = delete;
  Attachment& operator=(const Attachment&) = delete;

  const EndpointUid endpoint;
  const std::string endpoint_name;
  const pid_t pid;
  const std::string command;
  // With pid, the program itself; nothing: it was gone already.
  const std::optional<std::uint64_t> started;
  const std::uint64_t number;
  const Custody::Ticket custody;
  const bool restored;
  const std::shared_ptr<Tenancy> tenancy;
  Flights flights;
  Brake brake;
  // Null: what runs in its tenant reads the tenant's own memory. Before start().
  std::unique_ptr<SealedCalls> sealed;

  [[nodiscard]] NotificationPort& port() { return *port_; }
  [[nodiscard]] ContextTable& contexts() { return contexts_; }
  [[nodiscard]] const ContextTable& contexts() const { return contexts_; }

  // The endpoint is gone: verbs and opens fail with ENODEV, all else goes on.
  void revoke() {
    revoked_.store(true, std::memory_order_release);
    brake.release();
  }
  // Its program broke out: whoever of it makes a trapped call dies.
  void condemn() {
    condemned_.store(true, std::memory_order_release);
    revoke();
  }
  [[nodiscard]] bool condemned() const { return condemned_.load(std::memory_order_acquire); }
  [[nodiscard]] bool revoked() const { return revoked_.load(std::memory_order_acquire); }

  // Starts the first receiver, and one for each call that an agent before this one has received and
  // not answered.
  void start(const std::vector<CallSlot*>& left = {});
  // Receivers end as soon as they can: kick() until finished().
  void stop();
  [[nodiscard]] bool stopping() const { return stopping_.load(std::memory_order_acquire); }
  void kick();
  // Joins what has ended. True when no thread is left.
  [[nodiscard]] bool finished();

  // Steward's: true when there was traffic since the last time.
  [[nodiscard]] bool tend(std::chrono::steady_clock::time_point now);
  // Steward's: no call has come since tend().
  [[nodiscard]] bool quiet() const;
  [[nodiscard]] std::size_t receivers() const;

  // Closes contexts that are out of the table, in the attachment's closing thread.
  void bury(std::vector<std::shared_ptr<Context>> contexts, bool abandoned);
  // Until there is nothing left to bury.
  void wait_buried();

 private:
  struct Receiver {
    std::thread thread;
    std::atomic<std::int64_t> busy_since{0};  // steady clock, ns; 0: waiting for a call
    std::atomic<bool> done{false};
    CallSlot* slot = nullptr;
  };
  struct Burial {
    std::shared_ptr<Context> context;
    bool abandoned = false;
  };

  // `left`: with a call in it. Null: the receiver takes a slot if there is one.
  void add_receiver(CallSlot* left = nullptr);
  void serve(Receiver& self, const Notification& call);
  void receive_loop(Receiver& self);
  void bury_loop();
  [[nodiscard]] bool surplus();

  Services& services_;
  const std::unique_ptr<NotificationPort> port_;
  const Handler handler_;
  const std::function<void()> wake_steward_;
  ContextTable contexts_;
  std::atomic<bool> revoked_{false};
  std::atomic<bool> condemned_{false};
  std::atomic<bool> stopping_{false};
  std::atomic<std::uint64_t> calls_{0};
  std::atomic<int> to_leave_{0};  // receivers that should end

  mutable std::mutex mutex_;  // guards receivers_
  std::list<std::unique_ptr<Receiver>> receivers_;

  // Steward's.
  std::uint64_t calls_seen_ = 0;
  unsigned backlog_rounds_ = 0;
  unsigned calm_rounds_ = 0;

  std::mutex bury_mutex_;  // guards all below
  std::condition_variable buried_;
  std::vector<Burial> burials_;
  bool burying_ = false;
  std::thread closer_;
};

}  // namespace qmasq::vbond

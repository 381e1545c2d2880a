// SPDX-License-Identifier: Apache-2.0
#include "vbond/intercept/attachment.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "vbond/intercept/sealed_calls.h"
#include "vbond/intercept/services.h"
#include "vbond/survival/ledger.h"

namespace qmasq::vbond {
namespace {

// Rounds of the steward with calls waiting before there is another receiver, and without any
// before a second one goes.
constexpr unsigned kBacklogRounds = 2;
constexpr unsigned kCalmRounds = 500;

std::int64_t nanoseconds(std::chrono::steady_clock::time_point time) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()).count();
}

std::optional<std::uint64_t> start_of(TaskInspector& tasks, pid_t pid) {
  auto started = tasks.started(pid);
  if (!started) return std::nullopt;
  return *started;
}

}  // namespace

Attachment::Attachment(Services& services, std::unique_ptr<NotificationPort> port,
                       Identity identity, Handler handler, std::function<void()> wake_steward)
    : endpoint(identity.endpoint),
      endpoint_name(std::move(identity.endpoint_name)),
      pid(identity.pid),
      command(std::move(identity.command)),
      started(start_of(services.parts.tasks, pid)),
      number(identity.number),
      custody(std::move(identity.custody)),
      restored(identity.restored),
      tenancy(services.parts.admission.tenancy(endpoint, endpoint_name)),
      services_(services),
      port_(std::move(port)),
      handler_(std::move(handler)),
      wake_steward_(std::move(wake_steward)),
      contexts_(services.parts.tasks) {}

Attachment::~Attachment() {
  stop();
  while (!finished()) {
    kick();
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

void Attachment::start(const std::vector<CallSlot*>& left) {
  for (CallSlot* slot : left)
    add_receiver(slot);
  add_receiver();
}

void Attachment::add_receiver(CallSlot* left) {
  std::lock_guard lock(mutex_);
  if (stopping()) return;
  auto& receiver = *receivers_.emplace_back(std::make_unique<Receiver>());
  Ledger* ledger = number != 0 ? services_.ledger() : nullptr;
  receiver.slot = left != nullptr || ledger == nullptr ? left : ledger->claim(number);
  receiver.thread = std::thread([this, &receiver, left] {
    port_->enter();
    if (left != nullptr) {
      // Before anything is read of it: a task that was answered goes on, and has the arguments of
      // its next call where this one's were. One that waits does so until this thread answers it.
      if (auto call = left->notification.read(); call && port_->alive(call->id))
        serve(receiver, *call);
    }
    receive_loop(receiver);
    // A call that was not answered because the agent stops is the next one's.
    if (receiver.slot != nullptr && (!stopping() || port_->hung_up()))
      services_.ledger()->release(receiver.slot);
    services_.metrics.add_receivers(-1);
    receiver.done.store(true, std::memory_order_release);
  });
  services_.metrics.add_receivers(1);
}

void Attachment::receive_loop(Receiver& self) {
  NotificationSpace own;
  NotificationSpace& space = self.slot != nullptr ? self.slot->notification : own;
  while (!stopping()) {
    if (self.slot != nullptr) {
      // In this order: a call that is not cleared yet must not look like one just received.
      space.clear();
      self.slot->stage.store(CallStage::kReceived, std::memory_order_release);
    }
    auto call = port_->receive(space);
    if (!call) {
      if (call.error() == EINTR) {
        if (surplus()) return;
        continue;
      }
      if (call.error() == ENOENT) {
        if (port_->hung_up()) return;
        continue;
      }
      spdlog::error("endpoint={} pid={}: receiving from the listener fails with errno {}",
                    endpoint_name, pid, call.error());
      return;
    }
    if (self.slot != nullptr) services_.ledger()->pass(Ledger::Point::kReceived);
    serve(self, *call);
    if (surplus()) return;
  }
}

void Attachment::serve(Receiver& self, const Notification& call) {
  self.busy_since.store(nanoseconds(services_.parts.clock.now()), std::memory_order_relaxed);
  calls_.fetch_add(1, std::memory_order_seq_cst);  // before the look in wake_steward_
  wake_steward_();
  handler_(*this, call, self.slot);
  self.busy_since.store(0, std::memory_order_relaxed);
}

bool Attachment::surplus() {
  int left = to_leave_.load(std::memory_order_relaxed);
  while (left > 0) {
    if (to_leave_.compare_exchange_weak(left, left - 1, std::memory_order_relaxed)) return true;
  }
  return false;
}

void Attachment::stop() {
  stopping_.store(true, std::memory_order_release);
  brake.release();
}

void Attachment::kick() {
  std::lock_guard lock(mutex_);
  for (const auto& receiver : receivers_) {
    if (!receiver->done.load(std::memory_order_acquire)) {
      port_->kick(receiver->thread.native_handle());
    }
  }
}

bool Attachment::finished() {
  {
    std::lock_guard lock(mutex_);
    for (auto it = receivers_.begin(); it != receivers_.end();) {
      if ((*it)->done.load(std::memory_order_acquire)) {
        (*it)->thread.join();
        it = receivers_.erase(it);
      } else {
        ++it;
      }
    }
    if (!receivers_.empty()) return false;
  }
  std::lock_guard lock(bury_mutex_);
  if (burying_) return false;
  if (closer_.joinable()) closer_.join();
  return true;
}

bool Attachment::tend(std::chrono::steady_clock::time_point now) {
  const std::int64_t stalled_before =
      nanoseconds(now) - std::chrono::nanoseconds(services_.options.stall).count();
  std::size_t all = 0;
  std::size_t busy = 0;
  std::size_t stalled = 0;
  {
    std::lock_guard lock(mutex_);
    for (auto it = receivers_.begin(); it != receivers_.end();) {
      Receiver& receiver = **it;
      if (receiver.done.load(std::memory_order_acquire)) {
        receiver.thread.join();
        it = receivers_.erase(it);
        continue;
      }
      std::int64_t since = receiver.busy_since.load(std::memory_order_relaxed);
      ++all;
      if (since != 0) ++busy;
      if (since != 0 && since < stalled_before) ++stalled;
      ++it;
    }
  }
  const std::uint64_t calls = calls_.load(std::memory_order_relaxed);
  const bool traffic = calls != calls_seen_ || busy > 0;
  calls_seen_ = calls;
  if (stopping()) return traffic;

  const int leaving = std::max(0, to_leave_.load(std::memory_order_relaxed));
  const std::size_t free = all > stalled ? all - stalled : 0;
  const bool backlog = busy == all && port_->pending();
  backlog_rounds_ = backlog ? backlog_rounds_ + 1 : 0;
  calm_rounds_ = backlog || stalled > 0 ? 0 : calm_rounds_ + 1;
  const bool wanted = free == 0 || backlog_rounds_ >= kBacklogRounds;
  if (wanted && all < services_.options.max_receivers) {
    backlog_rounds_ = 0;
    if (leaving > 0) {
      to_leave_.store(0, std::memory_order_relaxed);
    } else {
      add_receiver();
    }
  } else if (free > 1 && leaving == 0 && calm_rounds_ >= kCalmRounds) {
    calm_rounds_ = 0;
    to_leave_.store(1, std::memory_order_relaxed);
  }
  return traffic || all > 1;
}

bool Attachment::quiet() const {
  return calls_.load(std::memory_order_seq_cst) == calls_seen_;
}

std::size_t Attachment::receivers() const {
  std::lock_guard lock(mutex_);
  return receivers_.size();
}

void Attachment::bury(std::vector<std::shared_ptr<Context>> contexts, bool abandoned) {
  if (contexts.empty()) return;
  std::lock_guard lock(bury_mutex_);
  for (auto& context : contexts)
    burials_.push_back({std::move(context), abandoned});
  if (burying_) return;
  if (closer_.joinable()) closer_.join();  // it has said that it is done
  burying_ = true;
  closer_ = std::thread([this] { bury_loop(); });
}

void Attachment::bury_loop() {
  for (;;) {
    std::vector<Burial> work;
    {
      std::lock_guard lock(bury_mutex_);
      work.swap(burials_);
      if (work.empty()) {
        burying_ = false;
        buried_.notify_all();
        return;
      }
    }
    for (Burial& burial : work) {
      close_context(services_, *burial.context, endpoint_name, burial.abandoned);
      burial.context.reset();
    }
  }
}

void Attachment::wait_buried() {
  std::unique_lock lock(bury_mutex_);
  buried_.wait(lock, [&] { return !burying_; });
}

}  // namespace qmasq::vbond

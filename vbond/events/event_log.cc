// SPDX-License-Identifier: Apache-2.0
#include "vbond/events/event_log.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

namespace qmasq::vbond {

const char* to_string(EventType type) {
  switch (type) {
    case EventType::kAttached:
      return "attached";
    case EventType::kDetached:
      return "detached";
    case EventType::kContextOpened:
      return "context-opened";
    case EventType::kContextClosed:
      return "context-closed";
    case EventType::kConnected:
      return "connected";
    case EventType::kRefused:
      return "refused";
    case EventType::kDisconnected:
      return "disconnected";
    case EventType::kAdmitted:
      return "admitted";
    case EventType::kCut:
      return "cut";
    case EventType::kNarrowed:
      return "narrowed";
    case EventType::kShadowHit:
      return "shadow-hit";
    case EventType::kEndpointBound:
      return "endpoint-bound";
    case EventType::kEndpointUnbound:
      return "endpoint-unbound";
    case EventType::kNicLost:
      return "nic-lost";
    case EventType::kNicFound:
      return "nic-found";
    case EventType::kSync:
      return "sync";
    case EventType::kOverQuota:
      return "over-quota";
    case EventType::kOverRate:
      return "over-rate";
    case EventType::kLimitUnenforced:
      return "limit-unenforced";
    case EventType::kLimitEnforced:
      return "limit-enforced";
    case EventType::kGuardViolation:
      return "guard-violation";
    case EventType::kRestored:
      return "restored";
    case EventType::kKeeper:
      return "keeper";
  }
  return "unknown";
}

namespace {

void prefetch(const EventSource* event) {
  constexpr int kBytes = 256;
  constexpr int kLine = 64;
  if (event == nullptr) return;
  for (int at = 0; at < kBytes; at += kLine)
    __builtin_prefetch(reinterpret_cast<const char*>(event) + at);
}

class ReadyEvent final : public EventSource {
 public:
  explicit ReadyEvent(Event event) : event_(std::move(event)) {}
  [[nodiscard]] Event render() const override { return event_; }
  [[nodiscard]] EventType type() const override { return event_.type; }

 private:
  const Event event_;
};

}  // namespace

EventLog::EventLog(const Clock& clock, std::size_t capacity)
    : clock_(clock), capacity_(std::max<std::size_t>(capacity, 1)), ring_(capacity_) {}

void EventLog::record(Event event) {
  record(std::make_shared<const ReadyEvent>(std::move(event)));
}

void EventLog::record(std::shared_ptr<const EventSource> event) {
  // Refusals and opens are the tenant's to cause at will: the log gets them at debug level, the
  // ring and the metrics always.
  const EventType type = event->type();
  const bool at_will = type == EventType::kRefused || type == EventType::kContextOpened ||
                       type == EventType::kContextClosed || type == EventType::kOverQuota ||
                       type == EventType::kOverRate;
  auto level = at_will ? spdlog::level::debug : spdlog::level::info;
  if (spdlog::should_log(level)) {
    const Event text = event->render();
    spdlog::log(level, "event={} endpoint={} verb={} errno={} pid={} command={} {}",
                to_string(text.type), text.endpoint, text.verb, text.err, text.pid, text.command,
                text.reason);
  }
  Entry entry{clock_.wall(), std::move(event)};
  {
    std::lock_guard lock(mutex_);
    std::swap(ring_[next_++ % capacity_], entry);
    // The one that has to go next was made long ago: by the time it goes it is in the cache.
    prefetch(ring_[next_ % capacity_].source.get());
  }
  arrived_.notify_all();
  // The event that had the place is freed here, out of the lock.
}

std::vector<Event> EventLog::read(std::uint64_t after, std::size_t limit,
                                  std::chrono::milliseconds wait) const {
  std::vector<Entry> found;
  std::uint64_t sequence = 0;
  {
    std::unique_lock lock(mutex_);
    arrived_.wait_for(lock, wait, [&] { return next_ > after + 1; });
    const std::uint64_t oldest = next_ > capacity_ ? next_ - capacity_ : 1;
    sequence = std::max(after + 1, oldest);
    for (std::uint64_t i = sequence; i < next_ && found.size() < limit; ++i)
      found.push_back(ring_[i % capacity_]);
  }
  std::vector<Event> out;
  out.reserve(found.size());
  for (const Entry& entry : found) {
    Event& event = out.emplace_back(entry.source->render());
    event.sequence = sequence++;
    event.time = entry.time;
  }
  return out;
}

std::uint64_t EventLog::newest_sequence() const {
  std::lock_guard lock(mutex_);
  return next_ - 1;
}

}  // namespace qmasq::vbond

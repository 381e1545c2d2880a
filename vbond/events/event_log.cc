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
  }
  return "unknown";
}

EventLog::EventLog(const Clock& clock, std::size_t capacity)
    : clock_(clock), capacity_(std::max<std::size_t>(capacity, 1)) {}

void EventLog::record(Event event) {
  event.time = clock_.wall();
  // Refusals are the tenant's to cause at will: the log gets them at debug level, the ring and the
  // metrics always.
  auto level = event.type == EventType::kRefused ? spdlog::level::debug : spdlog::level::info;
  spdlog::log(level, "event={} endpoint={} verb={} errno={} pid={} command={} {}",
              to_string(event.type), event.endpoint, event.verb, event.err, event.pid,
              event.command, event.reason);
  {
    std::lock_guard lock(mutex_);
    event.sequence = next_++;
    ring_.push_back(std::move(event));
    if (ring_.size() > capacity_) ring_.pop_front();
  }
  arrived_.notify_all();
}

std::vector<Event> EventLog::read(std::uint64_t after, std::size_t limit,
                                  std::chrono::milliseconds wait) const {
  std::unique_lock lock(mutex_);
  arrived_.wait_for(lock, wait, [&] { return next_ > after + 1; });
  auto first = std::find_if(ring_.begin(), ring_.end(),
                            [&](const Event& event) { return event.sequence > after; });
  auto count = std::min<std::size_t>(limit, static_cast<std::size_t>(ring_.end() - first));
  return {first, first + static_cast<std::ptrdiff_t>(count)};
}

std::uint64_t EventLog::newest_sequence() const {
  std::lock_guard lock(mutex_);
  return next_ - 1;
}

}  // namespace qmasq::vbond

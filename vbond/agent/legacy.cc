// SPDX-License-Identifier: Apache-2.0
#include "vbond/agent/legacy.h"

#include <spdlog/spdlog.h>

#include <mutex>
#include <utility>

#include "vbond/events/event_log.h"
#include "vbond/kernel/task_inspector.h"

namespace qmasq::vbond {
namespace {

// An agent that ends lets calls that are on their way come to their end.
constexpr std::chrono::milliseconds kPatience{10'000};
// Of a keeper that was lost: verbs that open or close a device wait as long.
constexpr std::chrono::milliseconds kAgainPatience{100};
// systemd holds what the keeper stores with it.
constexpr pid_t kServiceManager = 1;

Event keeper_event(std::string reason) {
  Event out;
  out.type = EventType::kKeeper;
  out.reason = std::move(reason);
  return out;
}

}  // namespace

struct Legacy::Listener {
  std::mutex mutex;
  EventLog* events = nullptr;  // guarded by mutex
};

Result<std::unique_ptr<Legacy>> Legacy::open(const Seams& seams,
                                             const std::string& state_directory) {
  QMASQ_ASSIGN(auto keeper, seams.connect(kPatience));
  auto listener = std::make_shared<Listener>();
  Custody::Options options;
  options.connect = [connect = seams.connect] { return connect(kAgainPatience); };
  options.changed = [listener](const std::string& state) {
    std::lock_guard lock(listener->mutex);
    if (listener->events != nullptr) listener->events->record(keeper_event("keeper: " + state));
  };
  options.found = [tasks = seams.tasks](pid_t keeper_pid) {
    tasks->look_past({keeper_pid, kServiceManager});
  };
  QMASQ_ASSIGN(auto estate,
               take_over(std::move(keeper), std::move(options), *seams.devices, seams.open_port));
  QMASQ_ASSIGN(auto opened, Journal::open(state_directory, std::move(estate.journal)));
  if (opened.fresh_memory) {
    if (estate.journal_custody != nullptr) estate.custody->drop(estate.journal_custody);
    estate.journal_custody = estate.custody->put(JournalTag{}, opened.journal->descriptor());
  }
  return std::unique_ptr<Legacy>(
      new Legacy(std::move(estate), std::move(opened), std::move(listener)));
}

Legacy::Legacy(Estate estate, Journal::Opened opened, std::shared_ptr<Listener> listener)
    : listener_(std::move(listener)),
      estate_(std::move(estate)),
      journal_(std::move(opened.journal)),
      survival_{*estate_.custody, *estate_.ledger},
      complaints_(std::move(estate_.complaints)) {
  estate_.inherited.connections = std::move(opened.connections);
  for (std::string& each : opened.complaints)
    complaints_.push_back(std::move(each));
}

void Legacy::hand_to(Interceptor& interceptor, const ConnectionTable& connections,
                     EventLog& events) {
  for (const std::string& each : complaints_) {
    spdlog::warn("take-over: {}", each);
    events.record(keeper_event("take-over: " + each));
  }
  std::vector<QpKey> known;
  for (const auto& [context, of_context] : estate_.inherited.connections) {
    for (const JournaledConnection& each : of_context)
      known.push_back(each.key);
  }
  interceptor.restore(std::move(estate_.inherited));
  for (const QpKey& key : known) {
    if (!connections.find(key)) journal_->remove(key);
  }
}

void Legacy::tell(EventLog& events) {
  std::lock_guard lock(listener_->mutex);
  listener_->events = &events;
}

std::string Legacy::describe() const {
  const std::string keeper = estate_.custody->state();
  const std::string& journal = journal_->health().error;
  if (journal.empty()) return keeper;
  return keeper + "; journal: " + journal;
}

void Legacy::show(SurvivalMetrics& metrics) const {
  const Custody::Count count = estate_.custody->count();
  metrics.set_keeper(estate_.custody->state() == "on", count.all, count.held);
  const Journal::Health health = journal_->health();
  metrics.set_journal(health.error.empty(), health.waiting, health.lost);
}

}  // namespace qmasq::vbond

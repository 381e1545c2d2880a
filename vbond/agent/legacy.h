// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/result.h"
#include "vbond/intercept/estate.h"
#include "vbond/intercept/interceptor.h"
#include "vbond/journal/journal.h"
#include "vbond/survival/metrics.h"

namespace qmasq::vbond {

class EventLog;

// What outlives the agent, and what an agent before it left: the keeper's session, the ledger of
// calls and the journal of connections. Must outlive whatever serves tenants.
class Legacy {
 public:
  using Connect =
      std::function<Result<std::unique_ptr<Keeper>>(std::chrono::milliseconds patience)>;
  struct Seams {
    Connect connect;
    std::function<Result<std::unique_ptr<NotificationPort>>(UniqueFd)> open_port;
    VerbsDevices* devices = nullptr;
    TaskInspector* tasks = nullptr;
  };
  // Waits for an agent that is still ending. `state_directory`: of the journal. Errors: there is no
  // keeper where there should be one, or another agent has it.
  [[nodiscard]] static Result<std::unique_ptr<Legacy>> open(const Seams& seams,
                                                            const std::string& state_directory);

  [[nodiscard]] Survival& survival() { return survival_; }
  [[nodiscard]] Journal& journal() { return *journal_; }

  // Gives what was left to the interceptor, and drops what the journal has of connections that are
  // no more. Once. What could not be used is said in events.
  void hand_to(Interceptor& interceptor, const ConnectionTable& connections, EventLog& events);

  // "on", or what is wrong: for GetAgent.
  [[nodiscard]] std::string describe() const;
  void show(SurvivalMetrics& metrics) const;
  // From now on changes of the keeper's state are events.
  void tell(EventLog& events);

 private:
  struct Listener;
  Legacy(Estate estate, Journal::Opened opened, std::shared_ptr<Listener> listener);

  // Called by the custody's thread; set later than that starts.
  std::shared_ptr<Listener> listener_;
  Estate estate_;
  std::unique_ptr<Journal> journal_;
  Survival survival_;
  std::vector<std::string> complaints_;
};

}  // namespace qmasq::vbond

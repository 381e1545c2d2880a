// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/net_types.h"
#include "common/result.h"
#include "vbond/intercept/inherited.h"
#include "vbond/intercept/options.h"
#include "vbond/kernel/notification_port.h"

namespace qmasq::conntrack {
struct Effect;
}
namespace prometheus {
class Registry;
}

namespace qmasq::vbond {

class AdmissionControl;
class Custody;
class EndpointTable;
class EventLog;
class Guard;
class Ledger;
class NicTable;
class Redirector;
class Renamer;
class TaskInspector;
class TenantMemory;
class VerbsDevices;
struct Violation;

// Where listeners, contexts and calls are kept for an agent to come.
struct Survival {
  Custody& custody;
  Ledger& ledger;
};

// What `qmasq` and GetAgent show of an attachment.
struct AttachmentInfo {
  EndpointUid endpoint;
  std::string endpoint_name;
  pid_t pid = 0;  // of the program that attached
  std::string command;
  std::size_t contexts = 0;
  std::size_t queue_pairs = 0;
  std::size_t receivers = 0;  // threads that serve it
  bool restored = false;      // it attached to an agent before this one
};

struct InterceptStats {
  std::size_t attachments = 0;
  std::size_t contexts = 0;
  std::size_t queue_pairs = 0;
};

// The agent's side of all traps: takes listeners, serves them, forgets them when their last task is
// gone. Thread-safe. See attachment.h for the threads and dispatcher.h for what happens to a call.
class Interceptor {
 public:
  // Nothing is owned; all must outlive the interceptor.
  struct Parts {
    Renamer& renamer;
    const EndpointTable& endpoints;
    const NicTable& nics;
    EventLog& events;
    const Clock& clock;
    TenantMemory& memory;
    VerbsDevices& devices;
    TaskInspector& tasks;
    prometheus::Registry& registry;
    AdmissionControl& admission;
    Guard* guard = nullptr;            // none: as --guard off
    Survival* survival = nullptr;      // null: nothing outlives the agent
    Redirector* redirector = nullptr;  // null: arguments are not sealed
  };
  Interceptor(const Parts& parts, InterceptOptions options);
  // stop(), and waits for as long as it takes.
  ~Interceptor();
  Interceptor(const Interceptor&) = delete;
  Interceptor& operator=(const Interceptor&) = delete;

  // From the return on the listener is served. `pid` and `command`: the program that attached;
  // `kept_below`: AttachPeer's. Errors: kNotFound endpoint, kResourceExhausted max_attachments,
  // kFailedPrecondition stopped, and where arguments are to be sealed what hinders that.
  [[nodiscard]] Status attach(std::unique_ptr<NotificationPort> port, EndpointUid endpoint,
                              pid_t pid, std::string command, std::uint64_t kept_below = 0);

  // What an agent before this one had: everything is served as before from the return on, calls
  // that wait included. Once, before the first attach(). The port and file of each are the
  // interceptor's from then on. What only the controller's state can tell waits for in_sync().
  void restore(Inherited inherited);
  // The state is here: lets calls that wait for it go on; connections of before are admitted or
  // cut, programs of endpoints that are gone are left without verbs. From the thread that enforces.
  void in_sync();
  // As stop(), but nothing is closed for good: programs, contexts and calls are left to the next
  // agent. REQUIRES: survival.
  [[nodiscard]] bool leave(std::chrono::milliseconds patience);

  // The endpoint is no more: its QPs are destroyed and its contexts closed before this returns,
  // unless the tenant stalls a call of its own; its programs go on without verbs (ENODEV).
  void detach_endpoint(EndpointUid endpoint);

  // What a change of the state made of connections: carried out one by one, each behind the verb of
  // its context that is on its way. Then the end of those UD QPs that the rules leave nobody to
  // talk to.
  void enforce(std::span<const conntrack::Effect> effects);

  // The guard's word that a program did what it must not. Its context is closed with its QPs, then
  // the whole workload ends: every process that has the file open, the program that attached and
  // what it started, and whoever of it makes another trapped call.
  void punish(const Violation& violation);

  [[nodiscard]] InterceptStats stats() const;
  [[nodiscard]] std::vector<AttachmentInfo> list() const;
  // The numbers and modes that a program has to know before it attaches.
  [[nodiscard]] const InterceptOptions& options() const;

  // Closes all listeners and contexts: trapped calls of tenants fail with ENOSYS from then on.
  // False when a thread is still held up by a tenant after `patience` (memory that does not come):
  // the process should end by _exit() then, which needs no such thread.
  [[nodiscard]] bool stop(std::chrono::milliseconds patience);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace qmasq::vbond

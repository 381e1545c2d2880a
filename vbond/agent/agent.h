// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/metrics.h"
#include "common/result.h"
#include "vbond/agent/options.h"
#include "vbond/guard/guard.h"
#include "vbond/keeper/keeper.h"
#include "vbond/kernel/notification_port.h"
#include "vbond/kernel/redirector.h"
#include "vbond/kernel/task_inspector.h"
#include "vbond/kernel/tenant_memory.h"
#include "vbond/kernel/verbs_device.h"
#include "vbond/netlink/netlink.h"
#include "vbond/nic/nic_source.h"
#include "vbond/qos/hw_counters.h"
#include "vbond/qos/qos_manager.h"
#include "vbond/sync/backoff.h"
#include "vbond/sysfs/gid_staging.h"

namespace qmasq::vbond {

// Where the agent meets the machine. Tests put fakes here, which may be one object behind several.
struct AgentSeams {
  std::shared_ptr<NicSource> nics;
  std::shared_ptr<UnderlaySource> underlay;
  std::shared_ptr<netlink::Namespaces> namespaces;
  std::shared_ptr<TenantMemory> memory;
  std::shared_ptr<VerbsDevices> devices;
  std::shared_ptr<TaskInspector> tasks;
  std::shared_ptr<Guard> guard;            // null: none, as with --guard off
  std::shared_ptr<Redirector> redirector;  // null: arguments are not sealed
  // None: nothing outlives the agent.
  std::function<Result<std::unique_ptr<Keeper>>(std::chrono::milliseconds patience)> keeper;
  std::function<Result<std::unique_ptr<NotificationPort>>(UniqueFd)> open_port;
  GidStaging::Roots files;
  std::string device_directory = "/dev/infiniband";
  // Name of an RDMA device's node there ("rxe0" -> "uverbs0"), empty if it has none.
  std::function<std::string(const std::string& device)> node_of;
  // What limits a NIC; none: nothing does.
  QosManager::BackendFor qos_backend;
  std::shared_ptr<HwCounters> hw_counters;  // null: none are shown
  std::string kernel_release;               // uname -r
  std::vector<std::string> features;        // names of the kernel's that interception uses
  Backoff::Options backoff;
  std::function<double()> random;  // [0, 1), called from one thread
};

// Those of this machine; kUnsupported names what its kernel lacks.
[[nodiscard]] Result<AgentSeams> real_seams(const AgentOptions& options);

// The whole agent: makes its parts, ties them together, and takes them down again. Threads: one
// for the network (netlink::Loop), one for housekeeping (files, detaching), one for limits, those
// of NicWatcher, SyncClient, AttachServer, AgentServer, and the interceptor's.
class Agent {
 public:
  // REQUIRES: privileges are as they stay. `clock` and `metrics` must outlive the agent. Errors say
  // what is wrong and what to do.
  [[nodiscard]] static Result<std::unique_ptr<Agent>> start(const AgentOptions& options,
                                                            AgentSeams seams, const Clock& clock,
                                                            Metrics& metrics);
  ~Agent();
  Agent(const Agent&) = delete;
  Agent& operator=(const Agent&) = delete;

  // Stops everything that runs; with a keeper what tenants have is left to the next agent. False: a
  // thread is held up by a tenant; end the process by _exit.
  [[nodiscard]] bool stop(std::chrono::milliseconds patience);

  [[nodiscard]] const std::string& socket() const;         // of AgentService
  [[nodiscard]] const std::string& attach_socket() const;  // of the attach protocol

 private:
  struct Impl;
  explicit Agent(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace qmasq::vbond

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include "common/clock.h"
#include "common/metrics.h"
#include "tests/support/stub_nic.h"
#include "vbond/admission/admission_control.h"
#include "vbond/events/event_log.h"
#include "vbond/intercept/interceptor.h"
#include "vbond/kernel/redirector.h"
#include "vbond/kernel/task_inspector.h"
#include "vbond/kernel/tenant_memory.h"
#include "vbond/kernel/verbs_device.h"
#include "vbond/rename/connection_table.h"
#include "vbond/rename/endpoint_table.h"
#include "vbond/rename/metrics.h"
#include "vbond/rename/nic_table.h"
#include "vbond/rename/peer_map.h"
#include "vbond/rename/renamer.h"
#include "vbond/rename/wire_policy.h"
#include "vbond/state/sync_state.h"

namespace qmasq::bench {

// The verbs device of the bench: opening gives /dev/null, verbs are answered by a stub in memory.
class StubDevices final : public vbond::VerbsDevices {
 public:
  [[nodiscard]] vbond::ErrnoOr<std::unique_ptr<vbond::VerbsFile>> open(std::string_view node,
                                                                       int flags) override;
  [[nodiscard]] vbond::ErrnoOr<std::unique_ptr<vbond::VerbsFile>> adopt(UniqueFd file) override;
  [[nodiscard]] std::string node_of(dev_t device) override;
  [[nodiscard]] std::string rdma_device_of(std::string_view node) override;

 private:
  test::StubNic nic_;
  std::uint64_t next_file_ = 1;
};

// The agent as main wires it, with the real kernel seams but for the device. One VPC with `entries`
// addresses; the tenant's endpoint has the first.
class World {
 public:
  explicit World(std::size_t entries);
  ~World();
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  // Serves a listener of this process until it hangs up, for the endpoint of entry `entry`, which
  // must be one of this host: a multiple of kHosts.
  static constexpr std::size_t kHosts = 1000;
  [[nodiscard]] Status attach(UniqueFd listener, pid_t pid, std::size_t entry = 0) {
    return attach(std::move(listener), pid, entry, 0);
  }
  // Likewise, with sealed arguments (docs/adr/0029).
  [[nodiscard]] Status attach_sealed(UniqueFd listener, pid_t pid);
  // Verbs of any kind that the endpoint may call a second; nothing: as many as it likes.
  void limit_verbs(std::size_t entry, std::optional<qos::VerbRate> rate);
  [[nodiscard]] std::size_t map_bytes() const { return peers_.memory_bytes(); }
  [[nodiscard]] std::size_t map_entries() const { return peers_.size().entries; }

  // Address of entry i, host order.
  static std::uint32_t address(std::size_t i) {
    return 0x0a000001U + static_cast<std::uint32_t>(i);
  }

 private:
  Status attach(UniqueFd listener, pid_t pid, std::size_t entry, std::uint64_t kept_below);

  SystemClock clock_;
  std::unique_ptr<Metrics> metrics_;
  vbond::EventLog events_;
  vbond::SyncState sync_;
  conntrack::GroupSets sets_;
  vbond::PeerMap peers_{sets_};
  conntrack::Tracker tracker_{sets_, peers_, {}};
  vbond::EndpointTable endpoints_;
  vbond::NicTable nics_;
  vbond::ConnectionTable connections_;
  vbond::SpreadPolicy wire_;
  std::unique_ptr<vbond::RenameMetrics> rename_metrics_;
  std::unique_ptr<vbond::Renamer> renamer_;
  vbond::ProcessMemory memory_;
  vbond::ProcTasks tasks_;
  std::unique_ptr<vbond::Redirector> redirector_ = vbond::make_redirector();
  StubDevices devices_;
  std::unique_ptr<vbond::AdmissionControl> admission_;
  std::unique_ptr<vbond::Interceptor> interceptor_;
};

}  // namespace qmasq::bench

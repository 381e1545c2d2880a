// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "common/clock.h"
#include "tests/support/fake_kernel.h"
#include "vbond/admission/admission_control.h"
#include "vbond/events/event_log.h"
#include "vbond/intercept/interceptor.h"
#include "vbond/rename/connection_table.h"
#include "vbond/rename/endpoint_table.h"
#include "vbond/rename/nic_table.h"
#include "vbond/rename/peer_map.h"
#include "vbond/rename/renamer.h"
#include "vbond/rename/wire_policy.h"
#include "vbond/state/sync_state.h"

namespace prometheus {
class Registry;
}

namespace qmasq::test {

// What an agent knows, filled by hand: VPC blue with endpoint a (10.0.0.1) on this host, which has
// the NIC rxe0 at 192.168.0.1, and endpoint b (10.0.0.2) on a host at 192.168.0.2.
struct AgentWorld {
  explicit AgentWorld(vbond::ConnectionJournal* journal = nullptr);
  ~AgentWorld();

  [[nodiscard]] vbond::Interceptor::Parts parts(FakeKernel& kernel);
  [[nodiscard]] vbond::Interceptor::Parts parts(vbond::TenantMemory& memory,
                                                vbond::VerbsDevices& devices,
                                                vbond::TaskInspector& tasks);
  // Value of a counter or gauge with these labels; 0 when there is none.
  [[nodiscard]] double metric(const std::string& name,
                              const std::map<std::string, std::string>& labels = {}) const;
  // Newest event of the type; empty fields when there is none.
  [[nodiscard]] vbond::Event last_event(vbond::EventType type) const;

  static constexpr EndpointUid kEndpoint{11};
  // The policies of endpoint a and of VPC blue from now on. Empty ones limit nothing.
  void set_policies(const qos::Policy& own, const qos::Policy& of_vpc = {});
  // Who may use endpoint a, beside root.
  void set_users(std::vector<std::uint32_t> users, std::vector<std::uint32_t> groups);
  // Endpoint a is deleted, as far as policies and admission go.
  void remove_endpoint();
  static Gid virtual_gid();       // of a, index 1
  static Gid peer_virtual_gid();  // of b
  // Its members admit each other; all endpoints carry it.
  static constexpr SecurityGroupUid kGroup{1001};
  static conntrack::Group default_group();
  static Gid physical_gid();
  static Gid peer_physical_gid();

  SystemClock clock;
  vbond::EventLog events;
  vbond::SyncState sync;
  conntrack::GroupSets sets;
  vbond::PeerMap peers{sets};
  conntrack::Tracker tracker{sets, peers, {}};
  vbond::EndpointTable endpoints;
  vbond::NicTable nics;
  vbond::ConnectionTable connections;
  vbond::SpreadPolicy wire;
  vbond::Renamer renamer;
  std::shared_ptr<prometheus::Registry> registry;
  vbond::PolicyTable policies;
  vbond::AdmissionControl admission;

 private:
  std::uint64_t revision_ = 1;
};

// An ioctl(RDMA_VERBS_IOCTL) as a tenant lays it out in its memory.
class TenantCall {
 public:
  TenantCall(vbond::uverbs::Object object, std::uint16_t method);
  static TenantCall write_form(vbond::uverbs::WriteCommand command);

  TenantCall& in(std::uint16_t id, std::span<const std::byte> payload);
  TenantCall& number(std::uint16_t id, std::uint64_t value, std::uint16_t size = 8);
  TenantCall& out(std::uint16_t id, std::size_t size);
  TenantCall& handle(std::uint16_t id, std::uint64_t handle);  // IDR, or FD

  // Puts it into the process's memory; returns the header's address.
  std::uint64_t place(FakeKernel& kernel, pid_t process);
  // After place(): what is there now.
  [[nodiscard]] std::vector<std::byte> out_bytes(std::uint16_t id) const;
  [[nodiscard]] std::uint64_t data(std::uint16_t id) const;
  [[nodiscard]] std::uint16_t flags(std::uint16_t id) const;
  [[nodiscard]] std::uint64_t out_address(std::uint16_t id) const;

  std::uint32_t driver_id = static_cast<std::uint32_t>(vbond::uverbs::DriverId::kRxe);

 private:
  struct Attribute {
    std::uint16_t id = 0;
    std::uint16_t len = 0;
    std::uint64_t data = 0;
    std::vector<std::byte> payload;  // behind a pointer
    bool is_out = false;
  };
  [[nodiscard]] std::size_t index_of(std::uint16_t id) const;

  std::uint16_t object_;
  std::uint16_t method_;
  std::vector<Attribute> attributes_;
  FakeKernel* kernel_ = nullptr;
  pid_t process_ = 0;
  std::uint64_t header_ = 0;
};

}  // namespace qmasq::test

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "common/net_types.h"
#include "common/result.h"
#include "qos/backend.h"
#include "qos/planner.h"
#include "vbond/qos/policy_table.h"
#include "vbond/qos/traffic.h"

namespace qmasq::vbond {

// A node of one NIC's tree as it stands.
struct NodeState {
  qos::NodeId id;
  std::string name;      // "vpcs/blue/endpoints/a", "vpcs/blue", the device, or empty (kOther)
  std::string vpc_name;  // of VPCs and endpoints
  std::shared_ptr<const qos::Policy> policy;  // its own; null: none
  std::optional<std::uint8_t> dscp;           // that packets of an endpoint carry
  qos::PortBlock ports;                       // of an endpoint; none: it waits for some
  std::optional<qos::Node> programmed;        // nothing: the backend does not have it
  std::vector<std::string> unenforced;        // limits that do not hold, for people
  std::optional<Traffic> traffic;             // nothing: not counted
};

struct NicState {
  std::string device;
  BitsPerSecond rate;  // 0: unknown
  bool rate_by_admin = false;
  std::string backend;  // "tc"; empty: none, and `message` says why
  std::optional<qos::Capabilities> capabilities;
  std::string message;           // what is wrong; empty: nothing
  BitsPerSecond guaranteed;      // by policies, all VPCs together
  std::size_t planned = 0;       // nodes that there should be
  std::size_t programmed = 0;    // that there are
  std::vector<NodeState> nodes;  // NIC, kOther, VPCs, endpoints, by uid
};

// A node whose limits hold or do not hold otherwise than before.
struct LimitChange {
  qos::NodeId id;
  std::string name;
  std::vector<std::string> unenforced;  // empty: all of them hold (again)
};

// Makes one NIC do what policies say: a planner, a backend, and what became of each node. Endpoints
// have a node whether they have a policy or not, so that their packets are counted, and a limit
// that comes later finds their queue pairs.
//
// Steps that fail are tried again: at the next change, and by themselves with a growing delay;
// where the NIC's own node is what failed, only by themselves. What is in the kernel is compared
// now and then, because anybody may have removed it.
//
// Called from one thread; state() and report() from any. No lock is held while the backend works.
class NicLimiter {
 public:
  explicit NicLimiter(std::string device) : device_(std::move(device)) {}

  // Null: nothing can limit this NIC, for this reason. What another backend programmed is not
  // asked for any more.
  void set_backend(std::unique_ptr<qos::Backend> backend, std::string why_not);
  [[nodiscard]] bool has_backend() const { return backend_ != nullptr; }
  void set_rate(BitsPerSecond rate, bool by_admin);
  // `ports`: none (count 0) while all are taken; then it has no node.
  void put(const GovernedPtr& endpoint, qos::PortBlock ports);
  void remove(EndpointUid endpoint);

  using Time = std::chrono::steady_clock::time_point;
  // What the kernel has from before. Once; program() does it where nobody did.
  [[nodiscard]] Result<qos::Plan> read_back(const qos::Backend::VpcOf& vpc_of);

  struct Pass {
    std::size_t ok = 0;      // steps
    std::size_t failed = 0;  // steps
    std::vector<LimitChange> changes;
  };
  // Brings the NIC up to date. `changed`: something was set since the last call; otherwise only
  // what is due is tried again.
  [[nodiscard]] Pass program(Time now, const qos::Backend::VpcOf& vpc_of, bool changed);
  // The changes alone, where nothing may be programmed yet.
  [[nodiscard]] std::vector<LimitChange> look();
  // Whether the kernel still has what was programmed. An error says what it lacks; program() then
  // puts it back.
  [[nodiscard]] Status inspect(Time now, const qos::Backend::VpcOf& vpc_of);
  // Takes everything of ours off the NIC.
  void withdraw();
  void sample(Time now);

  // `only`: nodes of this VPC and the NIC; 0: all.
  [[nodiscard]] NicState state(VpcUid only) const;
  // Adds what does not hold for the endpoint, its VPC's included.
  void report(EndpointUid endpoint, std::vector<std::string>& unenforced) const;

 private:
  struct Endpoint {
    GovernedPtr governed;
    qos::PortBlock ports;
  };
  struct Vpc {
    std::string name;
    std::shared_ptr<const qos::Policy> policy;
    std::set<EndpointUid> endpoints;
  };
  using NodeIds = std::set<qos::NodeId>;

  void carry_out(Time now, const qos::Backend::VpcOf& vpc_of, bool changed, Pass& pass);
  // REQUIRES of all these: mutex_ held.
  void put_vpc(const GovernedEndpoint& endpoint);
  void remove_locked(EndpointUid uid);
  void fail_later(Time now);
  void start_over(qos::Plan programmed);
  // The node failed, or does no more: it is to be judged, with what hangs on it.
  void doubt(qos::NodeId id);
  [[nodiscard]] std::vector<qos::Step> next_steps(Time now, bool changed);
  void absorb(const std::vector<qos::Step>& steps, const std::vector<Status>& results, Time now,
              Pass& pass);
  [[nodiscard]] std::vector<LimitChange> judge();
  [[nodiscard]] std::vector<std::string> judge(qos::NodeId id, const std::string& name,
                                               const qos::Bandwidth& limits) const;
  // Why none of its limits holds; empty: nothing known against it.
  [[nodiscard]] std::string obstacle(qos::NodeId id) const;
  [[nodiscard]] std::string shared_obstacle() const;
  [[nodiscard]] NodeState node_state(qos::NodeId id) const;
  [[nodiscard]] BitsPerSecond promised() const;
  [[nodiscard]] std::size_t planned_count() const;

  const std::string device_;
  // Of the calling thread.
  std::unique_ptr<qos::Backend> backend_;
  bool swept_ = false;  // program() was called once, so that leftovers are gone

  mutable std::mutex mutex_;  // guards all below
  std::string backend_name_;
  std::optional<qos::Capabilities> capabilities_;
  std::string why_not_ = "its backend was not chosen yet";
  BitsPerSecond rate_;
  bool by_admin_ = false;
  qos::Planner planner_;
  std::map<EndpointUid, Endpoint> endpoints_;
  std::map<VpcUid, Vpc> vpcs_;
  bool read_ = false;         // the kernel's state is known
  bool attempted_ = false;    // program() got as far as the backend
  std::string read_error_;    // of the last readback or inspection
  std::string sample_error_;  // of the last sample
  qos::Plan planned_;         // what the backend was told
  qos::Plan programmed_;      // what it has
  std::map<qos::NodeId, std::string> failures_;
  std::map<qos::NodeId, qos::Shortfall> shortfalls_;
  std::map<qos::NodeId, std::vector<std::string>> unenforced_;  // without those that hold
  NodeIds dirty_;                                               // to be judged
  bool all_dirty_ = false;                                      // all are
  Time retry_at_{};
  std::chrono::milliseconds retry_delay_{0};
  TrafficTotals totals_;
};

}  // namespace qmasq::vbond

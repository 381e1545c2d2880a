// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "common/net_types.h"
#include "qos/policy.h"
#include "vbond/state/change.h"

namespace qmasq::vbond {

// An endpoint of this host and what policies hold for it. Immutable, shared.
struct GovernedEndpoint {
  EndpointUid uid;
  VpcUid vpc;
  std::string name;                           // "vpcs/blue/endpoints/a"
  std::string vpc_name;                       // "vpcs/blue"
  std::shared_ptr<const qos::Policy> own;     // null: none
  std::shared_ptr<const qos::Policy> of_vpc;  // null: none
  // The endpoint's, else its VPC's.
  [[nodiscard]] std::optional<std::uint8_t> dscp() const;
};
using GovernedPtr = std::shared_ptr<const GovernedEndpoint>;

// Follows policies, VPCs and the endpoints of this host. Thread-safe.
class PolicyTable final : public ChangeObserver {
 public:
  // Which host we are; before the first apply(), and whenever it changes.
  void set_host(HostUid uid);

  // Null: no endpoint of this host.
  [[nodiscard]] GovernedPtr find(EndpointUid uid) const;
  // In order of uids.
  [[nodiscard]] std::vector<GovernedPtr> list() const;

  // Called after each change, from sync's thread, without a lock held: endpoints that came, went
  // (null), or whose policies changed in any way.
  using Changed = std::vector<std::pair<EndpointUid, GovernedPtr>>;
  using Listener = std::function<void(const Changed&)>;
  // Set all before the first apply().
  void add_listener(Listener listener) { listeners_.push_back(std::move(listener)); }

  [[nodiscard]] Status check(const Change& change) override;
  void apply(const Change& change) override;

 private:
  struct VpcEntry {
    std::string name;
    QosPolicyUid policy;
  };
  struct EndpointEntry {
    VpcUid vpc;
    std::string name;
    QosPolicyUid policy;
  };
  using PolicyPtr = std::shared_ptr<const qos::Policy>;

  // REQUIRES of these: mutex_ held.
  void clear();
  void put(const EndpointView& view);
  [[nodiscard]] GovernedPtr make(EndpointUid uid, const EndpointEntry& entry) const;
  [[nodiscard]] PolicyPtr policy(QosPolicyUid uid) const;

  std::vector<Listener> listeners_;
  mutable std::mutex mutex_;  // guards all below
  HostUid host_;
  std::unordered_map<QosPolicyUid, PolicyPtr> policies_;
  std::unordered_map<VpcUid, VpcEntry> vpcs_;
  std::unordered_map<EndpointUid, EndpointEntry> endpoints_;  // of this host
  std::unordered_map<EndpointUid, GovernedPtr> governed_;
};

}  // namespace qmasq::vbond

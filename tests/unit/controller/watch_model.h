// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <random>
#include <set>
#include <string>

#include "controller/watch/batch_stream.h"
#include "controller/watch/world.h"
#include "qmasq/v1/sync.pb.h"

// Models for watch tests: a cloud that changes at random, and an agent that applies batches exactly
// as sync.proto tells it to.
namespace qmasq::controller::testing {

// Small numbers of everything, so that the rare cases come often.
class RandomCloud {
 public:
  explicit RandomCloud(unsigned seed, unsigned vpcs = 3, unsigned hosts = 4,
                       unsigned endpoints = 10, unsigned groups = 6)
      : random_(seed),
        max_vpcs_(vpcs),
        max_hosts_(hosts),
        max_endpoints_(endpoints),
        max_groups_(groups) {
    for (unsigned i = 0; i < hosts; ++i)
      add_host();
  }

  // One commit with one change, or now and then several.
  Commit change();
  // Everything, as a store gives it at start.
  [[nodiscard]] Commit all() const;
  [[nodiscard]] HostUid host(unsigned index) const {
    auto it = hosts_.begin();
    std::advance(it, index % hosts_.size());
    return it->first;
  }
  [[nodiscard]] unsigned random(unsigned below) { return random_() % below; }
  [[nodiscard]] Revision revision() const { return revision_; }

 private:
  void add_host();
  void step(Commit& commit);
  void step_vpc(Commit& commit);
  void step_endpoint(Commit& commit);
  void step_host(Commit& commit);
  void step_group(Commit& commit);
  void step_policy(Commit& commit);
  // One of the policies, or none.
  PolicyReference some_policy();

  std::mt19937 random_;
  unsigned max_vpcs_, max_hosts_, max_endpoints_, max_groups_;
  std::uint64_t next_uid_ = 1;
  Revision revision_;
  std::map<VpcUid, VpcPtr> vpcs_;
  std::map<EndpointUid, EndpointPtr> endpoints_;
  std::map<HostUid, HostPtr> hosts_;
  std::map<SecurityGroupUid, SecurityGroupPtr> groups_;
  std::map<QosPolicyUid, QosPolicyPtr> policies_;
};

// What a host holds: uid -> revision of the value. Comparable, printable by gtest.
struct Held {
  std::map<std::uint64_t, std::uint64_t> vpcs, endpoints, hosts, groups, policies;
  bool operator==(const Held&) const = default;
};

// The scope of a host, computed the trivial way.
[[nodiscard]] Held scope_of(const World& world, HostUid host);

// The agent: collects parts, applies whole batches, remembers its revision over connections.
class AgentModel {
 public:
  void take(const v1::Batch& part);
  // Parts of a batch that was cut off are of no use.
  void disconnect() { parts_.clear(); }
  [[nodiscard]] bool mid_batch() const { return !parts_.empty(); }
  [[nodiscard]] const Held& held() const { return held_; }
  [[nodiscard]] Revision revision() const { return revision_; }
  [[nodiscard]] v1::Hello hello(const std::string& store_id, const std::string& host) const;
  // Loses everything, like an agent that starts.
  void restart() { *this = AgentModel(); }

 private:
  std::vector<v1::Batch> parts_;
  Held held_;
  std::map<std::uint64_t, std::uint64_t> vpc_of_;  // endpoint or group -> VPC
  Revision revision_;
};

}  // namespace qmasq::controller::testing

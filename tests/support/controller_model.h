// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "qmasq/v1/sync.pb.h"
#include "vbond/state/change.h"

namespace qmasq::test {

// State as a host sees it, by uid; printable, comparable.
struct WorldState {
  std::map<std::uint64_t, std::string> vpcs;
  std::map<std::uint64_t, std::string> endpoints;
  std::map<std::uint64_t, std::string> hosts;
  bool operator==(const WorldState&) const = default;
};
std::ostream& operator<<(std::ostream& out, const WorldState& state);

// The trivial controller: every revision kept whole, everything concerns every host.
class ControllerModel {
 public:
  explicit ControllerModel(std::string store_id) : store_id_(std::move(store_id)) {}

  // Each makes a revision.
  void put_host(std::uint64_t uid, const std::string& id, const std::string& underlay);
  void put_vpc(std::uint64_t uid, const std::string& id, std::uint32_t vni);
  void put_endpoint(std::uint64_t uid, std::uint64_t vpc, const std::string& id,
                    const std::string& host, const std::vector<std::string>& addresses);
  // At most this, bits per second.
  void put_policy(std::uint64_t uid, const std::string& id, std::uint64_t maximum_bps);
  // 0: none.
  void attach_policy(std::uint64_t endpoint, std::uint64_t policy);
  void remove_vpc(std::uint64_t uid);  // with its endpoints
  void remove_endpoint(std::uint64_t uid);

  [[nodiscard]] std::uint64_t revision() const { return history_.size() - 1; }
  [[nodiscard]] const std::string& store_id() const { return store_id_; }
  [[nodiscard]] WorldState state() const;

  [[nodiscard]] qmasq::v1::SyncResponse welcome(std::uint64_t host_uid,
                                                std::uint32_t heartbeat_ms) const;
  // From what a Hello says is held to the newest revision; in parts of at most `part` objects.
  [[nodiscard]] std::vector<qmasq::v1::SyncResponse> catch_up(const qmasq::v1::Hello& hello,
                                                              std::size_t part) const;
  // From one revision to another.
  [[nodiscard]] std::vector<qmasq::v1::SyncResponse> changes(std::uint64_t from, std::uint64_t to,
                                                             std::size_t part) const;
  [[nodiscard]] qmasq::v1::SyncResponse in_sync() const;

 private:
  struct Objects {
    std::map<std::uint64_t, qmasq::v1::Vpc> vpcs;
    std::map<std::uint64_t, qmasq::v1::Endpoint> endpoints;
    std::map<std::uint64_t, qmasq::v1::Host> hosts;
    std::map<std::uint64_t, qmasq::v1::QosPolicy> policies;
  };
  [[nodiscard]] static std::vector<qmasq::v1::SyncResponse> diff(const Objects& from,
                                                                 const Objects& to,
                                                                 std::uint64_t revision,
                                                                 bool snapshot, std::size_t part);
  Objects& next();

  const std::string store_id_;
  std::vector<Objects> history_{Objects{}};  // by revision
};

// Follows Changes into a WorldState.
void apply_to(WorldState& state, std::map<std::uint64_t, std::uint64_t>& vpc_of_endpoint,
              const vbond::Change& change);

}  // namespace qmasq::test

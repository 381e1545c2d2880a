// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "qmasq/v1/qos.pb.h"

// The arithmetic of `qmasq top`: what hosts say twice, as rates in between. Pure, one thread.
namespace qmasq::cli {

// One endpoint on one NIC.
struct TopRow {
  std::string endpoint;  // full names
  std::string host;
  std::string device;
  // Bits per second. Empty: the host has not been seen twice in a row with this endpoint, its
  // counters began anew, or its clock went back.
  std::optional<double> rate_bps;
  std::optional<double> throttled;  // times a second that packets had to wait for a limit
  std::uint64_t nic_rate_bps = 0;   // 0: unknown
  // The tightest maximum that is configured, its own or its VPC's; empty: none.
  std::optional<std::uint64_t> limit_bps;
  bool limit_enforced = true;
  // Of the NIC, 0 to 1 or a little more; empty where a figure of it is.
  [[nodiscard]] std::optional<double> share() const;
  bool operator==(const TopRow&) const = default;
};

struct Unanswered {
  std::string host;
  std::string reason;
  bool operator==(const Unanswered&) const = default;
};

struct TopFrame {
  // Newest time that a host told, nanoseconds since 1970 by its clock; 0: none did.
  std::int64_t time_ns = 0;
  // By rate, fastest first; then those without one; by name where equal.
  std::vector<TopRow> rows;
  std::vector<Unanswered> unanswered;
};

class TopSamples {
 public:
  // What happened between the last answer and this one. Times are the hosts' own: an answer that is
  // late on its way changes no rate. One of the same time as the one before (the agent looks at its
  // counters less often than we ask) repeats the rates of that. A host that does not answer is
  // forgotten: its next answer is a first one.
  [[nodiscard]] TopFrame add(const v1::ShowQosResponse& answer);

 private:
  using Key = std::tuple<std::string, std::string>;  // device, endpoint
  struct Node {
    std::uint64_t bytes = 0;
    std::uint64_t overlimits = 0;
    std::optional<double> rate_bps;
    std::optional<double> throttled;
  };
  struct Host {
    std::int64_t time_ns = 0;
    std::map<Key, Node> nodes;
  };
  [[nodiscard]] static Node since(const Host* before, std::int64_t time_ns, const Key& key,
                                  const v1::QosNode& node);
  std::map<std::string, Host> hosts_;
};

}  // namespace qmasq::cli

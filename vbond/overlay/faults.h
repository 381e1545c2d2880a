// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>

#include "common/net_types.h"
#include "common/result.h"

// What could not be put into the kernel for one VPC, and when to try again. Pure.
namespace qmasq::vbond {

struct Fault {
  Error error;
  // Whose it is; none: of all endpoints of the VPC on this host.
  std::optional<EndpointUid> endpoint;
  // The endpoint's interface is missing or lacks an address.
  bool fatal = false;
};

class Faults {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  static constexpr std::chrono::milliseconds kFirst{1000};
  static constexpr std::chrono::milliseconds kLast{60000};
  static constexpr std::size_t kMaxKept = 1000;

  // A pass over the VPC: begin, add what fails, end.
  void begin() {
    faults_.clear();
    dropped_ = 0;
  }
  void add(const std::string& object, Fault fault);
  // Returns when to try again; none when nothing failed. Doubles from kFirst up to kLast.
  std::optional<TimePoint> end(TimePoint now);

  [[nodiscard]] bool empty() const { return faults_.empty(); }
  [[nodiscard]] std::size_t size() const { return faults_.size() + dropped_; }
  [[nodiscard]] std::optional<TimePoint> retry_at() const { return retry_at_; }
  // The first few that concern the endpoint, "; " between; empty: none.
  [[nodiscard]] std::string text(EndpointUid endpoint) const;
  [[nodiscard]] std::optional<Error> fatal(EndpointUid endpoint) const;

 private:
  std::map<std::string, Fault> faults_;  // by object
  std::size_t dropped_ = 0;
  std::chrono::milliseconds delay_{0};
  std::optional<TimePoint> retry_at_;
};

}  // namespace qmasq::vbond

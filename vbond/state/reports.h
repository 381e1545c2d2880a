// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/net_types.h"

namespace qmasq::vbond {

// What became of the limits of an endpoint's policy and of its VPC's on this host. As QosStatus.
struct LimitReport {
  bool configured = false;              // there are some
  std::vector<std::string> unenforced;  // those that do not hold, for people
  bool operator==(const LimitReport&) const = default;
};

// How an endpoint of this host stands, for the controller. Fields as in EndpointStatus of
// schema/proto/qmasq/v1/endpoint.proto.
struct EndpointReport {
  enum class State { kUnbound, kBound, kDegraded };
  State state = State::kUnbound;
  std::string message;
  std::string netns;
  std::string interface;
  std::vector<IpAddress> observed_addresses;
  std::uint32_t attachments = 0;
  std::uint32_t queue_pairs = 0;
  LimitReport limits;
  bool operator==(const EndpointReport&) const = default;
};

}  // namespace qmasq::vbond

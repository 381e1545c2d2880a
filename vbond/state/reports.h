// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/net_types.h"

namespace qmasq::vbond {

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
  bool operator==(const EndpointReport&) const = default;
};

}  // namespace qmasq::vbond

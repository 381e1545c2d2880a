// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "common/result.h"
#include "qmasq/v1/agent.pb.h"

namespace qmasq::vbond {

// What the local service shows of the agent. Any thread, several at a time; must answer without
// waiting for a tenant or the controller.
class AgentView {
 public:
  virtual ~AgentView() = default;
  [[nodiscard]] virtual v1::Agent describe() = 0;
  // `parent`: "vpcs/{vpc}", "vpcs/{vpc}/endpoints/{endpoint}", or empty for all; checked already.
  [[nodiscard]] virtual std::vector<v1::Connection> connections(const std::string& parent) = 0;
  // The limits of this host, with how they hold.
  [[nodiscard]] virtual v1::HostQos qos() = 0;
  // Says what is wrong with a parent that this host has nothing of: kNotFound, or where it is.
  [[nodiscard]] virtual Status check_known(const std::string& parent) = 0;
};

}  // namespace qmasq::vbond

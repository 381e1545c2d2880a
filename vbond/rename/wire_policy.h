// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "common/net_types.h"

// What a tenant's packets carry besides addresses. The tenant's own wishes never reach the wire;
// QUERY_QP gives them back to it.
namespace qmasq::vbond {

// The UDP source port that the kernel's RoCE v2 drivers derive from a 20-bit flow label (the common
// convention of rdma_flow_label_to_udp_sport): 0xc000 to 0xffff.
[[nodiscard]] constexpr std::uint16_t udp_source_port(std::uint32_t flow_label) {
  return static_cast<std::uint16_t>(0xc000U |
                                    ((flow_label & 0x3fffU) ^ ((flow_label >> 14U) & 0x3fU)));
}
// A label, never 0, that gives the port. A label of 0 would leave the choice to the driver.
// REQUIRES: port >= 0xc000.
[[nodiscard]] constexpr std::uint32_t flow_label_for(std::uint16_t port) {
  return (1U << 14U) | ((port & 0x3fffU) ^ 1U);
}

struct WireQuestion {
  EndpointUid endpoint;
  EndpointUid peer;
  Qpn qpn;
  Qpn peer_qpn;  // 0 where the command does not say
};

struct WireMarks {
  std::uint32_t flow_label = 0;  // 20 bits, not 0
  std::uint8_t traffic_class = 0;
  std::uint8_t sl = 0;
};

// The seam for QoS: a port block for each endpoint, DSCP and service level from its policy.
// Called from any thread; the same question must get the same answer while the policy stands.
class WirePolicy {
 public:
  virtual ~WirePolicy() = default;
  [[nodiscard]] virtual WireMarks marks(const WireQuestion& question) const = 0;
};

// Ports spread over the whole range by endpoint and QP numbers, so that paths in the fabric are
// spread as well; no DSCP.
class SpreadPolicy final : public WirePolicy {
 public:
  [[nodiscard]] WireMarks marks(const WireQuestion& question) const override;
};

}  // namespace qmasq::vbond

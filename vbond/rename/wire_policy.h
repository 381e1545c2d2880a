// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "common/net_types.h"
#include "vbond/rename/verdict.h"

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
// Called from any thread, on the path of a verb: must not wait for a kernel. The same question must
// get the same answer while the policy stands. A refusal (EAGAIN) is for an endpoint whose packets
// nobody could tell from others'.
class WirePolicy {
 public:
  virtual ~WirePolicy() = default;
  [[nodiscard]] virtual Verdict<WireMarks> marks(const WireQuestion& question) const = 0;
};

// Ports spread over the whole range by endpoint and QP numbers, so that paths in the fabric are
// spread as well; no DSCP.
class SpreadPolicy final : public WirePolicy {
 public:
  [[nodiscard]] Verdict<WireMarks> marks(const WireQuestion& question) const override;
};

// 64 bits of a question, the same for the same, spread well.
[[nodiscard]] std::uint64_t spread(const WireQuestion& question);

}  // namespace qmasq::vbond

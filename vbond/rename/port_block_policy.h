// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <unordered_map>
#include <utility>

#include "common/net_types.h"
#include "qos/plan.h"
#include "vbond/rename/big_reader_lock.h"
#include "vbond/rename/wire_policy.h"

namespace qmasq::vbond {

// Marks the packets of each endpoint so that whoever enforces limits can tell them: a UDP source
// port out of the endpoint's block, chosen by QP numbers so that paths in the fabric are spread as
// far as the block is wide, and the DSCP of its policy. Service level 0.
//
// An endpoint without a block is refused (EAGAIN): its packets would count as nobody's and escape
// every limit. Thread-safe; readers do not wait for one another.
class PortBlockPolicy final : public WirePolicy {
 public:
  struct Marking {
    qos::PortBlock ports;  // none (count 0): all are taken
    std::uint8_t traffic_class = 0;
    bool operator==(const Marking&) const = default;
  };
  // Nothing: the endpoint is not on this host any more.
  using Entry = std::pair<EndpointUid, std::optional<Marking>>;

  void update(std::span<const Entry> entries);
  [[nodiscard]] Verdict<WireMarks> marks(const WireQuestion& question) const override;

 private:
  mutable BigReaderLock lock_;
  std::unordered_map<EndpointUid, Marking> markings_;  // guarded by lock_
};

}  // namespace qmasq::vbond

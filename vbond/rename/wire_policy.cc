// SPDX-License-Identifier: Apache-2.0
#include "vbond/rename/wire_policy.h"

namespace qmasq::vbond {

WireMarks SpreadPolicy::marks(const WireQuestion& question) const {
  std::uint64_t hash = question.endpoint.value * 0x9E3779B97F4A7C15ULL;
  hash = (hash ^ (hash >> 32U) ^ question.qpn.value) * 0xD6E8FEB86659FD93ULL;
  hash = (hash ^ (hash >> 32U) ^ question.peer_qpn.value) * 0xD6E8FEB86659FD93ULL;
  return {flow_label_for(static_cast<std::uint16_t>(0xc000U | ((hash >> 40U) & 0x3fffU))), 0, 0};
}

}  // namespace qmasq::vbond

// SPDX-License-Identifier: Apache-2.0
#include "vbond/rename/wire_policy.h"

namespace qmasq::vbond {

std::uint64_t spread(const WireQuestion& question) {
  std::uint64_t hash = question.endpoint.value * 0x9E3779B97F4A7C15ULL;
  hash = (hash ^ (hash >> 32U) ^ question.peer.value) * 0xD6E8FEB86659FD93ULL;
  hash = (hash ^ (hash >> 32U) ^ question.qpn.value) * 0xD6E8FEB86659FD93ULL;
  hash = (hash ^ (hash >> 32U) ^ question.peer_qpn.value) * 0xD6E8FEB86659FD93ULL;
  return hash;
}

Verdict<WireMarks> SpreadPolicy::marks(const WireQuestion& question) const {
  const auto port = static_cast<std::uint16_t>(0xc000U | ((spread(question) >> 40U) & 0x3fffU));
  return WireMarks{flow_label_for(port), 0, 0};
}

}  // namespace qmasq::vbond

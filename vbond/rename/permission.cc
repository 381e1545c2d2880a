// SPDX-License-Identifier: Apache-2.0
#include "vbond/rename/permission.h"

namespace qmasq::vbond {

using conntrack::Operations;
using conntrack::Transport;

Transport transport_of(uverbs::QpType type) {
  switch (type) {
    case uverbs::QpType::kUc:
      return Transport::kUc;
    case uverbs::QpType::kUd:
      return Transport::kUd;
    case uverbs::QpType::kXrcIni:
    case uverbs::QpType::kXrcTgt:
      return Transport::kXrc;
    default:
      return Transport::kRc;
  }
}

std::uint32_t permitted_access(std::uint32_t asked, Operations operations) {
  if (!operations.has(Operations::kRead)) asked &= ~uverbs::access::kRemoteRead;
  if (!operations.has(Operations::kWrite)) asked &= ~uverbs::access::kRemoteWrite;
  if (!operations.has(Operations::kAtomic)) asked &= ~uverbs::access::kRemoteAtomic;
  return asked;
}

}  // namespace qmasq::vbond

// SPDX-License-Identifier: Apache-2.0
#include "vbond/rename/port_block_policy.h"

#include <fmt/format.h>

#include <cerrno>
#include <mutex>

namespace qmasq::vbond {

void PortBlockPolicy::update(std::span<const Entry> entries) {
  std::unique_lock lock(lock_);
  for (const auto& [uid, marking] : entries) {
    if (marking) {
      markings_[uid] = *marking;
    } else {
      markings_.erase(uid);
    }
  }
}

Verdict<WireMarks> PortBlockPolicy::marks(const WireQuestion& question) const {
  Marking marking;
  {
    auto lock = lock_.read();
    auto found = markings_.find(question.endpoint);
    if (found == markings_.end()) {
      return refuse(EAGAIN, fmt::format("endpoint uid {} has no UDP source ports (yet)",
                                        question.endpoint.value));
    }
    marking = found->second;
  }
  if (marking.ports.count == 0) {
    return refuse(EAGAIN,
                  fmt::format("all UDP source ports are taken by other endpoints of this host: "
                              "endpoint uid {} gets none, and its packets could not be told",
                              question.endpoint.value));
  }
  const auto offset =
      static_cast<std::uint16_t>((spread(question) >> 40U) & (marking.ports.count - 1U));
  const auto port = static_cast<std::uint16_t>(marking.ports.first | offset);
  return WireMarks{flow_label_for(port), marking.traffic_class, 0};
}

}  // namespace qmasq::vbond

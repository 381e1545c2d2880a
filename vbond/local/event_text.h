// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"
#include "qmasq/v1/agent.pb.h"
#include "vbond/events/event_log.h"

namespace qmasq::vbond {

[[nodiscard]] v1::Event to_proto(const Event& event);

// "EHOSTUNREACH"; empty for 0, the number for what has no name.
[[nodiscard]] std::string errno_name(int err);

// What a watcher asked for.
class EventFilter {
 public:
  // Errors name the field: `parent` no name of a VPC or endpoint, `types` an unknown type.
  [[nodiscard]] static Result<EventFilter> make(const v1::WatchEventsRequest& request);
  [[nodiscard]] bool matches(const Event& event) const;

 private:
  std::string parent_;
  std::vector<EventType> types_;
};

// "vpcs/{vpc}", "vpcs/{vpc}/endpoints/{endpoint}" or empty.
[[nodiscard]] Status check_parent(const std::string& parent);
// True when `endpoint` is `parent` or in it; everything is in the empty parent.
[[nodiscard]] bool is_in(std::string_view endpoint, std::string_view parent);

}  // namespace qmasq::vbond

// SPDX-License-Identifier: Apache-2.0
#include "vbond/intercept/trap.h"

#include <utility>

#include "vbond/events/event_log.h"

namespace qmasq::vbond {

Answer Trap::refuse(std::string_view verb, int err, std::string reason) const {
  Event event;
  event.type = EventType::kRefused;
  event.endpoint = attachment.endpoint_name;
  event.verb = std::string(verb);
  event.err = err;
  event.reason = std::move(reason);
  event.pid = call.tid;
  event.command = attachment.command;
  services.parts.events.record(std::move(event));
  return Answer::fails(err, Outcome::kRefused);
}

}  // namespace qmasq::vbond

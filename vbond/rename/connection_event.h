// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "vbond/events/event_log.h"
#include "vbond/rename/connection_table.h"

namespace qmasq::vbond {

// Both sides of a connection for people. `path` may be null; it and `peer` may be those of a
// connection that the record is past.
[[nodiscard]] EventConnection event_sides(const Connection& connection, const PathPtr& path,
                                          Qpn peer);

// An event about a connection as its record says it now.
[[nodiscard]] Event connection_event(EventType type, const Connection& connection,
                                     std::string reason);

// A connect or disconnect, as the record of the QP was then.
class ConnectionEvent final : public EventSource {
 public:
  // `path` and `peer`: of the connection that came or went; the record may be past it. `why`: of a
  // disconnect, a constant.
  ConnectionEvent(EventType type, const Connection& connection, PathPtr path, Qpn peer,
                  const char* why);

  [[nodiscard]] EventType type() const override { return type_; }
  [[nodiscard]] Event render() const override;

 private:
  const EventType type_;
  const char* const why_;
  // Of the record, what is told.
  const Connection connection_;
  const PathPtr path_;
  const Qpn peer_;
};

}  // namespace qmasq::vbond

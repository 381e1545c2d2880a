// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "common/result.h"
#include "vbond/access/local_access.h"
#include "vbond/events/event_log.h"
#include "vbond/local/agent_view.h"

namespace qmasq::vbond {

// AgentService (schema/proto/qmasq/v1/agent.proto) on a Unix socket that every process of the host
// may call: root and the group qmasq see all, users of endpoints what is theirs without its
// physical side, programs of tenants nothing (vbond/access/). gRPC's threads serve it; at most 32
// watchers at a time.
class AgentServer {
 public:
  // A socket file that nobody listens on is replaced; one that somebody does is kAlreadyExists.
  // References must outlive the server.
  [[nodiscard]] static Result<std::unique_ptr<AgentServer>> start(const std::string& socket,
                                                                  AgentView& view,
                                                                  const EventLog& events,
                                                                  const LocalAccess& access);
  // Ends all calls and removes the socket file.
  ~AgentServer();
  AgentServer(const AgentServer&) = delete;
  AgentServer& operator=(const AgentServer&) = delete;

 private:
  struct Impl;
  explicit AgentServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace qmasq::vbond

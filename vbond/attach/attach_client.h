// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <string>

#include "common/result.h"
#include "common/unique_fd.h"
#include "vbond/attach/protocol.h"

namespace qmasq::vbond {

// The program's side of the attach protocol, for `qmasq run`. One thread, in this order:
//
//   connect, request                     terms and the endpoint's network namespace
//   setns, mounts, capabilities, install_filter
//   hand_over                            from its return on the agent serves the program; exec
//
// Any error: the program must not exec. After hand_over() failed it can not even go on, since the
// filter stays and nobody listens.
class AttachClient {
 public:
  struct Offer {
    AttachTerms terms;
    UniqueFd netns;
  };

  // How long an agent may take for an answer. Binding an endpoint takes well under a second.
  static constexpr std::chrono::seconds kPatience{60};

  // kUnavailable when nobody listens, with the socket's name in the message. kDeadlineExceeded,
  // here and below, when the agent does not go on for `patience`: it hangs, or has stopped.
  [[nodiscard]] static Result<AttachClient> connect(const std::string& socket,
                                                    std::chrono::milliseconds patience = kPatience);

  // The agent's refusal comes back as it gave it (errno and text).
  [[nodiscard]] Result<Offer> request(const std::string& endpoint, const std::string& command);

  // Gives the listener away and closes it here, so that the program is not its own supervisor if
  // the agent dies. Proves to the agent that the listener is this program's by one trapped call.
  [[nodiscard]] Status hand_over(UniqueFd listener);

 private:
  AttachClient(UniqueFd socket, std::string name)
      : socket_(std::move(socket)), name_(std::move(name)) {}
  UniqueFd socket_;
  std::string name_;
};

}  // namespace qmasq::vbond

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "common/result.h"
#include "common/unique_fd.h"
#include "vbond/netlink/message.h"

namespace qmasq::vbond::netlink {

// Requests and answers over one rtnetlink socket, of the namespace that the opening thread was in.
// For one thread at a time. Waits for the kernel at most 10 s.
class Socket {
 public:
  [[nodiscard]] static Result<Socket> open();

  // Sends the messages together and collects their acknowledgements: result i is of message i.
  // REQUIRES: each asks for one (NLM_F_ACK); together less than 64 KiB.
  [[nodiscard]] std::vector<Status> run(std::span<MessageBuilder> messages);
  [[nodiscard]] Status run(MessageBuilder message);
  // One request that is answered by data; `visit` gets each message.
  [[nodiscard]] Status query(MessageBuilder message, bool dump,
                             const std::function<Status(const Message&)>& visit);

 private:
  explicit Socket(UniqueFd fd) : fd_(std::move(fd)), buffer_(std::size_t{64} * 1024) {}
  [[nodiscard]] Status send(std::span<const std::byte> bytes);
  // The next datagram from the kernel; its messages point into buffer_.
  [[nodiscard]] Result<std::vector<Message>> receive();

  UniqueFd fd_;
  std::vector<std::byte> buffer_;
  std::uint32_t sequence_ = 0;
};

}  // namespace qmasq::vbond::netlink

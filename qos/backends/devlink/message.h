// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/result.h"
#include "qos/backends/devlink/rates.h"

// devlink's generic netlink messages as bytes: no socket here. Source: uapi linux/devlink.h,
// linux/genetlink.h. The parsers
// take anything: what does not add up is an error, never a read outside the span.
namespace qmasq::qos::devlink {

using Bytes = std::span<const std::byte>;

// Requests, whole netlink messages. `family`: of this boot, from parse_family().
[[nodiscard]] std::vector<std::byte> ask_family(std::uint32_t sequence);
struct Target {
  std::uint16_t family = 0;
  Handle handle;
};
[[nodiscard]] std::vector<std::byte> ask_device(const Target& target, std::uint32_t sequence);
// All devices' rate objects: the kernel does not choose before 6.3.
[[nodiscard]] std::vector<std::byte> ask_objects(const Target& target, std::uint32_t sequence);
[[nodiscard]] std::vector<std::byte> ask_object(const Target& target, const RateId& id,
                                                std::uint32_t sequence);
[[nodiscard]] std::vector<std::byte> new_node(const Target& target, const std::string& name,
                                              std::uint32_t sequence);
[[nodiscard]] std::vector<std::byte> set_object(const Target& target, const RateId& id,
                                                const RateChange& change, std::uint32_t sequence);
[[nodiscard]] std::vector<std::byte> delete_node(const Target& target, const std::string& name,
                                                 std::uint32_t sequence);

struct Message {
  std::uint16_t type = 0;
  std::uint16_t flags = 0;
  std::uint32_t sequence = 0;
  Bytes whole;  // with its header
};
// The messages of one datagram; they point into it. An error where a length does not fit: nothing
// of such a datagram can be trusted.
[[nodiscard]] Result<std::vector<Message>> split_messages(Bytes datagram);

// CTRL_CMD_NEWFAMILY: the family's number.
[[nodiscard]] Result<std::uint16_t> parse_family(const Message& message);
// DEVLINK_CMD_RATE_NEW. Nothing: a rate object of a type that is not known here.
struct OwnedObject {
  Handle handle;
  RateObject object;
};
[[nodiscard]] Result<std::optional<OwnedObject>> parse_object(const Message& message);

// NLMSG_ERROR, which is also the acknowledgement, and NLMSG_DONE, which ends a dump.
struct Ack {
  int err = 0;       // 0: done
  std::string text;  // the kernel's own words, or empty
};
[[nodiscard]] Result<Ack> parse_ack(const Message& message);

}  // namespace qmasq::qos::devlink

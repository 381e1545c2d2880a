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
#include "qos/backends/tc/types.h"

// Messages of traffic control as bytes (linux/rtnetlink.h, pkt_sched.h, pkt_cls.h): no socket here.
// The parsers take anything: what is too short or inconsistent is an error or not there, never a
// read outside the span. Any thread.
namespace qmasq::qos::tc {

using Bytes = std::span<const std::byte>;

// A request for an acknowledgement comes with each operation.
[[nodiscard]] std::vector<std::byte> encode(const Operation& operation, int device,
                                            std::uint32_t sequence);
enum class Dump { kQdiscs, kClasses, kFilters };
// Classes and filters: of this root qdisc.
[[nodiscard]] std::vector<std::byte> encode_dump(Dump what, Handle qdisc, int device,
                                                 std::uint32_t sequence);

struct Message {
  std::uint16_t type = 0;
  std::uint16_t flags = 0;
  std::uint32_t sequence = 0;
  Bytes payload;
};
// Calls `visit` for each message of a datagram; they point into it. An error when a length does not
// fit; what came before has been visited. REQUIRES: data aligned to 4 bytes.
[[nodiscard]] Status for_each_message(Bytes datagram,
                                      const std::function<void(const Message&)>& visit);

// By message type, of what is on `device`. Nothing: on another one, or not for us to know (hidden
// or of another kind). REQUIRES: as for_each_message() gave it.
[[nodiscard]] Result<std::optional<Qdisc>> parse_qdisc(Bytes payload, int device);
[[nodiscard]] Result<std::optional<Class>> parse_class(Bytes payload, int device);
[[nodiscard]] Result<std::optional<Filter>> parse_filter(Bytes payload, int device);

// NLMSG_ERROR, which is also the acknowledgement.
struct Ack {
  int err = 0;       // 0: done
  std::string text;  // the kernel's own words, or empty
};
[[nodiscard]] Result<Ack> parse_ack(const Message& message);

}  // namespace qmasq::qos::tc

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>

// What of traffic control (tc(8), tc-htb(8), tc-flower(8), linux/pkt_sched.h, linux/pkt_cls.h)
// qmasq makes or reads, as values. All of one network device's egress.
namespace qmasq::qos::tc {

// Of a qdisc or a class: major << 16 | minor. A qdisc has minor 0; handle 0 is the kernel's own.
using Handle = std::uint32_t;
inline constexpr Handle kRoot = 0xffffffff;  // TC_H_ROOT, the parent of a root qdisc and its class
inline constexpr Handle kOurs = 0x716d0000;  // "qm": the mark of our root qdisc
[[nodiscard]] constexpr Handle with_minor(std::uint16_t minor) {
  return kOurs | minor;
}
[[nodiscard]] constexpr std::uint16_t minor_of(Handle handle) {
  return static_cast<std::uint16_t>(handle & 0xffffU);
}
[[nodiscard]] std::string handle_to_string(Handle handle);  // "716d:1a", as tc(8) writes it

struct Qdisc {
  Handle handle = 0;
  Handle parent = kRoot;
  std::string kind;  // "htb", "mq"
  bool operator==(const Qdisc&) const = default;
};

// Of Ethernet frames.
struct ClassStats {
  std::uint64_t bytes = 0;
  std::uint64_t packets = 0;
  std::uint32_t drops = 0;
  std::uint32_t overlimits = 0;
  std::uint32_t backlog = 0;  // bytes
  bool operator==(const ClassStats&) const = default;
};

// A class of HTB. `buffer` and `cbuffer` are how long it may run ahead of its rate and its ceil, in
// ticks of 64 ns (PSCHED_SHIFT). The two `mpu` (a frame counts as at least so many bytes) are kept
// and reported by the kernel, and say nothing for frames that are longer anyway.
struct Class {
  Handle id = 0;
  Handle parent = kRoot;
  std::uint64_t rate = 0;  // bytes per second
  std::uint64_t ceil = 0;  // bytes per second
  std::uint16_t rate_mpu = 0;
  std::uint16_t ceil_mpu = 0;
  std::uint32_t buffer = 0;
  std::uint32_t cbuffer = 0;
  std::uint32_t quantum = 0;  // bytes; the kernel never changes it in a class that has children
  ClassStats stats;           // as read
  bool operator==(const Class&) const = default;
};

// Ports of UDP that a filter takes.
struct FilterMatch {
  std::uint16_t destination_port = 0;
  std::uint16_t source_port = 0;
  std::uint16_t source_mask = 0;  // 0: any
  bool operator==(const FilterMatch&) const = default;
};

// A filter at the root: UDP to a port, from ports that are `source_port` under a mask, goes to a
// class. What is in the kernel and is none of that form has `match` empty.
struct Filter {
  using Match = FilterMatch;
  std::uint16_t priority = 0;   // lower ones are asked first; one protocol for each
  std::uint16_t protocol = 0;   // ETH_P_IP or ETH_P_IPV6
  std::uint32_t handle = 0;     // never 0
  std::string kind = "flower";  // as read
  Handle target = 0;
  std::optional<Match> match;
  bool operator==(const Filter&) const = default;
};

// What apply() does. Additions are exclusive: EEXIST when it is there.
struct AddQdisc {
  Handle handle = 0;  // HTB at the root; what it does not classify goes out as it came
};
struct DeleteQdisc {
  Handle handle = 0;  // at the root; with all its classes and filters
};
struct AddClass {
  Class spec;
};
struct ChangeClass {
  Class spec;  // not its parent
};
struct DeleteClass {
  Handle id = 0;
};
struct AddFilter {
  Filter spec;  // REQUIRES: spec.match
};
struct DeleteFilter {
  std::uint16_t priority = 0;
  std::uint16_t protocol = 0;
  std::uint32_t handle = 0;
};
using Operation = std::variant<AddQdisc, DeleteQdisc, AddClass, ChangeClass, DeleteClass, AddFilter,
                               DeleteFilter>;

}  // namespace qmasq::qos::tc

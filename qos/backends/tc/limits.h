// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "qos/backends/tc/types.h"
#include "qos/plan.h"

// A node's limits as a class of HTB, and back. Pure, any thread.
//
// * Rates are bytes per second in the kernel: rounded down to 8 bit/s, never to 0.
// * Burst is how far a class may run ahead of its ceiling (cbuffer), and so of its guarantee, of
//   which at most a second (buffer). The kernel keeps them as time, in ticks of 64 ns: at 100
//   Gbit/s one is 800 bytes. At most 274 s. Read back it is the roundest of the sizes that come to
//   the same ticks: what people write and what is a time at the node's rate comes back as it was.
// * HTB takes no weight from a class with children. Shares are those of endpoints: `quantum`, how
//   many bytes it sends when it is its turn, is kFrame times the endpoint's weight times its VPC's
//   (of kDefaultWeight). So endpoints of a VPC share by their weights, and VPCs by theirs where
//   equally many of their endpoints are busy. A quantum below a frame would not count.
// * The weight itself is in the low bits of `buffer` (16 us at most), where the kernel takes
//   changes of any class; the mark is in the two mpu, which are less than any frame.
namespace qmasq::qos::tc {

// The largest frame of RoCE v2: 4096 bytes, IPv6, all headers, ICRC. The kernel's warning about
// quanta above 200000 is about those that it computed itself.
inline constexpr std::uint32_t kFrame = 4228;
inline constexpr std::uint64_t kSlackBytes = 512 * 1024;
inline constexpr std::uint16_t kRateMark = 0x17;
inline constexpr std::uint16_t kCeilMark = 0x2d;

// REQUIRES: node.weight of 1 to kMaxWeight. parent_weight: of an endpoint's VPC.
[[nodiscard]] Class to_class(const Node& node, Handle id, Handle parent,
                             std::uint32_t parent_weight);
// All but id, parent and ports.
[[nodiscard]] Node limits_of(const Class& spec);
[[nodiscard]] bool is_marked(const Class& spec);
// `node` as readback() has it after it was programmed.
[[nodiscard]] Node as_programmed(const Node& node);

}  // namespace qmasq::qos::tc

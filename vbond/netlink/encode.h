// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "vbond/netlink/message.h"
#include "vbond/netlink/types.h"

// Operations as netlink messages.
namespace qmasq::vbond::netlink {

// `sequence` is filled in by finish().
[[nodiscard]] MessageBuilder encode(const AddLink& operation);
[[nodiscard]] MessageBuilder encode(const DeleteLink& operation);
[[nodiscard]] MessageBuilder encode(const AddAddress& operation, int index);
[[nodiscard]] MessageBuilder encode(const DeleteAddress& operation, int index);
[[nodiscard]] MessageBuilder encode(const PutNeighbour& operation, int index);
[[nodiscard]] MessageBuilder encode(const DeleteNeighbour& operation, int index);
[[nodiscard]] MessageBuilder encode(const PutFdb& operation, int index);
[[nodiscard]] MessageBuilder encode(const DeleteFdb& operation, int index);

// One SetLink takes several messages: a link must be a port before its port flags can be set, and
// all should be set before it comes up.
struct SetLinkStep {
  MessageBuilder message;
  bool needs_ipv6 = false;  // EAFNOSUPPORT then means: nothing to do
};
[[nodiscard]] std::vector<SetLinkStep> encode(const SetLink& operation, int index, int master);

}  // namespace qmasq::vbond::netlink

// SPDX-License-Identifier: Apache-2.0
#include "vbond/netlink/types.h"

#include <type_traits>

namespace qmasq::vbond::netlink {
namespace {

template <typename... Visitors>
struct Overloaded : Visitors... {
  using Visitors::operator()...;
};
template <typename... Visitors>
Overloaded(Visitors...) -> Overloaded<Visitors...>;

}  // namespace

std::string describe(const Operation& operation) {
  return std::visit(
      Overloaded{
          [](const AddLink& op) { return "add link " + op.link.name; },
          [](const SetLink& op) { return "set link " + op.name; },
          [](const DeleteLink& op) { return "delete link " + op.name; },
          [](const AddAddress& op) { return "add address " + to_string(op.ip) + " on " + op.link; },
          [](const DeleteAddress& op) {
            return "delete address " + to_string(op.ip) + " on " + op.link;
          },
          [](const PutNeighbour& op) {
            return "set neighbour " + to_string(op.ip) + " on " + op.link;
          },
          [](const DeleteNeighbour& op) {
            return "delete neighbour " + to_string(op.ip) + " on " + op.link;
          },
          [](const PutFdb& op) {
            return "set forwarding entry " + to_string(op.mac) + " on " + op.link;
          },
          [](const DeleteFdb& op) {
            return "delete forwarding entry " + to_string(op.mac) + " on " + op.link;
          },
      },
      operation);
}

const std::string& link_of(const Operation& operation) {
  return std::visit(
      [](const auto& op) -> const std::string& {
        using Op = std::decay_t<decltype(op)>;
        if constexpr (std::is_same_v<Op, AddLink>) {
          return op.link.name;
        } else if constexpr (std::is_same_v<Op, SetLink> || std::is_same_v<Op, DeleteLink>) {
          return op.name;
        } else {
          return op.link;
        }
      },
      operation);
}

}  // namespace qmasq::vbond::netlink

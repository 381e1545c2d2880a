// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "common/result.h"
#include "vbond/netlink/types.h"

// Netlink messages as bytes: no socket here. The parsers take anything: what is too short or
// inconsistent is an error or an attribute that is not there, never a read outside the span.
namespace qmasq::vbond::netlink {

using Bytes = std::span<const std::byte>;

// Writes one message. Attributes are native-endian, padded to 4 bytes (RTA_ALIGN).
class MessageBuilder {
 public:
  // `header`: the family's fixed structure (ifinfomsg, ifaddrmsg, ndmsg).
  template <typename Header>
  MessageBuilder(std::uint16_t type, std::uint16_t flags, const Header& header) {
    static_assert(std::is_trivially_copyable_v<Header>);
    start(type, flags, &header, sizeof header);
  }
  MessageBuilder& add(std::uint16_t type, const void* data, std::size_t size);
  MessageBuilder& add(std::uint16_t type, Bytes data) {
    return add(type, data.data(), data.size());
  }
  MessageBuilder& u8(std::uint16_t type, std::uint8_t value) { return add(type, &value, 1); }
  MessageBuilder& u32(std::uint16_t type, std::uint32_t value) { return add(type, &value, 4); }
  MessageBuilder& be16(std::uint16_t type, std::uint16_t host_order);
  // With the terminating zero.
  MessageBuilder& text(std::uint16_t type, const std::string& value);
  MessageBuilder& mac(std::uint16_t type, const Mac& value) {
    return add(type, value.bytes.data(), 6);
  }
  // 4 or 16 bytes, by family.
  MessageBuilder& ip(std::uint16_t type, const IpAddress& value);
  // Attributes that `fill` adds go inside.
  template <typename Fill>
  MessageBuilder& nest(std::uint16_t type, Fill fill) {
    std::size_t at = open(type);
    fill(*this);
    close(at);
    return *this;
  }
  // Bytes without an attribute header (the ifinfomsg inside VETH_INFO_PEER).
  MessageBuilder& raw(const void* data, std::size_t size);
  // The finished message.
  [[nodiscard]] std::vector<std::byte> finish(std::uint32_t sequence);

 private:
  void start(std::uint16_t type, std::uint16_t flags, const void* header, std::size_t size);
  std::size_t open(std::uint16_t type);
  void close(std::size_t at);
  std::vector<std::byte> bytes_;
};

struct Message {
  std::uint16_t type = 0;
  std::uint16_t flags = 0;
  std::uint32_t sequence = 0;
  Bytes payload;
};
// The messages of one datagram; they point into it. An error when a length does not fit: what came
// before is lost, as nothing in such a datagram can be trusted.
[[nodiscard]] Result<std::vector<Message>> split_messages(Bytes datagram);

// Calls `visit` for each attribute, type without flag bits. False: the lengths do not add up;
// what came before the bad one has been visited.
bool for_each_attribute(Bytes attributes, const std::function<void(std::uint16_t, Bytes)>& visit);

// Payloads by message type.
[[nodiscard]] Result<Link> parse_link(Bytes payload);        // RTM_NEWLINK
[[nodiscard]] Result<Address> parse_address(Bytes payload);  // RTM_NEWADDR
// RTM_NEWNEIGH of an address family / of AF_BRIDGE. Nothing for what the agent does not follow
// (other families, entries of a VLAN).
[[nodiscard]] Result<std::optional<Neighbour>> parse_neighbour(Bytes payload);
[[nodiscard]] Result<std::optional<FdbEntry>> parse_fdb(Bytes payload);

// NLMSG_ERROR, which is also the acknowledgement.
struct Ack {
  int err = 0;       // 0: done
  std::string text;  // the kernel's own words, or empty
};
[[nodiscard]] Result<Ack> parse_ack(const Message& message);

}  // namespace qmasq::vbond::netlink

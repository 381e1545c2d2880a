// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <string_view>

#include "common/result.h"

// Addresses and numbers that go by name across qmasq. All byte arrays are in network order; all
// integers in host order unless a name says otherwise. Value types: copy freely, any thread.
namespace qmasq {

// VXLAN network identifier, 24 bits, 1..16777215. One for each VPC.
struct Vni {
  std::uint32_t value = 0;
  auto operator<=>(const Vni&) const = default;
};
inline constexpr std::uint32_t kMaxVni = (1U << 24) - 1;

// Queue pair number, 24 bits.
struct Qpn {
  std::uint32_t value = 0;
  auto operator<=>(const Qpn&) const = default;
};

// A revision of the controller's state. 0: nothing yet.
struct Revision {
  std::uint64_t value = 0;
  auto operator<=>(const Revision&) const = default;
};

// Numbers the controller gives, never used twice.
struct VpcUid {
  std::uint64_t value = 0;
  auto operator<=>(const VpcUid&) const = default;
};
struct EndpointUid {
  std::uint64_t value = 0;
  auto operator<=>(const EndpointUid&) const = default;
};
struct HostUid {
  std::uint64_t value = 0;
  auto operator<=>(const HostUid&) const = default;
};
struct SecurityGroupUid {
  std::uint64_t value = 0;
  auto operator<=>(const SecurityGroupUid&) const = default;
};
struct QosPolicyUid {
  std::uint64_t value = 0;
  auto operator<=>(const QosPolicyUid&) const = default;
};

struct Mac {
  std::array<std::uint8_t, 6> bytes{};
  auto operator<=>(const Mac&) const = default;
  [[nodiscard]] bool is_multicast() const { return (bytes[0] & 1U) != 0; }
  [[nodiscard]] bool is_zero() const { return *this == Mac{}; }
};
// "02:00:5e:10:00:01"
[[nodiscard]] std::string to_string(const Mac& mac);
[[nodiscard]] Result<Mac> parse_mac(std::string_view text);

// An IPv4 or IPv6 address. IPv4 is kept in its v4-mapped form (::ffff:a.b.c.d, RFC 4291 2.5.5.2),
// which is also the form it takes in a RoCE v2 GID.
struct IpAddress {
  std::array<std::uint8_t, 16> bytes{};
  auto operator<=>(const IpAddress&) const = default;
  [[nodiscard]] bool is_v4() const;
  [[nodiscard]] bool is_unspecified() const;  // 0.0.0.0 or ::
  [[nodiscard]] bool is_multicast() const;
  [[nodiscard]] bool is_loopback() const;
  [[nodiscard]] bool is_link_local() const;
  // The last four bytes in host order. REQUIRES: is_v4().
  [[nodiscard]] std::uint32_t v4() const;
  static IpAddress from_v4(std::uint32_t host_order);
};
[[nodiscard]] std::string to_string(const IpAddress& address);
[[nodiscard]] Result<IpAddress> parse_ip(std::string_view text);

// An address range. `length` counts bits of the family's own width (0..32 or 0..128).
struct IpPrefix {
  IpAddress address;
  std::uint8_t length = 0;
  auto operator<=>(const IpPrefix&) const = default;
  [[nodiscard]] bool contains(const IpAddress& ip) const;
  [[nodiscard]] bool overlaps(const IpPrefix& other) const;
};
[[nodiscard]] std::string to_string(const IpPrefix& prefix);
// Refuses set host bits and names the range that was probably meant.
[[nodiscard]] Result<IpPrefix> parse_prefix(std::string_view text);

// Global identifier of a RoCE port (InfiniBand spec 4.1.1, RoCE v2 annex A17).
struct Gid {
  std::array<std::uint8_t, 16> raw{};
  auto operator<=>(const Gid&) const = default;
  [[nodiscard]] bool is_zero() const { return *this == Gid{}; }
  [[nodiscard]] IpAddress address() const { return IpAddress{raw}; }
  static Gid from_ip(const IpAddress& address) { return Gid{address.bytes}; }
  // fe80::/64 with the modified EUI-64 of the MAC (RFC 4291 appendix A).
  static Gid link_local(const Mac& mac);
};
// As sysfs prints it: eight groups of four hexadecimal digits, never shortened.
[[nodiscard]] std::string to_string(const Gid& gid);
// Takes the sysfs form and any IPv4 or IPv6 text.
[[nodiscard]] Result<Gid> parse_gid(std::string_view text);

}  // namespace qmasq

template <>
struct std::hash<qmasq::Gid> {
  std::size_t operator()(const qmasq::Gid& gid) const noexcept {
    std::uint64_t high = 0;
    std::uint64_t low = 0;
    std::memcpy(&high, gid.raw.data(), 8);
    std::memcpy(&low, gid.raw.data() + 8, 8);
    // Addresses of one VPC differ in few low bits; the multiply spreads them over the word.
    std::uint64_t mixed = (low ^ (high * 0x9E3779B97F4A7C15ULL)) * 0xD6E8FEB86659FD93ULL;
    return static_cast<std::size_t>(mixed ^ (mixed >> 32U));
  }
};
template <>
struct std::hash<qmasq::EndpointUid> {
  std::size_t operator()(qmasq::EndpointUid id) const noexcept { return id.value; }
};
template <>
struct std::hash<qmasq::VpcUid> {
  std::size_t operator()(qmasq::VpcUid id) const noexcept { return id.value; }
};
template <>
struct std::hash<qmasq::HostUid> {
  std::size_t operator()(qmasq::HostUid id) const noexcept { return id.value; }
};
template <>
struct std::hash<qmasq::SecurityGroupUid> {
  std::size_t operator()(qmasq::SecurityGroupUid id) const noexcept { return id.value; }
};
template <>
struct std::hash<qmasq::QosPolicyUid> {
  std::size_t operator()(qmasq::QosPolicyUid id) const noexcept { return id.value; }
};
template <>
struct std::hash<qmasq::Vni> {
  std::size_t operator()(qmasq::Vni vni) const noexcept { return vni.value; }
};

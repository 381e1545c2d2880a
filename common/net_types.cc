// SPDX-License-Identifier: Apache-2.0
#include "common/net_types.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace qmasq {
namespace {

constexpr std::array<std::uint8_t, 12> kV4Mapped = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

// Width in bits that a prefix length of this address counts in, and the bits before them.
int family_bits(const IpAddress& address) {
  return address.is_v4() ? 32 : 128;
}
int family_offset(const IpAddress& address) {
  return address.is_v4() ? 96 : 0;
}

IpAddress masked(const IpAddress& address, int bits) {
  IpAddress out = address;
  for (int i = 0; i < 16; ++i) {
    int keep = std::clamp(bits - i * 8, 0, 8);
    out.bytes[i] &= static_cast<std::uint8_t>(0xff00U >> static_cast<unsigned>(keep));
  }
  return out;
}

}  // namespace

std::string to_string(const Mac& mac) {
  const auto& b = mac.bytes;
  return fmt::format("{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", b[0], b[1], b[2], b[3], b[4],
                     b[5]);
}

Result<Mac> parse_mac(std::string_view text) {
  Mac mac;
  auto wrong = [&] {
    return fail(Code::kInvalidArgument,
                fmt::format("'{}' is not a MAC address: write it as 02:00:00:00:00:01", text));
  };
  if (text.size() != 17) return wrong();
  for (std::size_t i = 0; i < 6; ++i) {
    const char* first = text.data() + i * 3;
    auto [end, error] = std::from_chars(first, first + 2, mac.bytes[i], 16);
    if (error != std::errc{} || end != first + 2) return wrong();
    if (i < 5 && text[i * 3 + 2] != ':') return wrong();
  }
  return mac;
}

bool IpAddress::is_v4() const {
  return std::equal(kV4Mapped.begin(), kV4Mapped.end(), bytes.begin());
}

bool IpAddress::is_unspecified() const {
  return *this == IpAddress{} || (is_v4() && v4() == 0);
}

bool IpAddress::is_multicast() const {
  return is_v4() ? (v4() >> 28U) == 0xe : bytes[0] == 0xff;
}

bool IpAddress::is_loopback() const {
  if (is_v4()) return (v4() >> 24U) == 127;
  IpAddress one;
  one.bytes[15] = 1;
  return *this == one;
}

bool IpAddress::is_link_local() const {
  if (is_v4()) return (v4() >> 16U) == 0xa9fe;
  return bytes[0] == 0xfe && (bytes[1] & 0xc0U) == 0x80;
}

std::uint32_t IpAddress::v4() const {
  return static_cast<std::uint32_t>(bytes[12]) << 24U |
         static_cast<std::uint32_t>(bytes[13]) << 16U |
         static_cast<std::uint32_t>(bytes[14]) << 8U | bytes[15];
}

IpAddress IpAddress::from_v4(std::uint32_t host_order) {
  IpAddress out;
  std::copy(kV4Mapped.begin(), kV4Mapped.end(), out.bytes.begin());
  for (unsigned i = 0; i < 4; ++i) {
    out.bytes[12 + i] = static_cast<std::uint8_t>(host_order >> (24U - 8U * i));
  }
  return out;
}

std::string to_string(const IpAddress& address) {
  char text[INET6_ADDRSTRLEN] = {};
  if (address.is_v4()) {
    inet_ntop(AF_INET, address.bytes.data() + 12, text, sizeof text);
  } else {
    inet_ntop(AF_INET6, address.bytes.data(), text, sizeof text);
  }
  return text;
}

Result<IpAddress> parse_ip(std::string_view text) {
  std::string terminated(text);
  IpAddress out;
  if (in_addr v4{}; inet_pton(AF_INET, terminated.c_str(), &v4) == 1) {
    return IpAddress::from_v4(ntohl(v4.s_addr));
  }
  if (inet_pton(AF_INET6, terminated.c_str(), out.bytes.data()) == 1) return out;
  return fail(Code::kInvalidArgument, fmt::format("'{}' is not an IPv4 or IPv6 address", text));
}

bool IpPrefix::contains(const IpAddress& ip) const {
  if (ip.is_v4() != address.is_v4()) return false;
  int bits = family_offset(address) + length;
  return masked(ip, bits) == masked(address, bits);
}

bool IpPrefix::overlaps(const IpPrefix& other) const {
  return length <= other.length ? contains(other.address) : other.contains(address);
}

std::string to_string(const IpPrefix& prefix) {
  return fmt::format("{}/{}", to_string(prefix.address), prefix.length);
}

Result<IpPrefix> parse_prefix(std::string_view text) {
  auto slash = text.find('/');
  if (slash == std::string_view::npos) {
    return fail(Code::kInvalidArgument,
                fmt::format("'{}' is not an address range: write it as 10.0.0.0/24", text));
  }
  QMASQ_ASSIGN(IpAddress address, parse_ip(text.substr(0, slash)));
  int length = -1;
  std::string_view digits = text.substr(slash + 1);
  auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), length);
  if (error != std::errc{} || end != digits.data() + digits.size() || length < 0 ||
      length > family_bits(address)) {
    return fail(Code::kInvalidArgument,
                fmt::format("'{}': the prefix length must be 0 to {}", text, family_bits(address)));
  }
  IpAddress base = masked(address, family_offset(address) + length);
  if (base != address) {
    return fail(Code::kInvalidArgument, fmt::format("'{}' has host bits set: did you mean {}/{}?",
                                                    text, to_string(base), length));
  }
  return IpPrefix{address, static_cast<std::uint8_t>(length)};
}

Gid Gid::link_local(const Mac& mac) {
  const auto& m = mac.bytes;
  return Gid{{0xfe, 0x80, 0, 0, 0, 0, 0, 0, static_cast<std::uint8_t>(m[0] ^ 2U), m[1], m[2], 0xff,
              0xfe, m[3], m[4], m[5]}};
}

std::string to_string(const Gid& gid) {
  std::string out;
  for (std::size_t i = 0; i < 16; i += 2) {
    fmt::format_to(std::back_inserter(out), "{}{:02x}{:02x}", i == 0 ? "" : ":", gid.raw[i],
                   gid.raw[i + 1]);
  }
  return out;
}

Result<Gid> parse_gid(std::string_view text) {
  auto address = parse_ip(text);
  if (!address) return fail(Code::kInvalidArgument, fmt::format("'{}' is not a GID", text));
  return Gid::from_ip(*address);
}

}  // namespace qmasq

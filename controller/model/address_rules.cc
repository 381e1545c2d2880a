// SPDX-License-Identifier: Apache-2.0
#include "controller/model/address_rules.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>

namespace qmasq::controller {
namespace {

struct Forbidden {
  std::string_view range;
  std::string_view why;
};

// What a VPC's range must not touch.
constexpr std::array<Forbidden, 8> kForbidden = {{
    {"0.0.0.0/8", "means 'this network'"},
    {"127.0.0.0/8", "is loopback"},
    {"224.0.0.0/4", "is multicast"},
    {"255.255.255.255/32", "is the limited broadcast address"},
    {"::/16", "holds the unspecified, loopback and IPv4-mapped addresses"},
    {"fe80::/10", "is link-local: each endpoint has such an address already, made from its MAC"},
    {"fec0::/10", "is the deprecated site-local range"},
    {"ff00::/8", "is multicast"},
}};

// An id of a list element: "vpc.ranges[1]".
std::string element(std::string_view field, std::size_t index) {
  return fmt::format("{}[{}]", field, index);
}

U128 host_mask(const IpPrefix& range) {
  int bits = (range.address.is_v4() ? 32 : 128) - range.length;
  return bits >= 128 ? ~U128{0} : (U128{1} << static_cast<unsigned>(bits)) - 1;
}

tl::unexpected<Error> in_field(Error error, std::string field) {
  error.field = std::move(field);
  return tl::unexpected<Error>(std::move(error));
}

}  // namespace

U128 to_number(const IpAddress& address) {
  U128 number = 0;
  for (auto byte : address.bytes)
    number = number << 8U | byte;
  return number;
}

IpAddress from_number(U128 number) {
  IpAddress address;
  for (std::size_t i = 16; i-- > 0; number >>= 8U) {
    address.bytes[i] = static_cast<std::uint8_t>(number & 0xffU);
  }
  return address;
}

std::pair<U128, U128> bounds(const IpPrefix& range) {
  U128 first = to_number(range.address);
  return {first, first | host_mask(range)};
}

std::pair<U128, U128> usable_bounds(const IpPrefix& range) {
  auto [first, last] = bounds(range);
  if (last - first < 3) return {first, last};
  return {first + 1, range.address.is_v4() ? last - 1 : last};
}

Result<std::vector<IpPrefix>> check_ranges(std::span<const std::string> texts,
                                           std::string_view field) {
  if (texts.empty()) {
    return fail(Code::kInvalidArgument, "a VPC needs at least one address range (10.0.0.0/24)",
                std::string(field));
  }
  if (texts.size() > kMaxRanges) {
    return fail(Code::kInvalidArgument,
                fmt::format("{} ranges: at most {} in one VPC", texts.size(), kMaxRanges),
                std::string(field));
  }
  std::vector<IpPrefix> ranges;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    if (texts[i].size() > 64) {
      return fail(Code::kInvalidArgument, "this is no address range: write it as 10.0.0.0/24",
                  element(field, i));
    }
    auto range = parse_prefix(texts[i]);
    if (!range) return in_field(std::move(range).error(), element(field, i));
    for (const auto& [text, why] : kForbidden) {
      auto forbidden = parse_prefix(text);
      if (forbidden && forbidden->overlaps(*range)) {
        return fail(Code::kInvalidArgument,
                    fmt::format("{} cannot be used: {} {}", to_string(*range), text, why),
                    element(field, i));
      }
    }
    for (std::size_t j = 0; j < ranges.size(); ++j) {
      if (!ranges[j].overlaps(*range)) continue;
      return fail(Code::kInvalidArgument,
                  fmt::format("{} overlaps {} ({}) of the same VPC", to_string(*range),
                              to_string(ranges[j]), element(field, j)),
                  element(field, i));
    }
    ranges.push_back(*range);
  }
  return ranges;
}

Status check_address(const IpAddress& address, std::span<const IpPrefix> ranges,
                     std::string_view field) {
  auto refuse = [&](std::string_view why) {
    return fail(Code::kInvalidArgument, fmt::format("{} {}", to_string(address), why),
                std::string(field));
  };
  if (address.is_unspecified()) return refuse("is the unspecified address");
  if (address.is_multicast()) return refuse("is a multicast address");
  if (address.is_loopback()) return refuse("is a loopback address");
  auto range = std::find_if(ranges.begin(), ranges.end(),
                            [&](const IpPrefix& r) { return r.contains(address); });
  if (range == ranges.end()) {
    std::string all;
    for (std::size_t i = 0; i < ranges.size() && i < 8; ++i) {
      all += (i == 0 ? "" : ", ") + to_string(ranges[i]);
    }
    if (ranges.size() > 8) all += ", ...";
    return refuse(fmt::format("is in no range of the VPC ({})", all));
  }
  auto [first, last] = usable_bounds(*range);
  U128 number = to_number(address);
  if (number < first) return refuse(fmt::format("is the network address of {}", to_string(*range)));
  if (number > last) {
    return refuse(fmt::format("is the broadcast address of {}", to_string(*range)));
  }
  return {};
}

Result<std::vector<IpAddress>> check_addresses(std::span<const std::string> texts,
                                               std::span<const IpPrefix> ranges,
                                               std::string_view field) {
  if (texts.size() > kMaxAddresses) {
    return fail(Code::kInvalidArgument,
                fmt::format("{} addresses: at most {} for one endpoint (its virtual GID table)",
                            texts.size(), kMaxAddresses),
                std::string(field));
  }
  std::vector<IpAddress> addresses;
  std::set<IpAddress> seen;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    if (texts[i].size() > 64) {
      return fail(Code::kInvalidArgument, "this is no IPv4 or IPv6 address", element(field, i));
    }
    auto address = parse_ip(texts[i]);
    if (!address) return in_field(std::move(address).error(), element(field, i));
    QMASQ_TRY(check_address(*address, ranges, element(field, i)));
    if (!seen.insert(*address).second) {
      return fail(Code::kInvalidArgument, fmt::format("{} is in the list twice", texts[i]),
                  element(field, i));
    }
    addresses.push_back(*address);
  }
  return addresses;
}

std::vector<std::pair<U128, U128>> gaps_between(std::span<const IpPrefix> ranges) {
  std::vector<std::pair<U128, U128>> used;
  for (const auto& range : ranges)
    used.push_back(bounds(range));
  std::sort(used.begin(), used.end());
  std::vector<std::pair<U128, U128>> gaps;
  U128 next = 0;
  for (auto [first, last] : used) {
    if (next < first) gaps.emplace_back(next, first - 1);
    if (last == ~U128{0}) return gaps;
    next = last + 1;
  }
  gaps.emplace_back(next, ~U128{0});
  return gaps;
}

std::vector<U128> reserved_in(std::span<const IpPrefix> ranges) {
  std::vector<U128> out;
  for (const auto& range : ranges) {
    auto [first, last] = bounds(range);
    auto [usable_first, usable_last] = usable_bounds(range);
    if (first != usable_first) out.push_back(first);
    if (last != usable_last) out.push_back(last);
  }
  return out;
}

}  // namespace qmasq::controller

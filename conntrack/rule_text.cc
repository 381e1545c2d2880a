// SPDX-License-Identifier: Apache-2.0
#include "conntrack/rule_text.h"

#include <fmt/format.h>

#include <array>
#include <utility>

namespace qmasq::conntrack {
namespace {

struct OperationName {
  const char* name;
  std::uint8_t bit;
};
constexpr std::array<OperationName, 4> kOperationNames = {{{"send", Operations::kSend},
                                                           {"read", Operations::kRead},
                                                           {"write", Operations::kWrite},
                                                           {"atomic", Operations::kAtomic}}};

// Of what came, for an error message.
std::string_view shown(std::string_view text) {
  constexpr std::size_t kMost = 80;
  return text.substr(0, kMost);
}

}  // namespace

const char* to_string(Transport transport) {
  switch (transport) {
    case Transport::kRc:
      return "rc";
    case Transport::kUc:
      return "uc";
    case Transport::kUd:
      return "ud";
    case Transport::kXrc:
      return "xrc";
  }
  return "unknown";
}

const char* to_string(Direction direction) {
  return direction == Direction::kIngress ? "in" : "out";
}

const char* to_string(Action action) {
  return action == Action::kAllow ? "allow" : "deny";
}

std::string to_string(Operations operations) {
  if (operations == Operations::all()) return "all";
  std::string out;
  for (const auto& [name, bit] : kOperationNames) {
    if (!operations.has(bit)) continue;
    if (!out.empty()) out += ',';
    out += name;
  }
  return out.empty() ? "none" : out;
}

std::string to_string(const Remote& remote) {
  switch (remote.kind) {
    case Remote::Kind::kAny:
      return "any";
    case Remote::Kind::kCidr:
      return to_string(remote.cidr);
    case Remote::Kind::kGroup:
      return "sg:" + remote.group_id;
  }
  return "unknown";
}

std::string to_string(const Rule& rule) {
  std::string out =
      fmt::format("{} {} {} {} {} {}", to_string(rule.direction), to_string(rule.action),
                  rule.priority, rule.transport ? to_string(*rule.transport) : "any",
                  rule.direction == Direction::kIngress ? "from" : "to", to_string(rule.remote));
  if (rule.action == Action::kAllow && !(rule.operations == Operations::all())) {
    out += " ops " + to_string(rule.operations);
  }
  if (rule.log) out += " log";
  if (rule.shadow) out += " shadow";
  return out;
}

Result<std::optional<Transport>> parse_transport(std::string_view text) {
  if (text == "any") return std::nullopt;
  for (Transport transport : {Transport::kRc, Transport::kUc, Transport::kUd, Transport::kXrc}) {
    if (text == to_string(transport)) return transport;
  }
  return fail(Code::kInvalidArgument,
              fmt::format("'{}' is no transport: rc, uc, ud, xrc or any", shown(text)));
}

Result<Operations> parse_operations(std::string_view text) {
  if (text == "all") return Operations::all();
  Operations out;
  for (std::string_view rest = text;;) {
    const std::size_t comma = rest.find(',');
    const std::string_view word = rest.substr(0, comma);
    std::uint8_t bit = 0;
    for (const auto& known : kOperationNames) {
      if (word == known.name) bit = known.bit;
    }
    if (bit == 0) {
      return fail(Code::kInvalidArgument,
                  fmt::format("'{}' is no operation: send, read, write and atomic, with commas "
                              "between them, or all",
                              shown(word)));
    }
    if (out.has(bit)) {
      return fail(Code::kInvalidArgument, fmt::format("'{}' is there twice", shown(word)));
    }
    out.bits |= bit;
    if (comma == std::string_view::npos) return out;
    rest.remove_prefix(comma + 1);
  }
}

}  // namespace qmasq::conntrack

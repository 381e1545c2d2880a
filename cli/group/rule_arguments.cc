// SPDX-License-Identifier: Apache-2.0
#include "cli/group/rule_arguments.h"

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include "common/net_types.h"
#include "common/resource_name.h"
#include "conntrack/rule_text.h"

namespace qmasq::cli {
namespace {

using Message = v1::SecurityGroupRule;

constexpr std::string_view kGroupMark = "sg:";

Outcome<int> set_remote(const std::string& text, const std::string& vpc, Message& rule) {
  const std::string_view view = text;
  if (text == "any") {
    rule.set_any(true);
    return kExitOk;
  }
  if (view.starts_with(kGroupMark) || view.starts_with("vpcs/")) {
    auto name = parse_security_group_reference(
        view.starts_with(kGroupMark) ? view.substr(kGroupMark.size()) : view);
    if (!name) return failed(name.error(), kExitUsage);
    rule.set_security_group(security_group_name(name->vpc.empty() ? vpc : name->vpc, name->group));
    return kExitOk;
  }
  if (auto address = parse_ip(view)) {
    rule.set_cidr(
        to_string(IpPrefix{*address, static_cast<std::uint8_t>(address->is_v4() ? 32 : 128)}));
    return kExitOk;
  }
  auto prefix = parse_prefix(view);
  if (prefix) {
    rule.set_cidr(to_string(*prefix));
    return kExitOk;
  }
  if (view.find('/') != std::string_view::npos) return failed(prefix.error(), kExitUsage);
  return failed(kExitUsage,
                fmt::format("'{}' is no remote: write a group (sg:clients), an address or range "
                            "(10.0.0.0/24), or any",
                            text));
}

Outcome<int> set_operations(const std::string& text, Message& rule) {
  auto operations = conntrack::parse_operations(text);
  if (!operations) return failed(operations.error(), kExitUsage);
  using conntrack::Operations;
  if (operations->has(Operations::kSend)) rule.add_operations(Message::SEND);
  if (operations->has(Operations::kRead)) rule.add_operations(Message::READ);
  if (operations->has(Operations::kWrite)) rule.add_operations(Message::WRITE);
  if (operations->has(Operations::kAtomic)) rule.add_operations(Message::ATOMIC);
  return kExitOk;
}

Outcome<RuleArguments> arguments_from(const YAML::Node& node) {
  if (!node.IsMap()) return failed(kExitUsage, "a rule is a map of keys");
  RuleArguments out;
  bool has_direction = false;
  std::string remote;
  for (const auto& entry : node) {
    const auto key = entry.first.as<std::string>();
    const YAML::Node& value = entry.second;
    if (key == "id") {
      out.id = value.as<std::string>();
    } else if (key == "direction") {
      const auto direction = value.as<std::string>();
      if (direction != "in" && direction != "out") {
        return failed(kExitUsage, fmt::format("direction '{}' is not in or out", direction));
      }
      has_direction = true;
      out.in = direction == "in";
      out.out = !out.in;
    } else if (key == "remote") {
      remote = value.as<std::string>();
    } else if (key == "transport") {
      out.transport = value.as<std::string>();
    } else if (key == "ops") {
      out.operations = value.as<std::string>();
    } else if (key == "action") {
      const auto action = value.as<std::string>();
      if (action != "allow" && action != "deny") {
        return failed(kExitUsage, fmt::format("action '{}' is not allow or deny", action));
      }
      out.deny = action == "deny";
    } else if (key == "priority") {
      out.priority = value.as<std::uint32_t>();
    } else if (key == "log") {
      out.log = value.as<bool>();
    } else if (key == "shadow") {
      out.shadow = value.as<bool>();
    } else if (key == "description") {
      out.description = value.as<std::string>();
    } else {
      return failed(kExitUsage,
                    fmt::format("'{}' is no key of a rule: id, direction, remote, transport, ops, "
                                "action, priority, log, shadow, description",
                                key));
    }
  }
  if (!has_direction) return failed(kExitUsage, "direction is missing: in or out");
  if (remote.empty()) return failed(kExitUsage, "remote is missing");
  (out.in ? out.from : out.to) = remote;
  return out;
}

}  // namespace

Outcome<Message> rule_from(const RuleArguments& args, const std::string& vpc) {
  if (args.in == args.out) return failed(kExitUsage, "give one of --in and --out");
  if (args.in && !args.to.empty()) {
    return failed(kExitUsage, "--to is for --out: a rule with --in says --from whom");
  }
  if (args.out && !args.from.empty()) {
    return failed(kExitUsage, "--from is for --in: a rule with --out says --to whom");
  }
  const std::string& remote = args.in ? args.from : args.to;
  if (remote.empty()) {
    return failed(kExitUsage, args.in ? "--from is missing: sg:GROUP, a range, or any"
                                      : "--to is missing: sg:GROUP, a range, or any");
  }
  Message rule;
  rule.set_id(args.id);
  rule.set_direction(args.in ? Message::INGRESS : Message::EGRESS);
  rule.set_priority(args.priority);
  rule.set_action(args.deny ? Message::DENY : Message::ALLOW);
  auto transport = conntrack::parse_transport(args.transport);
  if (!transport) return failed(transport.error(), kExitUsage);
  if (*transport) {
    rule.set_transport(static_cast<Message::Transport>(static_cast<int>(**transport) + 1));
  }
  QMASQ_TRY(set_remote(remote, vpc, rule));
  if (args.deny && !args.operations.empty()) {
    return failed(kExitUsage,
                  "--ops is for rules that allow: a rule that denies denies the connection");
  }
  if (!args.operations.empty()) QMASQ_TRY(set_operations(args.operations, rule));
  rule.set_log(args.log);
  rule.set_shadow(args.shadow);
  rule.set_description(args.description);
  return rule;
}

Outcome<std::vector<Message>> rules_from_file(const std::string& path, const std::string& vpc) {
  // The YAML library reports by exception; JSON is YAML to it.
  try {
    const YAML::Node document = YAML::LoadFile(path);
    if (!document.IsSequence()) {
      return failed(kExitUsage, fmt::format("{}: a list of rules is expected", path));
    }
    std::vector<Message> out;
    for (std::size_t i = 0; i < document.size(); ++i) {
      const YAML::Node node = document[i];
      auto rule = arguments_from(node).and_then(
          [&](const RuleArguments& args) { return rule_from(args, vpc); });
      if (!rule) {
        return failed(kExitUsage, fmt::format("{}:{}: rule {}: {}", path, node.Mark().line + 1,
                                              i + 1, rule.error().message));
      }
      out.push_back(std::move(*rule));
    }
    return out;
  } catch (const YAML::BadFile&) {
    return failed(kExitUsage, fmt::format("{}: cannot be read", path));
  } catch (const YAML::Exception& error) {
    return failed(kExitUsage, fmt::format("{}: {}", path, error.what()));
  }
}

}  // namespace qmasq::cli

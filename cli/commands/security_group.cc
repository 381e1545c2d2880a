// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include "cli/commands/add.h"
#include "cli/directory.h"
#include "cli/group/impact.h"
#include "cli/group/rule_arguments.h"
#include "cli/names.h"
#include "cli/resources.h"
#include "cli/table.h"
#include "conntrack/rule_text.h"
#include "qmasq/v1/security_group.grpc.pb.h"

namespace qmasq::cli {
namespace {

using Stub = v1::SecurityGroupService::Stub;
using Groups = std::vector<v1::SecurityGroup>;
using Rule = v1::SecurityGroupRule;

// Somebody else may change a group between our get and our update.
constexpr int kAttempts = 5;

struct Arguments {
  std::string name;
  std::string vpc;
  std::optional<std::string> description;
  RuleArguments rule;
  std::vector<std::string> ids;
  std::string file;
  MutationOptions mutation;
  ListOptions list;
};

std::string transport_text(const Rule& rule) {
  constexpr std::array kNames = {"any", "rc", "uc", "ud", "xrc"};
  const auto index = static_cast<std::size_t>(rule.transport());
  return index < kNames.size() ? kNames[index] : "?";
}

std::string remote_text(const Rule& rule) {
  switch (rule.remote_case()) {
    case Rule::kAny:
      return "any";
    case Rule::kCidr:
      return rule.cidr();
    case Rule::kSecurityGroup: {
      auto name = parse_security_group_name(rule.security_group());
      return "sg:" + (name ? name->group : rule.security_group());
    }
    case Rule::REMOTE_NOT_SET:
      break;
  }
  return "?";
}

std::string operations_text(const Rule& rule) {
  if (rule.action() == Rule::DENY) return "";
  conntrack::Operations out;
  for (int operation : rule.operations())
    out.bits |= static_cast<std::uint8_t>(1U << static_cast<unsigned>(operation - 1));
  return conntrack::to_string(out);
}

void print_rules(const Shell& shell, const v1::SecurityGroup& group) {
  Table table(
      {"ID", "DIR", "ACTION", "PRIO", "TRANSPORT", "REMOTE", "OPS", "FLAGS", "DESCRIPTION"});
  for (const Rule& rule : group.rules()) {
    std::vector<std::string> flags;
    if (rule.log()) flags.emplace_back("log");
    if (rule.shadow()) flags.emplace_back("shadow");
    table.add({rule.id(), rule.direction() == Rule::INGRESS ? "in" : "out",
               rule.action() == Rule::DENY ? "deny" : "allow", std::to_string(rule.priority()),
               transport_text(rule), remote_text(rule), operations_text(rule), join(flags, ","),
               rule.description()});
  }
  if (table.empty()) {
    shell.console.err << "no rules: nothing comes in, everything may go out\n";
  } else {
    table.print(shell.console.out, shell.console.colour);
  }
}

void print_table(const Shell& shell, const Groups& groups) {
  Table table({"NAME", "RULES", "ENDPOINTS", "DESCRIPTION"});
  for (const v1::SecurityGroup& group : groups) {
    table.add({short_name(group.name()), std::to_string(group.rules_size()),
               std::to_string(group.endpoint_count()), group.description()});
  }
  table.print(shell.console.out, shell.console.colour);
}

void print_one(const Shell& shell, const v1::SecurityGroup& group) {
  print_fields(shell.console.out, shell.console.colour,
               {{"Name", group.name()},
                {"Description", group.description()},
                {"Endpoints", std::to_string(group.endpoint_count())},
                {"Created", time_text(group.create_time())},
                {"Updated", time_text(group.update_time())},
                {"Revision", std::to_string(group.revision())},
                {"Etag", group.etag()}});
  shell.console.out << '\n';
  print_rules(shell, group);
}

void warn_of_ud(const Shell& shell, const v1::SecurityGroup& group) {
  const bool allows = std::any_of(group.rules().begin(), group.rules().end(), [](const Rule& rule) {
    return rule.transport() == Rule::UD && rule.action() != Rule::DENY && !rule.shadow();
  });
  if (!allows) return;
  shell.console.err << "warning: " << printable(short_name(group.name()))
                    << " allows UD, whose destinations are in the work requests: on most NICs "
                       "keeping to them\n  rests on the tenant's good will (see "
                       "docs/security-groups.md)\n";
}

Outcome<int> finish_change(const Shell& shell, const Server& server, const Arguments& args,
                           const v1::SecurityGroup& group) {
  warn_of_ud(shell, group);
  auto outcome =
      finish(shell, server, args.mutation, group, [&](const Shell& on, const Groups& groups) {
        for (const v1::SecurityGroup& one : groups)
          print_rules(on, one);
      });
  if (args.mutation.validate_only && shell.options.format == Format::kTable) {
    print_impact(shell, group.impact());
  }
  return outcome;
}

Outcome<Groups> all_groups(const Server& server, Stub& stub, const std::string& parent,
                           const ListOptions& list) {
  v1::ListSecurityGroupsRequest request;
  request.set_parent(parent);
  request.set_filter(list.filter);
  request.set_page_size(list.page_size);
  Groups all;
  QMASQ_TRY(each_page(
      server, stub, &Stub::ListSecurityGroups, request, [&](v1::ListSecurityGroupsResponse& page) {
        all.insert(all.end(), page.security_groups().begin(), page.security_groups().end());
      }));
  return all;
}

// The group that was typed, with its VPC: of --vpc, or the only one of that name.
Outcome<SecurityGroupName> resolve(const Server& server, Stub& stub, const Arguments& args) {
  auto name = parse_security_group_reference(args.name);
  if (!name) return failed(name.error(), kExitUsage);
  if (!args.vpc.empty()) {
    auto vpc = parse_vpc_reference(args.vpc);
    if (!vpc) return failed(vpc.error(), kExitUsage);
    if (!name->vpc.empty() && name->vpc != *vpc) {
      return failed(kExitUsage, fmt::format("'{}' is not in VPC {}", args.name, *vpc));
    }
    name->vpc = *vpc;
  }
  if (!name->vpc.empty()) return *name;
  ListOptions list;
  list.filter = "group=" + name->group;
  QMASQ_ASSIGN(Groups found, all_groups(server, stub, "vpcs/-", list));
  if (found.size() == 1) return *parse_security_group_name(found.front().name());
  if (found.empty()) {
    return failed(kExitFailed, fmt::format("no VPC has a security group '{}'", name->group));
  }
  std::vector<std::string> names;
  for (const auto& group : found)
    names.push_back(short_name(group.name()));
  constexpr std::size_t kMostNamed = 5;
  if (names.size() > kMostNamed) names.resize(kMostNamed);
  return failed(kExitFailed,
                fmt::format("{} VPCs have a security group '{}'", found.size(), name->group),
                "Say which: " + join(names));
}

tl::unexpected<Failure> suggest(const Server& server, const Failure& failure,
                                const SecurityGroupName& name) {
  return suggesting(failure, [&]() -> std::vector<std::string> {
    auto vpcs = vpc_names(server);
    if (std::find(vpcs.begin(), vpcs.end(), name.vpc) == vpcs.end()) {
      return near_matches(name.vpc, vpcs);
    }
    return near_matches(name.vpc + "/" + name.group, group_names(server, vpc_name(name.vpc)));
  });
}

Outcome<v1::SecurityGroup> fetch(const Server& server, Stub& stub, const SecurityGroupName& name) {
  v1::GetSecurityGroupRequest request;
  request.set_name(security_group_name(name.vpc, name.group));
  auto group = server.call(stub, &Stub::GetSecurityGroup, request);
  if (!group) return suggest(server, group.error(), name);
  return *group;
}

Outcome<int> create(const Shell& shell, const Arguments& args) {
  QMASQ_ASSIGN(Server server, Server::controller(shell.options));
  Stub stub(server.channel());
  auto name = parse_security_group_reference(args.name);
  if (!name) return failed(name.error(), kExitUsage);
  if (name->vpc.empty()) {
    auto vpc = parse_vpc_reference(args.vpc);
    if (!vpc) {
      return failed(kExitUsage, fmt::format("'{}' lacks the VPC: write it as VPC/GROUP (blue/{})",
                                            args.name, args.name));
    }
    name->vpc = *vpc;
  }
  v1::CreateSecurityGroupRequest request;
  request.set_parent(vpc_name(name->vpc));
  request.set_security_group_id(name->group);
  if (args.description) request.mutable_security_group()->set_description(*args.description);
  if (!args.file.empty()) {
    QMASQ_ASSIGN(auto rules, rules_from_file(args.file, name->vpc));
    request.mutable_security_group()->mutable_rules()->Add(rules.begin(), rules.end());
  }
  fill_mutation(args.mutation, request);
  auto made = server.call(stub, &Stub::CreateSecurityGroup, request);
  if (!made) {
    return suggesting(made.error(), [&] { return near_matches(name->vpc, vpc_names(server)); });
  }
  warn_of_ud(shell, *made);
  return finish(shell, server, args.mutation, *made, print_table);
}

Outcome<int> list(const Shell& shell, const Arguments& args) {
  std::string parent = "vpcs/-";
  std::string vpc;
  if (!args.vpc.empty()) {
    auto id = parse_vpc_reference(args.vpc);
    if (!id) return failed(id.error(), kExitUsage);
    vpc = *id;
    parent = vpc_name(vpc);
  }
  QMASQ_ASSIGN(Server server, Server::controller(shell.options));
  Stub stub(server.channel());
  auto all = all_groups(server, stub, parent, args.list);
  if (!all) return suggesting(all.error(), [&] { return near_matches(vpc, vpc_names(server)); });
  return show_list(shell, "securityGroups", *all,
                   args.list.filter.empty() ? "no security groups" : "no groups match the filter",
                   print_table);
}

Outcome<int> get(const Shell& shell, const Arguments& args) {
  QMASQ_ASSIGN(Server server, Server::controller(shell.options));
  Stub stub(server.channel());
  QMASQ_ASSIGN(SecurityGroupName name, resolve(server, stub, args));
  QMASQ_ASSIGN(v1::SecurityGroup group, fetch(server, stub, name));
  return show_one(shell, group, print_one);
}

Outcome<int> update(const Shell& shell, const Arguments& args) {
  if (!args.description) return failed(kExitUsage, "nothing to update: give --description");
  QMASQ_ASSIGN(Server server, Server::controller(shell.options));
  Stub stub(server.channel());
  QMASQ_ASSIGN(SecurityGroupName name, resolve(server, stub, args));
  v1::UpdateSecurityGroupRequest request;
  request.mutable_security_group()->set_name(security_group_name(name.vpc, name.group));
  request.mutable_security_group()->set_etag(args.mutation.etag);
  request.mutable_security_group()->set_description(*args.description);
  request.mutable_update_mask()->add_paths("description");
  fill_mutation(args.mutation, request);
  auto group = server.call(stub, &Stub::UpdateSecurityGroup, request);
  if (!group) return suggest(server, group.error(), name);
  return finish(shell, server, args.mutation, *group, print_table);
}

Outcome<int> remove(const Shell& shell, const Arguments& args) {
  QMASQ_ASSIGN(Server server, Server::controller(shell.options));
  Stub stub(server.channel());
  QMASQ_ASSIGN(SecurityGroupName name, resolve(server, stub, args));
  v1::DeleteSecurityGroupRequest request;
  fill_delete(args.mutation, security_group_name(name.vpc, name.group), request);
  auto answer = server.call(stub, &Stub::DeleteSecurityGroup, request);
  if (!answer) return suggest(server, answer.error(), name);
  return finish_delete(shell, server, args.mutation, request.name(), answer->revision(), *answer);
}

// Reads the group, lets `edit` change its rules, and writes it back if nobody was faster; else all
// over again.
template <typename Edit>
Outcome<int> edit_rules(const Shell& shell, const Arguments& args, Edit edit) {
  QMASQ_ASSIGN(Server server, Server::controller(shell.options));
  Stub stub(server.channel());
  QMASQ_ASSIGN(SecurityGroupName name, resolve(server, stub, args));
  for (int attempt = 1;; ++attempt) {
    QMASQ_ASSIGN(v1::SecurityGroup group, fetch(server, stub, name));
    QMASQ_TRY(edit(name, group));
    v1::UpdateSecurityGroupRequest request;
    fill_mutation(args.mutation, request);
    v1::SecurityGroup& asked = *request.mutable_security_group();
    asked.set_name(group.name());
    asked.set_etag(args.mutation.etag.empty() ? group.etag() : args.mutation.etag);
    *asked.mutable_rules() = group.rules();
    request.mutable_update_mask()->add_paths("rules");
    auto changed = server.call(stub, &Stub::UpdateSecurityGroup, request);
    if (changed) return finish_change(shell, server, args, *changed);
    QMASQ_ASSIGN(v1::SecurityGroup now, fetch(server, stub, name));
    const bool raced = args.mutation.etag.empty() && now.etag() != group.etag();
    if (!raced || attempt == kAttempts) return tl::unexpected(changed.error());
  }
}

Outcome<int> add_rule(const Shell& shell, const Arguments& args) {
  return edit_rules(shell, args,
                    [&](const SecurityGroupName& name, v1::SecurityGroup& group) -> Outcome<int> {
                      QMASQ_ASSIGN(Rule rule, rule_from(args.rule, name.vpc));
                      *group.add_rules() = std::move(rule);
                      return kExitOk;
                    });
}

Outcome<int> remove_rules(const Shell& shell, const Arguments& args) {
  return edit_rules(
      shell, args, [&](const SecurityGroupName&, v1::SecurityGroup& group) -> Outcome<int> {
        for (const std::string& id : args.ids) {
          auto& rules = *group.mutable_rules();
          auto found = std::find_if(rules.begin(), rules.end(),
                                    [&](const Rule& rule) { return rule.id() == id; });
          if (found == rules.end()) {
            std::vector<std::string> known;
            for (const Rule& rule : rules)
              known.push_back(rule.id());
            return failed(kExitFailed,
                          fmt::format("{} has no rule '{}'", short_name(group.name()), id),
                          known.empty() ? "It has no rules." : "It has: " + join(known));
          }
          rules.erase(found);
        }
        return kExitOk;
      });
}

Outcome<int> replace_rules(const Shell& shell, const Arguments& args) {
  return edit_rules(shell, args,
                    [&](const SecurityGroupName& name, v1::SecurityGroup& group) -> Outcome<int> {
                      QMASQ_ASSIGN(auto rules, rules_from_file(args.file, name.vpc));
                      group.clear_rules();
                      group.mutable_rules()->Add(rules.begin(), rules.end());
                      return kExitOk;
                    });
}

Outcome<int> list_rules(const Shell& shell, const Arguments& args) {
  QMASQ_ASSIGN(Server server, Server::controller(shell.options));
  Stub stub(server.channel());
  QMASQ_ASSIGN(SecurityGroupName name, resolve(server, stub, args));
  QMASQ_ASSIGN(v1::SecurityGroup group, fetch(server, stub, name));
  if (shell.options.format == Format::kTable) {
    print_rules(shell, group);
  } else {
    print_document(shell.console.out, list_document("rules", group.rules()), shell.options.format);
  }
  return kExitOk;
}

CLI::App& add(CLI::App& group, Shell& shell, const std::string& name,
              const std::string& description, const std::shared_ptr<Arguments>& args,
              Outcome<int> (*action)(const Shell&, const Arguments&)) {
  CLI::App& command =
      add_resource_command(group, shell, name, description, args, action,
                           "blue/web, vpcs/blue/securityGroups/web, or web", "GROUP");
  command.add_option("--vpc", args->vpc, "VPC of the group, where its name does not say it")
      ->type_name("VPC");
  return command;
}

void add_rule_options(CLI::App& command, RuleArguments& rule) {
  auto* in = command.add_flag("--in", rule.in, "A peer opens the connection");
  command.add_flag("--out", rule.out, "An endpoint of the group opens it")->excludes(in);
  command.add_option("--from", rule.from, "With --in: sg:GROUP, an address or range, or any")
      ->type_name("REMOTE");
  command.add_option("--to", rule.to, "With --out: the same")->type_name("REMOTE");
  command.add_option("--transport", rule.transport, "rc, uc, ud, xrc or any; ud only when named")
      ->type_name("TRANSPORT")
      ->capture_default_str();
  command
      .add_option("--ops", rule.operations,
                  "What the peer may do to our memory: send,read,write,atomic [all]")
      ->type_name("OPS");
  command.add_flag("--deny", rule.deny, "Deny instead of allow");
  command.add_option("--priority", rule.priority, "0 to 65535, the highest that matches decides")
      ->type_name("N")
      ->capture_default_str();
  command.add_flag("--log", rule.log, "An event for each connection that it admits");
  command.add_flag("--shadow", rule.shadow, "Only count what it would decide");
  command.add_option("--id", rule.id, "Name of the rule [the lowest free of r1, r2, ...]")
      ->type_name("ID");
  command.add_option("--description", rule.description, "For people")->type_name("TEXT");
}

void add_rule_commands(CLI::App& parent, Shell& shell, const std::shared_ptr<Arguments>& args) {
  CLI::App& group = *parent.add_subcommand("rule", "Rules of a security group");
  group.require_subcommand(1);

  CLI::App& add_command = add(group, shell, "add", "Add a rule", args, add_rule);
  add_rule_options(add_command, args->rule);
  add_mutation_options(add_command, args->mutation, /*with_etag=*/true);
  add_command.footer(R"(
Examples:
  qmasq sg rule add blue/web --in --from sg:clients --transport rc --ops send,read
  qmasq sg rule add blue/web --in --from 10.0.7.0/24 --deny --priority 2000 --validate-only
  qmasq sg rule add web --vpc blue --out --to any --deny --shadow)");

  CLI::App& remove_command = add(group, shell, "remove", "Remove rules", args, remove_rules);
  remove_command.add_option("ids", args->ids, "As `qmasq sg rule list` shows them")
      ->required()
      ->type_name("ID");
  add_mutation_options(remove_command, args->mutation, /*with_etag=*/true);
  remove_command.footer(R"(
Example:
  qmasq sg rule remove blue/web r2 --wait)");

  CLI::App& replace_command =
      add(group, shell, "replace", "Replace all rules by those of a file", args, replace_rules);
  replace_command
      .add_option("-f,--file", args->file,
                  "YAML or JSON: a list of rules with the keys direction (in, out), remote, and\n"
                  "id, transport, ops, action, priority, log, shadow, description")
      ->required()
      ->type_name("FILE");
  add_mutation_options(replace_command, args->mutation, /*with_etag=*/true);
  replace_command.footer(R"(
Example:
  qmasq sg rule replace blue/web -f web.yaml --validate-only)");

  CLI::App& list_command =
      add_resource_command(group, shell, "list", "List the rules", args, list_rules, "", "");
  list_command.add_option("name", args->name, "blue/web, vpcs/blue/securityGroups/web, or web")
      ->required()
      ->type_name("GROUP");
  list_command.add_option("--vpc", args->vpc, "VPC of the group, where its name does not say it")
      ->type_name("VPC");
  list_command.footer(R"(
Example:
  qmasq sg rule list blue/web)");
}

}  // namespace

void add_security_group_commands(CLI::App& root, Shell& shell) {
  CLI::App& group =
      *root.add_subcommand("sg", "Security groups: who may connect to whom inside a VPC");
  group.require_subcommand(1);
  auto args = std::make_shared<Arguments>();

  CLI::App& create_command = add(group, shell, "create", "Create a security group", args, create);
  create_command.add_option("--description", args->description, "For people")->type_name("TEXT");
  create_command
      .add_option("-f,--file", args->file, "Rules to begin with, as for `qmasq sg rule replace`")
      ->type_name("FILE");
  add_mutation_options(create_command, args->mutation, /*with_etag=*/false);
  create_command.footer(R"(
Example:
  qmasq sg create blue/web --description "Parameter servers")");

  CLI::App& list_command = add(group, shell, "list", "List security groups", args, list);
  add_list_options(list_command, args->list, "name, group");
  list_command.footer(R"(
Example:
  qmasq sg list --vpc blue)");

  CLI::App& get_command = add(group, shell, "get", "Show one with its rules", args, get);
  get_command.footer(R"(
Example:
  qmasq sg get blue/default)");

  CLI::App& update_command = add(group, shell, "update", "Change the description", args, update);
  update_command.add_option("--description", args->description, "For people")->type_name("TEXT");
  add_mutation_options(update_command, args->mutation, /*with_etag=*/true);
  update_command.footer(R"(
Example:
  qmasq sg update blue/web --description "Parameter servers")");

  CLI::App& delete_command =
      add(group, shell, "delete", "Delete a group that nothing refers to", args, remove);
  add_mutation_options(delete_command, args->mutation, /*with_etag=*/true);
  delete_command.footer(R"(
Example:
  qmasq sg delete blue/web)");

  add_rule_commands(group, shell, args);
}

}  // namespace qmasq::cli

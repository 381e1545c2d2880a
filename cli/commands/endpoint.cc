// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "cli/commands/add.h"
#include "cli/commands/set_policy.h"
#include "cli/directory.h"
#include "cli/group/impact.h"
#include "cli/names.h"
#include "cli/qos/report.h"
#include "cli/qos/words.h"
#include "cli/resources.h"
#include "cli/table.h"
#include "cli/users.h"
#include "qmasq/v1/endpoint.grpc.pb.h"

namespace qmasq::cli {
namespace {

using Stub = v1::EndpointService::Stub;

struct Arguments {
  std::string name;
  std::string vpc;
  std::optional<std::string> host;
  std::vector<std::string> addresses;
  std::vector<std::string> groups;
  std::vector<std::string> users;
  std::vector<std::string> user_groups;
  std::optional<std::string> mac;
  std::optional<std::string> qos;
  std::optional<std::string> description;
  bool force = false;
  MutationOptions mutation;
  ListOptions list;
};

std::string state_text(const v1::EndpointStatus& status) {
  switch (status.state()) {
    case v1::EndpointStatus::BOUND:
      return "bound";
    case v1::EndpointStatus::DEGRADED:
      return "degraded";
    case v1::EndpointStatus::UNBOUND:
      return "unbound";
    default:
      return "unknown";
  }
}

// Without the VPC, which is the endpoint's.
std::string groups_text(const v1::Endpoint& endpoint, const char* separator) {
  std::vector<std::string> ids;
  for (const std::string& name : endpoint.security_groups()) {
    auto parsed = parse_security_group_name(name);
    ids.push_back(parsed ? parsed->group : name);
  }
  return join(ids, separator);
}

template <typename Ids>
std::string ids_text(const Ids& ids, std::string (*text)(std::uint32_t)) {
  std::vector<std::string> out;
  for (std::uint32_t id : ids)
    out.push_back(text(id));
  return join(out, "\n");
}

// "none" alone takes all away.
Outcome<std::vector<std::uint32_t>> ids_of(const char* option,
                                           const std::vector<std::string>& typed,
                                           Result<std::uint32_t> (*parse)(std::string_view)) {
  std::vector<std::uint32_t> out;
  if (typed.size() == 1 && typed.front() == "none") return out;
  for (const std::string& text : typed) {
    auto id = parse(text);
    if (!id) return failed(kExitUsage, fmt::format("{}: {}", option, id.error().message));
    out.push_back(*id);
  }
  return out;
}

template <typename Endpoints>
void print_table(const Shell& shell, const Endpoints& endpoints) {
  Table table(
      {"NAME", "HOST", "ADDRESSES", "MAC", "GROUPS", "QOS", "STATE", "PROGRAMS", "QPS", "MESSAGE"});
  for (const v1::Endpoint& endpoint : endpoints) {
    const v1::EndpointStatus& status = endpoint.status();
    table.add({short_name(endpoint.name()), short_name(endpoint.host()),
               join({endpoint.addresses().begin(), endpoint.addresses().end()}, ","),
               endpoint.mac(), groups_text(endpoint, ","),
               qos_cell(endpoint.qos_policy(), status.qos()), state_text(status),
               std::to_string(status.attachments()), std::to_string(status.queue_pairs()),
               status.message()});
  }
  table.print(shell.console.out, shell.console.colour);
}

void print_one(const Shell& shell, const v1::Endpoint& endpoint) {
  const v1::EndpointStatus& status = endpoint.status();
  print_fields(
      shell.console.out, shell.console.colour,
      {{"Name", endpoint.name()},
       {"Host", endpoint.host()},
       {"Addresses", join({endpoint.addresses().begin(), endpoint.addresses().end()}, "\n")},
       {"MAC", endpoint.mac()},
       {"Security groups", groups_text(endpoint, "\n")},
       {"QoS policy", short_name(endpoint.qos_policy())},
       {"QoS", qos_status_text(endpoint.qos_policy(), status.has_qos(), status.qos())},
       {"Users", ids_text(endpoint.user_ids(), user_text)},
       {"Groups of users", ids_text(endpoint.group_ids(), group_text)},
       {"Description", endpoint.description()},
       {"State", state_text(status)},
       {"Message", status.message()},
       {"Namespace", status.netns()},
       {"Interface", status.interface()},
       {"Observed addresses",
        join({status.observed_addresses().begin(), status.observed_addresses().end()}, "\n")},
       {"Programs", std::to_string(status.attachments())},
       {"Queue pairs", std::to_string(status.queue_pairs())},
       {"Reported", time_text(status.report_time())},
       {"Created", time_text(endpoint.create_time())},
       {"Updated", time_text(endpoint.update_time())},
       {"Revision", std::to_string(endpoint.revision())},
       {"Etag", endpoint.etag()}});
}

// Fields that were given, into the endpoint and into the paths of an update.
Outcome<std::vector<std::string>> fill(const Arguments& args, const std::string& vpc,
                                       v1::Endpoint& endpoint) {
  std::vector<std::string> paths;
  if (args.host) {
    auto host = parse_host_reference(*args.host);
    if (!host) return failed(host.error(), kExitUsage);
    endpoint.set_host(host_name(*host));
    paths.emplace_back("host");
  }
  if (!args.addresses.empty()) {
    for (const std::string& address : args.addresses)
      endpoint.add_addresses(address);
    paths.emplace_back("addresses");
  }
  for (const std::string& typed : args.groups) {
    auto group = parse_security_group_reference(typed);
    if (!group) return failed(group.error(), kExitUsage);
    endpoint.add_security_groups(
        security_group_name(group->vpc.empty() ? vpc : group->vpc, group->group));
  }
  if (!args.groups.empty()) paths.emplace_back("security_groups");
  if (args.qos) {
    QMASQ_ASSIGN(std::string policy, policy_or_none("--qos", *args.qos));
    endpoint.set_qos_policy(policy);
    paths.emplace_back("qos_policy");
  }
  if (!args.users.empty()) {
    QMASQ_ASSIGN(auto ids, ids_of("--user", args.users, parse_user_id));
    endpoint.mutable_user_ids()->Add(ids.begin(), ids.end());
    paths.emplace_back("user_ids");
  }
  if (!args.user_groups.empty()) {
    QMASQ_ASSIGN(auto ids, ids_of("--user-group", args.user_groups, parse_group_id));
    endpoint.mutable_group_ids()->Add(ids.begin(), ids.end());
    paths.emplace_back("group_ids");
  }
  if (args.mac) {
    endpoint.set_mac(*args.mac);
    paths.emplace_back("mac");
  }
  if (args.description) {
    endpoint.set_description(*args.description);
    paths.emplace_back("description");
  }
  return paths;
}

// A name that a create or update has and the controller has not: the VPC, the endpoint, the host or
// the policy.
tl::unexpected<Failure> suggest(const Server& server, const Failure& failure,
                                const EndpointName& name, const v1::Endpoint& asked = {}) {
  return suggesting(failure, [&]() -> std::vector<std::string> {
    auto known = [](const std::vector<std::string>& names, const std::string& one) {
      return std::find(names.begin(), names.end(), one) != names.end();
    };
    auto vpcs = vpc_names(server);
    if (!known(vpcs, name.vpc)) return near_matches(name.vpc, vpcs);
    const std::string host = short_name(asked.host());
    auto hosts = host_names(server);
    if (!host.empty() && !known(hosts, host)) return near_matches(host, hosts);
    const std::string policy = short_name(asked.qos_policy());
    auto policies = policy.empty() ? std::vector<std::string>{} : policy_names(server);
    if (!policy.empty() && !known(policies, policy)) return near_matches(policy, policies);
    return near_matches(name.vpc + "/" + name.endpoint, endpoint_names(server, vpc_name(name.vpc)));
  });
}

Outcome<int> create(const Shell& shell, const Arguments& args) {
  auto name = parse_endpoint(args.name);
  if (!name) return failed(name.error(), kExitUsage);
  v1::CreateEndpointRequest request;
  QMASQ_TRY(fill(args, name->vpc, *request.mutable_endpoint()));
  request.set_parent(vpc_name(name->vpc));
  request.set_endpoint_id(name->endpoint);
  request.set_force(args.force);
  fill_mutation(args.mutation, request);
  QMASQ_ASSIGN(Server server, Server::controller(shell.options));
  Stub stub(server.channel());
  auto made = server.call(stub, &Stub::CreateEndpoint, request);
  if (!made) return suggest(server, made.error(), *name, request.endpoint());
  warn_of_oversubscription(shell, made->oversubscriptions());
  return finish(shell, server, args.mutation, *made, print_table<std::vector<v1::Endpoint>>);
}

Outcome<int> list(const Shell& shell, const Arguments& args) {
  v1::ListEndpointsRequest request;
  request.set_parent("vpcs/-");
  std::string vpc;
  if (!args.vpc.empty()) {
    auto id = parse_vpc_reference(args.vpc);
    if (!id) return failed(id.error(), kExitUsage);
    vpc = *id;
    request.set_parent(vpc_name(vpc));
  }
  request.set_filter(args.list.filter);
  request.set_page_size(args.list.page_size);
  QMASQ_ASSIGN(Server server, Server::controller(shell.options));
  Stub stub(server.channel());
  std::vector<v1::Endpoint> all;
  auto pages =
      each_page(server, stub, &Stub::ListEndpoints, request, [&](v1::ListEndpointsResponse& page) {
        all.insert(all.end(), page.endpoints().begin(), page.endpoints().end());
      });
  if (!pages)
    return suggesting(pages.error(), [&] { return near_matches(vpc, vpc_names(server)); });
  std::string none = "no endpoints" + (vpc.empty() ? "" : " in VPC " + printable(vpc)) +
                     (args.list.filter.empty() ? "" : " match the filter");
  return show_list(shell, "endpoints", all, none, print_table<std::vector<v1::Endpoint>>);
}

Outcome<int> get(const Shell& shell, const Arguments& args) {
  auto name = parse_endpoint(args.name);
  if (!name) return failed(name.error(), kExitUsage);
  QMASQ_ASSIGN(Server server, Server::controller(shell.options));
  Stub stub(server.channel());
  v1::GetEndpointRequest request;
  request.set_name(endpoint_name(*name));
  auto endpoint = server.call(stub, &Stub::GetEndpoint, request);
  if (!endpoint) return suggest(server, endpoint.error(), *name);
  return show_one(shell, *endpoint, print_one);
}

Outcome<int> update(const Shell& shell, const Arguments& args) {
  auto name = parse_endpoint(args.name);
  if (!name) return failed(name.error(), kExitUsage);
  v1::UpdateEndpointRequest request;
  QMASQ_ASSIGN(auto paths, fill(args, name->vpc, *request.mutable_endpoint()));
  if (paths.empty()) {
    return failed(
        kExitUsage,
        "nothing to update: give --host, --address, --group, --qos, --user, --user-group, "
        "--mac or --description");
  }
  for (const std::string& path : paths)
    request.mutable_update_mask()->add_paths(path);
  request.mutable_endpoint()->set_name(endpoint_name(*name));
  request.mutable_endpoint()->set_etag(args.mutation.etag);
  request.set_force(args.force);
  fill_mutation(args.mutation, request);
  QMASQ_ASSIGN(Server server, Server::controller(shell.options));
  Stub stub(server.channel());
  auto changed = server.call(stub, &Stub::UpdateEndpoint, request);
  if (!changed) return suggest(server, changed.error(), *name, request.endpoint());
  warn_of_oversubscription(shell, changed->oversubscriptions());
  auto outcome =
      finish(shell, server, args.mutation, *changed, print_table<std::vector<v1::Endpoint>>);
  if (args.mutation.validate_only && shell.options.format == Format::kTable) {
    print_impact(shell, changed->impact());
  }
  return outcome;
}

Outcome<int> remove(const Shell& shell, const Arguments& args) {
  auto name = parse_endpoint(args.name);
  if (!name) return failed(name.error(), kExitUsage);
  v1::DeleteEndpointRequest request;
  fill_delete(args.mutation, endpoint_name(*name), request);
  request.set_force(args.force);
  QMASQ_ASSIGN(Server server, Server::controller(shell.options));
  Stub stub(server.channel());
  auto answer = server.call(stub, &Stub::DeleteEndpoint, request);
  if (!answer) return suggest(server, answer.error(), *name);
  return finish_delete(shell, server, args.mutation, request.name(), answer->revision(), *answer);
}

CLI::App& add(CLI::App& group, Shell& shell, const std::string& name,
              const std::string& description, const std::shared_ptr<Arguments>& args,
              Outcome<int> (*action)(const Shell&, const Arguments&)) {
  return add_resource_command(group, shell, name, description, args, action,
                              "blue/a or vpcs/blue/endpoints/a", "ENDPOINT");
}

void add_field_options(CLI::App& command, Arguments& args) {
  command.add_option("--host", args.host, "Host that it is on")->type_name("HOST");
  command
      .add_option("--address", args.addresses,
                  "VPC address; several times, or with commas, in the order of the\nvirtual GID "
                  "table from index 1 on")
      ->allow_extra_args(false)
      ->delimiter(',')
      ->type_name("IP");
  command
      .add_option("--group", args.groups,
                  "Security group that it carries; several times, or with commas, all of\nthem "
                  "[default]")
      ->allow_extra_args(false)
      ->delimiter(',')
      ->type_name("GROUP");
  command.add_option("--qos", args.qos, "QoS policy, within what the VPC has")
      ->type_name("POLICY|none");
  command
      .add_option("--user", args.users,
                  "User of its host who may run programs on it, by number or by a name\nof this "
                  "machine; several times, or with commas, all of them; none: nobody\nbeside root "
                  "and the group qmasq [none]")
      ->allow_extra_args(false)
      ->delimiter(',')
      ->type_name("USER|none");
  command.add_option("--user-group", args.user_groups, "The same for the members of a group")
      ->allow_extra_args(false)
      ->delimiter(',')
      ->type_name("GID|none");
  command.add_option("--mac", args.mac, "MAC address")->type_name("MAC");
  command.add_option("--description", args.description, "For people")->type_name("TEXT");
}

void add_force(CLI::App& command, Arguments& args) {
  command.add_flag("--force", args.force,
                   "Also when guarantees then add up to more than a NIC has");
}

}  // namespace

Outcome<int> set_endpoint_policy(const Shell& shell, const PolicyAttachment& what) {
  Arguments args;
  args.name = what.target;
  args.qos = what.policy;
  args.force = what.force;
  args.mutation = what.mutation;
  return update(shell, args);
}

void add_endpoint_commands(CLI::App& root, Shell& shell) {
  CLI::App& group =
      *root.add_subcommand("endpoint", "Endpoints: virtual RDMA NICs of a VPC, each on one host");
  group.require_subcommand(1);
  auto args = std::make_shared<Arguments>();

  CLI::App& create_command = add(group, shell, "create", "Create an endpoint", args, create);
  add_field_options(create_command, *args);
  create_command.get_option("--host")->required();
  create_command.get_option("--address")
      ->description(
          "VPC address; several times, or with commas, in the order of the\nvirtual GID table "
          "from index 1 on [the lowest free one]");
  create_command.get_option("--mac")->description("MAC address [made by the controller]");
  add_force(create_command, *args);
  add_mutation_options(create_command, args->mutation, /*with_etag=*/false);
  create_command.footer(R"(
Examples:
  qmasq endpoint create blue/a --host hostA
  qmasq endpoint create blue/b --host hostB --address 10.0.0.2 --wait)");

  CLI::App& list_command = add(group, shell, "list", "List endpoints", args, list);
  list_command.add_option("--vpc", args->vpc, "Only those of this VPC")->type_name("VPC");
  add_list_options(list_command, args->list, "name, endpoint, host, address, mac, group");
  list_command.footer(R"(
Examples:
  qmasq endpoint list --vpc blue
  qmasq endpoint list --filter 'host=hosts/hostA' -o json)");

  CLI::App& get_command = add(group, shell, "get", "Show one endpoint", args, get);
  get_command.footer(R"(
Example:
  qmasq endpoint get blue/a)");

  CLI::App& update_command =
      add(group, shell, "update", "Change what is given, leave the rest", args, update);
  add_field_options(update_command, *args);
  update_command.get_option("--address")->description("VPC address; all of them, as they shall be");
  add_force(update_command, *args);
  add_mutation_options(update_command, args->mutation, /*with_etag=*/true);
  update_command.footer(R"(
Examples:
  qmasq endpoint update blue/a --address 10.0.0.1,10.0.0.7 --wait
  qmasq endpoint update blue/a --user alice --wait
  qmasq endpoint update blue/a --host hostB      (only while nothing is bound to it))");

  CLI::App& delete_command = add(group, shell, "delete", "Delete an endpoint", args, remove);
  delete_command.add_flag("--force", args->force,
                          "Also while programs are attached; their connections are cut");
  add_mutation_options(delete_command, args->mutation, /*with_etag=*/true);
  delete_command.footer(R"(
Example:
  qmasq endpoint delete blue/a --wait)");
}

}  // namespace qmasq::cli

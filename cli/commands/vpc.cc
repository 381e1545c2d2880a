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
#include "cli/names.h"
#include "cli/qos/report.h"
#include "cli/qos/words.h"
#include "cli/resources.h"
#include "cli/table.h"
#include "qmasq/v1/endpoint.grpc.pb.h"
#include "qmasq/v1/vpc.grpc.pb.h"

namespace qmasq::cli {
namespace {

using Stub = v1::VpcService::Stub;

struct Arguments {
  std::string name;
  std::vector<std::string> ranges;
  std::optional<std::uint32_t> vni;
  std::optional<std::uint32_t> mtu;
  std::optional<std::string> description;
  std::optional<std::string> qos;
  bool force = false;
  MutationOptions mutation;
  ListOptions list;
};

template <typename Vpcs>
void print_table(const Shell& shell, const Vpcs& vpcs) {
  Table table({"NAME", "VNI", "RANGES", "MTU", "QOS", "DESCRIPTION"});
  for (const v1::Vpc& vpc : vpcs) {
    table.add({short_name(vpc.name()), std::to_string(vpc.vni()),
               join({vpc.ranges().begin(), vpc.ranges().end()}, ","),
               vpc.mtu() == 0 ? "auto" : std::to_string(vpc.mtu()), short_name(vpc.qos_policy()),
               vpc.description()});
  }
  table.print(shell.console.out, shell.console.colour);
}

// `qos`: what became of the policy's limits.
void print_one(const Shell& shell, const v1::Vpc& vpc, const std::string& qos) {
  print_fields(shell.console.out, shell.console.colour,
               {{"Name", vpc.name()},
                {"VNI", std::to_string(vpc.vni())},
                {"Ranges", join({vpc.ranges().begin(), vpc.ranges().end()}, "\n")},
                {"MTU", vpc.mtu() == 0 ? "auto" : std::to_string(vpc.mtu())},
                {"QoS policy", short_name(vpc.qos_policy())},
                {"QoS", qos},
                {"Description", vpc.description()},
                {"Created", time_text(vpc.create_time())},
                {"Updated", time_text(vpc.update_time())},
                {"Revision", std::to_string(vpc.revision())},
                {"Etag", vpc.etag()}});
}

// What the hosts of its endpoints say of a VPC's limits, a line for each endpoint where one is not
// enforced. Those that only the endpoint has count as well: a host tells of both together.
std::string qos_text(const Server& server, const v1::Vpc& vpc) {
  if (vpc.qos_policy().empty()) return "";
  v1::EndpointService::Stub stub(server.channel());
  v1::ListEndpointsRequest request;
  request.set_parent(vpc.name());
  std::size_t enforced = 0;
  std::size_t unknown = 0;
  std::vector<std::string> not_enforced;
  auto read =
      each_page(server, stub, &v1::EndpointService::Stub::ListEndpoints, request,
                [&](v1::ListEndpointsResponse& page) {
                  for (const v1::Endpoint& endpoint : page.endpoints()) {
                    const v1::QosStatus& status = endpoint.status().qos();
                    if (!endpoint.status().has_qos()) {
                      ++unknown;
                    } else if (!status.configured() || status.enforced()) {
                      ++enforced;
                    } else {
                      not_enforced.push_back(fmt::format(
                          "NOT enforced for {}: {}", short_name(endpoint.name()),
                          join({status.unenforced().begin(), status.unenforced().end()}, "; ")));
                    }
                  }
                });
  if (!read) return "unknown: " + read.error().message;
  const std::size_t all = enforced + unknown + not_enforced.size();
  if (all == 0) return "no endpoints";
  std::vector<std::string> lines;
  if (enforced > 0) lines.push_back(fmt::format("enforced for {} of {} endpoints", enforced, all));
  if (unknown > 0) {
    lines.push_back(fmt::format("not reported yet for {} of {} endpoints", unknown, all));
  }
  constexpr std::size_t kMostShown = 20;
  const std::size_t left_out = not_enforced.size() - std::min(not_enforced.size(), kMostShown);
  not_enforced.resize(not_enforced.size() - left_out);
  lines.insert(lines.end(), not_enforced.begin(), not_enforced.end());
  if (left_out > 0) lines.push_back(fmt::format("and for {} more", left_out));
  return join(lines, "\n");
}

Outcome<int> fill(const Arguments& args, v1::Vpc& vpc) {
  for (const std::string& range : args.ranges)
    vpc.add_ranges(range);
  if (args.vni) vpc.set_vni(*args.vni);
  if (args.mtu) vpc.set_mtu(*args.mtu);
  if (args.description) vpc.set_description(*args.description);
  if (args.qos) {
    QMASQ_ASSIGN(std::string policy, policy_or_none("--qos", *args.qos));
    vpc.set_qos_policy(policy);
  }
  return kExitOk;
}

tl::unexpected<Failure> suggest(const Server& server, const Failure& failure, const std::string& id,
                                const std::string& policy = "") {
  return suggesting(failure, [&] {
    const auto vpcs = vpc_names(server);
    const bool known = std::find(vpcs.begin(), vpcs.end(), id) != vpcs.end();
    return known ? near_matches(policy, policy_names(server)) : near_matches(id, vpcs);
  });
}

Outcome<int> create(const Shell& shell, const Arguments& args) {
  auto id = parse_vpc_reference(args.name);
  if (!id) return failed(id.error(), kExitUsage);
  QMASQ_ASSIGN(Server server, Server::controller(shell.options));
  Stub stub(server.channel());
  v1::CreateVpcRequest request;
  request.set_vpc_id(*id);
  QMASQ_TRY(fill(args, *request.mutable_vpc()));
  fill_mutation(args.mutation, request);
  auto made = server.call(stub, &Stub::CreateVpc, request);
  if (!made) {
    // The only name in it that must exist is the policy's.
    return suggesting(made.error(), [&] {
      return near_matches(short_name(request.vpc().qos_policy()), policy_names(server));
    });
  }
  return finish(shell, server, args.mutation, *made, print_table<std::vector<v1::Vpc>>);
}

Outcome<int> list(const Shell& shell, const Arguments& args) {
  QMASQ_ASSIGN(Server server, Server::controller(shell.options));
  Stub stub(server.channel());
  v1::ListVpcsRequest request;
  request.set_filter(args.list.filter);
  request.set_page_size(args.list.page_size);
  std::vector<v1::Vpc> all;
  QMASQ_TRY(each_page(server, stub, &Stub::ListVpcs, request, [&](v1::ListVpcsResponse& page) {
    all.insert(all.end(), page.vpcs().begin(), page.vpcs().end());
  }));
  return show_list(shell, "vpcs", all,
                   args.list.filter.empty() ? "no VPCs" : "no VPCs match the filter",
                   print_table<std::vector<v1::Vpc>>);
}

Outcome<int> get(const Shell& shell, const Arguments& args) {
  auto id = parse_vpc_reference(args.name);
  if (!id) return failed(id.error(), kExitUsage);
  QMASQ_ASSIGN(Server server, Server::controller(shell.options));
  Stub stub(server.channel());
  v1::GetVpcRequest request;
  request.set_name(vpc_name(*id));
  auto vpc = server.call(stub, &Stub::GetVpc, request);
  if (!vpc) return suggest(server, vpc.error(), *id);
  return show_one(shell, *vpc, [&](const Shell& on, const v1::Vpc& one) {
    print_one(on, one, qos_text(server, one));
  });
}

Outcome<int> update(const Shell& shell, const Arguments& args) {
  auto id = parse_vpc_reference(args.name);
  if (!id) return failed(id.error(), kExitUsage);
  v1::UpdateVpcRequest request;
  QMASQ_TRY(fill(args, *request.mutable_vpc()));
  if (!args.ranges.empty()) request.mutable_update_mask()->add_paths("ranges");
  if (args.mtu) request.mutable_update_mask()->add_paths("mtu");
  if (args.description) request.mutable_update_mask()->add_paths("description");
  if (args.qos) request.mutable_update_mask()->add_paths("qos_policy");
  if (request.update_mask().paths().empty()) {
    return failed(kExitUsage, "nothing to update: give --range, --mtu, --qos or --description");
  }
  QMASQ_ASSIGN(Server server, Server::controller(shell.options));
  Stub stub(server.channel());
  request.mutable_vpc()->set_name(vpc_name(*id));
  request.mutable_vpc()->set_etag(args.mutation.etag);
  request.set_force(args.force);
  fill_mutation(args.mutation, request);
  auto vpc = server.call(stub, &Stub::UpdateVpc, request);
  if (!vpc) {
    return suggest(server, vpc.error(), *id, short_name(request.vpc().qos_policy()));
  }
  warn_of_oversubscription(shell, vpc->oversubscriptions());
  return finish(shell, server, args.mutation, *vpc, print_table<std::vector<v1::Vpc>>);
}

Outcome<int> remove(const Shell& shell, const Arguments& args) {
  auto id = parse_vpc_reference(args.name);
  if (!id) return failed(id.error(), kExitUsage);
  QMASQ_ASSIGN(Server server, Server::controller(shell.options));
  Stub stub(server.channel());
  v1::DeleteVpcRequest request;
  fill_delete(args.mutation, vpc_name(*id), request);
  auto answer = server.call(stub, &Stub::DeleteVpc, request);
  if (!answer) return suggest(server, answer.error(), *id);
  return finish_delete(shell, server, args.mutation, request.name(), answer->revision(), *answer);
}

CLI::App& add(CLI::App& group, Shell& shell, const std::string& name,
              const std::string& description, const std::shared_ptr<Arguments>& args,
              Outcome<int> (*action)(const Shell&, const Arguments&)) {
  return add_resource_command(group, shell, name, description, args, action, "blue or vpcs/blue",
                              "VPC");
}

void add_field_options(CLI::App& command, Arguments& args) {
  command
      .add_option("--range", args.ranges,
                  "Address range; several times, or with commas, for more than one")
      ->allow_extra_args(false)
      ->delimiter(',')
      ->type_name("CIDR");
  command
      .add_option("--mtu", args.mtu,
                  "MTU of the tenants' interfaces, bytes, 1280 to 9000;\n"
                  "0: as much as the underlay of each host carries")
      ->type_name("BYTES");
  command
      .add_option("--qos", args.qos,
                  "QoS policy: on each host, all endpoints there together are held to it")
      ->type_name("POLICY|none");
  command.add_option("--description", args.description, "For people")->type_name("TEXT");
}

}  // namespace

Outcome<int> set_vpc_policy(const Shell& shell, const PolicyAttachment& what) {
  Arguments args;
  args.name = what.target;
  args.qos = what.policy;
  args.force = what.force;
  args.mutation = what.mutation;
  return update(shell, args);
}

void add_vpc_commands(CLI::App& root, Shell& shell) {
  CLI::App& group = *root.add_subcommand("vpc", "Virtual private clouds: tenants' address spaces");
  group.require_subcommand(1);
  auto args = std::make_shared<Arguments>();

  CLI::App& create_command = add(group, shell, "create", "Create a VPC", args, create);
  add_field_options(create_command, *args);
  create_command.get_option("--range")->required();
  create_command
      .add_option("--vni", args->vni, "VXLAN network identifier [the lowest free from 4096 up]")
      ->type_name("N");
  add_mutation_options(create_command, args->mutation, /*with_etag=*/false);
  create_command.footer(R"(
Examples:
  qmasq vpc create blue --range 10.0.0.0/24
  qmasq vpc create red --range 10.0.0.0/24 --range fd00:1::/64 --vni 5000 --mtu 1400)");

  CLI::App& list_command = add(group, shell, "list", "List the VPCs", args, list);
  add_list_options(list_command, args->list, "name, vni");
  list_command.footer(R"(
Examples:
  qmasq vpc list
  qmasq vpc list --filter 'name=vpcs/b*' -o json)");

  CLI::App& get_command = add(group, shell, "get", "Show one VPC", args, get);
  get_command.footer(R"(
Example:
  qmasq vpc get blue -o yaml)");

  CLI::App& update_command =
      add(group, shell, "update", "Change what is given, leave the rest", args, update);
  add_field_options(update_command, *args);
  update_command.get_option("--range")->description("Address range; all of them, as they shall be");
  update_command.add_flag("--force", args->force,
                          "Also when guarantees then add up to more than a NIC has");
  add_mutation_options(update_command, args->mutation, /*with_etag=*/true);
  update_command.footer(R"(
Examples:
  qmasq vpc update blue --range 10.0.0.0/24 --range 10.0.1.0/24 --wait
  qmasq vpc update blue --qos gold --description "Training cluster")");

  CLI::App& delete_command =
      add(group, shell, "delete", "Delete a VPC without endpoints", args, remove);
  add_mutation_options(delete_command, args->mutation, /*with_etag=*/true);
  delete_command.footer(R"(
Example:
  qmasq vpc delete blue)");
}

}  // namespace qmasq::cli

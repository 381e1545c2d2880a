// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <memory>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "cli/commands/add.h"
#include "cli/commands/qos.h"
#include "cli/directory.h"
#include "cli/names.h"
#include "cli/qos/policy_arguments.h"
#include "cli/qos/report.h"
#include "cli/qos/words.h"
#include "cli/resources.h"
#include "cli/table.h"
#include "common/rate.h"
#include "qmasq/v1/qos.grpc.pb.h"

namespace qmasq::cli {
namespace {

using Stub = v1::QosService::Stub;
using Policies = std::vector<v1::QosPolicy>;

struct Arguments {
  std::string name;
  PolicyArguments values;
  bool force = false;
  MutationOptions mutation;
  ListOptions list;
};

std::string rate_or_none(bool set, std::uint64_t bps) {
  return set ? rate_text(bps) : "";
}

void print_table(const Shell& shell, const Policies& policies) {
  Table table({"NAME", "GUARANTEED", "MAXIMUM", "BURST", "WEIGHT", "DSCP", "QUOTAS", "RATES",
               "VPCS", "ENDPOINTS", "DESCRIPTION"});
  for (const v1::QosPolicy& policy : policies) {
    table.add({short_name(policy.name()),
               rate_or_none(policy.has_guaranteed_bps(), policy.guaranteed_bps()),
               rate_or_none(policy.has_maximum_bps(), policy.maximum_bps()),
               policy.has_burst_bytes() ? size_to_string(policy.burst_bytes()) : "",
               policy.has_weight() ? std::to_string(policy.weight()) : "",
               policy.has_dscp() ? std::to_string(policy.dscp()) : "",
               quotas_text(policy.quotas(), ","), verb_rates_text(policy.verb_rates(), " "),
               std::to_string(policy.vpc_count()), std::to_string(policy.endpoint_count()),
               policy.description()});
  }
  table.print(shell.console.out, shell.console.colour);
}

void print_one(const Shell& shell, const v1::QosPolicy& policy) {
  print_fields(shell.console.out, shell.console.colour,
               {{"Name", policy.name()},
                {"Description", policy.description()},
                {"Guaranteed", rate_or_none(policy.has_guaranteed_bps(), policy.guaranteed_bps())},
                {"Maximum", rate_or_none(policy.has_maximum_bps(), policy.maximum_bps())},
                {"Burst", policy.has_burst_bytes() ? size_to_string(policy.burst_bytes()) : ""},
                {"Weight", policy.has_weight() ? std::to_string(policy.weight()) : ""},
                {"DSCP", policy.has_dscp() ? dscp_text(policy.dscp()) : ""},
                {"Quotas", quotas_text(policy.quotas(), "\n")},
                {"Rates of verbs", verb_rates_text(policy.verb_rates(), "\n")},
                {"VPCs", std::to_string(policy.vpc_count())},
                {"Endpoints", std::to_string(policy.endpoint_count())},
                {"Created", time_text(policy.create_time())},
                {"Updated", time_text(policy.update_time())},
                {"Revision", std::to_string(policy.revision())},
                {"Etag", policy.etag()}});
}

tl::unexpected<Failure> suggest(const Server& server, const Failure& failure,
                                const std::string& id) {
  return suggesting(failure, [&] { return near_matches(id, policy_names(server)); });
}

Outcome<std::string> id_of(const Arguments& args) {
  auto id = parse_qos_policy_reference(args.name);
  if (!id) return failed(id.error(), kExitUsage);
  return *id;
}

Outcome<int> create(const Shell& shell, const Arguments& args) {
  QMASQ_ASSIGN(std::string id, id_of(args));
  if (id == kNone) {
    return failed(kExitUsage, "a policy cannot be called 'none': --qos none means no policy");
  }
  QMASQ_ASSIGN(PolicyChange change, policy_change(args.values));
  QMASQ_ASSIGN(Server server, Server::controller(shell.options));
  Stub stub(server.channel());
  v1::CreateQosPolicyRequest request;
  request.set_qos_policy_id(id);
  *request.mutable_qos_policy() = std::move(change.policy);
  fill_mutation(args.mutation, request);
  QMASQ_ASSIGN(v1::QosPolicy made, server.call(stub, &Stub::CreateQosPolicy, request));
  return finish(shell, server, args.mutation, made, print_table);
}

Outcome<int> list(const Shell& shell, const Arguments& args) {
  QMASQ_ASSIGN(Server server, Server::controller(shell.options));
  Stub stub(server.channel());
  v1::ListQosPoliciesRequest request;
  request.set_filter(args.list.filter);
  request.set_page_size(args.list.page_size);
  Policies all;
  QMASQ_TRY(each_page(
      server, stub, &Stub::ListQosPolicies, request, [&](v1::ListQosPoliciesResponse& page) {
        all.insert(all.end(), page.qos_policies().begin(), page.qos_policies().end());
      }));
  return show_list(shell, "qosPolicies", all,
                   args.list.filter.empty() ? "no QoS policies" : "no policies match the filter",
                   print_table);
}

Outcome<int> get(const Shell& shell, const Arguments& args) {
  QMASQ_ASSIGN(std::string id, id_of(args));
  QMASQ_ASSIGN(Server server, Server::controller(shell.options));
  Stub stub(server.channel());
  v1::GetQosPolicyRequest request;
  request.set_name(qos_policy_name(id));
  auto policy = server.call(stub, &Stub::GetQosPolicy, request);
  if (!policy) return suggest(server, policy.error(), id);
  return show_one(shell, *policy, print_one);
}

Outcome<int> update(const Shell& shell, const Arguments& args) {
  QMASQ_ASSIGN(std::string id, id_of(args));
  QMASQ_ASSIGN(PolicyChange change, policy_change(args.values));
  if (change.paths.empty()) {
    return failed(kExitUsage,
                  "nothing to update: give --guaranteed, --maximum, --burst, --weight, --dscp, "
                  "--quota, --rate, --description or --file");
  }
  QMASQ_ASSIGN(Server server, Server::controller(shell.options));
  Stub stub(server.channel());
  v1::UpdateQosPolicyRequest request;
  for (const std::string& path : change.paths)
    request.mutable_update_mask()->add_paths(path);
  *request.mutable_qos_policy() = std::move(change.policy);
  request.mutable_qos_policy()->set_name(qos_policy_name(id));
  request.mutable_qos_policy()->set_etag(args.mutation.etag);
  request.set_force(args.force);
  fill_mutation(args.mutation, request);
  auto policy = server.call(stub, &Stub::UpdateQosPolicy, request);
  if (!policy) return suggest(server, policy.error(), id);
  warn_of_oversubscription(shell, policy->oversubscriptions());
  return finish(shell, server, args.mutation, *policy, print_table);
}

Outcome<int> remove(const Shell& shell, const Arguments& args) {
  QMASQ_ASSIGN(std::string id, id_of(args));
  QMASQ_ASSIGN(Server server, Server::controller(shell.options));
  Stub stub(server.channel());
  v1::DeleteQosPolicyRequest request;
  fill_delete(args.mutation, qos_policy_name(id), request);
  auto answer = server.call(stub, &Stub::DeleteQosPolicy, request);
  if (!answer) return suggest(server, answer.error(), id);
  return finish_delete(shell, server, args.mutation, request.name(), answer->revision(), *answer);
}

CLI::App& add(CLI::App& group, Shell& shell, const std::string& name,
              const std::string& description, const std::shared_ptr<Arguments>& args,
              Outcome<int> (*action)(const Shell&, const Arguments&)) {
  return add_resource_command(group, shell, name, description, args, action,
                              "gold or qosPolicies/gold", "POLICY");
}

}  // namespace

void add_qos_policy_commands(CLI::App& parent, Shell& shell) {
  CLI::App& group = *parent.add_subcommand(
      "policy", "Policies: what a VPC or an endpoint is promised, and at most");
  group.require_subcommand(1);
  auto args = std::make_shared<Arguments>();

  CLI::App& create_command = add(group, shell, "create", "Create a policy", args, create);
  add_policy_options(create_command, args->values);
  add_mutation_options(create_command, args->mutation, /*with_etag=*/false);
  create_command.footer(R"(
Examples:
  qmasq qos policy create gold --guaranteed 15Mbit --maximum 20Mbit --weight 20 --dscp af31
  qmasq qos policy create small --quota qps=100,pinned=1GiB --rate qps=50/s,burst=100
  qmasq qos policy create gold -f gold.yaml)");

  CLI::App& list_command = add(group, shell, "list", "List the policies", args, list);
  add_list_options(list_command, args->list, "name");
  list_command.footer(R"(
Example:
  qmasq qos policy list)");

  CLI::App& get_command = add(group, shell, "get", "Show one policy", args, get);
  get_command.footer(R"(
Example:
  qmasq qos policy get gold)");

  CLI::App& update_command =
      add(group, shell, "update", "Change what is given, leave the rest", args, update);
  add_policy_options(update_command, args->values);
  update_command.add_flag("--force", args->force,
                          "Also when guarantees then add up to more than a NIC has");
  add_mutation_options(update_command, args->mutation, /*with_etag=*/true);
  update_command.footer(R"(
Examples:
  qmasq qos policy update gold --maximum 25Mbit --wait
  qmasq qos policy update gold --maximum none --quota qps=none)");

  CLI::App& delete_command =
      add(group, shell, "delete", "Delete a policy that nothing has", args, remove);
  add_mutation_options(delete_command, args->mutation, /*with_etag=*/true);
  delete_command.footer(R"(
Example:
  qmasq qos policy delete gold)");
}

}  // namespace qmasq::cli

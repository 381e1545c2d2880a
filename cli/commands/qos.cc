// SPDX-License-Identifier: Apache-2.0
#include "cli/commands/qos.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include "cli/commands/add.h"
#include "cli/commands/set_policy.h"
#include "cli/directory.h"
#include "cli/names.h"
#include "cli/qos/tree.h"
#include "cli/qos/words.h"
#include "cli/resources.h"
#include "cli/table.h"
#include "qmasq/v1/agent.grpc.pb.h"
#include "qmasq/v1/qos.grpc.pb.h"

namespace qmasq::cli {

void add_scope_options(CLI::App& command, Shell& shell, QosScope& scope) {
  command.add_option("--vpc", scope.vpc, "Only of this VPC")->type_name("VPC");
  auto* host = command.add_option("--host", scope.host, "Only on this host")->type_name("HOST");
  command.add_flag("--local", scope.local, "Ask this host's agent instead of the controller")
      ->excludes(host);
  add_output_option(command, shell.options);
  add_controller_options(command, shell.options);
  add_agent_options(command, shell.options);
}

Outcome<QosSource> QosSource::open(const Shell& shell, const QosScope& scope) {
  v1::ShowQosRequest request;
  if (!scope.vpc.empty()) {
    auto vpc = parse_vpc_reference(scope.vpc);
    if (!vpc) return failed(kExitUsage, "--vpc: " + vpc.error().message);
    request.set_vpc(vpc_name(*vpc));
  }
  if (!scope.host.empty()) {
    auto host = parse_host_reference(scope.host);
    if (!host) return failed(kExitUsage, "--host: " + host.error().message);
    request.set_host(host_name(*host));
  }
  auto server = scope.local ? Server::agent(shell.options) : Server::controller(shell.options);
  if (!server) return tl::unexpected(server.error());
  return QosSource(std::move(*server), std::move(request), scope.local);
}

Outcome<v1::ShowQosResponse> QosSource::ask_agent() const {
  v1::AgentService::Stub stub(server_.channel());
  QMASQ_ASSIGN(v1::HostQos host,
               server_.call(stub, &v1::AgentService::Stub::GetQos, v1::GetQosRequest{}));
  if (!request_.vpc().empty()) keep_vpc(request_.vpc(), host);
  v1::ShowQosResponse out;
  out.set_revision(host.revision());
  *out.add_hosts() = std::move(host);
  return out;
}

Outcome<v1::ShowQosResponse> QosSource::ask() const {
  if (local_) return ask_agent();
  v1::QosService::Stub stub(server_.channel());
  auto answer = server_.call(stub, &v1::QosService::Stub::ShowQos, request_);
  if (answer) return answer;
  return suggesting(answer.error(), [&]() -> std::vector<std::string> {
    const std::string vpc = short_name(request_.vpc());
    const auto vpcs = vpc_names(server_);
    if (!vpc.empty() && std::find(vpcs.begin(), vpcs.end(), vpc) == vpcs.end()) {
      return near_matches(vpc, vpcs);
    }
    return near_matches(short_name(request_.host()), host_names(server_));
  });
}

namespace {

struct AttachArguments {
  std::string policy = std::string(kNone);
  std::string target;
  bool force = false;
  MutationOptions mutation;
};

Outcome<int> show(const Shell& shell, const QosScope& scope) {
  QMASQ_ASSIGN(QosSource source, QosSource::open(shell, scope));
  QMASQ_ASSIGN(v1::ShowQosResponse answer, source.ask());
  if (answer.hosts().empty() && shell.options.format == Format::kTable) {
    shell.console.err << "no hosts with limits\n";
    return kExitOk;
  }
  QMASQ_TRY(show_one(shell, answer, print_qos));
  std::vector<std::string> silent;
  for (const v1::HostQos& host : answer.hosts()) {
    if (!host.error().empty()) silent.push_back(short_name(host.host()));
  }
  if (silent.empty()) return kExitOk;
  return failed(kExitIncomplete, "no answer from " + join(silent));
}

Outcome<int> set(const Shell& shell, const AttachArguments& args) {
  auto scope = parse_scope(args.target);
  if (!scope) return failed(scope.error(), kExitUsage);
  const PolicyAttachment what{args.target, args.policy, args.force, args.mutation};
  return parse_vpc_name(*scope) ? set_vpc_policy(shell, what) : set_endpoint_policy(shell, what);
}

Outcome<int> attach(const Shell& shell, const AttachArguments& args) {
  if (args.policy == kNone) {
    return failed(kExitUsage, "to take the policy away: qmasq qos detach " + args.target);
  }
  return set(shell, args);
}

void add_attach_commands(CLI::App& group, Shell& shell) {
  auto args = std::make_shared<AttachArguments>();
  CLI::App& attach_command =
      add_command(group, shell, "attach",
                  "Give a VPC or an endpoint a policy, in place of the one it has", args, attach);
  attach_command.add_option("policy", args->policy, "gold or qosPolicies/gold")
      ->required()
      ->type_name("POLICY");
  CLI::App& detach_command = add_command(
      group, shell, "detach", "Take the policy of a VPC or an endpoint away", args, &set);
  for (CLI::App* command : {&attach_command, &detach_command}) {
    command->add_option("target", args->target, "blue or blue/a")
        ->required()
        ->type_name("VPC|ENDPOINT");
    add_output_option(*command, shell.options);
    add_controller_options(*command, shell.options);
  }
  attach_command.add_flag("--force", args->force,
                          "Also when guarantees then add up to more than a NIC has");
  for (CLI::App* command : {&attach_command, &detach_command})
    add_mutation_options(*command, args->mutation, /*with_etag=*/true);
  attach_command.footer(R"(
Examples:
  qmasq qos attach gold blue --wait      (on each host, all endpoints of blue together)
  qmasq qos attach small blue/a          (that endpoint, within what its VPC has))");
  detach_command.footer(R"(
Example:
  qmasq qos detach blue)");
}

}  // namespace

void add_qos_commands(CLI::App& root, Shell& shell) {
  CLI::App& group = *root.add_subcommand(
      "qos", "Quality of service: promises, limits, quotas, and what comes of them");
  group.require_subcommand(1);
  add_qos_policy_commands(group, shell);
  add_attach_commands(group, shell);

  auto scope = std::make_shared<QosScope>();
  CLI::App& show_command =
      add_command(group, shell, "show",
                  "Limits as configured, enforced and observed, by host and NIC", scope, show);
  add_scope_options(show_command, shell, *scope);
  show_command.footer(R"(
Examples:
  qmasq qos show
  qmasq qos show --vpc blue --host hostA
  qmasq qos show --local -o json

Exit code 4: a host did not answer; the others are shown.)");
}

}  // namespace qmasq::cli

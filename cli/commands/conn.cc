// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <memory>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "cli/commands/add.h"
#include "cli/gid_text.h"
#include "cli/names.h"
#include "cli/resources.h"
#include "cli/table.h"
#include "qmasq/v1/agent.grpc.pb.h"

namespace qmasq::cli {
namespace {

struct Arguments {
  std::string vpc;
  std::string endpoint;
};

std::string qpn_text(std::uint32_t qpn) {
  return qpn == 0 ? "" : fmt::format("0x{:06x}", qpn);
}

Outcome<int> list(const Shell& shell, const Arguments& args) {
  v1::ListConnectionsRequest request;
  if (!args.vpc.empty()) {
    auto id = parse_vpc_reference(args.vpc);
    if (!id) return failed(id.error(), kExitUsage);
    request.set_parent(vpc_name(*id));
  } else if (!args.endpoint.empty()) {
    auto name = parse_endpoint(args.endpoint);
    if (!name) return failed(name.error(), kExitUsage);
    request.set_parent(endpoint_name(*name));
  }
  QMASQ_ASSIGN(Server server, Server::agent(shell.options));
  v1::AgentService::Stub stub(server.channel());
  QMASQ_ASSIGN(v1::ListConnectionsResponse response,
               server.call(stub, &v1::AgentService::Stub::ListConnections, request));
  if (shell.options.format != Format::kTable) {
    print_document(shell.console.out, list_document("connections", response.connections()),
                   shell.options.format);
    return kExitOk;
  }
  if (response.connections().empty()) {
    shell.console.err << "no queue pairs on this host"
                      << (request.parent().empty() ? "" : " of " + printable(request.parent()))
                      << '\n';
    return kExitOk;
  }
  Table table({"ENDPOINT", "PEER", "TRANSPORT", "STATE", "QPN", "PEER-QPN", "VIRTUAL-GID",
               "PEER-VIRTUAL", "PHYSICAL", "PEER-PHYSICAL", "NIC", "PID", "COMMAND", "OPS",
               "RULE"});
  for (const v1::Connection& c : response.connections()) {
    table.add({short_name(c.endpoint()), short_name(c.peer_endpoint()), c.transport(), c.state(),
               qpn_text(c.qpn()), qpn_text(c.peer_qpn()), short_gid(c.virtual_gid()),
               short_gid(c.peer_virtual_gid()), short_gid(c.physical_gid()),
               short_gid(c.peer_physical_gid()), c.nic(),
               c.pid() == 0 ? "" : std::to_string(c.pid()), c.command(),
               join({c.operations().begin(), c.operations().end()}, ","), c.rule()});
  }
  table.print(shell.console.out, shell.console.colour);
  return kExitOk;
}

}  // namespace

void add_conn_commands(CLI::App& root, Shell& shell) {
  CLI::App& group =
      *root.add_subcommand("conn", "Connections: queue pairs and UD destinations of this host");
  group.require_subcommand(1);
  auto args = std::make_shared<Arguments>();
  CLI::App& command = add_command(
      group, shell, "list", "List queue pairs with their virtual and physical side", args, list);
  auto* vpc = command.add_option("--vpc", args->vpc, "Only those of this VPC")->type_name("VPC");
  command.add_option("--endpoint", args->endpoint, "Only those of this endpoint")
      ->type_name("ENDPOINT")
      ->excludes(vpc);
  add_output_option(command, shell.options);
  add_agent_options(command, shell.options);
  command.footer(R"(
Examples:
  qmasq conn list
  qmasq conn list --endpoint blue/a -o json)");
}

}  // namespace qmasq::cli

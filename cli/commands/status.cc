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

struct Arguments {};

std::string controller_text(const v1::Agent& agent) {
  // What only operators of the host are told.
  if (agent.controller().empty()) return agent.connected() ? "connected" : "not connected";
  std::string out = agent.controller() + (agent.connected() ? ", connected" : ", not connected");
  if (!agent.last_error().empty()) out += "\nlast error: " + agent.last_error();
  return out;
}

std::string sync_text(const v1::Agent& agent) {
  if (!agent.in_sync()) return "not yet in sync: new connections are refused with EAGAIN";
  if (agent.held_revision() >= agent.newest_revision()) {
    return fmt::format("in sync at revision {}", agent.held_revision());
  }
  return fmt::format("holds revision {}, newest is {}", agent.held_revision(),
                     agent.newest_revision());
}

void print_summary(const Shell& shell, const v1::Agent& agent) {
  std::vector<std::string> nics;
  for (const v1::Nic& nic : agent.nics()) {
    nics.push_back(fmt::format("{} on {}, {}, GID {}", nic.device(),
                               nic.netdev().empty() ? "no interface" : nic.netdev(),
                               nic.active() ? "active" : "down",
                               nic.primary_gid().empty() ? "none" : short_gid(nic.primary_gid())));
  }
  print_fields(
      shell.console.out, shell.console.colour,
      {{"Host", short_name(agent.host())},
       {"Agent", agent.version()},
       {"Controller", controller_text(agent)},
       {"State", sync_text(agent)},
       {"Map", agent.controller().empty()
                   ? ""
                   : fmt::format("{} VPCs, {} endpoints, {} entries", agent.vpcs(),
                                 agent.endpoints(), agent.map_entries())},
       {"Programs", fmt::format("{} attached, {} contexts, {} queue pairs", agent.attachments(),
                                agent.contexts(), agent.queue_pairs())},
       {"NICs", !nics.empty()                ? join(nics, "\n")
                : agent.controller().empty() ? ""
                                             : "none"},
       {"Kernel features", join({agent.features().begin(), agent.features().end()})},
       {"Guard", agent.guard()},
       {"Keeper", agent.keeper()}});
  if (agent.local_endpoints().empty()) return;
  shell.console.out << '\n';
  Table table({"ENDPOINT", "STATE", "GIDS", "NETNS", "INTERFACE", "PROGRAMS", "MESSAGE"});
  for (const v1::LocalEndpoint& endpoint : agent.local_endpoints()) {
    std::vector<std::string> gids;
    for (const std::string& gid : endpoint.virtual_gids())
      gids.push_back(short_gid(gid));
    table.add({short_name(endpoint.name()), endpoint.state(), join(gids, ","), endpoint.netns(),
               endpoint.interface(), std::to_string(endpoint.attachments()), endpoint.message()});
  }
  table.print(shell.console.out, shell.console.colour);
}

Outcome<int> status(const Shell& shell, const Arguments&) {
  QMASQ_ASSIGN(Server server, Server::agent(shell.options));
  v1::AgentService::Stub stub(server.channel());
  QMASQ_ASSIGN(v1::Agent agent,
               server.call(stub, &v1::AgentService::Stub::GetAgent, v1::GetAgentRequest{}));
  if (shell.options.format == Format::kTable) {
    print_summary(shell, agent);
  } else {
    print_document(shell.console.out, to_document(agent), shell.options.format);
  }
  return kExitOk;
}

}  // namespace

void add_status_command(CLI::App& root, Shell& shell) {
  CLI::App& command = add_command(root, shell, "status", "This host's agent at a glance",
                                  std::make_shared<Arguments>(), status);
  command.alias("agent");
  add_output_option(command, shell.options);
  add_agent_options(command, shell.options);
  command.footer(R"(
Example:
  qmasq status)");
}

}  // namespace qmasq::cli

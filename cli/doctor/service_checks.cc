// SPDX-License-Identifier: Apache-2.0
#include "cli/doctor/service_checks.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <string>

#include "cli/names.h"
#include "cli/resources.h"
#include "cli/rpc.h"
#include "qmasq/v1/agent.grpc.pb.h"
#include "qmasq/v1/auth.grpc.pb.h"
#include "qmasq/v1/host.grpc.pb.h"
#include "trust/identity.h"
#include "trust/stored_identity.h"

namespace qmasq::cli {
namespace {

Finding check_attach_socket(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) == 0 && S_ISSOCK(info.st_mode)) {
    return {Health::kOk, "agent", "attach socket", path, ""};
  }
  return {Health::kFail, "agent", "attach socket", "there is none at " + path,
          "qmasq run needs it: start qmasq-vbond again, and read its log."};
}

Finding check_connection(const v1::Agent& agent) {
  if (agent.connected()) {
    return {Health::kOk, "agent", "controller", agent.controller() + ", connected", ""};
  }
  std::string why = agent.last_error().empty() ? "" : ": " + agent.last_error();
  return {Health::kFail, "agent", "controller", agent.controller() + ", not connected" + why,
          "Is qmasq-controller running there, and does a firewall let TCP through? Programs go on "
          "with what the agent holds."};
}

Finding check_sync(const v1::Agent& agent) {
  if (!agent.in_sync()) {
    return {Health::kFail, "agent", "state", "never in sync since it started",
            "New connections are refused with EAGAIN until the controller has been reached once."};
  }
  std::string held = fmt::format("holds revision {}", agent.held_revision());
  if (agent.held_revision() >= agent.newest_revision()) {
    return {Health::kOk, "agent", "state", "in sync, " + held, ""};
  }
  return {Health::kWarn, "agent", "state",
          fmt::format("{}, newest is {}", held, agent.newest_revision()),
          "Ask again; if it stays behind, qmasq host get shows what the host rejected."};
}

Findings check_endpoints(const v1::Agent& agent) {
  Findings out;
  for (const v1::LocalEndpoint& endpoint : agent.local_endpoints()) {
    if (endpoint.message().empty()) continue;
    out.push_back({Health::kWarn, "endpoint", short_name(endpoint.name()),
                   endpoint.state() + ": " + endpoint.message(), "See: qmasq events"});
  }
  return out;
}

Finding check_nics_of_agent(const v1::Agent& agent) {
  auto usable = std::count_if(agent.nics().begin(), agent.nics().end(), [](const v1::Nic& nic) {
    return nic.active() && !nic.primary_gid().empty();
  });
  if (usable > 0) {
    return {Health::kOk, "agent", "NICs", fmt::format("{} can carry traffic", usable), ""};
  }
  return {Health::kFail, "agent", "NICs", "none has a RoCE v2 GID of the underlay address",
          "Is --underlay-device of qmasq-vbond the interface below the RDMA device?"};
}

Finding check_vpc_gids(const v1::Agent& agent) {
  if (agent.nics().empty()) return {Health::kOk, "agent", "GIDs of VPCs", "no NIC yet", ""};
  const bool all = std::all_of(agent.nics().begin(), agent.nics().end(),
                               [](const v1::Nic& nic) { return !nic.vpc_gid_prefix().empty(); });
  if (all) return {Health::kOk, "agent", "GIDs of VPCs", "each VPC has its own on each NIC", ""};
  return {
      Health::kWarn, "agent", "GIDs of VPCs", "off: all VPCs send from the underlay address",
      "A tenant that knows the number of another's queue pair can send to it where both connect "
      "the same two hosts. See --vpc-gids of qmasq-vbond."};
}

// A certificate of ours or of the agent's, as it lies in a directory; nothing where there is none.
void check_certificate(const std::string& area, const std::string& directory, const char* renewal,
                       Findings& out) {
  auto held = trust::read_identity(directory);
  if (!held && held.error().code == Code::kNotFound) return;
  if (!held) {
    // Not root: the agent's own is none of the caller's business.
    if (held.error().err == EACCES) return;
    out.push_back(
        {Health::kFail, area, "certificate", held.error().message,
         "Who else could read the key may be us: make another, and close the directory."});
    return;
  }
  const auto now = std::chrono::system_clock::now();
  const auto left = std::chrono::duration_cast<std::chrono::hours>(held->info.not_after - now);
  const std::string whose = trust::name_of(held->info.identity);
  if (now >= held->info.not_after) {
    out.push_back({Health::kFail, area, "certificate", whose + ", expired", renewal});
  } else if (now < held->info.not_before) {
    out.push_back({Health::kFail, area, "certificate", whose + ", not good yet",
                   "This machine's clock is slow: set it."});
  } else {
    const bool soon =
        now > held->info.not_before + (held->info.not_after - held->info.not_before) * 3 / 4;
    out.push_back({soon ? Health::kWarn : Health::kOk, area, "certificate",
                   left.count() >= 48
                       ? fmt::format("{}, good for {} days", whose, left.count() / 24)
                       : fmt::format("{}, good for {} hours", whose, left.count()),
                   soon ? renewal : ""});
  }
}

Finding check_whoami(const Server& server) {
  v1::AuthService::Stub stub(server.channel());
  auto caller = server.call(stub, &v1::AuthService::Stub::WhoAmI, v1::WhoAmIRequest{});
  if (!caller) {
    return {Health::kFail, "controller", "identity", caller.error().message, caller.error().hint};
  }
  if (caller->role() == v1::ROLE_UNSPECIFIED) {
    return {Health::kWarn, "controller", "identity", caller->name() + " has no role there",
            "An admin gives one: qmasq access create --help"};
  }
  return {Health::kOk, "controller", "identity",
          fmt::format("{}, {}", caller->name(), role_text(caller->role())), ""};
}

Finding check_guard(const v1::Agent& agent) {
  if (agent.guard() == "on") {
    return {Health::kOk, "agent", "guard",
            "on: programs cannot change a verb behind the agent's back", ""};
  }
  if (agent.guard() == "off") {
    return {Health::kWarn, "agent", "guard",
            "off: a program can race the agent's checks of its verbs",
            "Start qmasq-vbond without --guard off."};
  }
  return {Health::kFail, "agent", "guard", agent.guard(),
          "No device is opened for programs until it works; see the agent's log."};
}

Finding check_sealed(const v1::Agent& agent) {
  const auto& features = agent.features();
  if (std::find(features.begin(), features.end(), "sealed_arguments") != features.end()) {
    return {Health::kOk, "agent", "arguments", "sealed: the kernel reads what was checked", ""};
  }
  return {Health::kWarn, "agent", "arguments",
          "not sealed: a program can change what the kernel reads; the guard alone sees it",
          "Start qmasq-vbond without --seal off; its log says what the machine lacks."};
}

Finding check_keeper(const v1::Agent& agent) {
  if (agent.keeper() == "on") {
    return {Health::kOk, "agent", "keeper",
            "on: programs go on while the agent is started again, or killed", ""};
  }
  if (agent.keeper() == "off") {
    return {Health::kWarn, "agent", "keeper", "off: when the agent is killed, programs lose RDMA",
            "Start qmasq-keeper, and qmasq-vbond without --keeper off."};
  }
  return {Health::kFail, "agent", "keeper", agent.keeper(),
          "Start qmasq-keeper again: the agent gives it everything by itself."};
}

Findings check_agent(const Shell& shell, std::string& host) {
  auto server = Server::agent(shell.options);
  Failure failure;
  if (server) {
    v1::AgentService::Stub stub(server->channel());
    auto agent = server->call(stub, &v1::AgentService::Stub::GetAgent, v1::GetAgentRequest{});
    if (agent) {
      host = agent->host();
      Findings out = {
          {Health::kOk, "agent", "socket",
           fmt::format("{}, version {}", short_name(agent->host()), agent->version()), ""},
          check_attach_socket(shell.options.socket_dir + "/attach.sock"),
          check_connection(*agent),
          check_sync(*agent),
          check_nics_of_agent(*agent),
          check_vpc_gids(*agent),
          check_guard(*agent),
          check_sealed(*agent),
          check_keeper(*agent)};
      for (Finding& finding : check_endpoints(*agent))
        out.push_back(std::move(finding));
      return out;
    }
    failure = agent.error();
  } else {
    failure = server.error();
  }
  return {{Health::kFail, "agent", "socket", failure.message, failure.hint}};
}

Finding check_controller(const Shell& shell, const std::string& host, Findings& more) {
  auto server = Server::controller(shell.options);
  if (!server) {
    return {Health::kFail, "controller", "socket", server.error().message, server.error().hint};
  }
  more.push_back(check_whoami(*server));
  v1::HostService::Stub stub(server->channel());
  if (host.empty()) {
    v1::ListHostsRequest request;
    request.set_page_size(1);
    auto answer = server->call(stub, &v1::HostService::Stub::ListHosts, request);
    if (!answer) {
      return {Health::kFail, "controller", "socket", answer.error().message, answer.error().hint};
    }
    return {Health::kOk, "controller", "socket", normal_address(shell.options.controller), ""};
  }
  v1::GetHostRequest request;
  request.set_name(host);
  auto answer = server->call(stub, &v1::HostService::Stub::GetHost, request);
  if (!answer) {
    return {Health::kFail, "controller", "this host", answer.error().message,
            answer.error().not_found ? "The agent of this host follows another controller."
                                     : answer.error().hint};
  }
  const v1::HostStatus& status = answer->status();
  if (status.state() != v1::HostStatus::ONLINE) {
    return {Health::kFail, "controller", "this host", "the controller does not hear it",
            "Is the agent connected to this controller, and not to another?"};
  }
  if (status.rejected_revision() != 0) {
    return {
        Health::kFail, "controller", "this host",
        fmt::format("rejected revision {}: {}", status.rejected_revision(), status.reject_reason()),
        "Mend what it names; the agent keeps the state before it."};
  }
  return {Health::kOk, "controller", "this host",
          fmt::format("online, applied revision {} of {}", status.applied_revision(),
                      status.current_revision()),
          ""};
}

}  // namespace

Findings check_services(const Shell& shell) {
  std::string host;
  Findings out = check_agent(shell, host);
  check_certificate("agent", "/var/lib/qmasq-vbond/tls",
                    "The agent renews it by itself, and says why it cannot: qmasq events --type "
                    "sync. Once it has expired: qmasq host token HOST, then qmasq-vbond join.",
                    out);
  if (!shell.options.certificates.empty()) {
    check_certificate("you", shell.options.certificates,
                      "qmasq access renew; once it has expired an admin makes another: qmasq "
                      "access create",
                      out);
  }
  // On most hosts there is no controller; the agent has said whether it reaches its own.
  struct stat info {};
  bool given = shell.options.controller != kDefaultController;
  bool here = ::stat(std::string(kDefaultController).substr(5).c_str(), &info) == 0;
  if (given || here) {
    Findings more;
    out.push_back(check_controller(shell, host, more));
    out.insert(out.end(), more.begin(), more.end());
  }
  return out;
}

}  // namespace qmasq::cli

// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <CLI/CLI.hpp>

#include "cli/commands/add.h"
#include "cli/commands/host_trust.h"
#include "cli/directory.h"
#include "cli/gid_text.h"
#include "cli/names.h"
#include "cli/qos/nic_rates.h"
#include "cli/qos/report.h"
#include "cli/qos/words.h"
#include "cli/resources.h"
#include "cli/table.h"
#include "qmasq/v1/host.grpc.pb.h"

namespace qmasq::cli {
namespace {

using Stub = v1::HostService::Stub;

// Somebody else may change a host between our get and our update.
constexpr int kAttempts = 5;

struct Arguments {
  std::string name;
  std::optional<std::string> description;
  std::vector<std::string> nic_rates;
  bool force = false;
  MutationOptions mutation;
  ListOptions list;
};

std::string state_text(const v1::HostStatus& status) {
  switch (status.state()) {
    case v1::HostStatus::ONLINE:
      return "online";
    case v1::HostStatus::OFFLINE:
      return "offline";
    default:
      return "never joined";
  }
}

// "12" when the host is up to date, "9 of 12" when it lags.
std::string revision_text(const v1::HostStatus& status) {
  if (status.applied_revision() >= status.current_revision()) {
    return std::to_string(status.applied_revision());
  }
  return fmt::format("{} of {}", status.applied_revision(), status.current_revision());
}

// "rxe0", with its rate if an administrator set one, and what is wrong with it.
std::string nic_text(const v1::Nic& nic, const std::string& rate) {
  return nic.device() + (rate.empty() ? "" : "=" + rate) +
         (!nic.active()               ? " (down)"
          : nic.primary_gid().empty() ? " (no GID)"
                                      : "");
}

std::string rate_of(const v1::Host& host, const std::string& device) {
  for (const v1::NicRate& rate : host.nic_rates()) {
    if (rate.device() == device) return rate_text(rate.rate_bps());
  }
  return "";
}

// "on", "off" or "broken"; why is for the long form.
std::string guard_text(const v1::HostStatus& status) {
  return status.guard().substr(0, status.guard().find(':'));
}

// Rates that an administrator set, also of NICs that are not there.
std::string rates_text(const v1::Host& host, std::string_view separator) {
  std::vector<std::string> out;
  for (const v1::NicRate& rate : host.nic_rates()) {
    const bool there = std::any_of(host.nics().begin(), host.nics().end(),
                                   [&](const auto& nic) { return nic.device() == rate.device(); });
    out.push_back(fmt::format("{}={}{}", rate.device(), rate_text(rate.rate_bps()),
                              there ? "" : " (no such NIC)"));
  }
  return join(out, separator);
}

template <typename Hosts>
void print_table(const Shell& shell, const Hosts& hosts) {
  Table table({"NAME", "STATE", "UNDERLAY", "NICS", "APPLIED", "AGENT", "GUARD", "DESCRIPTION"});
  for (const v1::Host& host : hosts) {
    std::vector<std::string> nics;
    for (const v1::Nic& nic : host.nics())
      nics.push_back(nic_text(nic, rate_of(host, nic.device())));
    table.add({short_name(host.name()), state_text(host.status()), host.underlay_address(),
               join(nics, ","), revision_text(host.status()), host.status().agent_version(),
               guard_text(host.status()), host.description()});
  }
  table.print(shell.console.out, shell.console.colour);
}

void print_one(const Shell& shell, const v1::Host& host) {
  const v1::HostStatus& status = host.status();
  std::vector<std::string> nics;
  for (const v1::Nic& nic : host.nics()) {
    nics.push_back(fmt::format(
        "{}  driver {}, on {}, {}, GID {}{}, MTU {}, {:.1f} Gbit/s", nic.device(), nic.driver(),
        nic.netdev().empty() ? "no interface" : nic.netdev(), nic.active() ? "active" : "down",
        nic.primary_gid().empty() ? "none" : short_gid(nic.primary_gid()),
        nic.vpc_gid_prefix().empty() ? "" : ", of VPCs " + short_gid(nic.vpc_gid_prefix()) + "/96",
        nic.active_mtu(), static_cast<double>(nic.rate_bps()) / 1e9));
  }
  std::string rejected =
      status.rejected_revision() == 0
          ? ""
          : fmt::format("revision {}: {}", status.rejected_revision(), status.reject_reason());
  print_fields(shell.console.out, shell.console.colour,
               {{"Name", host.name()},
                {"State", state_text(status)},
                {"Description", host.description()},
                {"Underlay address", host.underlay_address()},
                {"NICs", join(nics, "\n")},
                {"NIC rates", rates_text(host, "\n")},
                {"Applied revision", revision_text(status)},
                {"Rejected", rejected},
                {"Last heartbeat", time_text(status.last_heartbeat())},
                {"Agent", status.agent_version()},
                {"Kernel", status.kernel_release()},
                {"Guard", status.guard()},
                {"Created", time_text(host.create_time())},
                {"Etag", host.etag()}});
}

tl::unexpected<Failure> suggest(const Server& server, const Failure& failure,
                                const std::string& id) {
  return suggesting(failure, [&] { return near_matches(id, host_names(server)); });
}

Outcome<v1::Host> fetch(const Server& server, Stub& stub, const std::string& id) {
  v1::GetHostRequest request;
  request.set_name(host_name(id));
  auto host = server.call(stub, &Stub::GetHost, request);
  if (!host) return suggest(server, host.error(), id);
  return *host;
}

Outcome<int> create(const Shell& shell, const Arguments& args) {
  auto id = parse_host_reference(args.name);
  if (!id) return failed(id.error(), kExitUsage);
  QMASQ_ASSIGN(Server server, Server::controller(shell.options));
  Stub stub(server.channel());
  v1::CreateHostRequest request;
  request.set_host_id(*id);
  request.mutable_host()->set_description(args.description.value_or(""));
  fill_mutation(args.mutation, request);
  QMASQ_ASSIGN(v1::Host made, server.call(stub, &Stub::CreateHost, request));
  return finish(shell, server, args.mutation, made, print_table<std::vector<v1::Host>>);
}

Outcome<int> list(const Shell& shell, const Arguments& args) {
  QMASQ_ASSIGN(Server server, Server::controller(shell.options));
  Stub stub(server.channel());
  v1::ListHostsRequest request;
  request.set_filter(args.list.filter);
  request.set_page_size(args.list.page_size);
  std::vector<v1::Host> all;
  QMASQ_TRY(each_page(server, stub, &Stub::ListHosts, request, [&](v1::ListHostsResponse& page) {
    all.insert(all.end(), page.hosts().begin(), page.hosts().end());
  }));
  return show_list(shell, "hosts", all,
                   args.list.filter.empty() ? "no hosts: start qmasq-vbond on one, and it joins"
                                            : "no hosts match the filter",
                   print_table<std::vector<v1::Host>>);
}

Outcome<int> get(const Shell& shell, const Arguments& args) {
  auto id = parse_host_reference(args.name);
  if (!id) return failed(id.error(), kExitUsage);
  QMASQ_ASSIGN(Server server, Server::controller(shell.options));
  Stub stub(server.channel());
  QMASQ_ASSIGN(v1::Host host, fetch(server, stub, *id));
  return show_one(shell, host, print_one);
}

// One attempt: the host as it would be, from the host as it is where only a part changes.
Outcome<v1::Host> update_once(const Server& server, Stub& stub, const Arguments& args,
                              const NicRateChanges& changes, const v1::Host& is) {
  v1::UpdateHostRequest request;
  v1::Host& asked = *request.mutable_host();
  asked.set_name(is.name());
  asked.set_etag(args.mutation.etag);
  if (args.description) {
    asked.set_description(*args.description);
    request.mutable_update_mask()->add_paths("description");
  }
  if (!changes.empty()) {
    *asked.mutable_nic_rates() = is.nic_rates();
    apply(changes, asked);
    if (asked.etag().empty()) asked.set_etag(is.etag());
    request.mutable_update_mask()->add_paths("nic_rates");
  }
  request.set_force(args.force);
  fill_mutation(args.mutation, request);
  return server.call(stub, &Stub::UpdateHost, request);
}

Outcome<int> update(const Shell& shell, const Arguments& args) {
  auto id = parse_host_reference(args.name);
  if (!id) return failed(id.error(), kExitUsage);
  QMASQ_ASSIGN(NicRateChanges changes, parse_nic_rates("--nic-rate", args.nic_rates));
  if (!args.description && changes.empty()) {
    return failed(kExitUsage, "nothing to update: give --description or --nic-rate");
  }
  QMASQ_ASSIGN(Server server, Server::controller(shell.options));
  Stub stub(server.channel());
  v1::Host is;
  is.set_name(host_name(*id));
  for (int attempt = 1;; ++attempt) {
    if (!changes.empty()) {
      QMASQ_ASSIGN(is, fetch(server, stub, *id));
    }
    auto changed = update_once(server, stub, args, changes, is);
    if (changed) {
      warn_of_oversubscription(shell, changed->oversubscriptions());
      return finish(shell, server, args.mutation, *changed, print_table<std::vector<v1::Host>>);
    }
    if (changes.empty()) return suggest(server, changed.error(), *id);
    QMASQ_ASSIGN(v1::Host now, fetch(server, stub, *id));
    const bool raced = args.mutation.etag.empty() && now.etag() != is.etag();
    if (!raced || attempt == kAttempts) return tl::unexpected(changed.error());
  }
}

Outcome<int> remove(const Shell& shell, const Arguments& args) {
  auto id = parse_host_reference(args.name);
  if (!id) return failed(id.error(), kExitUsage);
  QMASQ_ASSIGN(Server server, Server::controller(shell.options));
  Stub stub(server.channel());
  v1::DeleteHostRequest request;
  fill_delete(args.mutation, host_name(*id), request);
  auto answer = server.call(stub, &Stub::DeleteHost, request);
  if (!answer) return suggest(server, answer.error(), *id);
  return finish_delete(shell, server, args.mutation, request.name(), answer->revision(), *answer);
}

CLI::App& add(CLI::App& group, Shell& shell, const std::string& name,
              const std::string& description, const std::shared_ptr<Arguments>& args,
              Outcome<int> (*action)(const Shell&, const Arguments&)) {
  return add_resource_command(group, shell, name, description, args, action, "hostA or hosts/hostA",
                              "HOST");
}

void add_description(CLI::App& command, Arguments& args) {
  command.add_option("--description", args.description, "For people")->type_name("TEXT");
}

}  // namespace

void add_host_commands(CLI::App& root, Shell& shell) {
  CLI::App& group = *root.add_subcommand("host", "Hosts: machines with an agent");
  group.require_subcommand(1);
  auto args = std::make_shared<Arguments>();

  CLI::App& create_command = add(
      group, shell, "create", "Announce a host; its agent would create it as well", args, create);
  add_description(create_command, *args);
  add_mutation_options(create_command, args->mutation, /*with_etag=*/false);
  create_command.footer(R"(
Example:
  qmasq host create hostA --description "Rack 4")");

  CLI::App& list_command = add(group, shell, "list", "List the hosts", args, list);
  add_list_options(list_command, args->list, "name, state (online, offline, never_joined)");
  list_command.footer(R"(
Examples:
  qmasq host list
  qmasq host list --filter state=offline)");

  CLI::App& get_command = add(group, shell, "get", "Show one host with its NICs", args, get);
  get_command.footer(R"(
Example:
  qmasq host get hostA)");

  CLI::App& update_command =
      add(group, shell, "update", "Change what is given, leave the rest", args, update);
  update_command
      .add_option("--nic-rate", args->nic_rates,
                  "What tenants may use of a NIC: rxe0=30Mbit, or rxe0=none for what the\n"
                  "driver says; several times, or with commas. Others stay")
      ->allow_extra_args(false)
      ->delimiter(',')
      ->type_name("NIC=RATE");
  add_description(update_command, *args);
  update_command.add_flag("--force", args->force,
                          "Also when guarantees then add up to more than a NIC has");
  add_mutation_options(update_command, args->mutation, /*with_etag=*/true);
  update_command.footer(R"(
Examples:
  qmasq host update hostA --description "Rack 5"
  qmasq host update hostA --nic-rate rxe0=30Mbit --wait)");

  add_host_trust_commands(group, shell);

  CLI::App& delete_command = add(
      group, shell, "delete", "Forget a host that is offline and has no endpoints", args, remove);
  add_mutation_options(delete_command, args->mutation, /*with_etag=*/true);
  delete_command.footer(R"(
Example:
  qmasq host delete hostA)");
}

}  // namespace qmasq::cli

// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "cli/commands/add.h"
#include "cli/names.h"
#include "cli/resources.h"
#include "cli/table.h"
#include "qmasq/v1/auth.grpc.pb.h"

namespace qmasq::cli {
namespace {

using Stub = v1::AuthService::Stub;

struct AuditArguments {
  std::string filter;
  int most = 50;
};

struct NoArguments {};

void print_table(const Shell& shell, const std::vector<v1::AuditRecord>& records) {
  Table table({"TIME", "WHO", "ROLE", "FROM", "METHOD", "RESOURCE", "STATUS", "MESSAGE"});
  for (const v1::AuditRecord& record : records) {
    table.add({time_text(record.time()), short_name(record.caller().name()),
               role_text(record.caller().role()), record.caller().peer(), record.method(),
               short_name(record.resource()), record.status(), record.message()});
  }
  table.print(shell.console.out, shell.console.colour);
}

Outcome<int> audit(const Shell& shell, const AuditArguments& args) {
  QMASQ_ASSIGN(Server server, Server::controller(shell.options));
  Stub stub(server.channel());
  v1::ListAuditRecordsRequest request;
  request.set_filter(args.filter);
  std::vector<v1::AuditRecord> all;
  while (static_cast<int>(all.size()) < args.most) {
    request.set_page_size(std::min(args.most - static_cast<int>(all.size()), 1000));
    QMASQ_ASSIGN(v1::ListAuditRecordsResponse page,
                 server.call(stub, &Stub::ListAuditRecords, request));
    all.insert(all.end(), page.records().begin(), page.records().end());
    if (page.next_page_token().empty() || page.records().empty()) break;
    request.set_page_token(page.next_page_token());
  }
  return show_list(shell, "records", all,
                   args.filter.empty() ? "nothing is recorded" : "no records match the filter",
                   print_table);
}

Outcome<int> whoami(const Shell& shell, const NoArguments&) {
  QMASQ_ASSIGN(Server server, Server::controller(shell.options));
  Stub stub(server.channel());
  QMASQ_ASSIGN(v1::Caller caller, server.call(stub, &Stub::WhoAmI, v1::WhoAmIRequest{}));
  return show_one(shell, caller, [](const Shell& on, const v1::Caller& one) {
    std::vector<std::string> vpcs;
    for (const std::string& vpc : one.vpcs())
      vpcs.push_back(short_name(vpc));
    print_fields(on.console.out, on.console.colour,
                 {{"Name", one.name()},
                  {"Role", role_text(one.role())},
                  {"VPCs", join(vpcs, "\n")},
                  {"From", one.peer()},
                  {"Certificate", one.certificate_serial()}});
  });
}

}  // namespace

std::string role_text(v1::Role role) {
  switch (role) {
    case v1::ADMIN:
      return "admin";
    case v1::VIEWER:
      return "viewer";
    case v1::VPC_ADMIN:
      return "vpc-admin";
    case v1::HOST:
      return "host";
    default:
      return "none";
  }
}

void add_audit_commands(CLI::App& root, Shell& shell) {
  auto args = std::make_shared<AuditArguments>();
  CLI::App& command = add_command(
      root, shell, "audit", "Who changed what, and who was refused, newest first", args, audit);
  command
      .add_option("--filter", args->filter,
                  "FIELD=VALUE, joined by AND; fields: caller, method, resource, status")
      ->type_name("FILTER");
  command.add_option("-n,--limit", args->most, "At most so many [50]")
      ->type_name("N")
      ->check(CLI::Range(1, 100'000));
  add_output_option(command, shell.options);
  add_controller_options(command, shell.options);
  command.footer(R"(
-o json has each resource before and after the change.

Examples:
  qmasq audit -n 20
  qmasq audit --filter 'status=PERMISSION_DENIED'
  qmasq audit --filter 'resource=vpcs/blue' -o json)");

  CLI::App& who = add_command(root, shell, "whoami", "Who the controller takes you for",
                              std::make_shared<NoArguments>(), whoami);
  add_output_option(who, shell.options);
  add_controller_options(who, shell.options);
  who.footer(R"(
Example:
  qmasq whoami --controller 192.0.2.1:7443 --certificates ~/.qmasq)");
}

}  // namespace qmasq::cli

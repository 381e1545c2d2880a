// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <array>
#include <memory>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "cli/commands/add.h"
#include "cli/directory.h"
#include "cli/names.h"
#include "cli/resources.h"
#include "cli/table.h"
#include "conntrack/rule_text.h"
#include "qmasq/v1/trace.grpc.pb.h"

namespace qmasq::cli {
namespace {

using Rule = v1::SecurityGroupRule;
using Operations = google::protobuf::RepeatedField<int>;

struct Arguments {
  std::string from;
  std::string to;
  std::string from_address;
  std::string transport = "rc";
  std::string operation;
  bool live = false;
};

std::string operations_text(const Operations& operations) {
  conntrack::Operations out;
  for (int operation : operations)
    out.bits |= static_cast<std::uint8_t>(1U << static_cast<unsigned>(operation - 1));
  return conntrack::to_string(out);
}

std::string rule_text(const v1::RuleReference& rule) {
  auto name = parse_security_group_name(rule.security_group());
  return fmt::format("{}/{}: {}", name ? name->group : rule.security_group(), rule.rule_id(),
                     rule.text());
}

void print_side(std::ostream& out, const char* direction, const v1::SideDecision& side) {
  out << fmt::format("    {:<3} of {}: {} by {}\n", direction,
                     printable(short_name(side.endpoint())), side.admits() ? "admits" : "denies",
                     side.has_rule() ? printable(rule_text(side.rule()))
                                     : std::string("default, no rule matches"));
  for (const auto& rule : side.also())
    out << "         also matches " << printable(rule_text(rule)) << '\n';
  for (const auto& rule : side.shadow()) {
    out << "         shadow, would decide: " << printable(rule_text(rule)) << '\n';
  }
}

void print_opening(std::ostream& out, const std::string& opener, const std::string& other,
                   const v1::Opening& opening) {
  out << fmt::format("  {} opens to {}: {}\n", opener, other, opening.open() ? "open" : "closed");
  print_side(out, "out", opening.egress());
  print_side(out, "in", opening.ingress());
}

std::string end_text(const v1::TraceParty& party) {
  std::vector<std::string> groups;
  for (const std::string& name : party.security_groups()) {
    auto parsed = parse_security_group_name(name);
    groups.push_back(parsed ? parsed->group : name);
  }
  return fmt::format("{} ({}) on {}, groups {}", short_name(party.endpoint()), party.address(),
                     short_name(party.host()), join(groups, ","));
}

void print_trace(const Shell& shell, const v1::TraceResponse& trace) {
  std::ostream& out = shell.console.out;
  const std::string from = printable(short_name(trace.from().endpoint()));
  const std::string to = printable(short_name(trace.to().endpoint()));
  const v1::ConnectionVerdict& verdict = trace.verdict();
  out << "From  " << printable(end_text(trace.from())) << '\n';
  out << "To    " << printable(end_text(trace.to())) << '\n';
  print_opening(out, from, to, verdict.from_opens());
  print_opening(out, to, from, verdict.to_opens());
  if (verdict.allowed()) {
    out << fmt::format("Allowed at revision {}: {} may {} memory of {}; {} may {} memory of {}\n",
                       trace.revision(), from, operations_text(verdict.operations_on_to()), to, to,
                       operations_text(verdict.operations_on_from()), from);
  } else {
    out << fmt::format("Refused at revision {}: {}\n", trace.revision(),
                       printable(verdict.reason()));
  }
  for (const v1::LiveVerdict& live : trace.live()) {
    out << "Live  " << printable(short_name(live.host())) << ": ";
    if (!live.error().empty()) {
      out << printable(live.error()) << '\n';
      continue;
    }
    out << fmt::format("{} at revision {}{}\n", live.verdict().allowed() ? "allowed" : "refused",
                       live.revision(),
                       live.verdict().allowed() == verdict.allowed() ? "" : ", NOT as above");
  }
}

Outcome<Rule::Operation> operation_of(const std::string& text) {
  if (text.empty()) return Rule::OPERATION_UNSPECIFIED;
  auto operations = conntrack::parse_operations(text);
  if (!operations) return failed(operations.error(), kExitUsage);
  switch (operations->bits) {
    case conntrack::Operations::kSend:
      return Rule::SEND;
    case conntrack::Operations::kRead:
      return Rule::READ;
    case conntrack::Operations::kWrite:
      return Rule::WRITE;
    case conntrack::Operations::kAtomic:
      return Rule::ATOMIC;
    default:
      return failed(kExitUsage, "--op takes one operation: send, read, write or atomic");
  }
}

Outcome<int> trace(const Shell& shell, const Arguments& args) {
  v1::TraceRequest request;
  auto from = parse_endpoint(args.from);
  if (!from) return failed(from.error(), kExitUsage);
  request.set_from(endpoint_name(*from));
  if (parse_ip(args.to)) {
    request.set_to(args.to);
  } else {
    auto to = parse_endpoint(args.to);
    if (!to) return failed(to.error(), kExitUsage);
    request.set_to(endpoint_name(*to));
  }
  request.set_from_address(args.from_address);
  auto transport = conntrack::parse_transport(args.transport);
  if (!transport) return failed(transport.error(), kExitUsage);
  if (!*transport) return failed(kExitUsage, "--transport takes one of rc, uc, ud, xrc");
  request.set_transport(static_cast<Rule::Transport>(static_cast<int>(**transport) + 1));
  QMASQ_ASSIGN(auto operation, operation_of(args.operation));
  request.set_operation(operation);
  request.set_live(args.live);

  QMASQ_ASSIGN(Server server, Server::controller(shell.options));
  v1::TraceService::Stub stub(server.channel());
  auto response = server.call(stub, &v1::TraceService::Stub::Trace, request);
  if (!response) {
    return suggesting(response.error(), [&] {
      const std::string typed = from->vpc + "/" + from->endpoint;
      return near_matches(typed, endpoint_names(server, vpc_name(from->vpc)));
    });
  }
  QMASQ_TRY(show_one(shell, *response, print_trace));
  if (!response->verdict().allowed()) return kExitDenied;
  if (operation == Rule::OPERATION_UNSPECIFIED) return kExitOk;
  if (shell.options.format == Format::kTable) {
    shell.console.out << fmt::format(
        "{}: {}\n", args.operation,
        response->operation_permitted() ? "permitted" : "not permitted");
  }
  return response->operation_permitted() ? kExitOk : kExitDenied;
}

}  // namespace

void add_trace_command(CLI::App& root, Shell& shell) {
  auto args = std::make_shared<Arguments>();
  CLI::App& command = add_command(
      root, shell, "trace", "Whether one endpoint may connect to another, and why", args, trace);
  command.add_option("--from", args->from, "Endpoint that connects")
      ->required()
      ->type_name("ENDPOINT");
  command.add_option("--to", args->to, "Endpoint of the same VPC, or its address")
      ->required()
      ->type_name("ENDPOINT|IP");
  command.add_option("--from-address", args->from_address, "Address that it uses [its first]")
      ->type_name("IP");
  command.add_option("--transport", args->transport, "rc, uc, ud or xrc")
      ->type_name("TRANSPORT")
      ->capture_default_str();
  command.add_option("--op", args->operation, "Also: may it send, read, write or atomic there?")
      ->type_name("OP");
  command.add_flag("--live", args->live, "Ask the agents of both hosts, too");
  add_output_option(command, shell.options);
  add_controller_options(command, shell.options);
  command.footer(R"(
Examples:
  qmasq trace --from blue/a --to blue/b
  qmasq trace --from blue/a --to 10.0.0.2 --op write --live

Exit code 5: the connection or the operation is refused.)");
}

}  // namespace qmasq::cli

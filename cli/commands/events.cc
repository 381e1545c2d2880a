// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <grpcpp/client_context.h>

#include <memory>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "cli/commands/add.h"
#include "cli/gid_text.h"
#include "cli/names.h"
#include "cli/resources.h"
#include "cli/table.h"
#include "qmasq/v1/agent.grpc.pb.h"

namespace qmasq::cli {
namespace {

struct Arguments {
  bool follow = false;
  std::string endpoint;
  std::vector<std::string> types;
  std::uint32_t limit = 0;
};

// What happened, in one cell: the reason, or both sides of the connection.
std::string detail_text(const v1::Event& event) {
  std::string out = event.reason();
  if (event.has_connection() && out.empty()) {
    const v1::Connection& c = event.connection();
    out = fmt::format("{} {} -> {} {}", short_gid(c.virtual_gid()), c.transport(),
                      short_gid(c.peer_virtual_gid()), short_name(c.peer_endpoint()));
  }
  return out;
}

// Columns of fixed width: a stream cannot know what comes. One space at least between two.
void print_row(const Shell& shell, const std::vector<std::string>& cells) {
  static constexpr std::size_t kWidths[] = {31, 17, 16, 12, 14, 7, 16, 0};
  for (std::size_t i = 0; i < cells.size(); ++i) {
    std::string cell = cells[i].empty() ? "-" : printable(cells[i]);
    shell.console.out << cell;
    if (i + 1 < cells.size()) {
      std::size_t width = display_width(cell);
      shell.console.out << std::string(width < kWidths[i] ? kWidths[i] - width : 1, ' ');
    }
  }
  shell.console.out << '\n';
}

void print_event(const Shell& shell, const v1::Event& event) {
  if (shell.options.format == Format::kTable) {
    print_row(shell,
              {time_text(event.time()), event.type(), short_name(event.endpoint()), event.verb(),
               event.errno_name(), event.pid() == 0 ? "" : std::to_string(event.pid()),
               event.command(), detail_text(event)});
  } else if (shell.options.format == Format::kJson) {
    print_line(shell.console.out, to_document(event));
  } else {
    shell.console.out << "---\n";
    print_document(shell.console.out, to_document(event), Format::kYaml);
  }
  shell.console.out.flush();
}

Outcome<int> events(const Shell& shell, const Arguments& args) {
  v1::WatchEventsRequest request;
  if (!args.endpoint.empty()) {
    auto scope = parse_scope(args.endpoint);
    if (!scope) return failed(scope.error(), kExitUsage);
    request.set_parent(*scope);
  }
  request.set_follow(args.follow);
  for (const std::string& type : args.types)
    request.add_types(type);
  request.set_limit(args.limit);
  QMASQ_ASSIGN(Server server, Server::agent(shell.options));
  v1::AgentService::Stub stub(server.channel());
  grpc::ClientContext context;
  if (!args.follow) {
    context.set_deadline(std::chrono::system_clock::now() + shell.options.timeout);
  }
  auto reader = stub.WatchEvents(&context, request);
  v1::Event event;
  bool any = false;
  while (reader->Read(&event)) {
    if (!any && shell.options.format == Format::kTable) {
      print_row(shell, {"TIME", "TYPE", "ENDPOINT", "VERB", "ERRNO", "PID", "COMMAND", "REASON"});
    }
    any = true;
    print_event(shell, event);
    // Whoever read us is gone (qmasq events --follow | head).
    if (!shell.console.out) {
      context.TryCancel();
      reader->Finish();
      return kExitOk;
    }
  }
  grpc::Status status = reader->Finish();
  if (!status.ok()) return tl::unexpected<Failure>(server.explain(status));
  if (!any && shell.options.format == Format::kTable) shell.console.err << "no events\n";
  return kExitOk;
}

}  // namespace

void add_events_command(CLI::App& root, Shell& shell) {
  auto args = std::make_shared<Arguments>();
  CLI::App& command =
      add_command(root, shell, "events", "What happened on this host, with reasons, oldest first",
                  args, events);
  command.add_flag("-f,--follow", args->follow, "Go on with new events until interrupted");
  command.add_option("--endpoint", args->endpoint, "Only of this endpoint or VPC")
      ->type_name("ENDPOINT");
  command
      .add_option("--type", args->types,
                  "Only of this type; several times, or with commas: attached, detached,\n"
                  "context-opened, context-closed, connected, refused, disconnected,\n"
                  "admitted, cut, narrowed, shadow-hit, endpoint-bound, endpoint-unbound,\n"
                  "nic-lost, nic-found, sync, over-quota, over-rate, limit-unenforced,\n"
                  "limit-enforced, restored, keeper")
      ->allow_extra_args(false)
      ->delimiter(',')
      ->type_name("TYPE");
  command.add_option("--limit", args->limit, "The newest N past events [all that are kept]")
      ->type_name("N");
  add_output_option(command, shell.options);
  add_agent_options(command, shell.options);
  command.footer(R"(
-o json prints one object a line.

Examples:
  qmasq events --type refused --limit 20
  qmasq events --follow --endpoint blue/a -o json)");
}

}  // namespace qmasq::cli

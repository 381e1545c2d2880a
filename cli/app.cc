// SPDX-License-Identifier: Apache-2.0
#include "cli/app.h"

#include <algorithm>
#include <cstddef>
#include <exception>

#include <CLI/CLI.hpp>

#include "cli/duration.h"
#include "cli/help.h"
#include "cli/names.h"
#include "cli/table.h"

namespace qmasq::cli {
namespace {

constexpr const char* kRootFooter = R"(
Start here:
  qmasq vpc create blue --range 10.0.0.0/24
  qmasq endpoint create blue/a --host hostA --address 10.0.0.1
  qmasq run --endpoint blue/a -- ibv_devinfo -v       (on hostA)
  qmasq doctor                                        (on hostA, when something is wrong)

Exit codes:
  0  done                    3  cannot reach the controller or the agent
  1  refused or failed       4  --wait: not every host has applied the change;
                                qos show: not every host has answered
                             5  trace: the connection or operation is refused
  2  wrong command line      run: 125 could not start the program, 126 cannot execute it,
                             127 not found; any other code is the program's own

Environment:
  QMASQ_CONTROLLER  address of the controller, as --controller
  QMASQ_CERTIFICATES
                    directory of your key and certificate, as --certificates
  NO_COLOR          no colour on terminals)";

// "--wait" may stand alone. CLI11 would take the next word for its value whatever it is, so the
// default is written out where no duration follows.
void complete_wait(std::vector<std::string>& args) {
  for (std::size_t i = 0; i < args.size(); ++i) {
    if (args[i] != "--wait") continue;
    if (i + 1 < args.size() && parse_duration(args[i + 1])) {
      args[i] += "=" + args[i + 1];
      args.erase(args.begin() + static_cast<std::ptrdiff_t>(i) + 1);
    } else {
      args[i] += "=30s";
    }
  }
}

// The deepest command that was named: "qmasq vpc create".
const CLI::App& deepest(const CLI::App& app, std::string& path) {
  const CLI::App* at = &app;
  path = app.get_name();
  while (!at->get_subcommands().empty()) {
    at = at->get_subcommands().front();
    path += " " + at->get_name();
  }
  return *at;
}

void print_failure(Console& console, const Failure& failure) {
  console.err << "qmasq: " << printable(failure.message) << '\n';
  if (!failure.hint.empty()) console.err << "  " << printable(failure.hint) << '\n';
}

int usage_error(CLI::App& app, const CLI::ParseError& error, Console& console) {
  std::string path;
  const CLI::App& command = deepest(app, path);
  auto subcommands =
      command.get_subcommands([](const CLI::App* sub) { return !sub->get_group().empty(); });
  if (subcommands.empty()) {
    std::string message = error.what();
    constexpr std::string_view kConvert = "Could not convert: ";
    if (message.rfind(kConvert, 0) == 0) {
      message = "wrong value for " + message.substr(kConvert.size());
    }
    print_failure(console, {kExitUsage, message, "See: " + path + " --help", false});
    return kExitUsage;
  }
  // A group of commands without one: a stranger needs the list.
  std::vector<std::string> extras = command.remaining();
  if (extras.empty()) {
    console.err << app.help() << "\nqmasq: a command is missing after '" << path << "'\n";
    return kExitUsage;
  }
  std::vector<std::string> names;
  names.reserve(subcommands.size());
  for (const CLI::App* sub : subcommands)
    names.push_back(sub->get_name());
  auto near = near_matches(extras.front(), names);
  print_failure(console, {kExitUsage, path + " has no command '" + extras.front() + "'",
                          near.empty() ? "See: " + path + " --help"
                                       : "Did you mean " + join(near, " or ") + "?",
                          false});
  return kExitUsage;
}

int act(std::vector<std::string> args, Console& console) {
  Shell shell{console, {}, {}, {}, false};
  auto dashes = std::find(args.begin(), args.end(), "--");
  shell.has_tail = dashes != args.end();
  if (shell.has_tail) {
    shell.tail.assign(dashes + 1, args.end());
    args.erase(dashes, args.end());
  }
  complete_wait(args);

  auto app = build_app(shell);
  try {
    std::reverse(args.begin(), args.end());  // the order in which CLI11 takes a vector
    app->parse(std::move(args));
  } catch (const CLI::CallForHelp&) {
    console.out << app->help();  // of the command that was named
    return kExitOk;
  } catch (const CLI::CallForAllHelp&) {
    console.out << app->help("", CLI::AppFormatMode::All);
    return kExitOk;
  } catch (const CLI::ParseError& error) {
    return usage_error(*app, error, console);
  }
  std::string path;
  if (shell.has_tail && deepest(*app, path).get_name() != "run") {
    print_failure(console, {kExitUsage, "'" + path + "' takes nothing after --",
                            "See: " + path + " --help", false});
    return kExitUsage;
  }
  if (shell.options.controller.empty()) {
    shell.options.controller = console.env("QMASQ_CONTROLLER");
    if (shell.options.controller.empty()) shell.options.controller = kDefaultController;
  }
  if (shell.options.certificates.empty()) {
    shell.options.certificates = console.env("QMASQ_CERTIFICATES");
  }
  auto outcome = shell.action();
  console.out.flush();
  if (outcome) return *outcome;
  print_failure(console, outcome.error());
  return outcome.error().exit_code;
}

}  // namespace

std::unique_ptr<CLI::App> build_app(Shell& shell) {
  auto app = std::make_unique<CLI::App>("RDMA for virtual private clouds", "qmasq");
  app->formatter(std::make_shared<HelpFormatter>());
  app->set_help_flag("-h,--help", "Print this help");
  app->require_subcommand(1);
  add_controller_options(*app, shell.options);
  add_agent_options(*app, shell.options);
  add_output_option(*app, shell.options);
  add_vpc_commands(*app, shell);
  add_endpoint_commands(*app, shell);
  add_security_group_commands(*app, shell);
  add_qos_commands(*app, shell);
  add_top_command(*app, shell);
  add_trace_command(*app, shell);
  add_host_commands(*app, shell);
  add_access_commands(*app, shell);
  add_audit_commands(*app, shell);
  add_run_command(*app, shell);
  add_conn_commands(*app, shell);
  add_events_command(*app, shell);
  add_status_command(*app, shell);
  add_doctor_command(*app, shell);
  add_batch_command(*app, shell);
  add_completion_commands(*app, shell);
  add_version_command(*app, shell);
  app->footer(kRootFooter);  // last: commands inherit what is there before them
  return app;
}

int run_cli(std::vector<std::string> args, Console& console) {
  // CLI11, the JSON library and the standard library report by exception; this is the edge.
  try {
    return act(std::move(args), console);
  } catch (const std::exception& error) {
    print_failure(console,
                  {kExitFailed, std::string("internal error: ") + error.what(), "", false});
    return kExitFailed;
  }
}

}  // namespace qmasq::cli

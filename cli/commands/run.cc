// SPDX-License-Identifier: Apache-2.0
#include <memory>
#include <string>

#include <CLI/CLI.hpp>

#include "cli/commands/add.h"
#include "cli/help.h"
#include "cli/names.h"
#include "cli/run/tenant.h"

namespace qmasq::cli {
namespace {

struct Arguments {
  std::string endpoint;
  std::string user;
};

Outcome<int> run(const Shell& shell, const Arguments& args) {
  TenantProgram program;
  program.words = shell.tail;
  if (program.words.empty()) {
    return failed(kExitUsage, "run: the program is missing",
                  "Write it after --: qmasq run --endpoint blue/a -- ibv_devinfo -v");
  }
  // A wrong spelling is an error of the command line, not of starting the program.
  if (auto name = parse_endpoint_reference(args.endpoint); !name) {
    return failed(name.error(), kExitUsage);
  }
  if (!args.user.empty()) {
    auto user = parse_user(args.user);
    if (!user) return failed(user.error(), kExitRunFailed);
    program.user = *user;
  }
  program.endpoint = args.endpoint;
  program.attach_socket = shell.options.socket_dir + "/attach.sock";
  program.search_path = shell.console.env("PATH");
  shell.console.out.flush();
  return tl::unexpected<Failure>(become_tenant(program));
}

}  // namespace

void add_run_command(CLI::App& root, Shell& shell) {
  auto args = std::make_shared<Arguments>();
  CLI::App& command =
      add_command(root, shell, "run", "Run a program inside an endpoint of this host", args, run);
  command.formatter(std::make_shared<HelpFormatter>(
      "Usage: qmasq run --endpoint NAME [OPTIONS] -- PROGRAM [ARGUMENTS...]"));
  command
      .add_option("-e,--endpoint", args->endpoint,
                  "blue/a, vpcs/blue/endpoints/a, or a alone where only one of this\nhost has that "
                  "name")
      ->required()
      ->type_name("ENDPOINT");
  command.add_option("--user", args->user, "Run the program as this user [the caller]")
      ->type_name("USER[:GROUP]");
  add_agent_options(command, shell.options);
  command.footer(
      R"(The program sees the endpoint's network and virtual GIDs. Its exit code, signals and terminal
pass through: qmasq becomes the program. It keeps your files and your user (or that of --user), so
run the programs of people you do not trust as a user of their own or in a container.

Exit codes: 125 could not start it, 126 cannot execute it, 127 not found; else the program's own.

Examples:
  qmasq run --endpoint blue/a -- ibv_devinfo -v
  qmasq run -e blue/a --user alice -- ib_write_bw -d rxe0 -x 1 10.0.0.2)");
}

}  // namespace qmasq::cli

// SPDX-License-Identifier: Apache-2.0
#include "common/version.h"

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "cli/commands/add.h"

namespace qmasq::cli {
namespace {

struct Arguments {};

Outcome<int> print_version(const Shell& shell, const Arguments&) {
  if (shell.options.format == Format::kTable) {
    shell.console.out << "qmasq " << version() << '\n';
  } else {
    print_document(shell.console.out, {{"version", std::string(version())}}, shell.options.format);
  }
  return kExitOk;
}

}  // namespace

void add_version_command(CLI::App& root, Shell& shell) {
  CLI::App& command = add_command(root, shell, "version", "Print the version of this program",
                                  std::make_shared<Arguments>(), print_version);
  add_output_option(command, shell.options);
}

}  // namespace qmasq::cli

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include <CLI/CLI.hpp>

#include "cli/shell.h"

namespace qmasq::cli {

// A command below `group` whose action gets the arguments that its options were bound to. `args`
// may be shared by commands that have the same ones: only one of them runs.
template <typename Arguments>
CLI::App& add_command(CLI::App& group, Shell& shell, const std::string& name,
                      const std::string& description, const std::shared_ptr<Arguments>& args,
                      Outcome<int> (*action)(const Shell&, const Arguments&)) {
  CLI::App& command = *group.add_subcommand(name, description);
  command.callback([&shell, args, action] {
    shell.action = [&shell, args, action] { return action(shell, *args); };
  });
  return command;
}

// As above, for a resource of the controller. All but `list` take its name: `examples` of one, and
// `type`, the word for it in the help.
template <typename Arguments>
CLI::App& add_resource_command(CLI::App& group, Shell& shell, const std::string& name,
                               const std::string& description,
                               const std::shared_ptr<Arguments>& args,
                               Outcome<int> (*action)(const Shell&, const Arguments&),
                               const std::string& examples, const std::string& type) {
  CLI::App& command = add_command(group, shell, name, description, args, action);
  if (name != "list") {
    command.add_option("name", args->name, examples)->required()->type_name(type);
  }
  add_output_option(command, shell.options);
  add_controller_options(command, shell.options);
  return command;
}

}  // namespace qmasq::cli

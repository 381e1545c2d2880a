// SPDX-License-Identifier: Apache-2.0
#include "cli/completion/completion.h"

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include "cli/commands/add.h"
#include "cli/directory.h"

namespace qmasq::cli {
namespace {

constexpr std::pair<const char*, ShellKind> kShells[] = {
    {"bash", ShellKind::kBash}, {"zsh", ShellKind::kZsh}, {"fish", ShellKind::kFish}};

const std::map<std::string, std::function<std::vector<std::string>(const Server&)>> kListers = {
    {"VPC", vpc_names},
    {"ENDPOINT", [](const Server& server) { return endpoint_names(server); }},
    {"GROUP", [](const Server& server) { return group_names(server); }},
    {"HOST", host_names},
    {"POLICY", policy_names},
    {"ACCESS", access_names},
};

struct CompleteArguments {
  std::vector<std::string> kinds;  // and words to be candidates as they are
};

// For the scripts: what cannot be had is no candidate, and never a message in somebody's prompt.
Outcome<int> complete(const Shell& shell, const CompleteArguments& args) {
  CommonOptions options = shell.options;
  options.timeout = std::chrono::milliseconds(1000);
  auto server = Server::controller(options);
  for (const std::string& kind : args.kinds) {
    const auto lister = kListers.find(kind);
    if (lister == kListers.end()) {
      shell.console.out << kind << '\n';
    } else if (server) {
      for (const std::string& name : lister->second(*server))
        shell.console.out << name << '\n';
    }
  }
  return kExitOk;
}

}  // namespace

void add_completion_commands(CLI::App& root, Shell& shell) {
  CLI::App& group = *root.add_subcommand("completion", "Print a completion script for a shell");
  group.require_subcommand(1);
  for (auto [name, kind] : kShells) {
    CLI::App& command = *group.add_subcommand(name, std::string("For ") + name);
    command.callback([&shell, &root, kind = kind] {
      shell.action = [&shell, &root, kind]() -> Outcome<int> {
        shell.console.out << completion_script(root, kind);
        return kExitOk;
      };
    });
  }
  group.get_subcommand("bash")->footer(R"(Example, for this shell and for all later ones:
  source <(qmasq completion bash)
  qmasq completion bash > /etc/bash_completion.d/qmasq)");
  group.get_subcommand("zsh")->footer(R"(Example, in a folder of $fpath:
  qmasq completion zsh > /usr/local/share/zsh/site-functions/_qmasq)");
  group.get_subcommand("fish")->footer(R"(Example:
  qmasq completion fish > ~/.config/fish/completions/qmasq.fish)");

  auto args = std::make_shared<CompleteArguments>();
  CLI::App& names =
      add_command(root, shell, "__complete", "Names for completion scripts", args, complete);
  names.add_option("kinds", args->kinds)->required();
  add_controller_options(names, shell.options);
  names.group("");
}

}  // namespace qmasq::cli

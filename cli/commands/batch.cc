// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <cerrno>
#include <fstream>
#include <iostream>
#include <system_error>

#include "cli/app.h"
#include "cli/batch/lines.h"
#include "cli/commands/add.h"

namespace qmasq::cli {
namespace {

struct Arguments {
  std::string file = "-";
  bool keep_going = false;
};

// One line; its exit code.
int run_line(Console& console, const std::string& line) {
  auto words = split_words(line);
  if (!words) {
    console.err << "qmasq: " << words.error().message << '\n';
    return kExitUsage;
  }
  if (words->empty()) return kExitOk;
  // Of `run` nothing would come back, and `batch` would read the same input.
  if (const std::string& name = words->front(); name == "run" || name == "batch") {
    console.err << "qmasq: batch does not do '" << name << "'\n";
    return kExitUsage;
  }
  return run_cli(std::move(*words), console);
}

Outcome<int> run_lines(const Shell& shell, const Arguments& args, std::istream& in) {
  Console console = shell.console;
  // What was said of the whole holds for each line that does not say otherwise.
  console.env = [&shell](const std::string& name) {
    if (name == "QMASQ_CONTROLLER") return shell.options.controller;
    if (name == "QMASQ_CERTIFICATES") return shell.options.certificates;
    return shell.console.env(name);
  };
  int first_code = kExitOk;
  std::string line;
  for (std::size_t number = 1; std::getline(in, line); ++number) {
    const int code = run_line(console, line);
    if (code == kExitOk) continue;
    console.err << fmt::format("  line {} of {}\n", number,
                               args.file == "-" ? "standard input" : args.file);
    if (first_code == kExitOk) first_code = code;
    if (!args.keep_going) break;
  }
  return first_code;
}

Outcome<int> batch(const Shell& shell, const Arguments& args) {
  if (args.file == "-") return run_lines(shell, args, std::cin);
  std::ifstream in(args.file);
  if (!in) {
    return failed(kExitUsage,
                  fmt::format("{}: {}", args.file, std::generic_category().message(errno)));
  }
  return run_lines(shell, args, in);
}

}  // namespace

void add_batch_command(CLI::App& root, Shell& shell) {
  auto args = std::make_shared<Arguments>();
  CLI::App& command =
      add_command(root, shell, "batch", "Do the commands that a file has, one a line", args, batch);
  command
      .add_option("file", args->file,
                  "Lines without the word qmasq, quoted as in a shell; # begins a comment "
                  "(default: -, standard input)")
      ->type_name("FILE");
  command.add_flag(
      "--keep-going", args->keep_going,
      "Go on after a command that failed; the exit code is that of the first that did");
  add_controller_options(command, shell.options);
  command.footer(R"(
Ends at the first command that fails, with its exit code; what was done before stays done.

Examples:
  qmasq batch tenants.txt
  printf '%s\n' 'vpc create blue --range 10.0.0.0/24' 'sg create blue/web' | qmasq batch)");
}

}  // namespace qmasq::cli

// SPDX-License-Identifier: Apache-2.0
#include "cli/options.h"

#include <map>

#include <CLI/CLI.hpp>

#include "cli/duration.h"
#include "cli/shell.h"

namespace qmasq::cli {

CLI::Option* add_duration(CLI::App& command, const std::string& names,
                          std::chrono::milliseconds& value, const std::string& description) {
  auto set = [&value](const std::string& text) {
    auto parsed = parse_duration(text);
    if (!parsed) throw CLI::ValidationError(parsed.error().message);
    value = *parsed;
  };
  return command.add_option_function<std::string>(names, set, description)->type_name("DURATION");
}

CLI::Option* add_lifetime(CLI::App& command, const std::string& names, std::chrono::seconds& value,
                          const std::string& description) {
  auto set = [&value](const std::string& text) {
    auto parsed = parse_lifetime(text);
    if (!parsed) throw CLI::ValidationError(parsed.error().message);
    value = *parsed;
  };
  return command.add_option_function<std::string>(names, set, description)->type_name("DURATION");
}

void add_controller_options(CLI::App& command, CommonOptions& options) {
  command
      .add_option("--controller", options.controller,
                  "Address of the controller: unix:PATH or HOST:PORT\n[" +
                      std::string(kDefaultController) + ", or QMASQ_CONTROLLER]")
      ->type_name("ADDRESS")
      ->group("Common options");
  command
      .add_option("--certificates", options.certificates,
                  "Your key and certificate, for a controller at HOST:PORT\n[QMASQ_CERTIFICATES]")
      ->type_name("DIR")
      ->group("Common options");
  add_duration(command, "--timeout", options.timeout, "Give up on a call after this long [10s]")
      ->group("Common options");
}

void add_agent_options(CLI::App& command, CommonOptions& options) {
  command
      .add_option("--agent-socket-dir", options.socket_dir,
                  "Where this host's agent listens [" + std::string(kDefaultSocketDir) + "]")
      ->type_name("DIR")
      ->group("Common options");
}

void add_output_option(CLI::App& command, CommonOptions& options) {
  static const std::map<std::string, Format> formats = {
      {"table", Format::kTable}, {"json", Format::kJson}, {"yaml", Format::kYaml}};
  auto set = [&options](const std::string& text) { options.format = formats.at(text); };
  CLI::Validator known = CLI::IsMember({"table", "json", "yaml"});
  known.description("");  // the type name says it already
  command.add_option_function<std::string>("-o,--output", set, "Form of the output [table]")
      ->check(known)
      ->type_name("table|json|yaml")
      ->group("Common options");
}

}  // namespace qmasq::cli

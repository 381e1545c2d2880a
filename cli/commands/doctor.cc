// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <string>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "cli/commands/add.h"
#include "cli/doctor/machine_checks.h"
#include "cli/doctor/service_checks.h"
#include "cli/table.h"

namespace qmasq::cli {
namespace {

struct Arguments {};

const char* word(Health health) {
  switch (health) {
    case Health::kOk:
      return "OK";
    case Health::kWarn:
      return "WARN";
    case Health::kFail:
      return "FAIL";
  }
  return "FAIL";
}

const char* colour(Health health) {
  return health == Health::kOk ? "\033[32m" : health == Health::kWarn ? "\033[33m" : "\033[31m";
}

std::ptrdiff_t count(const Findings& findings, Health health) {
  return std::count_if(findings.begin(), findings.end(),
                       [health](const Finding& finding) { return finding.health == health; });
}

void print_text(const Console& console, const Findings& findings) {
  for (const Finding& finding : findings) {
    std::string label = fmt::format("{:<4}", word(finding.health));
    if (console.colour) label = fmt::format("{}{}\033[0m", colour(finding.health), label);
    console.out << label << "  "
                << printable(fmt::format("{:<10}  {:<16}  {}", finding.area, finding.name,
                                         finding.detail))
                << '\n';
    if (!finding.remedy.empty()) {
      console.out << "      -> " << printable(finding.remedy) << '\n';
    }
  }
  auto warnings = count(findings, Health::kWarn);
  console.out << fmt::format("doctor: {} ok, {} warning{}, {} failed\n",
                             count(findings, Health::kOk), warnings, warnings == 1 ? "" : "s",
                             count(findings, Health::kFail));
}

nlohmann::ordered_json document(const Findings& findings) {
  auto checks = nlohmann::ordered_json::array();
  for (const Finding& finding : findings) {
    checks.push_back({{"result", word(finding.health)},
                      {"area", finding.area},
                      {"name", finding.name},
                      {"detail", finding.detail},
                      {"remedy", finding.remedy}});
  }
  return {{"checks", std::move(checks)},
          {"ok", count(findings, Health::kOk)},
          {"warnings", count(findings, Health::kWarn)},
          {"failed", count(findings, Health::kFail)}};
}

Outcome<int> doctor(const Shell& shell, const Arguments&) {
  Findings all;
  auto add = [&all](Findings more) {
    for (Finding& finding : more)
      all.push_back(std::move(finding));
  };
  vbond::Features features = vbond::detect_features();
  add(check_features(features));
  add(check_capabilities(effective_capabilities("")));
  add(check_modules("", features.kernel_release));
  add(check_rdma_mode(""));
  add(check_nics(""));
  add(check_services(shell));
  if (shell.options.format == Format::kTable) {
    print_text(shell.console, all);
  } else {
    print_document(shell.console.out, document(all), shell.options.format);
  }
  return count(all, Health::kFail) == 0 ? kExitOk : kExitFailed;
}

}  // namespace

void add_doctor_command(CLI::App& root, Shell& shell) {
  CLI::App& command =
      add_command(root, shell, "doctor", "Check this host, and say what to do about what is wrong",
                  std::make_shared<Arguments>(), doctor);
  add_output_option(command, shell.options);
  add_agent_options(command, shell.options);
  add_controller_options(command, shell.options);
  command.footer(
      R"(Looks at kernel features, modules, capabilities, RDMA devices, the agent and the controller. Changes
nothing. Exits with 1 if a check failed, with 0 if there are only warnings.

Examples:
  sudo qmasq doctor
  qmasq doctor -o json)");
}

}  // namespace qmasq::cli

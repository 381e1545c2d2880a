// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "cli/console.h"
#include "cli/document.h"
#include "cli/failure.h"

namespace CLI {
class App;
}

// What every command shares: options, console, and the one action that the command line chose.
namespace qmasq::cli {

inline constexpr const char* kDefaultController = "unix:/run/qmasq/controller.sock";
inline constexpr const char* kDefaultSocketDir = "/run/qmasq";

struct CommonOptions {
  std::string controller;                      // --controller, QMASQ_CONTROLLER, the default
  std::string certificates;                    // --certificates, QMASQ_CERTIFICATES; empty: none
  std::string socket_dir = kDefaultSocketDir;  // --agent-socket-dir: of the host's agent
  std::chrono::milliseconds timeout{10'000};   // --timeout: of each call
  Format format = Format::kTable;              // -o
};

struct Shell {
  Console& console;
  CommonOptions options;
  // Set by the callback of the command that was named, run after parsing. Answers the exit code.
  std::function<Outcome<int>()> action;
  // Arguments after "--", and whether there was one. Only `run` takes them.
  std::vector<std::string> tail;
  bool has_tail = false;
};

// Options in the help of each command that uses them.
void add_controller_options(CLI::App& command, CommonOptions& options);
void add_agent_options(CLI::App& command, CommonOptions& options);
void add_output_option(CLI::App& command, CommonOptions& options);

// Each adds its commands to the tree. `shell` must outlive the tree.
void add_vpc_commands(CLI::App& root, Shell& shell);
void add_endpoint_commands(CLI::App& root, Shell& shell);
void add_security_group_commands(CLI::App& root, Shell& shell);
void add_qos_commands(CLI::App& root, Shell& shell);
void add_top_command(CLI::App& root, Shell& shell);
void add_trace_command(CLI::App& root, Shell& shell);
void add_host_commands(CLI::App& root, Shell& shell);
void add_access_commands(CLI::App& root, Shell& shell);
void add_audit_commands(CLI::App& root, Shell& shell);
void add_run_command(CLI::App& root, Shell& shell);
void add_conn_commands(CLI::App& root, Shell& shell);
void add_events_command(CLI::App& root, Shell& shell);
void add_status_command(CLI::App& root, Shell& shell);
void add_doctor_command(CLI::App& root, Shell& shell);
void add_batch_command(CLI::App& root, Shell& shell);
void add_completion_commands(CLI::App& root, Shell& shell);
void add_version_command(CLI::App& root, Shell& shell);

}  // namespace qmasq::cli

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "cli/rpc.h"
#include "cli/shell.h"
#include "qmasq/v1/qos.pb.h"

namespace CLI {
class App;
}

namespace qmasq::cli {

// `qmasq qos policy ...`
void add_qos_policy_commands(CLI::App& parent, Shell& shell);

// Whose limits `qmasq qos show` and `qmasq top` are about.
struct QosScope {
  std::string vpc;
  std::string host;
  bool local = false;  // of this host's agent, without the controller
};
void add_scope_options(CLI::App& command, Shell& shell, QosScope& scope);

// Asks for them, again and again if need be.
class QosSource {
 public:
  [[nodiscard]] static Outcome<QosSource> open(const Shell& shell, const QosScope& scope);
  [[nodiscard]] Outcome<v1::ShowQosResponse> ask() const;

 private:
  QosSource(Server server, v1::ShowQosRequest request, bool local)
      : server_(std::move(server)), request_(std::move(request)), local_(local) {}
  [[nodiscard]] Outcome<v1::ShowQosResponse> ask_agent() const;
  Server server_;
  v1::ShowQosRequest request_;
  bool local_;
};

}  // namespace qmasq::cli

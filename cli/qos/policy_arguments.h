// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/failure.h"
#include "qmasq/v1/qos.pb.h"

namespace CLI {
class App;
}

namespace qmasq::cli {

// What is typed of a policy; each value may be "none".
struct PolicyArguments {
  std::optional<std::string> guaranteed;
  std::optional<std::string> maximum;
  std::optional<std::string> burst;
  std::optional<std::string> weight;
  std::optional<std::string> dscp;
  std::vector<std::string> quotas;  // "qps=100", "qps=none", "none"
  std::vector<std::string> rates;   // "qps=50/s,burst=100", "verbs=none", "none"
  std::optional<std::string> description;
  std::string file;
};

void add_policy_options(CLI::App& command, PolicyArguments& args);

// What a command says of a policy: values, and which fields they are about (as in the mask of
// UpdateQosPolicy). A field that is named and not set is to be none.
struct PolicyChange {
  v1::QosPolicy policy;
  std::vector<std::string> paths;
};

// Of the options, or of the file. Failures name the option, or file, line and key.
[[nodiscard]] Outcome<PolicyChange> policy_change(const PolicyArguments& args);

}  // namespace qmasq::cli

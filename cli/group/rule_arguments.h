// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "cli/failure.h"
#include "qmasq/v1/security_group.pb.h"

namespace qmasq::cli {

// A rule as it is typed.
struct RuleArguments {
  bool in = false;
  bool out = false;
  std::string from;
  std::string to;
  std::string transport = "any";
  std::string operations;  // empty: all
  bool deny = false;
  std::uint32_t priority = 1000;
  bool log = false;
  bool shadow = false;
  std::string id;
  std::string description;
};

// `vpc`: that of the group, for remotes that name a group of it.
[[nodiscard]] Outcome<v1::SecurityGroupRule> rule_from(const RuleArguments& args,
                                                       const std::string& vpc);

// A JSON or YAML list of rules: keys as the options of `sg rule add` (direction: in|out, remote).
[[nodiscard]] Outcome<std::vector<v1::SecurityGroupRule>> rules_from_file(const std::string& path,
                                                                          const std::string& vpc);

}  // namespace qmasq::cli

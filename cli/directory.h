// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "cli/rpc.h"

// Names that the controller knows, in the short form that people type: for suggestions and shell
// completion. Best effort: what cannot be had is left out, at most a thousand of a kind.
namespace qmasq::cli {

[[nodiscard]] std::vector<std::string> vpc_names(const Server& controller);
[[nodiscard]] std::vector<std::string> endpoint_names(const Server& controller,
                                                      const std::string& parent = "vpcs/-");
[[nodiscard]] std::vector<std::string> group_names(const Server& controller,
                                                   const std::string& parent = "vpcs/-");
[[nodiscard]] std::vector<std::string> host_names(const Server& controller);
[[nodiscard]] std::vector<std::string> policy_names(const Server& controller);
[[nodiscard]] std::vector<std::string> access_names(const Server& controller);

}  // namespace qmasq::cli

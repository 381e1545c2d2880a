// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/resource_name.h"
#include "common/result.h"

// Names as people type them on the command line; spelling of the parts is the controller's to
// judge.
namespace qmasq::cli {

// As parse_endpoint_reference, but the VPC must be there: the controller has no other way to know.
[[nodiscard]] Result<EndpointName> parse_endpoint(std::string_view text);
// A VPC or an endpoint, as the API takes it for a parent: "blue" or "blue/a" in any form.
[[nodiscard]] Result<std::string> parse_scope(std::string_view text);

// For tables: "blue", "blue/a", "hostA", "gold". What has another form stays as it is.
[[nodiscard]] std::string short_name(std::string_view full);

// Those of `candidates` that somebody may have meant by `typed`, best first, at most three.
[[nodiscard]] std::vector<std::string> near_matches(std::string_view typed,
                                                    const std::vector<std::string>& candidates);

}  // namespace qmasq::cli

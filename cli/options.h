// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <string>

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace qmasq::cli {

// An option with a duration for its value; a wrong one is an error of the command line.
CLI::Option* add_duration(CLI::App& command, const std::string& names,
                          std::chrono::milliseconds& value, const std::string& description);

// The same for how long something is valid.
CLI::Option* add_lifetime(CLI::App& command, const std::string& names, std::chrono::seconds& value,
                          const std::string& description);

}  // namespace qmasq::cli

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "tests/integration/cli/cli_runner.h"
#include "tests/integration/controller/controller_process.h"

namespace qmasq::cli::testing {

// The command line against the real controller.
class WithController : public ::testing::Test {
 protected:
  void SetUp() override { controller_.start(); }
  Ran run(std::vector<std::string> args) {
    args.insert(args.end(), {"--controller", controller_.socket()});
    return run_line(std::move(args));
  }
  nlohmann::json json(std::vector<std::string> args) {
    args.insert(args.end(), {"-o", "json"});
    return nlohmann::json::parse(run(std::move(args)).out, nullptr, false);
  }
  controller::testing::ControllerProcess controller_;
};

}  // namespace qmasq::cli::testing

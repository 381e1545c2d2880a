// SPDX-License-Identifier: Apache-2.0
#include "vbond/agent/join_command.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <grpc/support/log.h>

#include <chrono>
#include <cstdio>
#include <string>

#include <CLI/CLI.hpp>

#include "common/clock.h"
#include "trust/identity.h"
#include "vbond/join/join.h"
#include "vbond/sync/sync_client.h"

namespace qmasq::vbond {
namespace {

constexpr int kFailed = 1;
constexpr int kUsageError = 2;

int complain(int exit_code, const Error& error) {
  fmt::print(stderr, "qmasq-vbond join: {}\n", error.message);
  return exit_code;
}

}  // namespace

int run_join(int argc, const char* const* argv) {
  CLI::App app{"Makes a key for this host, and has the controller sign it.", "qmasq-vbond join"};
  JoinOptions options;
  options.certificates = kDefaultCertificates;
  std::string token_file;
  app.add_option("--controller", options.controller, "Where the controller is")
      ->required()
      ->type_name("ADDR:PORT");
  app.add_option("--token-file", token_file,
                 "What `qmasq host token` made; -: from standard input. A file is removed once it "
                 "was used")
      ->required()
      ->type_name("FILE|-");
  app.add_option("--certificates", options.certificates, "Where key and certificate go")
      ->type_name("DIR")
      ->capture_default_str();
  // CLI11 reports by exception; none leaves this function.
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kUsageError;
  }
  if (auto status = check_controller_address(options.controller); !status) {
    return complain(kUsageError, status.error());
  }
  gpr_set_log_function([](gpr_log_func_args*) {});
  auto token = read_token(token_file);
  if (!token) return complain(kFailed, token.error());
  SystemClock clock;
  auto joined = join(options, *token, clock);
  if (!joined) return complain(kFailed, joined.error());
  if (token_file != "-") (void)std::remove(token_file.c_str());
  fmt::print("joined as {}: key and certificate are in {}, good until {:%Y-%m-%dT%H:%M:%SZ}\n",
             trust::name_of(joined->info.identity), options.certificates,
             fmt::gmtime(std::chrono::system_clock::to_time_t(joined->info.not_after)));
  return 0;
}

}  // namespace qmasq::vbond

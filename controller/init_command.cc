// SPDX-License-Identifier: Apache-2.0
#include "controller/init_command.h"

#include <cstdio>
#include <string>

#include <CLI/CLI.hpp>

#include "common/clock.h"
#include "controller/auth/installation.h"

namespace qmasq::controller {

int init_command(int argc, char** argv) {
  CLI::App app{
      "Makes the CA of an installation, the controller's certificate and the first admin's.",
      "qmasq-controller init"};
  InitOptions options;
  app.add_option("--data-dir", options.data_dir, "Directory of the database; made if missing")
      ->required();
  app.add_option("--name", options.name, "What the CA calls itself, for people")
      ->capture_default_str();
  app.add_option("--admin", options.admin, "Name of the first admin")->capture_default_str();
  app.add_option("--address", options.addresses,
                 "IP address by which the controller is reached, for its certificate; repeatable");
  app.add_option("--dns", options.dns_names,
                 "Host name by which the controller is reached, for its certificate; repeatable");
  CLI11_PARSE(app, argc, argv);
  SystemClock clock;
  if (auto made = init_installation(options, clock); !made) {
    std::fprintf(stderr, "qmasq-controller init: %s\n", made.error().message.c_str());
    return 1;
  }
  const std::string admin = admin_directory(options.data_dir);
  std::printf(
      "The CA is in %s. Back it up, and keep its ca.key secret: who has it is everybody.\n"
      "The certificate of accesses/%s is in %s (for one year). To use it from another machine, "
      "copy\n"
      "that directory there, and:\n"
      "  qmasq --controller HOST:PORT --certificates DIRECTORY status\n"
      "On this machine root needs no certificate. Hosts join with a token each:\n"
      "  qmasq host token HOST\n",
      tls_directory(options.data_dir).c_str(), options.admin.c_str(), admin.c_str());
  return 0;
}

}  // namespace qmasq::controller

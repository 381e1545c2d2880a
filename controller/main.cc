// SPDX-License-Identifier: Apache-2.0
#include <pthread.h>
#include <signal.h>
#include <spdlog/spdlog.h>

#include <cstdio>
#include <filesystem>
#include <string>
#include <string_view>

#include <CLI/CLI.hpp>

#include "common/clock.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/version.h"
#include "controller/auth/installation.h"
#include "controller/init_command.h"
#include "controller/server.h"
#include "trust/tls.h"

namespace {

struct Flags {
  qmasq::controller::ServerOptions server;
  std::string metrics = "127.0.0.1:9477";
  std::string log_level = "info";
  int heartbeat_ms = 5000;
  bool listen_given = false;
};

void add_flags(CLI::App& app, Flags& flags) {
  app.set_version_flag("--version", "qmasq-controller " + std::string(qmasq::version()));
  app.add_option("--data-dir", flags.server.data_dir, "Directory of the database; made if missing")
      ->required();
  app.add_option("--socket", flags.server.socket,
                 "Unix socket: root is an admin there, others what their access says")
      ->capture_default_str()
      ->take_last();
  app.add_option("--listen", flags.server.listen,
                 "ADDRESS:PORT for hosts and remote admins, over TLS (see init); empty: none")
      ->capture_default_str()
      ->take_last();
  app.add_flag("--insecure-listen", flags.server.insecure_listen,
               "Listen without TLS: everybody on this machine is an admin. On loopback only");
  app.add_option("--calls-per-second", flags.server.calls_per_second,
                 "How many calls a caller may make, on average")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str()
      ->take_last();
  app.add_option("--audit-records", flags.server.audit.mutations,
                 "How many changes the audit log keeps; and a tenth as many refusals")
      ->check(CLI::Range(1'000, 100'000'000))
      ->capture_default_str()
      ->take_last();
  app.add_option("--metrics", flags.metrics, "ADDRESS:PORT for Prometheus; empty: none")
      ->capture_default_str()
      ->take_last();
  app.add_option("--heartbeat-ms", flags.heartbeat_ms,
                 "How often agents must be heard, milliseconds; offline after three times that")
      ->check(CLI::Range(100, 600'000))
      ->capture_default_str()
      ->take_last();
  app.add_option("--log-level", flags.log_level, "trace, debug, info, warn or error")
      ->capture_default_str()
      ->take_last();
}

int complain(const qmasq::Error& error) {
  std::fprintf(stderr, "qmasq-controller: %s\n", error.message.c_str());
  return 1;
}

// An address whose port is 0 means no metrics here.
std::string metrics_address(const std::string& given) {
  return given == "0" || given.ends_with(":0") ? std::string() : given;
}

int run(const Flags& flags) {
  // Blocked before any thread starts, so that all inherit it and sigwait gets them.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);

  if (auto log = qmasq::start_log("qmasq-controller", flags.log_level); !log) {
    return complain(log.error());
  }
  qmasq::SystemClock clock;
  auto metrics = qmasq::Metrics::create("qmasq-controller", metrics_address(flags.metrics));
  if (!metrics) return complain(metrics.error());
  auto options = flags.server;
  options.heartbeat = std::chrono::milliseconds(flags.heartbeat_ms);
  options.audit.refusals = options.audit.mutations / 10;
  namespace files = std::filesystem;
  if (!flags.listen_given && !options.insecure_listen &&
      !files::exists(qmasq::controller::tls_directory(options.data_dir))) {
    spdlog::info("no certificates yet (qmasq-controller init): only the socket is served");
    options.listen.clear();
  }
  auto server = qmasq::controller::Server::start(options, clock, (*metrics)->registry());
  if (!server) return complain(server.error());
  spdlog::info("ready: version {}, data {}, socket {}, listen {}, metrics {}", qmasq::version(),
               options.data_dir, options.socket.empty() ? "none" : options.socket,
               options.listen.empty() ? "none" : (*server)->listen_address(),
               (*metrics)->address().empty() ? "none" : (*metrics)->address());
  int signal_number = 0;
  sigwait(&signals, &signal_number);
  spdlog::info("signal {}: stopping", signal_number);
  server->reset();
  spdlog::info("stopped");
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  // Before anything can start a thread.
  qmasq::trust::require_tls13();
  if (argc > 1 && std::string_view(argv[1]) == "init") {
    return qmasq::controller::init_command(argc - 1, argv + 1);
  }
  CLI::App app{
      "qmasq-controller keeps VPCs, endpoints and hosts, and brings every host up to date.",
      "qmasq-controller"};
  Flags flags;
  flags.server.socket = "/run/qmasq/controller.sock";
  flags.server.listen = "127.0.0.1:7443";
  add_flags(app, flags);
  app.footer("qmasq-controller init --help: make the CA and the first certificates.");
  CLI11_PARSE(app, argc, argv);
  flags.listen_given = app.count("--listen") > 0;
  try {
    return run(flags);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "qmasq-controller: %s\n", error.what());
    return 1;
  }
}

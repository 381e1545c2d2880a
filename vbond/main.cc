// SPDX-License-Identifier: Apache-2.0
// qmasq-vbond: the agent of one host. Reads its command line, settles privileges and signals while
// there is one thread, and leaves the rest to vbond/agent/.
#include <fmt/format.h>
#include <grpc/support/log.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <optional>
#include <string_view>

#include "common/clock.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/version.h"
#include "trust/tls.h"
#include "vbond/agent/agent.h"
#include "vbond/agent/instance_lock.h"
#include "vbond/agent/join_command.h"
#include "vbond/agent/options.h"
#include "vbond/agent/privileges.h"

namespace qmasq::vbond {
namespace {

constexpr int kFailed = 1;
constexpr std::chrono::seconds kPatience{3};

int report(const Error& error) {
  fmt::print(stderr, "qmasq-vbond: {}\n", error.message);
  return kFailed;
}

// Each context and each program takes descriptors; the soft limit is for those who use select().
void raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  (void)::setrlimit(RLIMIT_NOFILE, &limit);
}

// Blocked in all threads to come; taken by wait_for_end().
sigset_t block_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  return signals;
}

void grpc_log(gpr_log_func_args* args) {
  bool bad = args->severity == GPR_LOG_SEVERITY_ERROR;
  spdlog::log(bad ? spdlog::level::info : spdlog::level::trace, "grpc: {}", args->message);
}

int run(const AgentOptions& options) {
  // All that changes credentials comes before the first thread.
  if (auto status = check_capabilities(); !status) return report(status.error());
  if (auto status = drop_net_raw(); !status) return report(status.error());
  sigset_t signals = block_signals();
  raise_descriptor_limit();
  if (auto status = start_log("qmasq-vbond", options.log_level); !status) {
    return report(status.error());
  }
  gpr_set_log_function(grpc_log);

  auto lock = InstanceLock::take(options.socket_directory);
  if (!lock) return report(lock.error());
  auto metrics = Metrics::create("qmasq-vbond", options.metrics_address);
  if (!metrics) return report(metrics.error());
  auto seams = real_seams(options);
  if (!seams) return report(seams.error());
  SystemClock clock;
  auto agent = Agent::start(options, std::move(*seams), clock, **metrics);
  if (!agent) return report(agent.error());

  spdlog::info("qmasq-vbond {} is agent of {}, controller {}, sockets in {}{}", version(),
               options.host, options.controller, options.socket_directory,
               (*metrics)->address().empty() ? "" : ", metrics on " + (*metrics)->address());
  if (!options.guard) {
    spdlog::warn(
        "guard: off: a program that changes the arguments of a verb while the kernel reads "
        "them can make a connection that was not checked; run only programs you trust this "
        "far");
  }

  int signal = 0;
  ::sigwait(&signals, &signal);
  spdlog::info("{}: stopping", signal == SIGTERM ? "SIGTERM" : "SIGINT");
  // A second signal ends it at once.
  ::pthread_sigmask(SIG_UNBLOCK, &signals, nullptr);
  if (!(*agent)->stop(kPatience)) {
    spdlog::warn("a tenant holds up a call; ending without it");
    spdlog::shutdown();
    ::_exit(0);
  }
  agent->reset();
  spdlog::info("stopped");
  return 0;
}

}  // namespace
}  // namespace qmasq::vbond

int main(int argc, char** argv) {
  // Before anything of gRPC, and before the second thread.
  qmasq::trust::require_tls13();
  if (argc > 1 && std::string_view(argv[1]) == "join") {
    return qmasq::vbond::run_join(argc - 1, argv + 1);
  }
  auto command = qmasq::vbond::parse_command_line(argc, argv);
  if (!command.options) {
    std::fputs(command.text.c_str(), command.exit_code == 0 ? stdout : stderr);
    return command.exit_code;
  }
  return qmasq::vbond::run(*command.options);
}

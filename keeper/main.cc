// SPDX-License-Identifier: Apache-2.0
// qmasq-keeper: holds descriptors for the agent, and does nothing else. Small and without libraries
// so that it never has to be upgraded.
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "common/version.h"
#include "keeper/options.h"
#include "keeper/sandbox.h"
#include "keeper/server.h"

namespace qmasq::keeper {
namespace {

constexpr int kFailed = 1;
// Standard streams, sockets, what comes while it is looked at.
constexpr std::size_t kOwnDescriptors = 64;

int report(const Error& error) {
  std::fprintf(stderr, "qmasq-keeper: %s\n", error.message.c_str());
  return kFailed;
}

// SIGTERM and SIGINT arrive here; the others that would end it are nothing to it.
UniqueFd take_signals() {
  for (int ignored : {SIGHUP, SIGPIPE, SIGUSR1, SIGUSR2, SIGALRM})
    ::signal(ignored, SIG_IGN);
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  ::sigprocmask(SIG_BLOCK, &signals, nullptr);
  return UniqueFd(::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
}

int run(const Options& options) {
  // First of all: numbers above standard error are theirs.
  std::vector<Stored> left = ServiceManager::inherit();
  ServiceManager manager;
  UniqueFd signals = take_signals();
  if (!signals.valid()) return report({Code::kInternal, "signalfd: no descriptor", 0, {}});

  // Twice: a duplicate of each may wait for the service manager.
  const std::size_t wanted = 2 * options.most + kOwnDescriptors;
  if (const std::size_t may = raise_descriptor_limit(wanted); may < wanted) {
    std::fprintf(stderr,
                 "qmasq-keeper: %zu descriptors need a limit of %zu, and it is %zu: raise it "
                 "(LimitNOFILE=, ulimit -n) or give a smaller --max-descriptors\n",
                 options.most, wanted, may);
    return kFailed;
  }
  auto holdings = Holdings::open(options.most, std::move(left), manager);
  if (!holdings) return report(holdings.error());
  auto listener = listen_at(options.socket);
  if (!listener) return report(listener.error());
  if (auto status = drop_privileges(); !status) return report(status.error());

  std::printf("qmasq-keeper %s is ready on %s, holds %zu of %zu descriptors\n",
              std::string(version()).c_str(), options.socket.c_str(), holdings->size(),
              options.most);
  std::fflush(stdout);
#ifndef QMASQ_KEEPER_UNFILTERED
  if (auto status = filter_system_calls(); !status) return report(status.error());
#endif
  manager.tell("READY=1\nSTATUS=" + std::to_string(holdings->size()) + " descriptors, no agent");

  const int signal = Server(listener->socket.get(), signals.get(), *holdings, manager).run();
  manager.tell("STOPPING=1");
  manager.flush();
  std::fprintf(stderr, "qmasq-keeper: %s: %zu descriptors %s\n",
               signal == SIGTERM ? "SIGTERM" : "SIGINT", holdings->size(),
               manager.present() ? "stay with the service manager" : "are closed");
  return 0;
}

}  // namespace
}  // namespace qmasq::keeper

int main(int argc, char** argv) {
  auto command = qmasq::keeper::parse_command_line(argc, argv);
  if (!command.options) {
    std::fputs(command.text.c_str(), command.exit_code == 0 ? stdout : stderr);
    return command.exit_code;
  }
  return qmasq::keeper::run(*command.options);
}

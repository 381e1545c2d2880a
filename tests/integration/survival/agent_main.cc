// SPDX-License-Identifier: Apache-2.0
// An agent that can be killed: all real but the NIC, which is another process, and the controller's
// state. usage: survival_agent DIRECTORY [POINT:COUNT]
// Dies (SIGKILL) when a call has come to POINT for the COUNTth time; says "ready" before it serves.
#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "tests/integration/survival/remote_nic.h"
#include "tests/support/agent_world.h"
#include "vbond/attach/attach_server.h"
#include "vbond/intercept/estate.h"
#include "vbond/journal/journal.h"
#include "vbond/kernel/redirector.h"

namespace qmasq::test {
namespace {

using std::chrono::milliseconds;
using vbond::Ledger;

int complain(const Error& error) {
  std::fprintf(stderr, "survival_agent: %s\n", error.message.c_str());
  return 1;
}

class Host final : public vbond::AttachHandler {
 public:
  Host(vbond::Interceptor& interceptor, AgentWorld& world)
      : interceptor_(interceptor), world_(world) {}

  Result<Offer> offer(const std::string& endpoint, const vbond::AttachPeer&) override {
    auto found = world_.endpoints.find(endpoint);
    if (!found) return tl::unexpected(found.error());
    Offer out;
    out.endpoint = (*found)->uid;
    out.terms.endpoint = (*found)->name;
    out.terms.reserved_first = interceptor_.options().reserved_first;
    out.terms.reserved_count = interceptor_.options().reserved_count;
    out.terms.mounts.push_back({"/a", "/b", true, false});
    out.netns.reset(::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
    return out;
  }
  Status attached(EndpointUid endpoint, const vbond::AttachPeer& peer,
                  std::unique_ptr<vbond::NotificationPort> port) override {
    return interceptor_.attach(std::move(port), endpoint, peer.pid, peer.command, peer.kept_below);
  }

 private:
  vbond::Interceptor& interceptor_;
  AgentWorld& world_;
};

constexpr std::array kPoints = {"received",    "copied", "called",  "noted",
                                "copied-back", "placed", "answered"};

// As vbond::RedirectStep.
constexpr std::array kSteps = {"seized",    "interrupted", "called-back", "stopped",
                               "injecting", "changed",     "let"};

void die_at(Ledger& ledger, const std::string& where) {
  const auto colon = where.find(':');
  if (colon == std::string::npos) return;
  const std::string name = where.substr(0, colon);
  static std::atomic<int> left;
  left = std::atoi(where.c_str() + colon + 1);
  for (std::size_t i = 0; i < kSteps.size(); ++i) {
    static std::size_t wanted;
    if (name != kSteps[i]) continue;
    wanted = i;
    vbond::observe_redirects([](vbond::RedirectStep step, pid_t /*tid*/) {
      if (static_cast<std::size_t>(step) == wanted && --left == 0)
        (void)::kill(::getpid(), SIGKILL);
    });
  }
  for (std::size_t i = 0; i < kPoints.size(); ++i) {
    if (name != kPoints[i]) continue;
    ledger.observe([i](Ledger::Point point) {
      if (static_cast<std::size_t>(point) == i && --left == 0) (void)::kill(::getpid(), SIGKILL);
    });
  }
}

int run(const std::string& directory, const std::string& crash) {
  spdlog::set_level(spdlog::level::off);  // standard output is the test's
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  rlimit limit{};
  (void)::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  (void)::setrlimit(RLIMIT_NOFILE, &limit);

  RemoteDevices devices(directory + "/nic.sock");
  vbond::ProcessMemory memory;
  vbond::ProcTasks tasks;
  auto connect = [&] {
    return vbond::connect_keeper(directory + "/keeper.sock", milliseconds(5000));
  };
  auto keeper = connect();
  if (!keeper) return complain(keeper.error());
  vbond::Custody::Options options;
  options.connect = connect;
  options.retry = milliseconds(100);
  options.found = [&](pid_t pid) { tasks.look_past({pid}); };
  auto estate = vbond::take_over(std::move(*keeper), options, devices, vbond::open_port);
  if (!estate) return complain(estate.error());
  for (const auto& complaint : estate->complaints)
    std::fprintf(stderr, "%s\n", complaint.c_str());
  auto opened = vbond::Journal::open(directory + "/state", std::move(estate->journal));
  if (!opened) return complain(opened.error());
  for (const auto& complaint : opened->complaints)
    std::fprintf(stderr, "%s\n", complaint.c_str());
  if (opened->fresh_memory) {
    (void)estate->custody->put(vbond::JournalTag{}, opened->journal->descriptor());
  }
  die_at(*estate->ledger, crash);

  AgentWorld world(opened->journal.get());
  vbond::Survival survival{*estate->custody, *estate->ledger};
  auto parts = world.parts(memory, devices, tasks);
  parts.survival = &survival;
  const auto redirector = vbond::make_redirector();
  parts.redirector = redirector.get();
  vbond::InterceptOptions intercept;
  intercept.holder_check = milliseconds(50);
  vbond::Interceptor interceptor(parts, intercept);
  estate->inherited.connections = std::move(opened->connections);
  interceptor.restore(std::move(estate->inherited));
  interceptor.in_sync();
  Host host(interceptor, world);
  vbond::AttachServerOptions server_options;
  server_options.socket = directory + "/attach.sock";
  auto server = vbond::AttachServer::start(server_options, host);
  if (!server) return complain(server.error());
  std::printf("ready\n");
  std::fflush(stdout);

  // Asked for by SIGTERM: how it stands, then the end, with all left to the next one.
  int signal = 0;
  ::sigwait(&signals, &signal);
  const auto counts = world.connections.counts();
  const auto held = estate->custody->count();
  std::printf("connected %zu of %zu, contexts %zu, cut %d, held %zu of %zu, keeper %s\n",
              counts.connected, counts.total, interceptor.stats().contexts,
              world.last_event(vbond::EventType::kCut).sequence != 0 ? 1 : 0, held.held, held.all,
              estate->custody->state().c_str());
  std::fflush(stdout);
  server->reset();
  return interceptor.leave(milliseconds(5000)) ? 0 : 2;
}

}  // namespace
}  // namespace qmasq::test

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  return qmasq::test::run(argv[1], argc > 2 ? argv[2] : "");
}

// SPDX-License-Identifier: Apache-2.0
#include "cli/run/tenant.h"

#include <fmt/format.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/prctl.h>

#include <cerrno>
#include <utility>

#include "cli/run/capabilities.h"
#include "cli/run/exec.h"
#include "cli/run/limits.h"
#include "cli/run/mounts.h"
#include "vbond/attach/attach_client.h"
#include "vbond/filter/filter.h"

namespace qmasq::cli {
namespace {

Failure could_not(std::string message, std::string hint = {}) {
  return {kExitRunFailed, std::move(message), std::move(hint), false};
}

Failure no_agent(const Error& error) {
  return could_not(error.message,
                   "Start it with qmasq-vbond as root, or say where its sockets are with "
                   "--agent-socket-dir DIR.");
}

// The network namespace first: the sysfs that is mounted next shows the one we are in.
Status enter(const vbond::AttachClient::Offer& offer) {
  if (::setns(offer.netns.get(), CLONE_NEWNET) != 0) {
    return fail_errno(errno, "cannot enter the endpoint's network namespace");
  }
  std::vector<Mount> mounts;
  for (const vbond::AttachMount& mount : offer.terms.mounts) {
    mounts.push_back({mount.source, mount.target, mount.read_only, mount.no_devices});
  }
  return enter_mount_namespace(mounts);
}

Status give_up_privileges(const TenantProgram& program) {
  QMASQ_TRY(drop_capabilities());
  if (program.user) QMASQ_TRY(become(*program.user));
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return fail_errno(errno, "no_new_privs");
  return {};
}

void set_environment(const TenantProgram& program, const vbond::AttachTerms& terms) {
  ::setenv("QMASQ_ENDPOINT", terms.endpoint.c_str(), 1);
  if (program.user && !program.user->home.empty()) {
    ::setenv("HOME", program.user->home.c_str(), 1);
  }
}

}  // namespace

Failure become_tenant(const TenantProgram& program) {
  auto path = find_program(program.words.front(), program.search_path);
  if (!path) return path.error();
  if (auto missing = missing_capabilities(program.user.has_value()); !missing.empty()) {
    return could_not(
        fmt::format("run needs root, or {}: it enters the endpoint's network namespace, hides the "
                    "host's devices, and gives up what it needs for that",
                    missing),
        "Use sudo (--user NAME runs the program itself as another user), or a service that has "
        "these (AmbientCapabilities of systemd): docs/authentication.md.");
  }
  auto client = vbond::AttachClient::connect(program.attach_socket);
  if (!client) return no_agent(client.error());
  auto offer = client->request(program.endpoint, program.words.front());
  if (!offer) return could_not(offer.error().message);
  const vbond::AttachTerms& terms = offer->terms;
  auto prepare = [&]() -> Status {
    QMASQ_TRY(allow_descriptors_below(terms.reserved_first + terms.reserved_count));
    QMASQ_TRY(raise_memlock());
    QMASQ_TRY(enter(*offer));
    return give_up_privileges(program);
  };
  if (auto status = prepare(); !status) return could_not(status.error().message);
  offer->netns.reset();
  set_environment(program, terms);

  vbond::FilterOptions filter;
  filter.reserved_first = terms.reserved_first;
  filter.reserved_count = terms.reserved_count;
  filter.trap_write = !terms.tenant_opens;
  auto listener = vbond::install_filter(filter);
  if (!listener) {
    // Another listener above us is the one thing here that is not the host's fault.
    bool taken = listener.error().code == Code::kFailedPrecondition;
    return could_not(
        listener.error().message,
        taken ? "Start it outside of what intercepts its system calls." : "See: qmasq doctor");
  }
  if (auto status = client->hand_over(std::move(*listener)); !status) {
    return could_not(status.error().message);
  }
  return execute(*path, program.words);
}

}  // namespace qmasq::cli

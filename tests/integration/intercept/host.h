// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>

#include "tests/support/agent_world.h"
#include "tests/support/await_end.h"
#include "tests/support/eventually.h"
#include "tests/support/stub_nic.h"
#include "vbond/access/local_access.h"
#include "vbond/attach/attach_server.h"
#include "vbond/kernel/redirector.h"
#include "vbond/kernel/verbs_device.h"

extern char** environ;

namespace qmasq::test {

// /dev/full in the role of uverbs0: a character device that nobody else has open, opened the way
// the agent opens verbs devices, with StubNic behind its ioctls. All else in these tests is real.
class StubDevices final : public vbond::VerbsDevices {
 public:
  explicit StubDevices(StubNic& nic) : nic_(nic) {}

  vbond::ErrnoOr<std::unique_ptr<vbond::VerbsFile>> open(std::string_view node,
                                                         int flags) override {
    if (node != "uverbs0") return tl::unexpected(ENOENT);
    auto file = vbond::open_without_reopen("/dev/full", flags);
    if (!file) return tl::unexpected(file.error());
    return std::make_unique<File>(nic_, next_++, std::move(*file));
  }
  vbond::ErrnoOr<std::unique_ptr<vbond::VerbsFile>> adopt(UniqueFd file) override {
    return std::make_unique<File>(nic_, next_++, std::move(file));
  }
  std::string node_of(dev_t device) override { return device == makedev(1, 7) ? "uverbs0" : ""; }
  std::string rdma_device_of(std::string_view node) override {
    return node == "uverbs0" || node == "uverbs7" ? "rxe0" : "";
  }

 private:
  class File final : public vbond::VerbsFile {
   public:
    File(StubNic& nic, std::uint64_t id, UniqueFd file)
        : nic_(nic), id_(id), file_(std::move(file)) {}
    // The stub cannot see the tenants' descriptors; here only the agent's counts.
    ~File() override { nic_.release(id_); }
    int descriptor() const override { return file_.get(); }
    vbond::ErrnoOr<int> call(void* header) override { return nic_.call(id_, header); }

   private:
    StubNic& nic_;
    const std::uint64_t id_;
    UniqueFd file_;
  };
  StubNic& nic_;
  std::atomic<std::uint64_t> next_{1};
};

// A temporary folder that goes with its contents.
class Folder {
 public:
  Folder() {
    char name[] = "/tmp/qmasq-test-XXXXXX";
    path_ = mkdtemp(name);
  }
  ~Folder() {
    (void)unlink((path_ + "/attach.sock").c_str());
    (void)rmdir(path_.c_str());
  }
  [[nodiscard]] std::string socket() const { return path_ + "/attach.sock"; }

 private:
  std::string path_;
};

// The agent of a host, all real but the NIC and the controller's state.
class Host final : public vbond::AttachHandler {
 public:
  explicit Host(vbond::InterceptOptions options = quick(), vbond::Guard* guard = nullptr,
                bool seals = true)
      : devices(nic), interceptor(parts(guard, seals), std::move(options)) {
    vbond::AttachServerOptions server_options;
    server_options.socket = folder.socket();
    server_options.patience = std::chrono::milliseconds(3000);
    server = vbond::AttachServer::start(server_options, *this).value();
  }
  ~Host() override { server.reset(); }

  static vbond::InterceptOptions quick() {
    vbond::InterceptOptions options;
    options.holder_check = std::chrono::milliseconds(50);
    return options;
  }

  Result<Offer> offer(const std::string& endpoint, const vbond::AttachPeer& peer) override {
    QMASQ_TRY(access.admit(peer));
    auto found = access.find(peer, endpoint);
    if (!found) return tl::unexpected(found.error());
    Offer out;
    out.endpoint = (*found)->uid;
    out.terms.endpoint = (*found)->name;
    out.terms.reserved_first = interceptor.options().reserved_first;
    out.terms.reserved_count = interceptor.options().reserved_count;
    out.terms.tenant_opens = !interceptor.options().tenant_opens.empty();
    out.terms.mounts.push_back({"/a", "/b", true, false});
    out.netns.reset(::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
    return out;
  }
  Status attached(EndpointUid endpoint, const vbond::AttachPeer& peer,
                  std::unique_ptr<vbond::NotificationPort> port) override {
    return interceptor.attach(std::move(port), endpoint, peer.pid, peer.command, peer.kept_below);
  }

  AgentWorld world;
  vbond::LocalAccess access{world.endpoints, world.sync};
  StubNic nic;
  StubDevices devices;
  vbond::ProcessMemory memory;
  vbond::ProcTasks tasks;
  std::unique_ptr<vbond::Redirector> redirector = vbond::make_redirector();
  vbond::Interceptor interceptor;
  Folder folder;
  std::unique_ptr<vbond::AttachServer> server;

 private:
  vbond::Interceptor::Parts parts(vbond::Guard* guard, bool seals) {
    auto out = world.parts(memory, devices, tasks);
    out.guard = guard;
    out.redirector = seals ? redirector.get() : nullptr;
    return out;
  }
};

// A tenant process; killed and waited for when this goes.
class Tenant {
 public:
  Tenant(const Host& host, const std::string& scenario) {
    int ends[2] = {};
    if (pipe2(ends, O_CLOEXEC) != 0) return;
    output_.reset(ends[0]);
    UniqueFd write_end(ends[1]);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, write_end.get(), STDOUT_FILENO);
    std::string program = QMASQ_TENANT;
    std::string socket = host.folder.socket();
    std::string what = scenario;
    char* argv[] = {program.data(), socket.data(), what.data(), nullptr};
    (void)posix_spawn(&pid_, program.c_str(), &actions, nullptr, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
  }
  ~Tenant() {
    if (pid_ <= 0) return;
    kill(SIGKILL);
    (void)wait();
  }
  [[nodiscard]] pid_t pid() const { return pid_; }
  void kill(int signal) const { (void)::kill(pid_, signal); }
  // Exit code, or 100 + signal.
  int wait() {
    await_end(pid_);
    int status = 0;
    while (waitpid(pid_, &status, 0) < 0) {
      if (errno == EINTR) continue;
      status = SIGKILL;  // a receiver of this process traced it when it was killed
      break;
    }
    pid_ = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 100 + WTERMSIG(status);
  }
  // A line of its output, without the end; empty after 20 s of silence.
  std::string read_line() {
    std::string out;
    char c = 0;
    for (;;) {
      pollfd ready{output_.get(), POLLIN, 0};
      if (poll(&ready, 1, 20'000) <= 0 || read(output_.get(), &c, 1) != 1 || c == '\n') return out;
      out += c;
    }
  }

 private:
  pid_t pid_ = 0;
  UniqueFd output_;
};

}  // namespace qmasq::test

// SPDX-License-Identifier: Apache-2.0
#include "tests/integration/cli/run_harness.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <array>
#include <cerrno>
#include <cstdlib>

#include "common/seen_order.h"

namespace qmasq::cli::testing {
namespace {

// A network namespace of its own, kept by the descriptor. A thread's namespaces are its own.
UniqueFd make_netns() {
  UniqueFd out;
  std::thread([&out] {
    if (::unshare(CLONE_NEWNET) == 0) {
      out.reset(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
    }
  }).join();
  return out;
}

void drain(int out, int err, Finished& finished) {
  std::array<pollfd, 2> waits = {{{out, POLLIN, 0}, {err, POLLIN, 0}}};
  std::array<std::string*, 2> texts = {&finished.out, &finished.err};
  while (waits[0].fd >= 0 || waits[1].fd >= 0) {
    if (::poll(waits.data(), waits.size(), -1) < 0 && errno != EINTR) return;
    for (std::size_t i = 0; i < waits.size(); ++i) {
      if (waits[i].fd < 0 || waits[i].revents == 0) continue;
      std::array<char, 4096> buffer{};
      ssize_t got = ::read(waits[i].fd, buffer.data(), buffer.size());
      if (got <= 0) {
        waits[i].fd = -1;
      } else {
        texts[i]->append(buffer.data(), static_cast<std::size_t>(got));
      }
    }
  }
}

}  // namespace

int Finished::code() const {
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}
int Finished::signal() const {
  return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

bool may_make_namespaces() {
  return make_netns().valid();
}

FakeAgent::FakeAgent() : netns_(make_netns()) {
  terms.endpoint = "vpcs/blue/endpoints/a";
  terms.reserved_first = 960;
  terms.reserved_count = 64;
  vbond::AttachServerOptions options;
  options.socket = folder_.file("attach.sock");
  auto server = vbond::AttachServer::start(options, *this);
  if (!server) std::abort();
  server_ = std::move(*server);
}

FakeAgent::~FakeAgent() {
  server_.reset();
  stop_ = true;
  for (std::thread& thread : servers_)
    thread.join();
}

Result<vbond::AttachHandler::Offer> FakeAgent::offer(const std::string& endpoint,
                                                     const vbond::AttachPeer& peer) {
  SeenOrder order(this);
  std::lock_guard lock(mutex_);
  endpoint_ = endpoint;
  command_ = peer.command;
  if (endpoint == "blue/elsewhere") {
    return fail(Code::kFailedPrecondition,
                "endpoint vpcs/blue/endpoints/elsewhere is on hosts/hostB");
  }
  if (endpoint != "blue/a" && endpoint != "a" && endpoint != terms.endpoint) {
    return fail(Code::kNotFound, "there is no endpoint " + endpoint);
  }
  return Offer{EndpointUid{1}, terms, UniqueFd(::fcntl(netns_.get(), F_DUPFD_CLOEXEC, 0))};
}

Status FakeAgent::attached(EndpointUid, const vbond::AttachPeer&,
                           std::unique_ptr<vbond::NotificationPort> port) {
  SeenOrder order(this);
  if (refuse_attached) QMASQ_TRY(refuse_attached());
  std::lock_guard lock(mutex_);
  servers_.emplace_back([this, port = std::move(port)] { serve(*port); });
  return {};
}

void FakeAgent::serve(vbond::NotificationPort& port) const {
  while (!stop_) {
    pollfd wait{port.descriptor(), POLLIN, 0};
    // Looks at stop_ now and then, in case a test left a program behind.
    if (::poll(&wait, 1, 200) <= 0) continue;
    if ((wait.revents & POLLIN) == 0) return;  // no task has the filter any more
    if (auto call = port.receive()) (void)port.let_run(call->id);
  }
}

std::string FakeAgent::netns_id() const {
  struct stat info {};
  ::fstat(netns_.get(), &info);
  return "net:[" + std::to_string(info.st_ino) + "]";
}

std::string FakeAgent::last_command() {
  std::lock_guard lock(mutex_);
  return command_;
}

std::string FakeAgent::last_endpoint() {
  std::lock_guard lock(mutex_);
  return endpoint_;
}

Finished run_command(const std::vector<std::string>& words, const std::function<void()>& in_child) {
  std::vector<char*> argv;
  argv.reserve(words.size() + 1);
  for (const std::string& word : words)
    argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  int out[2] = {-1, -1};
  int err[2] = {-1, -1};
  if (::pipe2(out, O_CLOEXEC) != 0 || ::pipe2(err, O_CLOEXEC) != 0) std::abort();
  pid_t child = ::fork();
  if (child == 0) {
    ::dup2(out[1], STDOUT_FILENO);
    ::dup2(err[1], STDERR_FILENO);
    if (in_child) in_child();
    ::execv(argv[0], argv.data());
    ::_exit(99);
  }
  ::close(out[1]);
  ::close(err[1]);
  Finished finished;
  drain(out[0], err[0], finished);
  ::close(out[0]);
  ::close(err[0]);
  ::waitpid(child, &finished.status, 0);
  return finished;
}

Finished run_tenant(const FakeAgent& agent, const std::vector<std::string>& program,
                    const std::vector<std::string>& options,
                    const std::function<void()>& in_child) {
  std::vector<std::string> words = {QMASQ_PROGRAM, "run", "--agent-socket-dir", agent.folder()};
  if (options.empty()) words.insert(words.end(), {"--endpoint", "blue/a"});
  words.insert(words.end(), options.begin(), options.end());
  words.emplace_back("--");
  words.insert(words.end(), program.begin(), program.end());
  // The two ends of the attach socket are one after the other.
  { SeenOrder before(&agent); }
  Finished finished = run_command(words, in_child);
  SeenOrder after(&agent);
  return finished;
}

}  // namespace qmasq::cli::testing

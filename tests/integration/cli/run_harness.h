// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "common/unique_fd.h"
#include "tests/support/temp_dir.h"
#include "vbond/attach/attach_server.h"

// An agent without verbs for `qmasq run`: hands out one network namespace and lets every trapped
// call run. The program and its kernel side are real, which takes root.
namespace qmasq::cli::testing {

class FakeAgent final : public vbond::AttachHandler {
 public:
  FakeAgent();
  ~FakeAgent() override;

  [[nodiscard]] Result<Offer> offer(const std::string& endpoint,
                                    const vbond::AttachPeer& peer) override;
  [[nodiscard]] Status attached(EndpointUid endpoint, const vbond::AttachPeer& peer,
                                std::unique_ptr<vbond::NotificationPort> port) override;

  // What is offered; set before a program starts.
  vbond::AttachTerms terms;
  // If it has a value, the refusal of every program.
  std::function<Status()> refuse_attached;

  [[nodiscard]] const std::string& folder() const { return folder_.path(); }
  // "net:[4026532000]", as readlink of /proc/PID/ns/net says it.
  [[nodiscard]] std::string netns_id() const;
  [[nodiscard]] std::string last_command();
  [[nodiscard]] std::string last_endpoint();

 private:
  void serve(vbond::NotificationPort& port) const;

  qmasq::testing::TempDir folder_;
  UniqueFd netns_;
  std::mutex mutex_;
  std::string command_;
  std::string endpoint_;
  std::vector<std::thread> servers_;
  std::atomic<bool> stop_ = false;
  std::unique_ptr<vbond::AttachServer> server_;
};

struct Finished {
  int status = 0;  // as waitpid gives it
  std::string out;
  std::string err;
  [[nodiscard]] int code() const;    // exit code, or -1
  [[nodiscard]] int signal() const;  // signal that ended it, or 0
};

// Runs a program with pipes for its output and waits for it. `in_child` is called between fork and
// exec.
Finished run_command(const std::vector<std::string>& words,
                     const std::function<void()>& in_child = {});

// `qmasq run` under this agent, with the options given, then "--" and the program.
Finished run_tenant(const FakeAgent& agent, const std::vector<std::string>& program,
                    const std::vector<std::string>& options = {},
                    const std::function<void()>& in_child = {});

[[nodiscard]] bool may_make_namespaces();

}  // namespace qmasq::cli::testing

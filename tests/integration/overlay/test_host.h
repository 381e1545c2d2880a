// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <prometheus/registry.h>

#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "common/clock.h"
#include "tests/fake_netlink/scene.h"
#include "vbond/bond/binder.h"
#include "vbond/events/event_log.h"
#include "vbond/netlink/kernel.h"
#include "vbond/netlink/loop.h"
#include "vbond/overlay/overlay.h"

namespace qmasq::test {

// A "host": a network namespace of this machine with the agent's network parts in it. Needs the
// sandbox (sandbox.h).
class TestHost {
 public:
  // `id`: "hostA". Its namespaces are named in /run/<id>.
  TestHost(const std::string& id, UniqueFd own);
  ~TestHost();

  void start_agent();
  void stop_agent();  // as if killed: nothing is cleaned up
  void apply(const vbond::Change& change);
  void in_sync();
  // Waits until the loop has done what was posted.
  void settle();
  vbond::BoundNamespace bind(std::uint64_t uid);
  vbond::BondStatus status(std::uint64_t uid);
  // Waits until the status is as wanted, at most 5 s. Returns the last one.
  vbond::BondStatus wait_status(std::uint64_t uid,
                                const std::function<bool(const vbond::BondStatus&)>& wanted);

  [[nodiscard]] int own() const { return own_.get(); }
  vbond::netlink::KernelNamespaces& namespaces() { return *namespaces_; }
  // Invalid when there is none.
  UniqueFd overlay_namespace();
  vbond::Binder& binder() { return *binder_; }

 private:
  const std::string id_;
  UniqueFd own_;
  SystemClock clock_;
  vbond::EventLog events_{clock_, 100};
  std::unique_ptr<vbond::netlink::KernelNamespaces> namespaces_;
  std::unique_ptr<prometheus::Registry> registry_;
  std::unique_ptr<vbond::netlink::LoopThread> loop_;
  std::unique_ptr<vbond::Overlay> overlay_;
  std::unique_ptr<vbond::Binder> binder_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<EndpointUid, vbond::BondStatus> statuses_;  // guarded by mutex_
};

// Two hosts on one wire: 192.0.2.1 and 192.0.2.2 (fd00:9::1 and ::2) on "wire", MTU 1500.
struct TwoHosts {
  TwoHosts();
  std::unique_ptr<TestHost> a;
  std::unique_ptr<TestHost> b;
  void apply(const vbond::Change& change) {
    a->apply(change);
    b->apply(change);
  }
  void in_sync() {
    a->in_sync();
    b->in_sync();
  }
};

// A new namespace without a name.
UniqueFd new_namespace();
// Runs an operation; fails the test when it fails.
void must(vbond::netlink::Namespaces& namespaces, int netns,
          const vbond::netlink::Operation& operation);
std::vector<vbond::netlink::Link> links_in(vbond::netlink::Namespaces& namespaces, int netns);
bool has_link(vbond::netlink::Namespaces& namespaces, int netns, const std::string& name);
vbond::netlink::Link link_in(vbond::netlink::Namespaces& namespaces, int netns,
                             const std::string& name);

}  // namespace qmasq::test

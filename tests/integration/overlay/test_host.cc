// SPDX-License-Identifier: Apache-2.0
#include "tests/integration/overlay/test_host.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>

#include <algorithm>
#include <future>
#include <thread>
#include <utility>

namespace qmasq::test {

using namespace vbond;           // NOLINT(google-build-using-namespace)
using namespace vbond::netlink;  // NOLINT(google-build-using-namespace)

namespace {

UniqueFd duplicate(int fd) {
  return UniqueFd(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
}

}  // namespace

TestHost::TestHost(const std::string& id, UniqueFd own) : id_(id), own_(std::move(own)) {
  namespaces_ = std::make_unique<KernelNamespaces>(
      KernelNamespaces::Options{"/run/" + id, duplicate(own_.get())});
}

TestHost::~TestHost() {
  stop_agent();
  auto names = namespaces_->names();
  if (!names) return;
  for (const std::string& name : *names)
    (void)namespaces_->remove(name);
}

void TestHost::start_agent() {
  registry_ = std::make_unique<prometheus::Registry>();
  loop_ = std::move(*LoopThread::start());
  Overlay::Options options;
  options.host = "hosts/" + id_;
  overlay_ = std::make_unique<Overlay>(options, *namespaces_, *loop_, clock_, *registry_);
  binder_ = std::make_unique<Binder>(Binder::Options{"hosts/" + id_}, *namespaces_, *loop_, clock_,
                                     events_, overlay_.get(),
                                     [this](EndpointUid uid, const BondStatus& status) {
                                       std::lock_guard lock(mutex_);
                                       statuses_[uid] = status;
                                       changed_.notify_all();
                                     });
}

void TestHost::stop_agent() {
  if (loop_) loop_->stop();
  binder_.reset();
  overlay_.reset();
  loop_.reset();
  std::lock_guard lock(mutex_);
  statuses_.clear();
}

void TestHost::apply(const Change& change) {
  ASSERT_TRUE(overlay_->check(change));
  ASSERT_TRUE(binder_->check(change));
  overlay_->apply(change);
  binder_->apply(change);
  settle();
}

void TestHost::in_sync() {
  overlay_->in_sync();
  binder_->in_sync();
  settle();
}

void TestHost::settle() {
  // Twice: a task may have posted another one.
  for (int i = 0; i < 3; ++i) {
    std::promise<void> done;
    loop_->post([&] { done.set_value(); });
    done.get_future().get();
  }
}

BoundNamespace TestHost::bind(std::uint64_t uid) {
  auto bound = binder_->bind(EndpointUid{uid});
  EXPECT_TRUE(bound) << bound.error().message;
  return bound ? std::move(*bound) : BoundNamespace{};
}

BondStatus TestHost::status(std::uint64_t uid) {
  for (const auto& [endpoint, status] : binder_->list()) {
    if (endpoint.value == uid) return status;
  }
  return {};
}

BondStatus TestHost::wait_status(std::uint64_t uid,
                                 const std::function<bool(const BondStatus&)>& wanted) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, std::chrono::seconds(5), [&] {
    auto it = statuses_.find(EndpointUid{uid});
    return it != statuses_.end() && wanted(it->second);
  });
  return statuses_[EndpointUid{uid}];
}

UniqueFd TestHost::overlay_namespace() {
  auto fd = namespaces_->open("qm-overlay");
  return fd ? std::move(*fd) : UniqueFd();
}

UniqueFd new_namespace() {
  UniqueFd fd;
  std::thread([&] {
    if (::unshare(CLONE_NEWNET) == 0) {
      fd.reset(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
    }
  }).join();
  EXPECT_TRUE(fd.valid());
  return fd;
}

void must(Namespaces& namespaces, int netns, const Operation& operation) {
  auto net = namespaces.connect(netns);
  ASSERT_TRUE(net) << net.error().message;
  Status done = (*net)->apply(std::span<const Operation>(&operation, 1)).front();
  ASSERT_TRUE(done) << done.error().message;
}

std::vector<Link> links_in(Namespaces& namespaces, int netns) {
  auto net = namespaces.connect(netns);
  EXPECT_TRUE(net) << net.error().message;
  auto links = (*net)->links();
  EXPECT_TRUE(links) << links.error().message;
  return links ? *links : std::vector<Link>{};
}

bool has_link(Namespaces& namespaces, int netns, const std::string& name) {
  auto links = links_in(namespaces, netns);
  return std::any_of(links.begin(), links.end(),
                     [&](const Link& link) { return link.name == name; });
}

Link link_in(Namespaces& namespaces, int netns, const std::string& name) {
  for (const Link& link : links_in(namespaces, netns)) {
    if (link.name == name) return link;
  }
  ADD_FAILURE() << "no link " << name;
  return {};
}

TwoHosts::TwoHosts() {
  a = std::make_unique<TestHost>("hostA", new_namespace());
  b = std::make_unique<TestHost>("hostB", new_namespace());
  AddLink wire;
  wire.link.name = "wire";
  wire.link.kind = LinkKind::kVeth;
  wire.peer.emplace();
  wire.peer->name = "wire";
  wire.peer_target = b->own();
  must(a->namespaces(), a->own(), wire);
  for (TestHost* host : {a.get(), b.get()}) {
    std::string number = host == a.get() ? "1" : "2";
    SetLink up;
    up.name = "wire";
    up.up = true;
    must(host->namespaces(), host->own(), up);
    up.name = "lo";
    must(host->namespaces(), host->own(), up);
    must(host->namespaces(), host->own(), AddAddress{"wire", *parse_ip("192.0.2." + number), 24});
    must(host->namespaces(), host->own(), AddAddress{"wire", *parse_ip("fd00:9::" + number), 64});
    host->start_agent();
  }
}

}  // namespace qmasq::test

// SPDX-License-Identifier: Apache-2.0
#include "vbond/bond/binder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <prometheus/registry.h>

#include <map>
#include <optional>

#include "tests/fake_netlink/fake_kernel.h"
#include "tests/fake_netlink/manual_loop.h"
#include "tests/fake_netlink/scene.h"
#include "vbond/overlay/faults.h"

namespace qmasq::vbond {
namespace {

using netlink::Operation;
using test::endpoint;
using test::host;
using test::vpc;
using ::testing::HasSubstr;

class BinderTest : public ::testing::Test {
 protected:
  BinderTest() {
    whole_.snapshot = true;
    whole_.vpcs = {blue_};
    whole_.hosts = {host(1, "hostA", "192.0.2.1"), host(2, "hostB", "192.0.2.2")};
    whole_.endpoints = {endpoint(1, blue_, "a", 1, "10.0.0.1"),
                        endpoint(2, blue_, "b", 2, "10.0.0.2")};
  }

  // A new agent on the same kernel.
  void start(bool with_overlay = true) {
    binder_.reset();
    overlay_.reset();
    loop_.emplace(clock_);
    registry_.emplace();
    statuses_.clear();
    if (with_overlay) {
      Overlay::Options options;
      options.host = "hosts/hostA";
      overlay_.emplace(options, kernel_, *loop_, clock_, *registry_);
    }
    binder_.emplace(
        Binder::Options{"hosts/hostA"}, kernel_, *loop_, clock_, events_,
        with_overlay ? &*overlay_ : nullptr,
        [this](EndpointUid uid, const BondStatus& status) { statuses_[uid].push_back(status); });
    loop_->run();
  }

  void apply(const Change& change) {
    if (overlay_) {
      ASSERT_TRUE(overlay_->check(change));
      overlay_->apply(change);
    }
    ASSERT_TRUE(binder_->check(change));
    binder_->apply(change);
    loop_->run();
  }

  void in_sync() {
    if (overlay_) overlay_->in_sync();
    binder_->in_sync();
    loop_->run();
  }

  // bind() waits for the loop: here it runs inside the call.
  Result<BoundNamespace> bind(std::uint64_t uid) {
    loop_->inline_posts = true;
    auto bound = binder_->bind(EndpointUid{uid});
    loop_->inline_posts = false;
    loop_->run();
    return bound;
  }

  BondStatus last(std::uint64_t uid) {
    auto& seen = statuses_[EndpointUid{uid}];
    return seen.empty() ? BondStatus{} : seen.back();
  }
  Status run(int netns, const Operation& operation) {
    auto net = std::move(*kernel_.connect(netns));
    return net->apply(std::span<const Operation>(&operation, 1)).front();
  }
  int events(EventType type) {
    int count = 0;
    for (const Event& event : events_.read(0, 1000, std::chrono::milliseconds(0))) {
      if (event.type == type) ++count;
    }
    return count;
  }

  test::FakeKernel kernel_;
  test::ManualClock clock_;
  EventLog events_{clock_, 100};
  VpcView blue_ = vpc(1, "blue", 100);
  Change whole_;
  std::map<EndpointUid, std::vector<BondStatus>> statuses_;
  std::optional<test::ManualLoop> loop_;
  std::optional<prometheus::Registry> registry_;
  std::optional<Overlay> overlay_;
  std::optional<Binder> binder_;
};

TEST_F(BinderTest, BindsOnceHoweverOftenAsked) {
  start();
  EXPECT_EQ(bind(1).error().code, Code::kNotFound);
  apply(whole_);
  EXPECT_EQ(last(1).state, BondState::kUnbound);
  EXPECT_EQ(bind(2).error().code, Code::kNotFound);  // of another host
  auto first = bind(1);
  ASSERT_TRUE(first) << first.error().message;
  EXPECT_EQ(first->path, "/fake/netns/qm-blue-a");
  EXPECT_EQ(first->interface, "eth0");
  EXPECT_EQ(last(1).state, BondState::kBound) << last(1).message;
  EXPECT_EQ(last(1).observed_addresses.size(), 1U);
  auto second = bind(1);
  ASSERT_TRUE(second);
  EXPECT_EQ(events(EventType::kEndpointBound), 1);
  ASSERT_EQ(binder_->list().size(), 1U);
  EXPECT_EQ(binder_->list()[0].second, last(1));
}

TEST_F(BinderTest, AddressesAreFollowed) {
  start();
  apply(whole_);
  auto bound = bind(1);
  ASSERT_TRUE(bound);
  IpAddress ours = *parse_ip("10.0.0.1");
  ASSERT_TRUE(run(bound->netns.get(), netlink::DeleteAddress{"eth0", ours, 24}));
  loop_->run();
  EXPECT_EQ(last(1).state, BondState::kBound);  // looks once it is quiet
  loop_->pass_time(std::chrono::milliseconds(100));
  EXPECT_EQ(last(1).state, BondState::kDegraded);
  EXPECT_EQ(last(1).message, "address 10.0.0.1 is not on eth0");
  EXPECT_TRUE(last(1).observed_addresses.empty());

  ASSERT_TRUE(run(bound->netns.get(), netlink::AddAddress{"eth0", ours, 24}));
  ASSERT_TRUE(run(bound->netns.get(), netlink::AddAddress{"eth0", *parse_ip("10.0.0.9"), 24}));
  loop_->pass_time(std::chrono::milliseconds(100));
  EXPECT_EQ(last(1).state, BondState::kBound);
  EXPECT_THAT(last(1).message, HasSubstr("10.0.0.9"));
  EXPECT_EQ(last(1).observed_addresses, std::vector<IpAddress>{ours});
}

TEST_F(BinderTest, AChangedEndpointChangesItsInterface) {
  start();
  apply(whole_);
  auto bound = bind(1);
  ASSERT_TRUE(bound);
  Change change;
  change.endpoints = {whole_.endpoints[0]};
  change.endpoints[0].addresses = {*parse_ip("10.0.0.5"), *parse_ip("10.0.0.6")};
  apply(change);
  loop_->pass_time(std::chrono::milliseconds(100));
  EXPECT_EQ(last(1).state, BondState::kBound) << last(1).message;
  EXPECT_EQ(last(1).message, "");
  EXPECT_EQ(last(1).observed_addresses, change.endpoints[0].addresses);
}

TEST_F(BinderTest, NeighboursComeBackWithTheInterface) {
  start();
  apply(whole_);
  auto bound = bind(1);
  ASSERT_TRUE(bound);
  auto inside = std::move(*kernel_.connect(bound->netns.get()));
  netlink::SetLink set;
  set.name = "eth0";
  set.up = false;
  ASSERT_TRUE(run(bound->netns.get(), set));
  loop_->pass_time(std::chrono::milliseconds(100));
  EXPECT_EQ(last(1).state, BondState::kDegraded);
  EXPECT_TRUE(inside->neighbours()->empty());
  set.up = true;
  ASSERT_TRUE(run(bound->netns.get(), set));
  loop_->pass_time(std::chrono::milliseconds(100));
  EXPECT_EQ(last(1).state, BondState::kBound);
  EXPECT_EQ(inside->neighbours()->size(), 2U);
}

TEST_F(BinderTest, TheNamespaceGoesWithTheEndpoint) {
  start();
  apply(whole_);
  in_sync();
  ASSERT_TRUE(bind(1));
  Change moved;
  moved.endpoints = {endpoint(1, blue_, "a", 2, "10.0.0.1")};
  apply(moved);
  EXPECT_FALSE(kernel_.open("qm-blue-a"));
  EXPECT_FALSE(kernel_.open("qm-overlay"));
  EXPECT_TRUE(binder_->list().empty());
  EXPECT_EQ(events(EventType::kEndpointUnbound), 1);
  EXPECT_EQ(bind(1).error().code, Code::kNotFound);
}

TEST_F(BinderTest, ARestartedAgentAdopts) {
  start();
  apply(whole_);
  ASSERT_TRUE(bind(1));
  kernel_.take_operations();
  start();
  apply(whole_);
  in_sync();
  EXPECT_EQ(kernel_.take_operations(), std::vector<std::string>{});
  EXPECT_EQ(last(1).state, BondState::kBound) << last(1).message;
  EXPECT_TRUE(kernel_.open("qm-blue-a"));
}

TEST_F(BinderTest, WhatNobodyKnowsAnyMoreGoesOnlyInSync) {
  start();
  apply(whole_);
  ASSERT_TRUE(bind(1));
  start();
  Change none;
  none.snapshot = true;
  apply(none);
  EXPECT_TRUE(kernel_.open("qm-blue-a"));
  in_sync();
  EXPECT_FALSE(kernel_.open("qm-blue-a"));
  EXPECT_FALSE(kernel_.open("qm-overlay"));
}

TEST_F(BinderTest, ANamespaceOfSomebodyElseIsLeftAlone) {
  UniqueFd theirs = *kernel_.create("qm-blue-a", "theirs");
  start();
  apply(whole_);
  auto bound = bind(1);
  ASSERT_FALSE(bound);
  EXPECT_EQ(bound.error().code, Code::kAlreadyExists);
  in_sync();
  EXPECT_TRUE(kernel_.open("qm-blue-a"));
  EXPECT_EQ((*kernel_.connect(theirs.get()))->links()->size(), 1U);
}

TEST_F(BinderTest, AFaultInTheOverlayIsInTheStatusUntilItHeals) {
  start();
  apply(whole_);
  ASSERT_TRUE(bind(1));
  kernel_.fail_next("02:71:00:00:00:03 on qmx100", ENOMEM, 2);
  Change change;
  change.endpoints = {endpoint(3, blue_, "c", 2, "10.0.0.3")};
  apply(change);
  EXPECT_EQ(last(1).state, BondState::kDegraded);
  EXPECT_THAT(last(1).message, HasSubstr("02:71:00:00:00:03"));
  loop_->pass_time(Faults::kFirst * 4);
  EXPECT_EQ(last(1).state, BondState::kBound) << last(1).message;
  EXPECT_EQ(kernel_.failures_left(), 0);
}

TEST_F(BinderTest, ABindThatFailsLeavesNothing) {
  start();
  apply(whole_);
  kernel_.fail_next("add link qmv1", ENOMEM, 1);
  auto bound = bind(1);
  ASSERT_FALSE(bound);
  EXPECT_EQ(bound.error().err, ENOMEM);
  EXPECT_FALSE(kernel_.open("qm-blue-a"));
  EXPECT_TRUE(bind(1));
}

TEST_F(BinderTest, AnExistingNamespaceIsJoinedAndNotTouched) {
  start();
  apply(whole_);
  UniqueFd theirs = kernel_.make_namespace();
  netlink::AddLink add;
  add.link.name = "net1";
  add.link.mac = whole_.endpoints[0].mac;
  ASSERT_TRUE(run(theirs.get(), add));
  netlink::SetLink up;
  up.name = "net1";
  up.up = true;
  ASSERT_TRUE(run(theirs.get(), up));
  kernel_.take_operations();
  auto join = [&](const char* interface) {
    loop_->inline_posts = true;
    Status done = binder_->bind_existing(EndpointUid{1}, UniqueFd(::dup(theirs.get())), interface);
    loop_->inline_posts = false;
    loop_->run();
    return done;
  };
  ASSERT_TRUE(join("net1"));
  EXPECT_EQ(last(1).state, BondState::kDegraded);
  ASSERT_TRUE(run(theirs.get(), netlink::AddAddress{"net1", *parse_ip("10.0.0.1"), 24}));
  loop_->pass_time(std::chrono::milliseconds(100));
  EXPECT_EQ(last(1).state, BondState::kBound) << last(1).message;
  EXPECT_EQ(kernel_.take_operations(), std::vector<std::string>{"add address 10.0.0.1 on net1"});
  EXPECT_TRUE(join("net1"));
  EXPECT_EQ(join("net2").error().code, Code::kFailedPrecondition);
  auto bound = bind(1);  // a program in it
  ASSERT_TRUE(bound);
  EXPECT_EQ(bound->interface, "net1");
  EXPECT_EQ(bound->path, "");
  loop_->inline_posts = true;
  EXPECT_TRUE(binder_->unbind(EndpointUid{1}));
  EXPECT_EQ(binder_->unbind(EndpointUid{1}).error().code, Code::kNotFound);
  loop_->inline_posts = false;
  EXPECT_EQ(last(1).state, BondState::kUnbound);
}

TEST_F(BinderTest, WithoutOurOverlayTheSitesNamespaceIsJoined) {
  start(false);
  apply(whole_);
  auto missing = bind(1);
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, Code::kFailedPrecondition);
  EXPECT_THAT(missing.error().message, HasSubstr("/fake/netns/qm-blue-a"));
  UniqueFd theirs = *kernel_.create("qm-blue-a", "");
  ASSERT_TRUE(bind(1));
  EXPECT_THAT(last(1).message, HasSubstr("eth0 is missing"));
  Change gone;
  gone.removed_endpoints = {EndpointUid{1}};
  apply(gone);
  EXPECT_TRUE(kernel_.open("qm-blue-a"));
}

TEST_F(BinderTest, BadValuesAreRefusedBeforeAnythingIsApplied) {
  start();
  Change change = whole_;
  change.vpcs[0].vni = Vni{0};
  EXPECT_FALSE(overlay_->check(change));
  change = whole_;
  change.endpoints[0].mac = Mac{};
  EXPECT_FALSE(overlay_->check(change));
  change.endpoints[0].name = "../../etc";
  EXPECT_FALSE(binder_->check(change));
}

}  // namespace
}  // namespace qmasq::vbond

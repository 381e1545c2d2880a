// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>
#include <spdlog/spdlog.h>

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "tests/support/manual_clock.h"
#include "tests/unit/rename/values.h"
#include "vbond/events/event_log.h"
#include "vbond/rename/connection_table.h"
#include "vbond/rename/endpoint_table.h"
#include "vbond/rename/nic_table.h"
#include "vbond/rename/peer_map.h"
#include "vbond/rename/policy_change.h"
#include "vbond/rename/renamer.h"
#include "vbond/state/sync_state.h"

namespace qmasq::vbond::testing {

namespace qp_mask = uverbs::qp_mask;

// A wire policy whose answers a test can tell from anything a tenant sends.
class FixedPolicy final : public WirePolicy {
 public:
  [[nodiscard]] Verdict<WireMarks> marks(const WireQuestion& question) const override {
    std::lock_guard lock(mutex_);
    asked_ = question;
    return WireMarks{0x4711, 0x20, 3};
  }
  [[nodiscard]] WireQuestion asked() const {
    std::lock_guard lock(mutex_);
    return asked_;
  }

 private:
  mutable std::mutex mutex_;
  mutable WireQuestion asked_;  // guarded by mutex_
};

// hostA, with endpoints of two VPCs that use the same addresses, in sync with a controller.
class RenameFixture : public ::testing::Test {
 protected:
  RenameFixture() {
    spdlog::set_level(spdlog::level::warn);  // events are read from the ring here
    nics_.update({nic("rxe0", "192.168.0.1", 1)});
    endpoints_.set_host(HostUid{10}, "hosts/hostA");
    Change change;
    change.snapshot = true;
    change.vpcs = {vpc(1, "blue", 100), vpc(2, "red", 200)};
    change.hosts = {host(10, "hostA", {{"rxe0", "192.168.0.1"}}),
                    host(11, "hostB", {{"rxe0", "192.168.0.2"}}), host(12, "hostC", {})};
    change.endpoints = {endpoint(101, 1, "blue/a", 10, {"10.0.0.1", "fd00::1"}),
                        endpoint(102, 1, "blue/b", 11, {"10.0.0.2", "fd00::2"}),
                        endpoint(103, 1, "blue/c", 12, {"10.0.0.3"}),
                        endpoint(104, 1, "blue/d", 10, {"10.0.0.4"}),
                        endpoint(201, 2, "red/a", 10, {"10.0.0.1"}),
                        endpoint(202, 2, "red/b", 11, {"10.0.0.2"}),
                        endpoint(209, 2, "red/i", 11, {"10.0.0.9"})};
    change.groups = {group(1, "blue"), group(2, "red")};
    apply(change);
    sync_.mark_in_sync(Revision{1});
  }

  void apply(const Change& change) {
    for (ChangeObserver* observer :
         {static_cast<ChangeObserver*>(&peers_), static_cast<ChangeObserver*>(&endpoints_)}) {
      Status status = observer->check(change);
      ASSERT_TRUE(status) << status.error().message;
    }
    peers_.apply(change);
    endpoints_.apply(change);
    effects_ = tracker_.apply(policy_change(change));
  }

  // RTR as ibv_rc_pingpong sends it.
  static uverbs::ModifyQp rtr(std::uint32_t handle, const std::string& dgid,
                              std::uint8_t sgid_index = 1) {
    uverbs::ModifyQp out;
    out.qp_handle = handle;
    out.attr_mask = qp_mask::kState | qp_mask::kAv | qp_mask::kPathMtu | qp_mask::kDestQpn |
                    qp_mask::kRqPsn | qp_mask::kMaxDestRdAtomic | qp_mask::kMinRnrTimer;
    out.state = uverbs::QpState::kRtr;
    out.path_mtu = 3;
    out.dest_qpn = Qpn{0x55};
    out.rq_psn = 1234;
    out.dest.dgid = gid(dgid);
    out.dest.sgid_index = sgid_index;
    out.dest.hop_limit = 1;
    out.dest.flow_label = 0x12345;
    out.dest.traffic_class = 0x68;
    out.dest.sl = 5;
    out.dest.is_global = true;
    out.dest.port_num = 1;
    return out;
  }
  static uverbs::ModifyQp to_state(std::uint32_t handle, uverbs::QpState state) {
    uverbs::ModifyQp out;
    out.qp_handle = handle;
    out.attr_mask = qp_mask::kState;
    out.state = state;
    return out;
  }
  // The errno of a command, 0 when it went through and the kernel said yes.
  int modify(const ContextInfo& context, uverbs::ModifyQp command, int kernel_says = 0) {
    auto plan = renamer_.before_modify(context, command);
    if (!plan) return plan.error().err;
    renamer_.after_modify(context, *plan, kernel_says);
    return kernel_says;
  }
  // A QP of `context` connected to `dgid`.
  void connect(const ContextInfo& context, std::uint32_t handle, const std::string& dgid) {
    renamer_.qp_created(context, handle, Qpn{0x11}, uverbs::QpType::kRc);
    ASSERT_EQ(modify(context, to_state(handle, uverbs::QpState::kInit)), 0);
    ASSERT_EQ(modify(context, rtr(handle, dgid)), 0);
  }
  std::vector<Event> events() const { return log_.read(0, 1000, std::chrono::milliseconds(0)); }
  Event last_event() const {
    auto all = events();
    return all.empty() ? Event{} : all.back();
  }
  // How rxe answers QUERY_QP.
  uverbs::QueryQpResp kernel_answer(const uverbs::QpDest& dest, uverbs::QpState state) const {
    uverbs::QueryQpResp out;
    out.dest = dest;
    out.alt_dest.is_global = true;
    out.state = state;
    out.dest_qpn = Qpn{0x55};
    return out;
  }

  qmasq::testing::ManualClock clock_;
  SyncState sync_;
  EventLog log_{clock_, 1000};
  conntrack::GroupSets sets_;
  std::vector<conntrack::Effect> effects_;  // of the last change
  PeerMap peers_{sets_};
  conntrack::Tracker tracker_{sets_, peers_, {}};
  EndpointTable endpoints_{peers_, sync_};
  NicTable nics_;
  ConnectionTable connections_;
  FixedPolicy wire_;
  Renamer renamer_{{sync_, endpoints_, peers_, nics_, tracker_, connections_, log_, clock_, wire_},
                   RenameOptions{}};
  ContextInfo blue_a_{1, EndpointUid{101}, "rxe0", 4242, "ibv_rc_pingpong"};
  ContextInfo red_a_{2, EndpointUid{201}, "rxe0", 4343, "ib_write_bw"};
};

}  // namespace qmasq::vbond::testing

// SPDX-License-Identifier: Apache-2.0
// The way back: what a tenant reads never holds a physical address.
#include <gtest/gtest.h>

#include <cerrno>
#include <random>
#include <set>

#include "tests/unit/rename/rename_fixture.h"

namespace qmasq::vbond::testing {
namespace {

using uverbs::QpState;
using uverbs::QpType;

class RenamerAnswersTest : public RenameFixture {};

TEST_F(RenamerAnswersTest, QueryQpGivesBackWhatTheTenantSet) {
  renamer_.qp_created(blue_a_, 7, Qpn{0x11}, QpType::kRc);
  uverbs::ModifyQp command = rtr(7, "10.0.0.2");
  uverbs::QpDest asked = command.dest;
  auto plan = renamer_.before_modify(blue_a_, command);
  ASSERT_TRUE(plan);
  renamer_.after_modify(blue_a_, *plan, 0);

  auto answer = kernel_answer(command.dest, QpState::kRtr);
  renamer_.after_query_qp(blue_a_, 7, answer);
  EXPECT_EQ(answer.dest, asked);
  EXPECT_EQ(answer.alt_dest.dgid, Gid{});
  EXPECT_EQ(answer.dest_qpn, Qpn{0x55});

  // A second address vector that the kernel refused does not show.
  EXPECT_EQ(modify(blue_a_, rtr(7, "10.0.0.4"), EINVAL), EINVAL);
  answer = kernel_answer(command.dest, QpState::kRtr);
  renamer_.after_query_qp(blue_a_, 7, answer);
  EXPECT_EQ(answer.dest, asked);
}

TEST_F(RenamerAnswersTest, AQpWithoutAPathShowsNone) {
  renamer_.qp_created(blue_a_, 7, Qpn{0x11}, QpType::kRc);
  uverbs::QpDest fresh;
  fresh.is_global = true;
  fresh.port_num = 1;
  auto answer = kernel_answer(fresh, QpState::kReset);
  auto expected = answer;
  renamer_.after_query_qp(blue_a_, 7, answer);
  EXPECT_EQ(answer, expected) << "as the kernel gave it";

  // rxe shows the old address vector after RESET.
  connect(blue_a_, 8, "10.0.0.2");
  ASSERT_EQ(modify(blue_a_, to_state(8, QpState::kReset)), 0);
  uverbs::QpDest stale = fresh;
  stale.dgid = gid("192.168.0.2");
  stale.sgid_index = 1;
  stale.flow_label = 0x4711;
  stale.traffic_class = 0x20;
  stale.hop_limit = 64;
  answer = kernel_answer(stale, QpState::kReset);
  renamer_.after_query_qp(blue_a_, 8, answer);
  EXPECT_EQ(answer, expected);
  // A QP that nobody announced.
  answer = kernel_answer(stale, QpState::kReset);
  renamer_.after_query_qp(blue_a_, 99, answer);
  EXPECT_EQ(answer, expected);
}

TEST_F(RenamerAnswersTest, QueryQpTellsUsWhatTheNicDid) {
  connect(blue_a_, 7, "10.0.0.2");
  auto answer = kernel_answer({}, QpState::kErr);
  renamer_.after_query_qp(blue_a_, 7, answer);
  EXPECT_EQ(connections_.find({1, 7})->state, QpState::kErr);
  EXPECT_EQ(connections_.counts().by_state[6], 1U);
}

TEST_F(RenamerAnswersTest, TheGidTableIsTheEndpoints) {
  endpoints_.set_interface(EndpointUid{101}, "blue0", 5);
  EXPECT_EQ(renamer_.gid_table_length(blue_a_), 3U);
  auto table = renamer_.gid_table(blue_a_);
  ASSERT_EQ(table.size(), 3U);
  EXPECT_EQ(table[0].gid, Gid::link_local(mac(101)));
  EXPECT_EQ(table[1].gid, gid("10.0.0.1"));
  EXPECT_EQ(table[2].gid, gid("fd00::1"));
  for (std::uint32_t i = 0; i < 3; ++i) {
    EXPECT_EQ(table[i].gid_index, i);
    EXPECT_EQ(table[i].port_num, 1U);
    EXPECT_EQ(table[i].type, uverbs::GidType::kRoceV2);
    EXPECT_EQ(table[i].ifindex, 5U);
    auto entry = renamer_.gid_entry(blue_a_, 1, i);
    ASSERT_TRUE(entry);
    EXPECT_EQ(*entry, table[i]);
  }
  EXPECT_EQ(renamer_.gid_entry(blue_a_, 1, 3).error().err, EINVAL);
  EXPECT_EQ(renamer_.gid_entry(blue_a_, 0, 0).error().err, EINVAL);
  EXPECT_EQ(renamer_.gid_entry(blue_a_, 2, 0).error().err, EINVAL);
  EXPECT_EQ(renamer_.gid_entry(blue_a_, 1, 0xffffffff).error().err, EINVAL);
  uverbs::Guid guid = {0x00, 0x00, 0x00, 0xff, 0xfe, 0x00, 0x00, 0x65};
  EXPECT_EQ(renamer_.device_guid(blue_a_), guid);
}

TEST_F(RenamerAnswersTest, NothingIsLeftToSayWhenTheEndpointIsGone) {
  Change change;
  change.removed_endpoints = {EndpointUid{101}};
  apply(change);
  EXPECT_EQ(renamer_.gid_entry(blue_a_, 1, 0).error().err, ENODEV);
  EXPECT_TRUE(renamer_.gid_table(blue_a_).empty());
  EXPECT_EQ(renamer_.gid_table_length(blue_a_), 0U);
  EXPECT_EQ(renamer_.device_guid(blue_a_), uverbs::Guid{});
}

// Whatever a tenant does and whatever the kernel says, no answer holds an address of the hosts.
TEST_F(RenamerAnswersTest, NoAnswerEverHoldsAPhysicalGid) {
  const std::set<Gid> physical = {gid("192.168.0.1"), gid("192.168.0.2"),
                                  gid("fe80::5054:ff:fe00:1")};
  const std::vector<std::string> targets = {"10.0.0.1", "10.0.0.2",    "10.0.0.4", "10.0.0.9",
                                            "fd00::2",  "192.168.0.2", "::"};
  std::mt19937 random(7);
  auto dice = [&](std::uint32_t n) { return static_cast<std::uint32_t>(random() % n); };
  // What the kernel holds for each QP, by context and handle.
  std::map<QpKey, uverbs::QpDest> kernel;
  std::size_t shown = 0;
  for (int i = 0; i < 20'000; ++i) {
    const ContextInfo& context = dice(2) == 0 ? blue_a_ : red_a_;
    std::uint32_t handle = dice(4);
    QpKey key{context.id, handle};
    switch (dice(6)) {
      case 0:
        renamer_.qp_created(context, handle, Qpn{handle}, QpType::kRc);
        kernel[key] = {};
        break;
      case 1:
        renamer_.qp_destroyed(context, handle);
        kernel.erase(key);
        break;
      case 2:
        modify(context, to_state(handle, static_cast<QpState>(dice(7))), dice(4) == 0 ? EINVAL : 0);
        break;
      case 3:
        if (dice(20) == 0) renamer_.context_closed(context);
        break;
      default: {
        uverbs::ModifyQp command =
            rtr(handle, targets[dice(targets.size())], static_cast<std::uint8_t>(dice(4)));
        if (dice(3) == 0) command.attr_mask = dice(1U << 21U);
        auto plan = renamer_.before_modify(context, command);
        if (!plan) break;
        // A driver may keep an address vector of a command that it refused in the end.
        if (command.sets(qp_mask::kAv)) kernel[key] = command.dest;
        renamer_.after_modify(context, *plan, dice(4) == 0 ? EINVAL : 0);
      }
    }
    uverbs::QueryQpResp answer = kernel_answer(kernel[key], static_cast<QpState>(dice(7)));
    answer.alt_dest = kernel[key];
    renamer_.after_query_qp(context, handle, answer);
    ASSERT_FALSE(physical.contains(answer.dest.dgid)) << i;
    ASSERT_FALSE(physical.contains(answer.alt_dest.dgid)) << i;
    if (!answer.dest.dgid.is_zero()) ++shown;
    for (const uverbs::GidEntry& entry : renamer_.gid_table(context))
      ASSERT_FALSE(physical.contains(entry.gid));
  }
  EXPECT_GT(shown, 1000U);
}

}  // namespace
}  // namespace qmasq::vbond::testing

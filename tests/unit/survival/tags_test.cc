// SPDX-License-Identifier: Apache-2.0
#include "vbond/survival/tags.h"

#include <gtest/gtest.h>

#include "vbond/keeper/keeper.h"

namespace qmasq::vbond {
namespace {

TEST(Tags, AreTheSameWhenTheyAreRead) {
  ListenerTag listener{7, EndpointUid{11}, "vpcs/blue/endpoints/a", 4711, "ib_write_bw"};
  auto read = decode_tag(encode(listener));
  ASSERT_TRUE(read.has_value());
  const auto& again = std::get<ListenerTag>(*read);
  EXPECT_EQ(again.number, 7U);
  EXPECT_EQ(again.endpoint, EndpointUid{11});
  EXPECT_EQ(again.endpoint_name, listener.endpoint_name);
  EXPECT_EQ(again.pid, 4711);
  EXPECT_EQ(again.command, "ib_write_bw");

  ContextTag context{3, 7, "rxe0", 4711, "x", true, 14, 960};
  const auto file = std::get<ContextTag>(*decode_tag(encode(context)));
  EXPECT_EQ(file.id, 3U);
  EXPECT_EQ(file.listener, 7U);
  EXPECT_EQ(file.nic, "rxe0");
  EXPECT_TRUE(file.software);
  EXPECT_EQ(file.driver_id, 14U);
  EXPECT_EQ(file.descriptor, 960);
  EXPECT_TRUE(std::holds_alternative<LedgerTag>(*decode_tag(encode(LedgerTag{}))));
  EXPECT_TRUE(std::holds_alternative<JournalTag>(*decode_tag(encode(JournalTag{}))));
}

TEST(Tags, OfOtherVersionsAndPartsOfThemAreNone) {
  std::string bytes = encode(ListenerTag{7, EndpointUid{11}, "name", 1, "c"});
  for (std::size_t size = 0; size < bytes.size(); ++size)
    EXPECT_FALSE(decode_tag(bytes.substr(0, size)).has_value()) << size;
  EXPECT_FALSE(decode_tag(bytes + "x").has_value());
  bytes[0] = 2;
  EXPECT_FALSE(decode_tag(bytes).has_value());
}

TEST(Tags, FitWhateverAProgramIsCalled) {
  ListenerTag tag;
  tag.endpoint_name.assign(100'000, 'n');
  tag.command.assign(100'000, 'c');
  EXPECT_LE(encode(tag).size(), Keeper::kMaxTag);
}

}  // namespace
}  // namespace qmasq::vbond

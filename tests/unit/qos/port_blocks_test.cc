// SPDX-License-Identifier: Apache-2.0
#include "qos/port_blocks.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>
#include <vector>

namespace qmasq::qos {
namespace {

constexpr std::uint32_t kSeed = 20261127;

EndpointUid uid(std::uint64_t value) {
  return EndpointUid{value};
}

TEST(PortBlocks, GivesOneBlockToEachEndpointAndTheSameAgain) {
  PortBlocks blocks;
  EXPECT_EQ(blocks.find(uid(1)), std::nullopt);
  EXPECT_EQ(blocks.take(uid(1)), (PortBlock{0xc000, 16}));
  EXPECT_EQ(blocks.take(uid(2)), (PortBlock{0xc010, 16}));
  EXPECT_EQ(blocks.take(uid(1)), (PortBlock{0xc000, 16}));
  EXPECT_EQ(blocks.find(uid(2)), (PortBlock{0xc010, 16}));
  EXPECT_EQ(blocks.size(), 2U);
  blocks.give_back(uid(1));
  EXPECT_EQ(blocks.find(uid(1)), std::nullopt);
  EXPECT_EQ(blocks.find(uid(2)), (PortBlock{0xc010, 16})) << "nobody moves";
  EXPECT_EQ(blocks.take(uid(3)), (PortBlock{0xc000, 16}));
  blocks.give_back(uid(9));  // nobody
  EXPECT_EQ(blocks.size(), 2U);
}

TEST(PortBlocks, GivesSmallerOnesAsTheRangeFills) {
  PortBlocks blocks;
  std::map<unsigned, unsigned> sizes;
  std::set<unsigned> ports;
  std::uint64_t endpoint = 0;
  while (auto block = blocks.take(uid(++endpoint))) {
    ++sizes[block->count];
    EXPECT_EQ(block->first % block->count, 0);
    for (unsigned i = 0; i < block->count; ++i) {
      EXPECT_GE(block->first + i, PortBlocks::kFirst);
      EXPECT_TRUE(ports.insert(block->first + i).second);
    }
  }
  EXPECT_EQ(sizes, (std::map<unsigned, unsigned>{{16, 256}, {4, 512}, {1, 10240}}));
  EXPECT_EQ(ports.size(), PortBlocks::kPorts) << "to the last port";
  EXPECT_EQ(blocks.size(), 11008U);
  blocks.give_back(uid(7));
  EXPECT_EQ(blocks.take(uid(endpoint))->count, 1);
}

TEST(PortBlocks, TakesASmallerOneWhereNoneIsLeftInOnePiece) {
  PortBlocks blocks;
  // Every second piece of 8 is free: plenty, and nowhere 16 at a time.
  std::uint64_t endpoint = 0;
  for (std::uint32_t first = PortBlocks::kFirst; first < 0x10000; first += 16)
    ASSERT_TRUE(blocks.adopt(uid(++endpoint), {static_cast<std::uint16_t>(first), 1}));
  EXPECT_EQ(blocks.take(uid(++endpoint))->count, 4);
}

TEST(PortBlocks, AdoptsWhatAFormerProcessGave) {
  PortBlocks blocks;
  EXPECT_TRUE(blocks.adopt(uid(1), {0xc010, 16}));
  EXPECT_TRUE(blocks.adopt(uid(1), {0xc010, 16})) << "it has it";
  EXPECT_FALSE(blocks.adopt(uid(1), {0xc020, 16})) << "it has another";
  EXPECT_FALSE(blocks.adopt(uid(2), {0xc010, 16}));
  EXPECT_FALSE(blocks.adopt(uid(2), {0xc018, 8})) << "taken in part";
  EXPECT_TRUE(blocks.adopt(uid(2), {0xffff, 1}));
  EXPECT_FALSE(blocks.adopt(uid(3), {0xfff0, 16})) << "taken in part";
  EXPECT_TRUE(blocks.adopt(uid(3), {0xfff8, 4}));
  EXPECT_EQ(blocks.find(uid(3)), (PortBlock{0xfff8, 4}));
  EXPECT_EQ(blocks.take(uid(1)), (PortBlock{0xc010, 16}));
  for (const PortBlock bad :
       {PortBlock{}, PortBlock{0xc100, 0}, PortBlock{0xc100, 3}, PortBlock{0xc100, 32},
        PortBlock{0xc108, 16}, PortBlock{0xbff0, 16}, PortBlock{0, 1}, PortBlock{4791, 1}}) {
    EXPECT_FALSE(blocks.adopt(uid(4), bad)) << bad.first << "/" << bad.count;
  }
  EXPECT_EQ(blocks.size(), 3U);
}

// All operations at random against a table of who has which port.
TEST(PortBlocks, NeverShareNorLoseAPort) {
  PortBlocks blocks;
  std::map<std::uint64_t, PortBlock> model;
  std::vector<std::uint64_t> owners(PortBlocks::kPorts);
  std::mt19937 random(kSeed);
  auto free = [&](PortBlock block) {
    for (unsigned i = 0; i < block.count; ++i) {
      if (owners[block.first - PortBlocks::kFirst + i] != 0) return false;
    }
    return true;
  };
  auto own = [&](PortBlock block, std::uint64_t owner) {
    for (unsigned i = 0; i < block.count; ++i)
      owners[block.first - PortBlocks::kFirst + i] = owner;
  };
  unsigned refused = 0;
  unsigned full = 0;
  for (int step = 0; step < 300'000; ++step) {
    // Fills, then empties, in turns.
    const bool filling = (step / 30'000) % 2 == 0;
    const std::uint64_t endpoint = 1 + random() % 13'000;
    const std::uint32_t kind = random() % 10;
    auto known = model.find(endpoint);
    if (kind < (filling ? 7U : 1U)) {
      auto block = blocks.take(uid(endpoint));
      if (known != model.end()) {
        ASSERT_EQ(block, known->second);
      } else if (block) {
        ASSERT_TRUE(free(*block));
        own(*block, endpoint);
        model[endpoint] = *block;
      } else {
        ++full;
        for (std::uint64_t owner : owners)
          ASSERT_NE(owner, 0U) << "a port was left";
      }
    } else if (kind < 8) {
      const auto count = static_cast<std::uint16_t>(1U << (random() % 5));
      const auto first = static_cast<std::uint16_t>(
          PortBlocks::kFirst + (random() % PortBlocks::kPorts) / count * count);
      const PortBlock block{first, count};
      const bool expected = known != model.end() ? known->second == block : free(block);
      ASSERT_EQ(blocks.adopt(uid(endpoint), block), expected);
      if (!expected) ++refused;
      if (expected && known == model.end()) {
        own(block, endpoint);
        model[endpoint] = block;
      }
    } else if (known != model.end()) {
      own(known->second, 0);
      model.erase(known);
      blocks.give_back(uid(endpoint));
    }
    ASSERT_EQ(blocks.size(), model.size());
  }
  EXPECT_GT(refused, 1000U);
  for (const auto& [endpoint, block] : model) {
    ASSERT_EQ(blocks.find(uid(endpoint)), block);
    blocks.give_back(uid(endpoint));
  }
  // All has grown together again.
  for (std::uint64_t endpoint = 1; endpoint <= 256; ++endpoint)
    ASSERT_EQ(blocks.take(uid(endpoint))->count, 16);
}

}  // namespace
}  // namespace qmasq::qos

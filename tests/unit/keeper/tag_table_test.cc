// SPDX-License-Identifier: Apache-2.0
#include "keeper/tag_table.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <map>
#include <random>
#include <string>

#include "keeper/protocol.h"

namespace qmasq::keeper {
namespace {

using Content = std::map<std::uint64_t, std::string>;

Content content(const TagTable& table) {
  Content out;
  table.for_each([&](std::uint64_t id) { out.emplace(id, table.tag(id)); });
  return out;
}

// What another process finds in the file.
TagTable reopened(const TagTable& table, std::size_t entries) {
  auto other = TagTable::adopt(UniqueFd(::dup(table.descriptor())), entries);
  EXPECT_TRUE(other) << other.error().message;
  return std::move(*other);
}

TEST(TagTable, AgreesWithAMapAndSoDoesTheNextProcess) {
  constexpr std::size_t kEntries = 9;
  auto table = TagTable::create(kEntries);
  ASSERT_TRUE(table);
  Content model;
  std::mt19937 random(7);  // NOLINT: the same every time
  for (int i = 0; i < 4000; ++i) {
    const auto pick = random();
    std::string tag(pick % 5 == 0 ? kMaxText : pick % 40, static_cast<char>(pick));
    if (pick % 3 == 0) {
      const bool fits = model.size() < kEntries;
      const std::uint64_t id = table->next_id();
      ASSERT_EQ(table->set(id, tag), fits);
      if (fits) model.emplace(id, tag);
    } else if (!model.empty()) {
      auto one = std::next(model.begin(), static_cast<long>(random() % model.size()));
      if (pick % 3 == 1) {
        ASSERT_TRUE(table->set(one->first, tag)) << "a full table cannot be changed";
        one->second = tag;
      } else {
        table->erase(one->first);
        model.erase(one);
      }
    }
    ASSERT_EQ(content(*table), model);
    if (i % 50 == 0) {
      ASSERT_EQ(content(reopened(*table, kEntries)), model);
    }
  }
  EXPECT_GT(reopened(*table, kEntries).next_id(), model.rbegin()->first);
}

TEST(TagTable, GrowsForTheNextProcessAndDoesNotShrink) {
  auto table = TagTable::create(1);
  ASSERT_TRUE(table);
  ASSERT_TRUE(table->set(table->next_id(), "first"));
  EXPECT_FALSE(table->set(table->next_id(), "no room"));
  TagTable larger = reopened(*table, 3);
  ASSERT_TRUE(larger.set(larger.next_id(), "second"));
  ASSERT_TRUE(larger.set(larger.next_id(), "third"));
  EXPECT_EQ(content(reopened(larger, 1)).size(), 3U);
}

TEST(TagTable, ForeignFilesAreRefused) {
  auto table = TagTable::create(2);
  ASSERT_TRUE(table);
  std::uint64_t magic = 0x1234;
  ASSERT_EQ(::pwrite(table->descriptor(), &magic, sizeof(magic), 0), ssize_t{sizeof(magic)});
  auto other = TagTable::adopt(UniqueFd(::dup(table->descriptor())), 2);
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().code, Code::kUnsupported);
  UniqueFd small(::memfd_create("small", MFD_CLOEXEC));
  EXPECT_FALSE(TagTable::adopt(std::move(small), 2));
  EXPECT_FALSE(TagTable::adopt(UniqueFd(::open("/dev/null", O_RDWR | O_CLOEXEC)), 2));
}

// Killed at any instant: each tag is the one before or the one after, never a mixture, and no
// entry is lost.
TEST(TagTable, DeathInTheMiddleOfAChange) {
  constexpr int kRounds = 40;
  for (int round = 0; round < kRounds; ++round) {
    auto table = TagTable::create(4);
    ASSERT_TRUE(table);
    for (int i = 0; i < 4; ++i)
      ASSERT_TRUE(table->set(table->next_id(), std::string(kMaxText, 'a')));
    std::array<int, 2> started{};
    ASSERT_EQ(::pipe(started.data()), 0);
    const pid_t child = ::fork();
    if (child == 0) {
      (void)!::write(started[1], "x", 1);
      for (char letter = 'a';; letter = letter == 'z' ? 'a' : static_cast<char>(letter + 1)) {
        for (std::uint64_t id = 1; id <= 4; ++id)
          (void)table->set(id, std::string(kMaxText, letter));
      }
    }
    char byte = 0;
    ASSERT_EQ(::read(started[0], &byte, 1), 1);
    ::usleep(static_cast<useconds_t>(200 + 37 * round));
    ::kill(child, SIGKILL);
    ASSERT_EQ(::waitpid(child, nullptr, 0), child);
    ::close(started[0]);
    ::close(started[1]);
    const Content left = content(reopened(*table, 4));
    ASSERT_EQ(left.size(), 4U);
    for (const auto& [id, tag] : left)
      EXPECT_EQ(tag, std::string(kMaxText, tag.at(0)));
  }
}

}  // namespace
}  // namespace qmasq::keeper

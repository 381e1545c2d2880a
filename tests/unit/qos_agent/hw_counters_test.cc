// SPDX-License-Identifier: Apache-2.0
#include "vbond/qos/hw_counters.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "tests/support/temp_dir.h"

namespace qmasq::vbond {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;

TEST(HwCounters, ReadsThoseOfThePortAndOfTheDevice) {
  qmasq::testing::TempDir directory;
  const std::filesystem::path device = directory.file("class/infiniband/mlx5_0");
  std::filesystem::create_directories(device / "ports/1/hw_counters");
  std::filesystem::create_directories(device / "hw_counters");
  std::ofstream(device / "ports/1/hw_counters/sent_pkts") << "17\n";
  std::ofstream(device / "ports/1/hw_counters/lifespan") << "10\n";
  std::ofstream(device / "ports/1/hw_counters/broken") << "N/A\n";
  std::ofstream(device / "hw_counters/sent_pkts") << "99\n";
  std::ofstream(device / "hw_counters/resets") << "18446744073709551615\n";
  auto counters = make_sysfs_hw_counters(directory.path());
  EXPECT_THAT(counters->read("mlx5_0", 1),
              ElementsAre(Pair("resets", ~std::uint64_t{0}), Pair("sent_pkts", 17U)));
  EXPECT_THAT(counters->read("mlx5_0", 2),
              ElementsAre(Pair("resets", ~std::uint64_t{0}), Pair("sent_pkts", 99U)));
  EXPECT_THAT(counters->read("gone", 1), IsEmpty());
}

}  // namespace
}  // namespace qmasq::vbond

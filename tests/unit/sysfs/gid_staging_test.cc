// SPDX-License-Identifier: Apache-2.0
#include "vbond/sysfs/gid_staging.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "tests/support/temp_dir.h"

namespace qmasq::vbond {
namespace {

namespace fs = std::filesystem;
using ::testing::Contains;
using ::testing::ElementsAre;

std::string read(const std::string& path) {
  std::ifstream in(path);
  std::stringstream out;
  out << in.rdbuf();
  return in ? out.str() : "<none>";
}

void write(const std::string& path, const std::string& text) {
  fs::create_directories(fs::path(path).parent_path());
  std::ofstream(path) << text;
}

std::vector<std::string> names(const std::string& directory) {
  std::vector<std::string> out;
  for (const auto& entry : fs::directory_iterator(directory))
    out.push_back(entry.path().filename());
  std::sort(out.begin(), out.end());
  return out;
}

class GidStagingTest : public ::testing::Test {
 protected:
  GidStagingTest() {
    // As rdma_rxe shows itself: the class entry is a link to the device.
    for (const char* device : {"rxe0", "rxe1"}) {
      std::string real = root_.path() + "/sys/devices/virtual/infiniband/" + device;
      write(real + "/node_guid", "5054:00ff:fe00:0001\n");
      write(real + "/sys_image_guid", "5054:00ff:fe00:0001\n");
      write(real + "/ports/1/gids/0", "fe80:0000:0000:0000:5054:00ff:fe00:0001\n");
      write(real + "/ports/1/gid_attrs/types/0", "RoCE v2\n");
      write(real + "/ports/1/gid_attrs/ndevs/0", "eth1\n");
      fs::create_directories(root_.path() + "/sys/class/infiniband");
      fs::create_symlink("../../devices/virtual/infiniband/" + std::string(device),
                         root_.path() + "/sys/class/infiniband/" + device);
    }
    std::string verbs = root_.path() + "/sys/class/infiniband_verbs/";
    write(verbs + "abi_version", "6\n");
    write(verbs + "uverbs0/ibdev", "rxe0\n");
    write(verbs + "uverbs0/dev", "231:192\n");
    write(verbs + "uverbs1/ibdev", "rxe1\n");
    write(verbs + "uverbs1/dev", "231:193\n");
    endpoint_.uid = EndpointUid{7};
    endpoint_.gids = {Gid::link_local(Mac{{2, 0, 0, 0, 0, 7}}), parse_gid("10.0.0.1").value()};
    endpoint_.guid = {0, 0, 0, 0xff, 0xfe, 0, 0, 7};
    endpoint_.interface = "blue0";
  }
  std::string staged(const std::string& path) { return root_.path() + "/run/7/rxe0/" + path; }
  std::string hidden() { return root_.path() + "/run/7/.hidden"; }
  std::string target(const std::string& path) {
    return fs::canonical(root_.path()).string() + "/sys/devices/virtual/infiniband/rxe0/" + path;
  }

  qmasq::testing::TempDir root_;
  GidStaging staging_{{root_.path() + "/run", root_.path() + "/sys"}};
  StagedEndpoint endpoint_;
  std::vector<StagedNic> nics_ = {{"rxe0", 1}};
};

TEST_F(GidStagingTest, WritesWhatTheKernelWouldForTheVirtualTable) {
  ASSERT_TRUE(staging_.stage(endpoint_, nics_));
  EXPECT_EQ(read(staged("ports/1/gids/0")), "fe80:0000:0000:0000:0000:00ff:fe00:0007\n");
  EXPECT_EQ(read(staged("ports/1/gids/1")), "0000:0000:0000:0000:0000:ffff:0a00:0001\n");
  EXPECT_EQ(read(staged("ports/1/gid_attrs/types/0")), "RoCE v2\n");
  EXPECT_EQ(read(staged("ports/1/gid_attrs/types/1")), "RoCE v2\n");
  EXPECT_EQ(read(staged("ports/1/gid_attrs/ndevs/1")), "blue0\n");
  EXPECT_EQ(read(staged("node_guid")), "0000:00ff:fe00:0007\n");
  EXPECT_EQ(read(staged("sys_image_guid")), "0000:00ff:fe00:0007\n");
  EXPECT_THAT(names(staged("ports/1/gids")), ElementsAre("0", "1"));
  EXPECT_THAT(names(staged("ports/1/gid_attrs/ndevs")), ElementsAre("0", "1"));
  struct stat info {};
  ASSERT_EQ(::stat(staged("ports/1/gids/0").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777U, 0444U);
  ASSERT_EQ(::stat(staged("ports/1/gids").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777U, 0755U);
}

TEST_F(GidStagingTest, FollowsTheTableInPlace) {
  ASSERT_TRUE(staging_.stage(endpoint_, nics_));
  struct stat directory {};
  struct stat untouched {};
  ASSERT_EQ(::stat(staged("ports/1/gids").c_str(), &directory), 0);
  ASSERT_EQ(::stat(staged("ports/1/gids/0").c_str(), &untouched), 0);

  endpoint_.gids = {endpoint_.gids[0], parse_gid("10.0.0.9").value(), parse_gid("fd00::9").value()};
  endpoint_.interface = "blue1";
  ASSERT_TRUE(staging_.stage(endpoint_, nics_));
  EXPECT_EQ(read(staged("ports/1/gids/1")), "0000:0000:0000:0000:0000:ffff:0a00:0009\n");
  EXPECT_EQ(read(staged("ports/1/gids/2")), "fd00:0000:0000:0000:0000:0000:0000:0009\n");
  EXPECT_EQ(read(staged("ports/1/gid_attrs/ndevs/0")), "blue1\n");
  struct stat after {};
  ASSERT_EQ(::stat(staged("ports/1/gids").c_str(), &after), 0);
  EXPECT_EQ(after.st_ino, directory.st_ino);
  ASSERT_EQ(::stat(staged("ports/1/gids/0").c_str(), &after), 0);
  EXPECT_EQ(after.st_ino, untouched.st_ino);

  endpoint_.gids.resize(1);
  ASSERT_TRUE(staging_.stage(endpoint_, nics_));
  EXPECT_THAT(names(staged("ports/1/gids")), ElementsAre("0"));
  EXPECT_THAT(names(staged("ports/1/gid_attrs/types")), ElementsAre("0"));
}

TEST_F(GidStagingTest, SaysWhatToMountWhere) {
  ASSERT_TRUE(staging_.stage(endpoint_, nics_));
  std::string other = fs::path(target("")).parent_path().parent_path() / "rxe1";
  EXPECT_THAT(staging_.mounts(EndpointUid{7}, nics_),
              ElementsAre(StagedMount{staged("node_guid"), target("node_guid")},
                          StagedMount{staged("sys_image_guid"), target("sys_image_guid")},
                          StagedMount{staged("ports/1/gids"), target("ports/1/gids")},
                          StagedMount{staged("ports/1/gid_attrs"), target("ports/1/gid_attrs")},
                          StagedMount{hidden(), other}));
}

TEST_F(GidStagingTest, HidesWhatIsNotManaged) {
  write(target("ports/2/gids/0"), "fe80:0000:0000:0000:5054:00ff:fe00:0002\n");
  ASSERT_TRUE(staging_.stage(endpoint_, nics_));
  EXPECT_TRUE(fs::is_empty(hidden()));
  EXPECT_THAT(staging_.mounts(EndpointUid{7}, nics_),
              Contains(StagedMount{hidden(), target("ports/2/gids")}));
  for (const StagedMount& mount : staging_.mounts(EndpointUid{7}, {{"mlx5_0", 1}}))
    EXPECT_EQ(mount.source, hidden());
}

TEST_F(GidStagingTest, ListsTheNodesOfTheNics) {
  EXPECT_THAT(staging_.nodes({{"rxe1", 1}}), ElementsAre(StagedNode{"uverbs1", 231, 193}));
  EXPECT_THAT(staging_.nodes({{"rxe0", 1}, {"rxe1", 1}}),
              ElementsAre(StagedNode{"uverbs0", 231, 192}, StagedNode{"uverbs1", 231, 193}));
}

TEST_F(GidStagingTest, RemovesAndSweeps) {
  ASSERT_TRUE(staging_.sweep({}));  // nothing there yet
  for (std::uint64_t uid : {7U, 8U, 9U}) {
    endpoint_.uid = EndpointUid{uid};
    ASSERT_TRUE(staging_.stage(endpoint_, nics_));
  }
  write(root_.path() + "/run/other/file", "not ours");
  ASSERT_TRUE(staging_.remove(EndpointUid{7}));
  ASSERT_TRUE(staging_.remove(EndpointUid{7}));
  EXPECT_THAT(names(root_.path() + "/run"), ElementsAre("8", "9", "other"));
  ASSERT_TRUE(staging_.sweep({EndpointUid{9}}));
  EXPECT_THAT(names(root_.path() + "/run"), ElementsAre("9", "other"));
}

TEST_F(GidStagingTest, RefusesANameThatLeadsElsewhere) {
  for (const char* device : {"", "..", ".", "../../etc", "a/b", ".new"}) {
    Status status = staging_.stage(endpoint_, {{device, 1}});
    ASSERT_FALSE(status) << device;
    EXPECT_EQ(status.error().code, Code::kInvalidArgument);
    for (const StagedMount& mount : staging_.mounts(EndpointUid{7}, {{device, 1}}))
      EXPECT_EQ(mount.source, hidden()) << device;
  }
}

TEST_F(GidStagingTest, PassesTheFileSystemsErrorOn) {
  write(root_.path() + "/run", "a file where the directory should be");
  Status status = staging_.stage(endpoint_, nics_);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().err, ENOTDIR);
}

// A reader never sees half a file, nor a GID without a type.
TEST_F(GidStagingTest, EachFileChangesInOneStep) {
  ASSERT_TRUE(staging_.stage(endpoint_, nics_));
  std::atomic<bool> stop = false;
  std::atomic<int> wrong = 0;
  std::thread reader([&] {
    while (!stop.load()) {
      std::string gid = read(staged("ports/1/gids/1"));
      if (gid != "0000:0000:0000:0000:0000:ffff:0a00:0001\n" &&
          gid != "fd00:0000:0000:0000:0000:0000:0000:0002\n") {
        ++wrong;
      }
    }
  });
  for (int i = 0; i < 200; ++i) {
    endpoint_.gids[1] = parse_gid(i % 2 == 0 ? "fd00::2" : "10.0.0.1").value();
    ASSERT_TRUE(staging_.stage(endpoint_, nics_));
  }
  stop = true;
  reader.join();
  EXPECT_EQ(wrong.load(), 0);
}

}  // namespace
}  // namespace qmasq::vbond

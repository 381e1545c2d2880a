// SPDX-License-Identifier: Apache-2.0
// SIGKILL under write load, and a disk that fills up.
#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <random>
#include <set>
#include <thread>

#include "tests/integration/controller/controller_process.h"

namespace qmasq::controller {
namespace {

using testing::Client;
using testing::ControllerProcess;
using ::testing::HasSubstr;

// Four writers create endpoints with two addresses each until the controller dies under them.
TEST(Durability, EveryAcknowledgedWriteSurvivesSigkill) {
  constexpr int kRounds = 20;
  ControllerProcess process;
  process.start();
  {
    Client client(process);
    ASSERT_TRUE(client.create_vpc("blue", {"10.0.0.0/8"}).ok());
    ASSERT_TRUE(client.create_host("h").ok());
  }
  std::mt19937 random(1);
  std::mutex mutex;
  std::set<std::string> acknowledged;
  std::atomic<unsigned> next{1};
  for (int round = 0; round < kRounds; ++round) {
    if (round > 0) process.start();
    std::atomic<int> done_here{0};
    std::vector<std::thread> writers;
    writers.reserve(4);
    for (int w = 0; w < 4; ++w) {
      writers.emplace_back([&] {
        Client client(process);
        for (;;) {
          unsigned n = next++;
          std::string id = "e" + std::to_string(n);
          auto address = [&](unsigned third) {
            return "10." + std::to_string(third + n / 62500) + "." + std::to_string(n / 250 % 250) +
                   "." + std::to_string(n % 250 + 1);
          };
          auto status = client.create_endpoint("blue", id, "h", {address(0), address(100)});
          if (!status.ok()) {
            EXPECT_NE(status.error_code(), grpc::StatusCode::INTERNAL) << status.error_message();
            return;
          }
          std::lock_guard lock(mutex);
          acknowledged.insert(id);
          ++done_here;
        }
      });
    }
    // Some writes in, at no particular point of any of them.
    const int enough = 5 + static_cast<int>(random() % 20);
    while (done_here < enough)
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 3000));
    process.kill9();
    for (auto& writer : writers)
      writer.join();
  }
  process.start();
  Client client(process);
  std::set<std::string> found;
  std::uint64_t newest = 0;
  for (const auto& endpoint : client.list_endpoints("vpcs/blue", 1000)) {
    found.insert(endpoint.name().substr(endpoint.name().rfind('/') + 1));
    EXPECT_EQ(endpoint.addresses_size(), 2) << endpoint.name() << " is half there";
    newest = std::max(newest, endpoint.revision());
  }
  for (const auto& id : acknowledged)
    EXPECT_TRUE(found.contains(id)) << id << " was lost";
  EXPECT_GT(acknowledged.size(), 100U);
  // Each writer can have had one write whose answer the kill swallowed.
  EXPECT_LE(found.size(), acknowledged.size() + 4UL * kRounds);
  // VPC, host and endpoints: one revision each, none twice and none skipped.
  EXPECT_EQ(newest, found.size() + 2);
}

TEST(Durability, AFullDiskRefusesWritesAndServesReads) {
  ControllerProcess process;
  process.start({}, 1024);
  if (::testing::Test::IsSkipped()) return;
  Client client(process);
  ASSERT_TRUE(client.create_vpc("blue", {"10.0.0.0/8"}).ok());
  ASSERT_TRUE(client.create_host("h").ok());
  grpc::Status status;
  int created = 0;
  while (status.ok() && created < 20'000) {
    status = client.create_endpoint("blue", "e" + std::to_string(created), "h", {});
    if (status.ok()) ++created;
  }
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED) << status.error_message();
  EXPECT_THAT(status.error_message(), HasSubstr("disk is full"));
  EXPECT_THAT(status.error_message(), HasSubstr("nothing was changed"));
  EXPECT_GT(created, 0);
  EXPECT_EQ(client.list_endpoints("vpcs/blue", 1000).size(), static_cast<std::size_t>(created));
  auto again = client.create_endpoint("blue", "one-more", "h", {});
  EXPECT_EQ(again.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(process.stop(), 0);
}

// The data directory as the process sees it: the small file system is its own.
std::filesystem::path seen_by(const ControllerProcess& process) {
  return "/proc/" + std::to_string(process.pid()) + "/root" + process.data_dir();
}

TEST(Durability, SpaceThatComesBackIsUsedAndNothingIsHalfThere) {
  ControllerProcess process;
  process.start({}, 2048);
  if (::testing::Test::IsSkipped()) return;
  Client client(process);
  ASSERT_TRUE(client.create_vpc("blue", {"10.0.0.0/8"}).ok());
  ASSERT_TRUE(client.create_host("h").ok());
  const auto ballast = seen_by(process) / "ballast";
  std::set<std::string> acknowledged;
  std::uint64_t last = 2;  // the VPC's and the host's
  for (int round = 0; round < 3; ++round) {
    {
      std::ofstream file(ballast, std::ios::binary);
      const std::string kib(1024, 'x');
      // Most of it: so some writes find room, and one does not.
      for (int i = 0; i < 1500 && file; ++i)
        file.write(kib.data(), static_cast<std::streamsize>(kib.size())).flush();
    }
    std::string refused_request;
    std::string refused;
    grpc::Status status;
    for (int i = 0; i < 20'000 && status.ok(); ++i) {
      const std::string id = "e" + std::to_string(round) + "-" + std::to_string(i);
      char request[37];
      std::snprintf(request, sizeof(request), "%08x-0000-4000-8000-%012x", round, i);
      v1::Endpoint made;
      status = client.create_endpoint("blue", id, "h", {}, &made, request);
      if (status.ok()) {
        acknowledged.insert(id);
        last = made.revision();
      } else {
        refused = id;
        refused_request = request;
      }
    }
    ASSERT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED) << status.error_message();
    EXPECT_THAT(status.error_message(), HasSubstr("nothing was changed"));
    EXPECT_EQ(client.list_endpoints("vpcs/blue", 1000).size(), acknowledged.size());
    std::filesystem::remove(ballast);
    v1::Endpoint made;
    status = client.create_endpoint("blue", refused, "h", {}, &made, refused_request);
    ASSERT_TRUE(status.ok()) << status.error_message();
    acknowledged.insert(refused);
    EXPECT_EQ(made.revision(), last + 1) << "what was refused took no revision";
    last = made.revision();
  }
  std::set<std::string> found;
  for (const auto& endpoint : client.list_endpoints("vpcs/blue", 1000))
    found.insert(endpoint.name().substr(endpoint.name().rfind('/') + 1));
  EXPECT_EQ(found, acknowledged);
  EXPECT_EQ(process.stop(), 0);
}

TEST(Durability, ALogThatCannotBeWrittenStopsNothing) {
  ControllerProcess process;
  process.start_with_log("/dev/full");
  Client client(process);
  ASSERT_TRUE(client.create_vpc("blue", {"10.0.0.0/8"}).ok());
  ASSERT_TRUE(client.create_host("h").ok());
  for (int i = 0; i < 50; ++i)
    ASSERT_TRUE(client.create_endpoint("blue", "e" + std::to_string(i), "h", {}).ok());
  EXPECT_EQ(client.create_endpoint("blue", "e1", "h", {}).error_code(),
            grpc::StatusCode::ALREADY_EXISTS);
  EXPECT_EQ(process.stop(), 0);
}

}  // namespace
}  // namespace qmasq::controller

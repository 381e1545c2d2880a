// SPDX-License-Identifier: Apache-2.0
#include "common/metrics.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <prometheus/counter.h>
#include <prometheus/registry.h>
#include <sys/socket.h>

#include <cstdlib>

#include "common/unique_fd.h"
#include "common/version.h"

namespace qmasq {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

UniqueFd connect_to(const std::string& address) {
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  to.sin_port =
      htons(static_cast<std::uint16_t>(std::atoi(address.substr(address.rfind(':') + 1).c_str())));
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&to), sizeof to) != 0) fd.reset();
  return fd;
}

std::string scrape(const std::string& address) {
  UniqueFd fd = connect_to(address);
  if (!fd.valid()) return "no connection";
  std::string request = "GET /metrics HTTP/1.0\r\n\r\n";
  if (::send(fd.get(), request.data(), request.size(), 0) < 0) return "no request";
  std::string out;
  char part[4096];
  for (ssize_t n = 0; (n = ::recv(fd.get(), part, sizeof part, 0)) > 0;) {
    out.append(part, static_cast<std::size_t>(n));
  }
  return out;
}

TEST(Metrics, CountsWithoutAPortWhenNoneIsGiven) {
  auto metrics = Metrics::create("test", "");
  ASSERT_TRUE(metrics.has_value());
  EXPECT_EQ((*metrics)->address(), "");
  EXPECT_FALSE((*metrics)->registry().Collect().empty());
}

TEST(Metrics, ServesWhatPartsDeclare) {
  auto metrics = Metrics::create("test", "127.0.0.1:0");
  ASSERT_TRUE(metrics.has_value()) << metrics.error().message;
  EXPECT_THAT((*metrics)->address(), StartsWith("127.0.0.1:"));
  prometheus::BuildCounter()
      .Name("qmasq_test_things_total")
      .Help("things")
      .Register((*metrics)->registry())
      .Add({})
      .Increment(3);
  std::string text = scrape((*metrics)->address());
  EXPECT_THAT(text, HasSubstr("qmasq_test_things_total 3"));
  EXPECT_THAT(text, HasSubstr(fmt::format("version=\"{}\"", version())));
}

TEST(Metrics, SaysThatThePortIsTaken) {
  auto first = Metrics::create("test", "127.0.0.1:0");
  ASSERT_TRUE(first.has_value()) << first.error().message;
  auto second = Metrics::create("test", (*first)->address());
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().code, Code::kAlreadyExists);
  EXPECT_THAT(second.error().message, HasSubstr((*first)->address()));
  EXPECT_THAT(second.error().message, HasSubstr("another program listens there"));
}

TEST(Metrics, SaysThatTheAddressIsNotOurs) {
  auto metrics = Metrics::create("test", "192.0.2.1:9470");
  ASSERT_FALSE(metrics.has_value());
  EXPECT_THAT(metrics.error().message, HasSubstr("192.0.2.1:9470"));
}

TEST(Metrics, RefusesWhatIsNoAddress) {
  for (const char* text : {"9470", "localhost:9470", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536",
                           "127.0.0.1:1x", "::1:9470", "[::1]", "[127.0.0.1]:1", ":1", "[]:1"}) {
    auto metrics = Metrics::create("test", text);
    ASSERT_FALSE(metrics.has_value()) << text;
    EXPECT_EQ(metrics.error().code, Code::kInvalidArgument) << text;
    EXPECT_THAT(metrics.error().message, HasSubstr(text));
  }
}

TEST(Version, IsThatOfTheBuild) {
  EXPECT_THAT(version(), HasSubstr("."));
}

}  // namespace
}  // namespace qmasq

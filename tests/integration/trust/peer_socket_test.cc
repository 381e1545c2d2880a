// SPDX-License-Identifier: Apache-2.0
#include "trust/peer_socket.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <cstring>

#include "tests/integration/trust/who_server.h"
#include "tests/support/eventually.h"
#include "tests/support/temp_dir.h"

namespace qmasq::trust {
namespace {

using ::testing::HasSubstr;

class LocalSocket : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_EQ(::chmod(dir_.path().c_str(), 0755), 0); }

  void start(const PeerSocket::Limits& limits) {
    auto made = PeerSocket::listen(path_, 0666, limits);
    ASSERT_TRUE(made) << made.error().message;
    socket_ = std::move(*made);
    service_.socket = socket_.get();
    grpc::ServerBuilder builder;
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
    ASSERT_TRUE(server_);
    socket_->serve(*server_);
  }
  void TearDown() override {
    if (!server_) return;
    socket_->stop();
    server_->Shutdown(std::chrono::system_clock::now());
    server_.reset();
    socket_.reset();
    EXPECT_NE(::access(path_.c_str(), F_OK), 0);
  }
  std::string ask() {
    auto channel = testing::connect("unix:" + path_, grpc::InsecureChannelCredentials());
    v1::Caller caller;
    auto status = testing::who(channel.get(), &caller);
    return status.ok() ? caller.name() : "error: " + status.error_message();
  }
  UniqueFd connect_raw() const {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path_.c_str(), path_.size() + 1);
    UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    return fd;
  }

  qmasq::testing::TempDir dir_;
  std::string path_ = dir_.file("socket");
  testing::WhoService service_;
  std::unique_ptr<PeerSocket> socket_;
  std::unique_ptr<grpc::Server> server_;
};

TEST_F(LocalSocket, KnowsItsCallers) {
  start({});
  const std::string me =
      "unix:pid=" + std::to_string(::getpid()) + ",uid=" + std::to_string(::getuid());
  EXPECT_EQ(ask(), me);
  EXPECT_EQ(ask(), me);
  EXPECT_TRUE(test::eventually([&] { return socket_->connections() == 0; }));
}

// A user with other groups, in a process of its own: gRPC does not survive fork(), so that it only
// holds a connection while this one looks.
TEST_F(LocalSocket, KnowsUserAndGroupsOfOthers) {
  if (::getuid() != 0) GTEST_SKIP() << "needs root to become others";
  auto made = PeerSocket::listen(path_, 0666, {});
  ASSERT_TRUE(made);
  socket_ = std::move(*made);
  int ready[2];
  ASSERT_EQ(::pipe2(ready, O_CLOEXEC), 0);
  pid_t child = ::fork();
  if (child == 0) {
    gid_t groups[40];
    for (gid_t i = 0; i < 40; ++i)
      groups[i] = 5000 + i;
    if (::setgroups(40, groups) != 0 || ::setgid(4000) != 0 || ::setuid(3000) != 0) ::_exit(1);
    UniqueFd held = connect_raw();
    [[maybe_unused]] auto n = ::write(ready[1], "x", 1);
    ::pause();
    ::_exit(0);
  }
  char byte = 0;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  service_.socket = socket_.get();
  grpc::ServerBuilder builder;
  builder.RegisterService(&service_);
  server_ = builder.BuildAndStart();
  socket_->serve(*server_);
  std::optional<PeerCredentials> peer;
  EXPECT_TRUE(test::eventually([&] {
    for (int number = 3; number < PeerSocket::kLastNumber && !peer; ++number)
      peer = socket_->find("fd:" + std::to_string(number));
    return peer.has_value();
  }));
  ASSERT_TRUE(peer);
  EXPECT_EQ(peer->uid, 3000U);
  EXPECT_EQ(peer->gid, 4000U);
  EXPECT_EQ(peer->pid, child);
  EXPECT_TRUE(peer->in_group(4000));
  EXPECT_TRUE(peer->in_group(5039));
  EXPECT_FALSE(peer->in_group(0));
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  EXPECT_TRUE(test::eventually([&] { return socket_->connections() == 0; }));
  ::close(ready[0]);
  ::close(ready[1]);
}

TEST_F(LocalSocket, ANumberThatEndedIsNobody) {
  start({});
  auto channel = testing::connect("unix:" + path_, grpc::InsecureChannelCredentials());
  v1::Caller caller;
  ASSERT_TRUE(testing::who(channel.get(), &caller).ok());
  const std::string number = caller.peer();
  EXPECT_THAT(number, HasSubstr("fd:"));
  EXPECT_TRUE(socket_->find(number));
  channel.reset();
  EXPECT_TRUE(test::eventually([&] { return !socket_->find(number); }));
  // Others come and go: the number is not theirs.
  for (int i = 0; i < 50; ++i) {
    auto other = testing::connect("unix:" + path_, grpc::InsecureChannelCredentials());
    ASSERT_TRUE(testing::who(other.get(), &caller).ok());
    EXPECT_NE(caller.peer(), number);
    EXPECT_FALSE(socket_->find(number));
  }
  EXPECT_FALSE(socket_->find("fd:"));
  EXPECT_FALSE(socket_->find("fd:0"));
  EXPECT_FALSE(socket_->find("fd:9999999999999"));
  EXPECT_FALSE(socket_->find("ipv4:127.0.0.1:1"));
}

TEST_F(LocalSocket, OneWhoFillsItShutsOutOnlyThemselves) {
  start({4, 2});
  // As root, only the whole is limited.
  std::vector<UniqueFd> held;
  for (int i = 0; i < 4; ++i)
    held.push_back(connect_raw());
  EXPECT_TRUE(
      test::eventually([&] { return socket_->connections() == (::getuid() == 0 ? 4U : 2U); }));
  UniqueFd more = connect_raw();
  char byte = 0;
  EXPECT_EQ(::read(more.get(), &byte, 1), 0);  // closed at once
  EXPECT_GE(socket_->refused(), 1U);
  held.clear();
  EXPECT_TRUE(test::eventually([&] { return socket_->connections() == 0; }));
  EXPECT_THAT(ask(), HasSubstr("unix:pid="));
}

TEST_F(LocalSocket, EndsWithItsServer) {
  start({});
  auto channel = testing::connect("unix:" + path_, grpc::InsecureChannelCredentials());
  v1::Caller caller;
  ASSERT_TRUE(testing::who(channel.get(), &caller).ok());
  socket_->stop();
  server_->Shutdown(std::chrono::system_clock::now());
  server_.reset();
  EXPECT_FALSE(testing::who(channel.get(), &caller).ok());
  socket_.reset();
}

TEST(LocalSocketPath, MustBeFree) {
  qmasq::testing::TempDir dir;
  auto one = PeerSocket::listen(dir.file("s"), 0600, {});
  ASSERT_TRUE(one);
  EXPECT_FALSE(PeerSocket::listen(dir.file("s"), 0600, {}));
  EXPECT_FALSE(PeerSocket::listen("/" + std::string(200, 'x'), 0600, {}));
  struct stat info {};
  ASSERT_EQ(::stat(dir.file("s").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0600U);
}

}  // namespace
}  // namespace qmasq::trust

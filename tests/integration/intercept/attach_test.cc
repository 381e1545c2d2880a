// SPDX-License-Identifier: Apache-2.0
#include <grp.h>
#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include <cstring>
#include <functional>
#include <vector>

#include "tests/integration/intercept/host.h"
#include "vbond/attach/attach_client.h"
#include "vbond/attach/packet.h"
#include "vbond/filter/filter.h"

namespace qmasq::test {
namespace {

using vbond::AttachClient;

class Attach : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "only root may attach";
  }
};

TEST_F(Attach, OffersWhatTheProgramHasToKnow) {
  Host host;
  auto client = AttachClient::connect(host.folder.socket());
  ASSERT_TRUE(client);
  auto offer = client->request("blue/a", "test");
  ASSERT_TRUE(offer) << offer.error().message;
  EXPECT_EQ(offer->terms.endpoint, "vpcs/blue/endpoints/a");
  EXPECT_EQ(offer->terms.reserved_first, 960U);
  EXPECT_EQ(offer->terms.reserved_count, 64U);
  EXPECT_FALSE(offer->terms.tenant_opens);
  ASSERT_EQ(offer->terms.mounts.size(), 1U);
  EXPECT_TRUE(offer->terms.mounts[0].read_only);
  EXPECT_TRUE(offer->netns.valid());
}

TEST_F(Attach, SaysWhatIsWrongWithTheEndpoint) {
  Host host;
  auto client = AttachClient::connect(host.folder.socket());
  auto offer = client->request("blue/nobody", "test");
  ASSERT_FALSE(offer);
  EXPECT_NE(offer.error().message.find("nobody"), std::string::npos);
  // An endpoint of another host is named with its host.
  client = AttachClient::connect(host.folder.socket());
  offer = client->request("blue/b", "test");
  ASSERT_FALSE(offer);
  EXPECT_NE(offer.error().message.find("hostB"), std::string::npos);
}

TEST_F(Attach, NamesTheSocketWhenNobodyListens) {
  Folder folder;
  auto client = AttachClient::connect(folder.socket());
  ASSERT_FALSE(client);
  EXPECT_EQ(client.error().code, Code::kUnavailable);
  EXPECT_NE(client.error().message.find(folder.socket()), std::string::npos);
}

TEST_F(Attach, DoesNotWaitForeverForAnAgentThatHangs) {
  Folder folder;
  auto address = vbond::socket_address(folder.socket());
  UniqueFd listener(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  ASSERT_EQ(bind(listener.get(), reinterpret_cast<const sockaddr*>(&*address), sizeof(*address)),
            0);
  ASSERT_EQ(listen(listener.get(), 0), 0);
  auto client = AttachClient::connect(folder.socket(), std::chrono::milliseconds(50));
  ASSERT_TRUE(client);
  auto offer = client->request("blue/a", "test");
  ASSERT_FALSE(offer);
  EXPECT_EQ(offer.error().code, Code::kDeadlineExceeded);
  EXPECT_NE(offer.error().message.find(folder.socket() + " does not answer"), std::string::npos);
  // One more finds no place in the queue.
  auto second = AttachClient::connect(folder.socket(), std::chrono::milliseconds(50));
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Code::kDeadlineExceeded);
}

TEST_F(Attach, TakesNoDescriptorThatIsNoListener) {
  Host host;
  auto client = AttachClient::connect(host.folder.socket());
  ASSERT_TRUE(client->request("blue/a", "test"));
  auto done = client->hand_over(UniqueFd(open("/dev/null", O_RDONLY)));
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().err, EINVAL);
  EXPECT_EQ(host.interceptor.stats().attachments, 0U);
}

TEST_F(Attach, TakesNoListenerOfAnotherProcess) {
  Host host;
  // A listener of a process that is not the one that hands it over: a child makes it and ends.
  int ends[2] = {};
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
  UniqueFd ours(ends[0]);
  UniqueFd theirs(ends[1]);
  pid_t child = fork();
  if (child == 0) {
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    auto listener = vbond::install_filter({});
    if (!listener || !vbond::send_packet(theirs.get(), "x", listener->get())) _exit(1);
    for (;;)
      pause();
  }
  auto packet = vbond::receive_packet(ours.get());
  auto client = AttachClient::connect(host.folder.socket());
  ASSERT_TRUE(client->request("blue/a", "test"));
  auto done = client->hand_over(std::move(packet->descriptor));
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, Code::kPermissionDenied);
  EXPECT_EQ(host.interceptor.stats().attachments, 0U);
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
}

// What becomes of a request of another user, in a process of theirs: 0 when `check` says yes.
int as_user(const Host& host, uid_t uid, const std::vector<gid_t>& groups,
            const std::function<bool(const Result<AttachClient::Offer>&)>& check) {
  std::string folder = host.folder.socket().substr(0, host.folder.socket().rfind('/'));
  EXPECT_EQ(chmod(folder.c_str(), 0755), 0);
  pid_t child = fork();
  if (child == 0) {
    if (setgroups(groups.size(), groups.data()) != 0 || setresgid(uid, uid, uid) != 0 ||
        setresuid(uid, uid, uid) != 0) {
      _exit(9);
    }
    auto client = AttachClient::connect(host.folder.socket());
    if (!client) _exit(8);
    _exit(check(client->request("blue/a", "test")) ? 0 : 7);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 100;
}

TEST_F(Attach, RefusesOtherUsers) {
  Host host;
  EXPECT_EQ(as_user(host, 65534, {},
                    [](const auto& offer) {
                      return !offer && offer.error().err == EPERM &&
                             offer.error().message.find("is for user 65534") != std::string::npos;
                    }),
            0);
}

TEST_F(Attach, TakesTheUsersOfTheEndpoint) {
  Host host;
  auto offered = [](const auto& offer) { return offer.has_value(); };
  host.world.set_users({1234}, {4321});
  EXPECT_EQ(as_user(host, 1234, {}, offered), 0);
  EXPECT_EQ(as_user(host, 1235, {}, offered), 7);
  EXPECT_EQ(as_user(host, 1235, {7, 4321}, offered), 0);
  host.world.set_users({}, {});
  EXPECT_EQ(as_user(host, 1234, {}, offered), 7);
}

TEST_F(Attach, OneUserDoesNotKeepOutOthers) {
  Host host;
  host.world.set_users({1234}, {});
  host.server.reset();
  vbond::AttachServerOptions options;
  options.socket = host.folder.socket();
  options.max_connections = 4;
  host.server = vbond::AttachServer::start(options, host).value();
  auto address = vbond::socket_address(options.socket).value();
  EXPECT_EQ(as_user(host, 1234, {},
                    [&](const auto& first) {
                      // A second one while the first stands: a quarter of four is one.
                      UniqueFd held(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
                      auto* name = reinterpret_cast<sockaddr*>(&address);
                      if (!first || connect(held.get(), name, sizeof(address)) != 0) return false;
                      auto second = AttachClient::connect(host.folder.socket());
                      auto refused = second->request("blue/a", "test");
                      return !refused && refused.error().err == EAGAIN;
                    }),
            0);
  EXPECT_TRUE(AttachClient::connect(options.socket)->request("blue/a", "test"));
}

TEST_F(Attach, SurvivesNonsenseAndSilence) {
  Host host;
  auto address = vbond::socket_address(host.folder.socket()).value();
  auto dial = [&] {
    UniqueFd fd(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    EXPECT_EQ(connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    return fd;
  };
  UniqueFd silent = dial();
  { UniqueFd gone = dial(); }
  UniqueFd nonsense = dial();
  ASSERT_TRUE(vbond::send_packet(nonsense.get(), std::string(1000, '\xff')));
  EXPECT_TRUE(vbond::receive_packet(nonsense.get()));  // an AttachReply with an error
  UniqueFd empty = dial();
  ASSERT_TRUE(vbond::send_packet(empty.get(), "", silent.get()));
  EXPECT_EQ(Tenant(host, "verbs").wait(), 0);
}

TEST_F(Attach, TurnsAwayMoreThanItServes) {
  Host host;
  host.server.reset();
  vbond::AttachServerOptions options;
  options.socket = host.folder.socket();
  options.max_connections = 2;
  host.server = vbond::AttachServer::start(options, host).value();
  auto address = vbond::socket_address(options.socket).value();
  std::vector<UniqueFd> idle;
  for (int i = 0; i < 2; ++i) {
    idle.emplace_back(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    ASSERT_EQ(connect(idle.back().get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)),
              0);
  }
  auto client = AttachClient::connect(options.socket);
  auto offer = client->request("blue/a", "test");
  ASSERT_FALSE(offer);
  EXPECT_EQ(offer.error().err, EAGAIN);
  idle.clear();
  EXPECT_TRUE(eventually([&] {
    auto again = AttachClient::connect(options.socket);
    return again && again->request("blue/a", "test");
  }));
}

TEST_F(Attach, DoesNotTakeTheSocketOfALivingAgent) {
  Host host;
  vbond::AttachServerOptions options;
  options.socket = host.folder.socket();
  auto second = vbond::AttachServer::start(options, host);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Code::kAlreadyExists);
  EXPECT_TRUE(AttachClient::connect(options.socket));
}

TEST_F(Attach, ReplacesTheSocketOfADeadOne) {
  Folder folder;
  {
    auto address = vbond::socket_address(folder.socket()).value();
    UniqueFd dead(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    ASSERT_EQ(bind(dead.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  }
  Host host;
  vbond::AttachServerOptions options;
  options.socket = folder.socket();
  EXPECT_TRUE(vbond::AttachServer::start(options, host));
}

}  // namespace
}  // namespace qmasq::test

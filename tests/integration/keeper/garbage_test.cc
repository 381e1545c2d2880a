// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include "keeper/wire.h"
#include "tests/support/eventually.h"
#include "tests/support/keeper_contract.h"
#include "tests/support/keeper_process.h"
#include "vbond/keeper/keeper.h"

// What a peer that does not keep to the protocol can do to a keeper: lose its own connection.
namespace qmasq::test {
namespace {

using keeper::Header;
using keeper::Kind;
using keeper::Message;
using keeper::Outcome;
using std::chrono::milliseconds;

constexpr milliseconds kSoon{10'000};

class KeeperGarbage : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(process_.start({"--max-descriptors", "300"}));
    auto session = vbond::connect_keeper(process_.socket(), kSoon);
    ASSERT_TRUE(session);
    ASSERT_TRUE((*session)->put("kept", file_.descriptor()));
  }

  // Whatever was done: the process runs, and has the one thing and no descriptor more than that.
  void TearDown() override {
    auto session = vbond::connect_keeper(process_.socket(), kSoon);
    ASSERT_TRUE(session) << session.error().message << "\n" << process_.log();
    auto held = (*session)->list();
    ASSERT_TRUE(held);
    ASSERT_EQ(held->size(), 1U);
    EXPECT_EQ(held->front().tag, "kept");
    EXPECT_TRUE(file_.is(held->front().descriptor.get()));
    session->reset();
    EXPECT_TRUE(eventually([&] { return descriptors() == at_rest_; }))
        << descriptors() << " instead of " << at_rest_;
    EXPECT_EQ(process_.end(SIGTERM), 0);
  }

  [[nodiscard]] std::size_t descriptors() const {
    std::filesystem::directory_iterator files("/proc/" + std::to_string(process_.pid()) + "/fd");
    return static_cast<std::size_t>(std::distance(begin(files), end(files)));
  }

  void note_rest() {
    std::size_t before = 0;
    // The session of SetUp() ends when the keeper gets to it.
    ASSERT_TRUE(eventually([&] {
      return process_.log().find("has ended") != std::string::npos &&
             (before = descriptors()) == descriptors();
    }));
    at_rest_ = before;
  }

  [[nodiscard]] UniqueFd dial() const {
    sockaddr_un address{};
    EXPECT_TRUE(keeper::socket_address(process_.socket(), address));
    UniqueFd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    EXPECT_EQ(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
    timeval limit{10, 0};
    ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
    return fd;
  }

  static Header header(Kind kind, std::uint64_t id = 0) {
    Header out;
    out.kind = static_cast<std::uint16_t>(kind);
    out.id = id;
    return out;
  }

  [[nodiscard]] UniqueFd dial_session() const {
    UniqueFd fd = dial();
    EXPECT_EQ(keeper::send_message(fd.get(), header(Kind::kHello)), 0);
    for (;;) {
      Message message;
      EXPECT_EQ(keeper::receive_message(fd.get(), message), 0);
      if (message.kind() != Kind::kWait) {
        EXPECT_EQ(message.kind(), Kind::kWelcome);
        return fd;
      }
    }
  }

  // Any number of descriptors with any bytes.
  static ssize_t send_raw(int socket, const std::string& bytes, const std::vector<int>& fds) {
    iovec piece{const_cast<char*>(bytes.data()), bytes.size()};
    msghdr message{};
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    std::vector<char> control(CMSG_SPACE(fds.size() * sizeof(int)));
    if (!fds.empty()) {
      message.msg_control = control.data();
      message.msg_controllen = control.size();
      cmsghdr* rights = CMSG_FIRSTHDR(&message);
      rights->cmsg_level = SOL_SOCKET;
      rights->cmsg_type = SCM_RIGHTS;
      rights->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
      std::memcpy(CMSG_DATA(rights), fds.data(), fds.size() * sizeof(int));
    }
    return ::sendmsg(socket, &message, MSG_NOSIGNAL);
  }

  static std::string bytes_of(const Header& head, const std::string& text = {}) {
    std::string out(sizeof(head), '\0');
    std::memcpy(out.data(), &head, sizeof(head));
    return out + text;
  }

  // Nothing but its end comes.
  static void expect_hung_up(const UniqueFd& fd, const std::string& what) {
    Message message;
    EXPECT_EQ(keeper::receive_message(fd.get(), message), EPIPE) << what;
  }

  KeeperProcess process_{QMASQ_KEEPER};
  Witness file_;
  std::size_t at_rest_ = 0;
};

TEST_F(KeeperGarbage, BeforeHello) {
  note_rest();
  const std::vector<int> one = {file_.descriptor()};
  const std::vector<int> many(200, file_.descriptor());
  struct Case {
    const char* what;
    std::string bytes;
    std::vector<int> fds;
  };
  Header foreign = header(Kind::kHello);
  foreign.magic = 0;
  for (const Case& one_case : {
           Case{"one byte", "x", {}},
           Case{"another magic", bytes_of(foreign), {}},
           Case{"a hello with text",
                bytes_of(
                    [] {
                      auto h = header(Kind::kHello);
                      h.size = 1;
                      return h;
                    }(),
                    "x"),
                {}},
           Case{"a hello with a descriptor", bytes_of(header(Kind::kHello)), one},
           Case{"many descriptors", bytes_of(header(Kind::kHello)), many},
           Case{"a list", bytes_of(header(Kind::kList)), {}},
           Case{"a put", bytes_of(header(Kind::kPut)), one},
           Case{"a welcome", bytes_of(header(Kind::kWelcome)), {}},
           Case{"too long", std::string(100'000, 'x'), {}},
       }) {
    UniqueFd fd = dial();
    ASSERT_GT(send_raw(fd.get(), one_case.bytes, one_case.fds), 0) << one_case.what;
    expect_hung_up(fd, one_case.what);
  }
}

TEST_F(KeeperGarbage, InASession) {
  note_rest();
  const std::vector<int> one = {file_.descriptor()};
  auto sized = [](Kind kind, std::uint32_t size) {
    Header out = header(kind, 1);
    out.size = size;
    return out;
  };
  struct Case {
    const char* what;
    std::string bytes;
    std::vector<int> fds;
  };
  Header other_version = header(Kind::kList);
  other_version.version = 9;
  for (const Case& one_case : {
           Case{"a second hello", bytes_of(header(Kind::kHello)), {}},
           Case{"a put without a descriptor", bytes_of(header(Kind::kPut)), {}},
           Case{"a put with two", bytes_of(header(Kind::kPut)), {one[0], one[0]}},
           Case{"a drop with a descriptor", bytes_of(header(Kind::kDrop, 1)), one},
           Case{"a drop with text", bytes_of(sized(Kind::kDrop, 1), "x"), {}},
           Case{"a list with text", bytes_of(sized(Kind::kList, 1), "x"), {}},
           Case{"a size that is not", bytes_of(sized(Kind::kRetag, 4096), "x"), {}},
           Case{"a size beyond all", bytes_of(sized(Kind::kRetag, 0xffffffff), "x"), {}},
           Case{"a tag too long", bytes_of(sized(Kind::kRetag, 4097), std::string(4097, 'x')), {}},
           Case{"no such kind", bytes_of(header(static_cast<Kind>(0x7777))), {}},
           Case{"an answer", bytes_of(header(Kind::kDone)), {}},
           Case{"another version", bytes_of(other_version), {}},
       }) {
    UniqueFd fd = dial_session();
    ASSERT_GT(send_raw(fd.get(), one_case.bytes, one_case.fds), 0) << one_case.what;
    expect_hung_up(fd, one_case.what);
  }
}

TEST_F(KeeperGarbage, AnotherVersionIsTold) {
  note_rest();
  UniqueFd fd = dial();
  Header hello = header(Kind::kHello);
  hello.version = 2;
  ASSERT_GT(send_raw(fd.get(), bytes_of(hello, "what version 2 says"), {}), 0);
  Message message;
  ASSERT_EQ(keeper::receive_message(fd.get(), message), 0);
  EXPECT_EQ(message.kind(), Kind::kRefused);
  EXPECT_EQ(message.outcome(), Outcome::kOtherVersion);
  EXPECT_EQ(message.header.version, keeper::kVersion);
  expect_hung_up(fd, "after that");
}

TEST_F(KeeperGarbage, AWaiterThatSpeaksIsNoneAndTheSessionGoesOn) {
  note_rest();
  UniqueFd session = dial_session();
  UniqueFd waiter = dial();
  ASSERT_EQ(keeper::send_message(waiter.get(), header(Kind::kHello)), 0);
  Message message;
  ASSERT_EQ(keeper::receive_message(waiter.get(), message), 0);
  ASSERT_EQ(message.kind(), Kind::kWait);
  ASSERT_EQ(keeper::send_message(waiter.get(), header(Kind::kDrop, 1)), 0);
  expect_hung_up(waiter, "it may not drop");
  ASSERT_EQ(keeper::send_message(session.get(), header(Kind::kRetag, 7)), 0);
  ASSERT_EQ(keeper::receive_message(session.get(), message), 0);
  EXPECT_EQ(message.outcome(), Outcome::kUnknown);
}

TEST_F(KeeperGarbage, ManyThatSayNothing) {
  note_rest();
  std::vector<UniqueFd> silent;
  silent.reserve(40);
  for (int i = 0; i < 40; ++i)
    silent.push_back(dial());
  auto session = vbond::connect_keeper(process_.socket(), kSoon);
  EXPECT_TRUE(session) << "the silent keep others out";
}

TEST_F(KeeperGarbage, ManyThatWait) {
  note_rest();
  UniqueFd session = dial_session();
  std::vector<UniqueFd> waiting;
  waiting.reserve(8);
  for (int i = 0; i < 8; ++i) {
    waiting.push_back(dial());
    ASSERT_EQ(keeper::send_message(waiting.back().get(), header(Kind::kHello)), 0);
    Message message;
    ASSERT_EQ(keeper::receive_message(waiting.back().get(), message), 0);
    ASSERT_EQ(message.kind(), Kind::kWait);
  }
  auto more = vbond::connect_keeper(process_.socket(), milliseconds(0));
  ASSERT_FALSE(more);
  EXPECT_EQ(more.error().code, Code::kFailedPrecondition) << more.error().message;
  EXPECT_NE(more.error().message.find("too many"), std::string::npos) << more.error().message;
}

// It asks for lists and never reads: what it has asked for waits in its own socket, and others
// are not held up.
TEST_F(KeeperGarbage, AnAgentThatDoesNotRead) {
  note_rest();
  UniqueFd session = dial_session();
  const std::string tag(4096, 'x');
  Message message;
  for (int i = 0; i < 200; ++i) {
    ASSERT_EQ(keeper::send_message(session.get(), header(Kind::kPut), tag, file_.descriptor()), 0);
    ASSERT_EQ(keeper::receive_message(session.get(), message), 0);
  }
  ASSERT_EQ(::fcntl(session.get(), F_SETFL, O_NONBLOCK), 0);
  int asked = 0;
  while (asked < 10'000 && keeper::send_message(session.get(), header(Kind::kList)) == 0)
    ++asked;
  UniqueFd other = dial();
  ASSERT_EQ(keeper::send_message(other.get(), header(Kind::kHello)), 0);
  ASSERT_EQ(keeper::receive_message(other.get(), message), 0);
  EXPECT_EQ(message.kind(), Kind::kWait);
  // It ends with its answers unread, and the next one is served at once.
  session.reset();
  ASSERT_EQ(keeper::receive_message(other.get(), message), 0);
  EXPECT_EQ(message.kind(), Kind::kWelcome);
  for (std::uint64_t id = 2; id <= 201; ++id) {
    ASSERT_EQ(keeper::send_message(other.get(), header(Kind::kDrop, id)), 0);
    ASSERT_EQ(keeper::receive_message(other.get(), message), 0);
    EXPECT_EQ(message.outcome(), Outcome::kOk);
  }
}

TEST_F(KeeperGarbage, RandomPackets) {
  note_rest();
  std::mt19937 random(20);  // NOLINT: the same every time
  auto pick = [&](unsigned bound) { return static_cast<std::uint32_t>(random() % bound); };
  UniqueFd fd;
  for (int i = 0; i < 3000; ++i) {
    if (!fd.valid()) fd = pick(2) == 0 ? dial() : dial_session();
    Header head = header(static_cast<Kind>(pick(8)), 2 + pick(3));
    std::string text(pick(8) == 0 ? pick(5000) : pick(20), 'x');
    head.size = pick(8) == 0 ? random() : static_cast<std::uint32_t>(text.size());
    std::string bytes = bytes_of(head, text);
    // One byte of the header is another: not of the id, which could be that of what is kept.
    const std::uint32_t at = pick(16);
    if (pick(3) == 0) bytes[at < 8 ? at : at + 8] = static_cast<char>(random());
    if (pick(10) == 0) bytes.resize(1 + pick(30));
    const std::uint32_t fds = pick(4) == 0 ? pick(6) : pick(2);
    const std::vector<int> passed(fds, file_.descriptor());
    const bool sent = send_raw(fd.get(), bytes, passed) > 0;
    pollfd wait{fd.get(), POLLIN, 0};
    Message message;
    // Answers are read now and then only.
    if (!sent || (pick(2) == 0 && ::poll(&wait, 1, 1) == 1 &&
                  keeper::receive_message(fd.get(), message) != 0)) {
      fd.reset();
    }
    if (pick(50) == 0) fd.reset();
  }
  fd.reset();
  auto session = vbond::connect_keeper(process_.socket(), kSoon);
  ASSERT_TRUE(session) << process_.log();
  auto held = (*session)->list();
  ASSERT_TRUE(held);
  for (const auto& one : *held) {
    if (one.id != 1) {
      EXPECT_TRUE((*session)->drop(one.id));
    }
  }
}

}  // namespace
}  // namespace qmasq::test

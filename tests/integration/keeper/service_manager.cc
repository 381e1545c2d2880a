// SPDX-License-Identifier: Apache-2.0
#include "tests/integration/keeper/service_manager.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/kcmp.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <sstream>
#include <utility>

namespace qmasq::test {
namespace {

constexpr int kFirstPassed = 3;
constexpr int kOutOfTheWay = 700;

bool same_file(int one, int other) {
  return ::syscall(SYS_kcmp, ::getpid(), ::getpid(), KCMP_FILE, one, other) == 0;
}

}  // namespace

FakeServiceManager::FakeServiceManager()
    : socket_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = dir_.file("notify");
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  EXPECT_EQ(::bind(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
}

void FakeServiceManager::pump() {
  for (;;) {
    std::array<char, 4096> text{};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
    iovec piece{text.data(), text.size()};
    msghdr message{};
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    const ssize_t size = ::recvmsg(socket_.get(), &message, MSG_CMSG_CLOEXEC);
    if (size < 0) return;
    UniqueFd passed;
    if (const cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(header), sizeof(fd));
      passed.reset(fd);
    }
    std::string name = "stored";
    bool store = false;
    bool unpolled = false;
    bool remove = false;
    std::istringstream lines(std::string(text.data(), static_cast<std::size_t>(size)));
    for (std::string line; std::getline(lines, line);) {
      if (line == "READY=1") ready_ = true;
      if (line == "FDSTORE=1") store = true;
      if (line == "FDPOLL=0") unpolled = true;
      if (line == "FDSTOREREMOVE=1") remove = true;
      if (line.starts_with("FDNAME=")) name = line.substr(std::strlen("FDNAME="));
      if (line.starts_with("STATUS=")) status_ = line.substr(std::strlen("STATUS="));
    }
    if (remove) forget(name);
    if (!store) continue;
    EXPECT_TRUE(unpolled) << name << " would go from the store when it hangs up";
    EXPECT_TRUE(passed.valid());
    const bool known = std::any_of(store_.begin(), store_.end(), [&](const One& one) {
      return same_file(one.descriptor.get(), passed.get());
    });
    if (!known) store_.push_back({name, std::move(passed)});
  }
}

std::function<void()> FakeServiceManager::passes() {
  ready_ = false;
  return [this] {
    ::setenv("NOTIFY_SOCKET", dir_.file("notify").c_str(), 1);
    std::string names;
    std::vector<int> copies;
    for (auto one = store_.rbegin(); one != store_.rend(); ++one) {
      names += (names.empty() ? "" : ":") + one->name;
      copies.push_back(::fcntl(one->descriptor.get(), F_DUPFD_CLOEXEC, kOutOfTheWay));
    }
    for (std::size_t i = 0; i < copies.size(); ++i)
      ::dup2(copies[i], kFirstPassed + static_cast<int>(i));
    ::setenv("LISTEN_PID", std::to_string(::getpid()).c_str(), 1);
    ::setenv("LISTEN_FDS", std::to_string(copies.size()).c_str(), 1);
    ::setenv("LISTEN_FDNAMES", names.c_str(), 1);
  };
}

void FakeServiceManager::forget(const std::string& name) {
  std::erase_if(store_, [&](const One& one) { return one.name == name; });
}

std::vector<std::string> FakeServiceManager::names() const {
  std::vector<std::string> out;
  for (const One& one : store_)
    out.push_back(one.name);
  std::sort(out.begin(), out.end());
  return out;
}

int FakeServiceManager::descriptor(const std::string& name) const {
  for (const One& one : store_) {
    if (one.name == name) return one.descriptor.get();
  }
  return -1;
}

}  // namespace qmasq::test

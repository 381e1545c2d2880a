// SPDX-License-Identifier: Apache-2.0
#include "trust/peer_socket.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <grpcpp/server_posix.h>
#include <spdlog/spdlog.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>

namespace qmasq::trust {
namespace {

// Events that are no connection's number.
constexpr int kListener = -1;
constexpr int kWake = -2;
// Below that the rest of the program has its descriptors.
constexpr int kFirstNumber = 8192;
constexpr int kBacklog = 128;

bool watch_for(int epoll, int fd, std::uint32_t events, int tag) {
  epoll_event event{};
  event.events = events;
  event.data.fd = tag;
  return ::epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

// One past the last number that we may use.
int raise_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 1024;
  rlim_t wanted = std::min<rlim_t>(limit.rlim_max, PeerSocket::kLastNumber);
  if (limit.rlim_cur < wanted) {
    limit.rlim_cur = wanted;
    if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) ::getrlimit(RLIMIT_NOFILE, &limit);
  }
  return static_cast<int>(std::min<rlim_t>(limit.rlim_cur, PeerSocket::kLastNumber));
}

std::optional<PeerCredentials> credentials_of(int fd) {
  ucred who{};
  socklen_t size = sizeof who;
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) != 0) return std::nullopt;
  PeerCredentials peer{who.pid, who.uid, who.gid, {}};
  // A second round where there are more groups than most have: the kernel says how many.
  peer.groups.resize(32);
  for (int round = 0; round < 2; ++round) {
    size = static_cast<socklen_t>(peer.groups.size() * sizeof(gid_t));
    int result = ::getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, peer.groups.data(), &size);
    int err = errno;
    if (result != 0 && err != ERANGE) return std::nullopt;
    peer.groups.resize(size / sizeof(gid_t));
    if (result == 0) return peer;
  }
  return std::nullopt;
}

}  // namespace

bool PeerCredentials::in_group(gid_t group) const {
  return gid == group || std::find(groups.begin(), groups.end(), group) != groups.end();
}

std::string to_string(const PeerCredentials& peer) {
  return fmt::format("unix:pid={},uid={}", peer.pid, peer.uid);
}

PeerSocket::PeerSocket(UniqueFd listener, std::string path, const Limits& limits)
    : limits_(limits), path_(std::move(path)), listener_(std::move(listener)) {}

Result<std::unique_ptr<PeerSocket>> PeerSocket::listen(const std::string& path, mode_t mode,
                                                       const Limits& limits) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    return fail(Code::kInvalidArgument,
                fmt::format("the socket path {} is too long: at most {} bytes", path,
                            sizeof address.sun_path - 1));
  }
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  // Nobody can connect before listen(), so that the mode is right when the first one can.
  if (!fd.valid() ||
      ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    int err = errno;
    return fail_errno(err, fmt::format("cannot bind the socket {}", path));
  }
  std::unique_ptr<PeerSocket> made(new PeerSocket(std::move(fd), path, limits));
  if (::chmod(path.c_str(), mode) != 0 || ::listen(made->listener_.get(), kBacklog) != 0) {
    int err = errno;
    return fail_errno(err, fmt::format("cannot listen on the socket {}", path));
  }
  QMASQ_TRY(made->prepare());
  return made;
}

Result<std::unique_ptr<PeerSocket>> PeerSocket::adopt(UniqueFd listener, const Limits& limits) {
  int flags = ::fcntl(listener.get(), F_GETFL);
  if (flags < 0 || ::fcntl(listener.get(), F_SETFL, flags | O_NONBLOCK) != 0) {
    int err = errno;
    return fail_errno(err, "cannot use the listening socket");
  }
  std::unique_ptr<PeerSocket> made(new PeerSocket(std::move(listener), {}, limits));
  QMASQ_TRY(made->prepare());
  return made;
}

Status PeerSocket::prepare() {
  last_ = raise_limit();
  first_ = std::min(kFirstNumber, last_ / 2);
  next_ = first_;
  epoll_.reset(::epoll_create1(EPOLL_CLOEXEC));
  wake_.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!epoll_.valid() || !wake_.valid() ||
      !watch_for(epoll_.get(), listener_.get(), EPOLLIN, kListener) ||
      !watch_for(epoll_.get(), wake_.get(), EPOLLIN, kWake)) {
    int err = errno;
    return fail_errno(err, "cannot watch a socket");
  }
  return {};
}

PeerSocket::~PeerSocket() {
  stop();
  if (!path_.empty()) ::unlink(path_.c_str());
}

void PeerSocket::serve(grpc::Server& server) {
  thread_ = std::thread([this, &server] { run(server); });
}

void PeerSocket::stop() {
  if (!thread_.joinable()) return;
  std::uint64_t one = 1;
  // A full counter wakes as well.
  [[maybe_unused]] auto written = ::write(wake_.get(), &one, sizeof one);
  thread_.join();
}

void PeerSocket::run(grpc::Server& server) {
  std::array<epoll_event, 32> events{};
  for (;;) {
    int count = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), 10'000);
    if (count < 0 && errno != EINTR) {
      spdlog::error("local socket: {}; no new connections", std::strerror(errno));
      return;
    }
    // What ended first: its number must not be taken for alive by what is accepted now.
    for (int i = 0; i < count; ++i)
      if (events[static_cast<std::size_t>(i)].data.fd >= 0)
        end(events[static_cast<std::size_t>(i)].data.fd);
    for (int i = 0; i < count; ++i) {
      int tag = events[static_cast<std::size_t>(i)].data.fd;
      if (tag == kWake) return;
      if (tag == kListener) accept_one(server);
    }
    forget_old();
  }
}

bool PeerSocket::has_room(uid_t uid) const {
  if (alive_ >= limits_.connections) return false;
  if (uid == 0) return true;
  std::size_t theirs = 0;
  for (const auto& [number, connection] : by_number_)
    if (!connection.ended && connection.peer.uid == uid) ++theirs;
  return theirs < limits_.per_user;
}

UniqueFd PeerSocket::take_number(int fd) {
  // Twice around at most: after that every number is taken or in quarantine.
  for (int wraps = 0; wraps < 2;) {
    if (next_ >= last_) {
      next_ = first_;
      ++wraps;
      continue;
    }
    if (by_number_.contains(next_)) {
      ++next_;
      continue;
    }
    UniqueFd taken(::fcntl(fd, F_DUPFD_CLOEXEC, next_));
    if (!taken.valid()) {
      if (errno == EMFILE && next_ > first_) {
        next_ = last_;  // none above
        continue;
      }
      return {};
    }
    next_ = taken.get() + 1;
    auto known = by_number_.find(taken.get());
    if (known == by_number_.end()) return taken;
    // Free for the kernel, so that its connection is gone, whether or not we heard.
    if (!known->second.ended) {
      known->second.ended = std::chrono::steady_clock::now();
      known->second.watch.reset();
      --alive_;
    }
  }
  return {};
}

void PeerSocket::accept_one(grpc::Server& server) {
  UniqueFd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!fd.valid()) {
    // Without descriptors the listener stays readable: not at full speed, then.
    if (errno == EMFILE || errno == ENFILE)
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    return;
  }
  auto peer = credentials_of(fd.get());
  int number = -1;
  {
    std::lock_guard lock(mutex_);
    if (!peer || !has_room(peer->uid)) {
      ++refused_;
      return;
    }
    UniqueFd taken = take_number(fd.get());
    // Shutdown on either of two descriptors of one connection reaches both, and gRPC shuts down
    // what it closes: the one that we keep hears of every end.
    if (!taken.valid() || !watch_for(epoll_.get(), fd.get(), EPOLLRDHUP | EPOLLET, taken.get())) {
      ++refused_;
      return;
    }
    number = taken.release();
    by_number_[number] = Connection{std::move(*peer), std::move(fd), std::nullopt};
    ++alive_;
  }
  grpc::AddInsecureChannelFromFd(&server, number);
}

void PeerSocket::end(int number) {
  std::lock_guard lock(mutex_);
  auto found = by_number_.find(number);
  if (found == by_number_.end() || found->second.ended) return;
  found->second.ended = std::chrono::steady_clock::now();
  found->second.watch.reset();
  --alive_;
}

void PeerSocket::forget_old() {
  const auto now = std::chrono::steady_clock::now();
  std::lock_guard lock(mutex_);
  std::erase_if(by_number_, [&](const auto& entry) {
    return entry.second.ended && now - *entry.second.ended > kQuarantine;
  });
}

std::optional<PeerCredentials> PeerSocket::find(std::string_view peer) const {
  constexpr std::string_view kPrefix = "fd:";
  if (!peer.starts_with(kPrefix)) return std::nullopt;
  peer.remove_prefix(kPrefix.size());
  int number = -1;
  auto [end, error] = std::from_chars(peer.data(), peer.data() + peer.size(), number);
  if (error != std::errc{} || end != peer.data() + peer.size()) return std::nullopt;
  std::lock_guard lock(mutex_);
  auto found = by_number_.find(number);
  if (found == by_number_.end() || found->second.ended) return std::nullopt;
  return found->second.peer;
}

std::size_t PeerSocket::connections() const {
  std::lock_guard lock(mutex_);
  return alive_;
}

std::uint64_t PeerSocket::refused() const {
  std::lock_guard lock(mutex_);
  return refused_;
}

}  // namespace qmasq::trust

// SPDX-License-Identifier: Apache-2.0
#include "keeper/server.h"

#include <poll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

namespace qmasq::keeper {
namespace {

constexpr std::size_t kMostConnections = 16;
constexpr std::ptrdiff_t kMostWaiting = 8;
static_assert(kMostWaiting + 1 < std::ptrdiff_t{kMostConnections},
              "others must be able to say hello");
constexpr int kRestMilliseconds = 100;

Header header_of(Kind kind, std::uint64_t id = 0, Outcome outcome = Outcome::kOk) {
  Header header;
  header.kind = static_cast<std::uint16_t>(kind);
  header.id = id;
  header.outcome = static_cast<std::uint32_t>(outcome);
  return header;
}

}  // namespace

int Server::run() {
  std::vector<pollfd> wanted;
  for (;;) {
    wanted = {{signals_, POLLIN, 0},
              {manager_.waits_on(), POLLOUT, 0},
              {rest_ ? -1 : listener_, POLLIN, 0}};
    for (const Connection& peer : peers_) {
      const short events = peer.list_from != 0 ? POLLOUT : POLLIN;
      wanted.push_back({peer.socket.get(), events, 0});
    }
    if (::poll(wanted.data(), wanted.size(), rest_ ? kRestMilliseconds : -1) < 0) continue;
    rest_ = false;
    if (wanted[0].revents != 0) {
      signalfd_siginfo signal{};
      if (::read(signals_, &signal, sizeof(signal)) == sizeof(signal)) {
        return static_cast<int>(signal.ssi_signo);
      }
    }
    if (wanted[1].revents != 0) manager_.send_some();
    std::size_t i = 3;
    for (Connection& peer : peers_) {
      if (wanted[i].revents != 0) serve(peer, wanted[i].revents);
      ++i;
    }
    // After those that are there: who hung up makes room for who comes.
    sweep();
    if (wanted[2].revents != 0) accept_one();
  }
}

const Server::Connection* Server::session() const {
  auto found = std::find_if(peers_.begin(), peers_.end(), [](const Connection& peer) {
    return peer.standing == Standing::kSession;
  });
  return found == peers_.end() ? nullptr : &*found;
}

void Server::accept_one() {
  UniqueFd socket(::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!socket.valid()) {
    // EMFILE and its like would come back at once, for ever.
    rest_ = errno != EAGAIN && errno != ECONNABORTED && errno != EINTR;
    return;
  }
  ucred peer{};
  socklen_t size = sizeof(peer);
  if (::getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return;
  if (peer.uid != 0 && peer.uid != ::geteuid()) {
    std::fprintf(stderr, "qmasq-keeper: pid %d of user %u is not root: refused\n", peer.pid,
                 peer.uid);
    return;
  }
  if (peers_.size() >= kMostConnections) {
    // One that never said hello has waited longest for nothing. There is one: those that did are
    // fewer.
    auto silent = std::find_if(peers_.begin(), peers_.end(), [](const Connection& one) {
      return one.standing == Standing::kNew;
    });
    if (silent == peers_.end()) return;
    peers_.erase(silent);
  }
  Connection fresh;
  fresh.socket = std::move(socket);
  fresh.pid = peer.pid;
  peers_.push_back(std::move(fresh));
}

void Server::serve(Connection& peer, short events) {
  if (peer.list_from != 0) {
    list_some(peer);
    return;
  }
  if ((events & (POLLIN | POLLHUP | POLLERR)) == 0) return;
  Message message;
  const int err = receive_message(peer.socket.get(), message);
  if (err == EAGAIN || err == EWOULDBLOCK) return;
  if (err == EPIPE) return hang_up(peer, nullptr);
  if (err != 0 && err != EMFILE) return hang_up(peer, "what it sent is no message");
  switch (peer.standing) {
    case Standing::kNew:
      return greet(peer, message);
    case Standing::kWaiting:
      return hang_up(peer, "it speaks before its turn");
    case Standing::kSession:
      if (err != EMFILE) return answer(peer, std::move(message));
      return reply(peer, header_of(Kind::kDone, 0, Outcome::kFull));
  }
}

void Server::greet(Connection& peer, const Message& message) {
  if (message.header.version != kVersion) {
    reply(peer, header_of(Kind::kRefused, 0, Outcome::kOtherVersion));
    return hang_up(peer, "it speaks another version");
  }
  if (message.kind() != Kind::kHello || message.descriptor.valid() || !message.text.empty()) {
    return hang_up(peer, "it did not say hello");
  }
  const auto waiting = std::count_if(peers_.begin(), peers_.end(), [](const Connection& one) {
    return one.standing == Standing::kWaiting;
  });
  if (waiting >= kMostWaiting) {
    reply(peer, header_of(Kind::kRefused, 0, Outcome::kCrowded));
    return hang_up(peer, "too many wait already");
  }
  peer.standing = Standing::kWaiting;
  if (const Connection* other = session(); other != nullptr) {
    reply(peer, header_of(Kind::kWait, static_cast<std::uint64_t>(other->pid)));
  }
}

void Server::answer(Connection& peer, Message message) {
  const bool has_text = message.kind() == Kind::kPut || message.kind() == Kind::kRetag;
  const bool right = message.header.version == kVersion && (has_text || message.text.empty()) &&
                     (message.kind() == Kind::kPut) == message.descriptor.valid();
  const std::uint64_t id = message.header.id;
  auto done = [&](bool known) {
    reply(peer, header_of(Kind::kDone, id, known ? Outcome::kOk : Outcome::kUnknown));
  };
  if (!right) return hang_up(peer, "what it asks is not in the protocol");
  switch (message.kind()) {
    case Kind::kList:
      peer.list_from = 1;
      peer.listed = 0;
      return list_some(peer);
    case Kind::kPut: {
      const std::uint64_t put = holdings_.put(message.text, std::move(message.descriptor));
      return reply(peer, header_of(Kind::kDone, put, put != 0 ? Outcome::kOk : Outcome::kFull));
    }
    case Kind::kRetag:
      return done(holdings_.retag(id, message.text));
    case Kind::kDrop:
      return done(holdings_.drop(id));
    default:
      return hang_up(peer, "what it asks is not in the protocol");
  }
}

void Server::list_some(Connection& peer) {
  while (const std::uint64_t id = holdings_.next(peer.list_from)) {
    const int err = send_message(peer.socket.get(), header_of(Kind::kHeld, id), holdings_.tag(id),
                                 holdings_.descriptor(id));
    if (err == EAGAIN || err == EWOULDBLOCK) {
      peer.list_from = id;
      return;
    }
    if (err != 0) {
      // It is gone, and what it sent before may still be there to be read; or the kernel has as
      // many descriptors under way as it lets one user have (ETOOMANYREFS).
      peer.list_from = 0;
      return reply(peer, header_of(Kind::kDone, peer.listed, Outcome::kFull));
    }
    ++peer.listed;
    peer.list_from = id + 1;
  }
  const int err = send_message(peer.socket.get(), header_of(Kind::kDone, peer.listed));
  if (err == EAGAIN || err == EWOULDBLOCK)
    return;  // list_from is behind the last: only this is left
  peer.list_from = 0;
}

// One request has one answer and is asked after the one before was read: there is room, or the
// peer does not keep to that.
void Server::reply(Connection& peer, const Header& header) {
  const int err = send_message(peer.socket.get(), header);
  if (err == EAGAIN || err == EWOULDBLOCK) hang_up(peer, "it does not read its answers");
}

void Server::hang_up(Connection& peer, const char* why) {
  peer.gone = true;
  if (why != nullptr) {
    std::fprintf(stderr, "qmasq-keeper: hangs up on pid %d: %s\n", peer.pid, why);
  }
}

// Who is gone goes; who waited longest gets the session.
void Server::sweep() {
  for (auto peer = peers_.begin(); peer != peers_.end();) {
    if (peer->gone && peer->standing == Standing::kSession) {
      std::fprintf(stderr, "qmasq-keeper: agent %d has ended, %zu descriptors stay\n", peer->pid,
                   holdings_.size());
      manager_.tell("STATUS=" + std::to_string(holdings_.size()) + " descriptors, no agent");
    }
    peer = peer->gone ? peers_.erase(peer) : std::next(peer);
  }
  if (session() != nullptr) return;
  for (Connection& peer : peers_) {
    if (peer.standing != Standing::kWaiting) continue;
    peer.standing = Standing::kSession;
    std::fprintf(stderr, "qmasq-keeper: agent %d has the session\n", peer.pid);
    manager_.tell("STATUS=serves agent " + std::to_string(peer.pid));
    reply(peer, header_of(Kind::kWelcome, static_cast<std::uint64_t>(::getpid())));
    return;
  }
}

}  // namespace qmasq::keeper

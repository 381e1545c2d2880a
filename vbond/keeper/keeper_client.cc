// SPDX-License-Identifier: Apache-2.0
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <mutex>
#include <system_error>
#include <utility>

#include "keeper/wire.h"
#include "vbond/keeper/keeper.h"

namespace qmasq::vbond {
namespace {

using keeper::Header;
using keeper::Kind;
using keeper::Message;
using keeper::Outcome;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

static_assert(Keeper::kMaxTag == keeper::kMaxText);

// A keeper does nothing that takes time: one that is silent for so long is stopped or broken.
constexpr milliseconds kAnswerTime{5000};

std::string text_of(int err) {
  return std::generic_category().message(err);
}

bool is_timeout(int err) {
  return err == EAGAIN || err == EWOULDBLOCK;
}

// For reads and writes, and for connect() when the queue is full.
Status set_timeout(int socket, milliseconds time) {
  // 0 would be for ever.
  const auto count = std::max<milliseconds::rep>(time.count(), 1);
  timeval limit{};
  limit.tv_sec = count / 1000;
  limit.tv_usec = (count % 1000) * 1000;
  for (int option : {SO_RCVTIMEO, SO_SNDTIMEO}) {
    if (::setsockopt(socket, SOL_SOCKET, option, &limit, sizeof(limit)) != 0) {
      return fail_errno(errno, "setsockopt");
    }
  }
  return {};
}

class SocketKeeper final : public Keeper {
 public:
  SocketKeeper(std::string name, UniqueFd socket)
      : name_(std::move(name)), socket_(std::move(socket)) {}

  Result<std::vector<Held>> list() override {
    std::lock_guard lock(mutex_);
    QMASQ_TRY(ask(Kind::kList, 0, {}, -1));
    std::vector<Held> out;
    for (;;) {
      QMASQ_ASSIGN(Message message, next());
      if (message.kind() == Kind::kHeld && message.descriptor.valid()) {
        out.push_back({message.header.id, std::move(message.text), std::move(message.descriptor)});
        continue;
      }
      if (message.kind() != Kind::kDone) return lose("its answer is not in the protocol");
      if (message.outcome() == Outcome::kFull) {
        return fail(Code::kResourceExhausted,
                    name_ + ": too many descriptors are under way on this machine");
      }
      if (message.header.id != out.size()) return lose("its list has not what it says");
      return out;
    }
  }

  Result<Id> put(std::string_view tag, int descriptor) override {
    std::lock_guard lock(mutex_);
    if (descriptor < 0) return fail(Code::kInvalidArgument, "no descriptor to keep");
    QMASQ_TRY(check(tag));
    QMASQ_TRY(ask(Kind::kPut, 0, tag, descriptor));
    return done();
  }

  Status retag(Id id, std::string_view tag) override {
    std::lock_guard lock(mutex_);
    QMASQ_TRY(check(tag));
    QMASQ_TRY(ask(Kind::kRetag, id, tag, -1));
    QMASQ_TRY(done());
    return {};
  }

  Status drop(Id id) override {
    std::lock_guard lock(mutex_);
    QMASQ_TRY(ask(Kind::kDrop, id, {}, -1));
    QMASQ_TRY(done());
    return {};
  }

  pid_t pid() const override { return pid_; }

  // Becomes the one agent, or says who is.
  Status begin(milliseconds patience) {
    // It may have refused already, without being asked: then its word is there to be read.
    const Status asked = ask_once(Kind::kHello, 0, {}, -1);
    const auto end = steady_clock::now() + patience;
    std::uint64_t other = 0;
    for (;;) {
      Message message;
      const int err = keeper::receive_message(socket_.get(), message);
      if (is_timeout(err) && other != 0) {
        return fail(Code::kFailedPrecondition,
                    name_ + ": agent " + std::to_string(other) + " has what is kept, and runs");
      }
      if (err != 0) return !asked ? asked : unavailable(err);
      if (message.header.version != keeper::kVersion) {
        return fail(Code::kUnsupported, name_ + ": the keeper speaks version " +
                                            std::to_string(message.header.version) +
                                            ", this agent " + std::to_string(keeper::kVersion));
      }
      if (message.kind() == Kind::kWelcome) {
        ucred peer{};
        socklen_t size = sizeof(peer);
        if (::getsockopt(socket_.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0)
          pid_ = peer.pid;
        return set_timeout(socket_.get(), kAnswerTime);
      }
      if (message.kind() == Kind::kRefused && message.outcome() == Outcome::kCrowded) {
        return fail(Code::kFailedPrecondition, name_ + ": too many agents wait for it");
      }
      if (message.kind() != Kind::kWait || other != 0) {
        return fail(Code::kUnavailable, name_ + ": its answer is not in the protocol");
      }
      other = message.header.id;
      const auto left = std::chrono::ceil<milliseconds>(end - steady_clock::now());
      QMASQ_TRY(set_timeout(socket_.get(), left));
    }
  }

 private:
  static Status check(std::string_view tag) {
    if (tag.size() <= kMaxTag) return {};
    return fail(Code::kInvalidArgument, "a tag of " + std::to_string(tag.size()) +
                                            " bytes, and it may have " + std::to_string(kMaxTag));
  }

  [[nodiscard]] tl::unexpected<Error> unavailable(int err) const {
    std::string why = text_of(err);
    if (is_timeout(err)) why = "no answer, it hangs";
    if (err == EPIPE) why = "the keeper hung up";
    return tl::unexpected<Error>(
        Error{Code::kUnavailable, name_ + ": " + why, is_timeout(err) ? 0 : err, {}});
  }

  // An answer that is late would be taken for that of the next request.
  tl::unexpected<Error> lose(const std::string& why) {
    socket_.reset();
    lost_ = why;
    return fail(Code::kUnavailable, name_ + ": the keeper is lost: " + why);
  }

  Status ask_once(Kind kind, Id id, std::string_view tag, int descriptor) {
    Header header;
    header.kind = static_cast<std::uint16_t>(kind);
    header.id = id;
    const int err = keeper::send_message(socket_.get(), header, tag, descriptor);
    if (err == 0) return {};
    // About the descriptor: nothing was sent.
    if (err == EBADF && descriptor >= 0) {
      return fail(Code::kInvalidArgument,
                  "descriptor " + std::to_string(descriptor) + " is not open");
    }
    if (err == ETOOMANYREFS) {
      return fail(Code::kResourceExhausted,
                  name_ + ": too many descriptors are under way on this machine");
    }
    return unavailable(err);
  }

  Status ask(Kind kind, Id id, std::string_view tag, int descriptor) {
    if (!socket_.valid()) {
      return fail(Code::kUnavailable, name_ + ": the keeper is lost: " + lost_);
    }
    Status asked = ask_once(kind, id, tag, descriptor);
    if (!asked && asked.error().code == Code::kUnavailable) return lose(asked.error().message);
    return asked;
  }

  Result<Message> next() {
    Message message;
    const int err = keeper::receive_message(socket_.get(), message);
    // EMFILE: a descriptor of ours that was on its way is closed now, so the rest is of no use.
    if (err != 0) return lose(unavailable(err).value().message);
    return message;
  }

  // The answer to all but kList.
  Result<Id> done() {
    QMASQ_ASSIGN(Message message, next());
    if (message.kind() != Kind::kDone) return lose("its answer is not in the protocol");
    switch (message.outcome()) {
      case Outcome::kOk:
        return message.header.id;
      case Outcome::kUnknown:
        return fail(Code::kNotFound,
                    name_ + ": nothing is held as " + std::to_string(message.header.id));
      case Outcome::kFull:
        return fail(Code::kResourceExhausted, name_ + ": the keeper holds as many as it may");
      default:
        return lose("its answer is not in the protocol");
    }
  }

  const std::string name_;  // of the socket
  pid_t pid_ = 0;           // set by begin()
  std::mutex mutex_;        // of all below: one call at a time
  UniqueFd socket_;
  std::string lost_;  // why socket_ is none
};

}  // namespace

Result<std::unique_ptr<Keeper>> connect_keeper(const std::string& socket, milliseconds patience) {
  sockaddr_un address{};
  if (!keeper::socket_address(socket, address)) {
    return fail(Code::kInvalidArgument,
                "\"" + socket + "\" is no name for a Unix socket (1 to 107 bytes)");
  }
  UniqueFd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return fail_errno(errno, "socket");
  QMASQ_TRY(set_timeout(fd.get(), kAnswerTime));
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    const int err = errno;
    return tl::unexpected<Error>(
        Error{Code::kUnavailable,
              socket + ": " + (is_timeout(err) ? "the keeper hangs" : "no keeper: " + text_of(err)),
              is_timeout(err) ? 0 : err,
              {}});
  }
  auto out = std::make_unique<SocketKeeper>(socket, std::move(fd));
  QMASQ_TRY(out->begin(patience));
  return out;
}

}  // namespace qmasq::vbond

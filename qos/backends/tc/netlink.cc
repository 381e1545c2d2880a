// SPDX-License-Identifier: Apache-2.0
#include <libmnl/libmnl.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <cerrno>
#include <functional>
#include <utility>

#include "qos/backends/tc/codec.h"
#include "qos/backends/tc/tc_kernel.h"

namespace qmasq::qos::tc {
namespace {

// So many messages go in one send: their acknowledgements fit any receive buffer.
constexpr std::size_t kBatch = 64;
constexpr int kTimeoutSeconds = 10;
constexpr int kDumpTries = 5;

using Socket = std::unique_ptr<mnl_socket, int (*)(mnl_socket*)>;

Status to_status(const Ack& ack) {
  if (ack.err == 0) return {};
  return fail_errno(ack.err, ack.text.empty() ? "kernel" : "kernel: " + ack.text);
}

Result<Socket> open_socket() {
  Socket socket(mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC), mnl_socket_close);
  if (!socket) return fail_errno(errno, "open a netlink socket");
  int fd = mnl_socket_get_fd(socket.get());
  int size = 1 << 20;  // FORCE needs CAP_NET_ADMIN and passes the sysctl
  if (::setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) != 0) {
    (void)::setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
  }
  int one = 1;
  // Answers without them are still understood.
  (void)::setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &one, sizeof one);
  (void)::setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &one, sizeof one);
  timeval limit{kTimeoutSeconds, 0};
  if (::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) != 0) {
    return fail_errno(errno, "set up a netlink socket");
  }
  if (mnl_socket_bind(socket.get(), 0, MNL_SOCKET_AUTOPID) < 0) {
    return fail_errno(errno, "bind a netlink socket");
  }
  return socket;
}

class NetlinkTc final : public TcKernel {
 public:
  NetlinkTc(std::string device, Socket socket)
      : device_(std::move(device)), socket_(std::move(socket)), buffer_(std::size_t{64} * 1024) {}

  Result<std::vector<Qdisc>> qdiscs() override {
    return dump<Qdisc>(Dump::kQdiscs, RTM_NEWQDISC, 0, parse_qdisc);
  }
  Result<std::vector<Class>> classes(Handle qdisc) override {
    return dump<Class>(Dump::kClasses, RTM_NEWTCLASS, qdisc, parse_class);
  }
  Result<std::vector<Filter>> filters(Handle qdisc) override {
    auto found = dump<Filter>(Dump::kFilters, RTM_NEWTFILTER, qdisc, parse_filter);
    // Of a qdisc that is not there.
    if (!found && (found.error().err == EINVAL || found.error().err == ENOENT)) {
      return std::vector<Filter>{};
    }
    return found;
  }
  std::vector<Status> apply(std::span<const Operation> operations) override;

 private:
  template <typename T>
  using Parser = Result<std::optional<T>> (*)(Bytes, int);
  template <typename T>
  Result<std::vector<T>> dump(Dump what, std::uint16_t type, Handle qdisc, Parser<T> parse);

  // Asked each time: a device may go and come again under its name.
  [[nodiscard]] Result<int> device_index() const {
    auto index = static_cast<int>(::if_nametoindex(device_.c_str()));
    if (index == 0) return fail_errno(errno, "network device '" + device_ + "'");
    return index;
  }
  [[nodiscard]] Status send(Bytes bytes);
  [[nodiscard]] Status receive(const std::function<void(const Message&)>& visit);
  // A socket in a state that is not known any more is not used again.
  void renew() {
    if (auto fresh = open_socket()) socket_ = std::move(*fresh);
  }
  // Failure: nothing more can be told.
  [[nodiscard]] Status run(std::span<const Operation> operations, int device,
                           std::span<Status> results);

  std::string device_;
  Socket socket_;
  std::vector<std::byte> buffer_;
  std::uint32_t sequence_ = 0;
};

Status NetlinkTc::send(Bytes bytes) {
  ssize_t sent = 0;
  do {
    sent = mnl_socket_sendto(socket_.get(), bytes.data(), bytes.size());
  } while (sent < 0 && errno == EINTR);
  if (sent < 0) return fail_errno(errno, "send to netlink");
  return {};
}

Status NetlinkTc::receive(const std::function<void(const Message&)>& visit) {
  while (true) {
    // Refuses what did not fit (ENOSPC) and what is not from netlink.
    ssize_t got = mnl_socket_recvfrom(socket_.get(), buffer_.data(), buffer_.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) {
      return fail_errno(ETIMEDOUT, "no answer from netlink");
    }
    if (got < 0 && errno == ENOBUFS) {
      auto lost = fail_errno(ENOBUFS, "an answer from netlink was lost");
      lost.value().code = Code::kUnavailable;
      return lost;
    }
    if (got < 0) return fail_errno(errno, "receive from netlink");
    return for_each_message(Bytes(buffer_).first(static_cast<std::size_t>(got)), visit);
  }
}

template <typename T>
Result<std::vector<T>> NetlinkTc::dump(Dump what, std::uint16_t type, Handle qdisc,
                                       Parser<T> parse) {
  QMASQ_ASSIGN(int device, device_index());
  for (int tries = 0;; ++tries) {
    std::vector<T> found;
    Status outcome;
    bool done = false;
    bool interrupted = false;
    std::uint32_t sequence = ++sequence_;
    outcome = send(encode_dump(what, qdisc, device, sequence));
    while (outcome && !done) {
      Status parsed;
      outcome = receive([&](const Message& message) {
        if (message.sequence != sequence) return;  // of something older that was given up
        interrupted = interrupted || (message.flags & NLM_F_DUMP_INTR) != 0;
        if (message.type == NLMSG_DONE) {
          done = true;
        } else if (message.type == NLMSG_ERROR) {
          done = true;
          auto ack = parse_ack(message);
          parsed = ack ? to_status(*ack) : Status(tl::unexpected(ack.error()));
        } else if (message.type == type) {
          auto one = parse(message.payload, device);
          if (!one) {
            parsed = tl::unexpected(one.error());
          } else if (*one) {
            found.push_back(std::move(**one));
          }
        }
      });
      if (outcome) outcome = parsed;
    }
    if (!outcome) {
      // What is left of the dump would be in the way of the next one.
      if (!done) renew();
      if (outcome.error().err == ENOBUFS && tries < kDumpTries) continue;
      return tl::unexpected(outcome.error());
    }
    if (!interrupted) return found;
    if (tries >= kDumpTries) {
      return fail(Code::kUnavailable, "traffic control changes faster than it can be read");
    }
  }
}

Status NetlinkTc::run(std::span<const Operation> operations, int device,
                      std::span<Status> results) {
  std::vector<std::byte> bytes;
  std::uint32_t first = sequence_ + 1;
  for (const Operation& operation : operations) {
    std::vector<std::byte> one = encode(operation, device, ++sequence_);
    bytes.insert(bytes.end(), one.begin(), one.end());
  }
  std::vector<bool> answered(operations.size(), false);
  std::size_t waiting = operations.size();
  Status broken = send(bytes);
  while (broken && waiting > 0) {
    broken = receive([&](const Message& message) {
      // Unsigned: an answer to something older (after a timeout) falls out of the range.
      std::size_t i = message.sequence - first;
      if (i >= results.size() || answered[i] || message.type != NLMSG_ERROR) return;
      auto ack = parse_ack(message);
      results[i] = ack ? to_status(*ack) : Status(tl::unexpected(ack.error()));
      answered[i] = true;
      --waiting;
    });
  }
  if (!broken) {
    renew();
    for (std::size_t i = 0; i < results.size(); ++i) {
      if (!answered[i]) results[i] = broken;
    }
  }
  return broken;
}

std::vector<Status> NetlinkTc::apply(std::span<const Operation> operations) {
  std::vector<Status> results(operations.size());
  auto device = device_index();
  if (!device) {
    std::fill(results.begin(), results.end(), Status(tl::unexpected(device.error())));
    return results;
  }
  for (std::size_t at = 0; at < operations.size(); at += kBatch) {
    std::size_t count = std::min(kBatch, operations.size() - at);
    Status told =
        run(operations.subspan(at, count), *device, std::span(results).subspan(at, count));
    if (!told) {
      std::fill(results.begin() + static_cast<std::ptrdiff_t>(at + count), results.end(), told);
      break;
    }
  }
  return results;
}

}  // namespace

Result<std::unique_ptr<TcKernel>> open_kernel(const std::string& device) {
  if (device.empty() || device.size() >= IFNAMSIZ) {
    return fail(Code::kInvalidArgument, "'" + device + "' is no name of a network device",
                "device");
  }
  QMASQ_ASSIGN(Socket socket, open_socket());
  return std::make_unique<NetlinkTc>(device, std::move(socket));
}

}  // namespace qmasq::qos::tc

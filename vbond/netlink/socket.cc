// SPDX-License-Identifier: Apache-2.0
#include "vbond/netlink/socket.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <string>
#include <utility>

namespace qmasq::vbond::netlink {
namespace {

Status to_status(const Ack& ack) {
  if (ack.err == 0) return {};
  auto error = fail_errno(ack.err, ack.text.empty() ? "kernel" : "kernel: " + ack.text);
  return error;
}

}  // namespace

Result<Socket> Socket::open() {
  UniqueFd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  if (!fd.valid()) return fail_errno(errno, "open a netlink socket");
  // Room for the acknowledgements of a batch; FORCE needs CAP_NET_ADMIN and passes the sysctl.
  int size = 4 << 20;
  if (::setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) != 0) {
    (void)::setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
  }
  int one = 1;
  // Answers without them are still understood.
  (void)::setsockopt(fd.get(), SOL_NETLINK, NETLINK_EXT_ACK, &one, sizeof one);
  (void)::setsockopt(fd.get(), SOL_NETLINK, NETLINK_CAP_ACK, &one, sizeof one);
  timeval limit{10, 0};
  if (::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) != 0) {
    return fail_errno(errno, "set up a netlink socket");
  }
  sockaddr_nl self{};
  self.nl_family = AF_NETLINK;
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&self), sizeof self) != 0) {
    return fail_errno(errno, "bind a netlink socket");
  }
  return Socket(std::move(fd));
}

Status Socket::send(std::span<const std::byte> bytes) {
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  ssize_t sent = 0;
  do {
    sent = ::sendto(fd_.get(), bytes.data(), bytes.size(), 0,
                    reinterpret_cast<const sockaddr*>(&kernel), sizeof kernel);
  } while (sent < 0 && errno == EINTR);
  if (sent < 0) return fail_errno(errno, "send to netlink");
  return {};
}

Result<std::vector<Message>> Socket::receive() {
  while (true) {
    sockaddr_nl sender{};
    iovec part{buffer_.data(), buffer_.size()};
    msghdr message{};
    message.msg_name = &sender;
    message.msg_namelen = sizeof sender;
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    ssize_t got = ::recvmsg(fd_.get(), &message, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_errno(errno, "receive from netlink");
    if (sender.nl_pid != 0) continue;  // only the kernel's word counts
    if ((message.msg_flags & MSG_TRUNC) != 0) {
      return fail(Code::kInternal, "netlink: an answer did not fit the buffer");
    }
    return split_messages(Bytes(buffer_).first(static_cast<std::size_t>(got)));
  }
}

std::vector<Status> Socket::run(std::span<MessageBuilder> messages) {
  std::vector<std::byte> bytes;
  std::uint32_t first = sequence_ + 1;
  for (MessageBuilder& message : messages) {
    std::vector<std::byte> one = message.finish(++sequence_);
    bytes.insert(bytes.end(), one.begin(), one.end());
  }
  std::vector<Status> results(messages.size());
  if (messages.empty()) return results;
  std::vector<bool> answered(messages.size(), false);
  std::size_t waiting = messages.size();
  Status broken = send(bytes);
  while (broken && waiting > 0) {
    auto answers = receive();
    if (!answers) {
      broken = tl::unexpected(answers.error());
      break;
    }
    for (const Message& answer : *answers) {
      // Unsigned: an answer to something older (after a timeout) falls out of the range.
      std::size_t i = answer.sequence - first;
      if (i >= results.size() || answered[i] || answer.type != NLMSG_ERROR) continue;
      auto ack = parse_ack(answer);
      results[i] = ack ? to_status(*ack) : Status(tl::unexpected(ack.error()));
      answered[i] = true;
      --waiting;
    }
  }
  if (!broken) {
    for (std::size_t i = 0; i < results.size(); ++i) {
      if (!answered[i]) results[i] = broken;
    }
  }
  return results;
}

Status Socket::run(MessageBuilder message) {
  return run(std::span<MessageBuilder>(&message, 1)).front();
}

Status Socket::query(MessageBuilder message, bool dump,
                     const std::function<Status(const Message&)>& visit) {
  std::uint32_t sequence = ++sequence_;
  QMASQ_TRY(send(message.finish(sequence)));
  bool interrupted = false;
  // A failed visit must not leave the rest of the dump in the socket.
  Status failed;
  while (true) {
    QMASQ_ASSIGN(auto answers, receive());
    for (const Message& answer : answers) {
      if (answer.sequence != sequence) continue;
      interrupted = interrupted || (answer.flags & NLM_F_DUMP_INTR) != 0;
      if (answer.type == NLMSG_DONE) {
        QMASQ_TRY(failed);
        if (interrupted) return fail_errno(EINTR, "netlink dump changed while it was read");
        return {};
      }
      if (answer.type == NLMSG_ERROR) {
        QMASQ_ASSIGN(auto ack, parse_ack(answer));
        QMASQ_TRY(failed);
        return to_status(ack);
      }
      if (failed) failed = visit(answer);
      if (!dump) return failed;  // no NLMSG_DONE follows
    }
  }
}

}  // namespace qmasq::vbond::netlink

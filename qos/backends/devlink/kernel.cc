// SPDX-License-Identifier: Apache-2.0
#include "qos/backends/devlink/kernel.h"

#include <libmnl/libmnl.h>
#include <linux/netlink.h>
#include <sys/time.h>

#include <cerrno>
#include <functional>
#include <utility>

#include "qos/backends/devlink/message.h"

namespace qmasq::qos::devlink {
namespace {

constexpr int kTimeoutSeconds = 5;
// The kernel fills at most 32 KiB of a dump into one datagram.
constexpr std::size_t kLargest = 65536;

using Socket = std::unique_ptr<mnl_socket, int (*)(mnl_socket*)>;

class KernelRates final : public Rates {
 public:
  KernelRates(Socket socket, Handle handle) : socket_(std::move(socket)), buffer_(kLargest) {
    target_.handle = std::move(handle);
  }

  Status start() {
    std::optional<std::uint16_t> family;
    auto take = [&](const Message& message) -> Status {
      QMASQ_ASSIGN(family, parse_family(message));
      return {};
    };
    auto asked = run([](std::uint32_t sequence) { return ask_family(sequence); }, take);
    if (!asked && asked.error().err == ENOENT) {
      return fail(Code::kUnsupported, "this kernel has no devlink (CONFIG_NET_DEVLINK)");
    }
    QMASQ_TRY(asked);
    if (!family) return fail(Code::kInternal, "generic netlink does not know devlink's id");
    target_.family = *family;
    auto there = run([&](std::uint32_t sequence) { return ask_device(target_, sequence); },
                     [](const Message&) -> Status { return {}; });
    if (!there && there.error().err == ENODEV) {
      return fail(Code::kNotFound,
                  "no devlink device " + to_string(target_.handle) + " (`devlink dev` lists them)",
                  "handle");
    }
    return there;
  }

  Result<std::vector<RateObject>> objects() override {
    std::vector<RateObject> all;
    auto take = [&](const Message& message) -> Status {
      QMASQ_ASSIGN(auto object, parse_object(message));
      if (object && object->handle == target_.handle) all.push_back(std::move(object->object));
      return {};
    };
    QMASQ_TRY(run([&](std::uint32_t sequence) { return ask_objects(target_, sequence); }, take));
    return all;
  }

  Result<RateObject> object(const RateId& id) override {
    std::optional<RateObject> found;
    auto take = [&](const Message& message) -> Status {
      QMASQ_ASSIGN(auto object, parse_object(message));
      if (object) found = std::move(object->object);
      return {};
    };
    QMASQ_TRY(run([&](std::uint32_t sequence) { return ask_object(target_, id, sequence); }, take));
    if (!found) {
      return fail(Code::kUnsupported,
                  to_string(id) + " has a rate object of a type that is not known");
    }
    return *found;
  }

  Status add_node(const std::string& name) override {
    return change([&](std::uint32_t sequence) { return new_node(target_, name, sequence); });
  }

  Status set(const RateId& id, const RateChange& what) override {
    return change([&](std::uint32_t sequence) { return set_object(target_, id, what, sequence); });
  }

  Status delete_node(const std::string& name) override {
    return change(
        [&](std::uint32_t sequence) { return devlink::delete_node(target_, name, sequence); });
  }

 private:
  using Make = std::function<std::vector<std::byte>(std::uint32_t sequence)>;
  using Take = std::function<Status(const Message&)>;

  Status change(const Make& make) {
    return run(make, [](const Message&) -> Status { return {}; });
  }

  // Sends a request and hands its answers to `take`, until the kernel says that it was all.
  Status run(const Make& make, const Take& take) {
    std::uint32_t sequence = ++sequence_;
    std::vector<std::byte> request = make(sequence);
    if (mnl_socket_sendto(socket_.get(), request.data(), request.size()) < 0) {
      return fail_errno(errno, "send to devlink");
    }
    Status taken;
    for (;;) {
      auto size = mnl_socket_recvfrom(socket_.get(), buffer_.data(), buffer_.size());
      if (size < 0 && errno == EINTR) continue;
      if (size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        return fail(Code::kDeadlineExceeded,
                    "devlink does not answer in " + std::to_string(kTimeoutSeconds) + " s");
      }
      if (size < 0) return fail_errno(errno, "read the answer of devlink");
      QMASQ_ASSIGN(auto messages,
                   split_messages(Bytes(buffer_).first(static_cast<std::size_t>(size))));
      for (const Message& message : messages) {
        // Late answers to a request that was given up.
        if (message.sequence != sequence) continue;
        if (message.type == NLMSG_ERROR || message.type == NLMSG_DONE) {
          QMASQ_ASSIGN(Ack ack, parse_ack(message));
          if (ack.err != 0) return fail_errno(ack.err, ack.text.empty() ? "devlink" : ack.text);
          return taken;
        }
        if (taken) taken = take(message);
      }
    }
  }

  Socket socket_;
  Target target_;
  std::vector<std::byte> buffer_;
  std::uint32_t sequence_ = 0;
};

}  // namespace

Result<std::unique_ptr<Rates>> open_kernel_rates(const Handle& handle) {
  Socket socket(mnl_socket_open2(NETLINK_GENERIC, SOCK_CLOEXEC), mnl_socket_close);
  if (!socket) return fail_errno(errno, "open a generic netlink socket");
  if (mnl_socket_bind(socket.get(), 0, MNL_SOCKET_AUTOPID) < 0) {
    return fail_errno(errno, "bind a generic netlink socket");
  }
  // The kernel's own words; kernels that do not know the options do without.
  int on = 1;
  (void)mnl_socket_setsockopt(socket.get(), NETLINK_EXT_ACK, &on, sizeof on);
  (void)mnl_socket_setsockopt(socket.get(), NETLINK_CAP_ACK, &on, sizeof on);
  timeval timeout{kTimeoutSeconds, 0};
  if (::setsockopt(mnl_socket_get_fd(socket.get()), SOL_SOCKET, SO_RCVTIMEO, &timeout,
                   sizeof timeout) != 0) {
    return fail_errno(errno, "limit the wait for devlink");
  }
  auto rates = std::make_unique<KernelRates>(std::move(socket), handle);
  QMASQ_TRY(rates->start());
  return rates;
}

}  // namespace qmasq::qos::devlink

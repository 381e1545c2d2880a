// SPDX-License-Identifier: Apache-2.0
#include "vbond/netlink/kernel.h"

#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <type_traits>
#include <unordered_map>
#include <utility>

#include "vbond/netlink/encode.h"
#include "vbond/netlink/netns.h"
#include "vbond/netlink/socket.h"

namespace qmasq::vbond::netlink {
namespace {

// A dump of more is refused: a tenant with rights over its own namespace could otherwise have the
// agent hold whatever it likes.
constexpr std::size_t kMaxInterfaces = 1 << 16;  // links; addresses
constexpr std::size_t kMaxEntries = 1 << 21;     // neighbours; forwarding entries
// Bounds what the kernel queues for us: an acknowledgement takes about 1 KiB of the receive buffer.
constexpr std::size_t kBatch = 400;

class KernelNetlink final : public Netlink {
 public:
  explicit KernelNetlink(Socket socket) : socket_(std::move(socket)) {}

  Result<std::vector<Link>> links() override {
    MessageBuilder ask(RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP, ifinfomsg{});
    ask.u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
    return dump<Link>(
        ask, RTM_NEWLINK, kMaxInterfaces,
        [](Bytes payload) -> Result<std::optional<Link>> { return parse_link(payload); });
  }

  Result<std::vector<Address>> addresses() override {
    return dump<Address>(
        {RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP, ifaddrmsg{}}, RTM_NEWADDR, kMaxInterfaces,
        [](Bytes payload) -> Result<std::optional<Address>> { return parse_address(payload); });
  }

  Result<std::vector<Neighbour>> neighbours() override {
    return dump<Neighbour>({RTM_GETNEIGH, NLM_F_REQUEST | NLM_F_DUMP, ndmsg{}}, RTM_NEWNEIGH,
                           kMaxEntries, parse_neighbour);
  }

  Result<std::vector<FdbEntry>> fdb() override {
    ndmsg head{};
    head.ndm_family = AF_BRIDGE;
    return dump<FdbEntry>({RTM_GETNEIGH, NLM_F_REQUEST | NLM_F_DUMP, head}, RTM_NEWNEIGH,
                          kMaxEntries, parse_fdb);
  }

  std::vector<Status> apply(std::span<const Operation> operations) override {
    indexes_.clear();  // may be stale: links come and go without us
    results_.assign(operations.size(), Status{});
    for (std::size_t i = 0; i < operations.size(); ++i) {
      std::visit([&](const auto& operation) { take(i, operation); }, operations[i]);
      if (batch_.size() >= kBatch) flush();
    }
    flush();
    for (std::size_t i = 0; i < operations.size(); ++i) {
      if (!results_[i]) {
        results_[i] = with_context(std::move(results_[i]).error(), describe(operations[i]));
      }
    }
    return std::move(results_);
  }

 private:
  template <typename T, typename Parse>
  Result<std::vector<T>> dump(const MessageBuilder& ask, std::uint16_t type, std::size_t limit,
                              Parse parse) {
    // EINTR: the table changed under the dump; what was read may be incomplete.
    for (int attempt = 0;; ++attempt) {
      std::vector<T> entries;
      Status done = socket_.query(ask, true, [&](const Message& message) -> Status {
        if (message.type != type) return {};
        if (entries.size() >= limit) {
          return fail(Code::kResourceExhausted, "netlink: more entries than the agent will hold");
        }
        QMASQ_ASSIGN(std::optional<T> entry, parse(message.payload));
        if (entry) entries.push_back(std::move(*entry));
        return {};
      });
      if (done) return entries;
      if (done.error().err != EINTR || attempt == 10) return tl::unexpected(done.error());
    }
  }

  Result<int> index_of(const std::string& name) {
    if (auto it = indexes_.find(name); it != indexes_.end()) return it->second;
    MessageBuilder ask(RTM_GETLINK, NLM_F_REQUEST, ifinfomsg{});
    ask.text(IFLA_IFNAME, name).u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
    int index = 0;
    auto found = socket_.query(std::move(ask), false, [&](const Message& message) -> Status {
      QMASQ_ASSIGN(Link link, parse_link(message.payload));
      index = link.index;
      return {};
    });
    if (!found) return with_context(std::move(found).error(), "link " + name);
    indexes_[name] = index;
    return index;
  }

  // Links are few and later changes depend on them: one at a time, before and after the batches.
  void take(std::size_t i, const AddLink& operation) {
    flush();
    indexes_.erase(operation.link.name);
    results_[i] = socket_.run(encode(operation));
  }
  void take(std::size_t i, const DeleteLink& operation) {
    flush();
    indexes_.erase(operation.name);
    results_[i] = socket_.run(encode(operation));
  }
  void take(std::size_t i, const SetLink& operation) {
    flush();
    results_[i] = set(operation);
  }
  template <typename Op>
  void take(std::size_t i, const Op& operation) {
    auto index = index_of(operation.link);
    if (!index) {
      results_[i] = tl::unexpected(index.error());
      return;
    }
    batch_.push_back(encode(operation, *index));
    positions_.push_back(i);
  }

  Status set(const SetLink& operation) {
    QMASQ_ASSIGN(int index, index_of(operation.name));
    int master = 0;
    if (operation.master && !operation.master->empty()) {
      QMASQ_ASSIGN(master, index_of(*operation.master));
    }
    for (SetLinkStep& step : encode(operation, index, master)) {
      Status done = socket_.run(std::move(step.message));
      if (!done && step.needs_ipv6 && done.error().err == EAFNOSUPPORT) continue;
      QMASQ_TRY(done);
    }
    return {};
  }

  void flush() {
    std::vector<Status> results = socket_.run(batch_);
    for (std::size_t i = 0; i < results.size(); ++i) {
      results_[positions_[i]] = std::move(results[i]);
    }
    batch_.clear();
    positions_.clear();
  }

  Socket socket_;
  std::unordered_map<std::string, int> indexes_;
  // Of the apply() that runs.
  std::vector<Status> results_;
  std::vector<MessageBuilder> batch_;
  std::vector<std::size_t> positions_;
};

class KernelMonitor final : public Monitor {
 public:
  explicit KernelMonitor(UniqueFd socket) : socket_(std::move(socket)) {}
  int fd() const override { return socket_.get(); }

  Result<bool> drain() override {
    bool changed = false;
    std::vector<std::byte> buffer(std::size_t{64} * 1024);
    while (true) {
      ssize_t got = ::recv(socket_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return changed;
      if (got < 0 && errno == ENOBUFS) {
        changed = true;
        continue;
      }
      if (got < 0) return fail_errno(errno, "follow a namespace");
      auto messages = split_messages(Bytes(buffer).first(static_cast<std::size_t>(got)));
      // What cannot be understood may be anything: look again.
      if (!messages) changed = true;
      if (messages && !messages->empty()) changed = true;
    }
  }

 private:
  UniqueFd socket_;
};

Result<UniqueFd> open_monitor_socket() {
  UniqueFd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE));
  if (!fd.valid()) return fail_errno(errno, "open a netlink socket");
  sockaddr_nl self{};
  self.nl_family = AF_NETLINK;
  self.nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR;
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&self), sizeof self) != 0) {
    return fail_errno(errno, "bind a netlink socket");
  }
  return fd;
}

}  // namespace

Result<std::unique_ptr<Netlink>> KernelNamespaces::connect(int netns) {
  if (netns < 0) netns = options_.own.get();
  QMASQ_ASSIGN(Socket socket, in_namespace<Socket>(netns, [] { return Socket::open(); }));
  return std::make_unique<KernelNetlink>(std::move(socket));
}

Result<std::unique_ptr<Monitor>> KernelNamespaces::monitor(int netns) {
  if (netns < 0) netns = options_.own.get();
  QMASQ_ASSIGN(UniqueFd socket, in_namespace<UniqueFd>(netns, open_monitor_socket));
  return std::make_unique<KernelMonitor>(std::move(socket));
}

}  // namespace qmasq::vbond::netlink

// SPDX-License-Identifier: Apache-2.0
#include "vbond/attach/attach_server.h"

#include <poll.h>
#include <spdlog/spdlog.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <utility>

#include "qmasq/v1/agent.pb.h"
#include "vbond/attach/packet.h"
#include "vbond/kernel/task_inspector.h"

namespace qmasq::vbond {
namespace {

constexpr std::uint32_t kVerbsIoctl = 0xc0181b01;

int errno_of(const Error& error) {
  if (error.err != 0) return error.err;
  switch (error.code) {
    case Code::kInvalidArgument:
      return EINVAL;
    case Code::kNotFound:
      return ENOENT;
    case Code::kAlreadyExists:
      return EEXIST;
    case Code::kPermissionDenied:
      return EPERM;
    case Code::kUnavailable:
    case Code::kFailedPrecondition:
      return EAGAIN;
    case Code::kResourceExhausted:
      return EMFILE;
    case Code::kUnsupported:
      return EOPNOTSUPP;
    default:
      return EIO;
  }
}

Status send_reply_error(int socket, const Error& error) {
  v1::AttachReply reply;
  reply.set_error_number(errno_of(error));
  reply.set_error(error.message);
  return send_packet(socket, reply.SerializeAsString());
}

Status send_ready(int socket, const Status& status) {
  v1::AttachReady ready;
  if (!status) {
    ready.set_error_number(errno_of(status.error()));
    ready.set_error(status.error().message);
  }
  // Without a field set the message has no bytes, which a SEQPACKET reader takes for the end.
  std::string bytes = ready.SerializeAsString();
  if (bytes.empty()) bytes.assign("\x08\x00", 2);  // error_number = 0, written out
  return send_packet(socket, bytes);
}

// The listener could be anybody's. So the program makes one call that its own filter must trap,
// and what arrives here has to come from it. This shows as well that the filter is ours in effect
// and that the program's tasks are visible from here.
Status prove(NotificationPort& port, pid_t pid, std::chrono::milliseconds patience) {
  pollfd wait{port.descriptor(), POLLIN, 0};
  int ready = poll(&wait, 1, static_cast<int>(patience.count()));
  if (ready <= 0 || (wait.revents & POLLIN) == 0) {
    return fail(Code::kPermissionDenied,
                "the listener is not one of the connecting program's: nothing arrives on it");
  }
  // Nobody else receives on this port, so what poll() saw is there, or its task died (ENOENT).
  auto call = port.receive();
  if (!call) return fail_errno(call.error(), "receive on the listener");
  ProcTasks tasks;
  auto process = tasks.process_of(call->tid);
  bool own = process && *process == pid && port.alive(call->id) && call->nr == SYS_ioctl &&
             static_cast<std::uint32_t>(call->args[1]) == kVerbsIoctl;
  (void)port.answer(call->id, 0, own ? 0 : EPERM);
  if (!own) {
    return fail(Code::kPermissionDenied, "the listener is not one of the connecting program's");
  }
  return {};
}

Result<UniqueFd> bind_socket(const std::string& path) {
  QMASQ_ASSIGN(auto address, socket_address(path));
  const auto* name = reinterpret_cast<const sockaddr*>(&address);
  // Whoever left a file there may be alive.
  UniqueFd probe(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!probe.valid()) return fail_errno(errno, "socket");
  if (connect(probe.get(), name, sizeof(address)) == 0) {
    return fail(Code::kAlreadyExists, "another agent listens on " + path);
  }
  if (errno == ECONNREFUSED) (void)unlink(path.c_str());
  UniqueFd fd(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return fail_errno(errno, "socket");
  if (bind(fd.get(), name, sizeof(address)) != 0) return fail_errno(errno, "bind " + path);
  // Anybody may ask; the kernel says who it is. Until here umask was stricter.
  if (chmod(path.c_str(), 0666) != 0) return fail_errno(errno, "chmod " + path);
  if (listen(fd.get(), 64) != 0) return fail_errno(errno, "listen on " + path);
  return fd;
}

}  // namespace

Result<std::unique_ptr<AttachServer>> AttachServer::start(AttachServerOptions options,
                                                          AttachHandler& handler) {
  QMASQ_ASSIGN(auto socket, bind_socket(options.socket));
  UniqueFd stop(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!stop.valid()) return fail_errno(errno, "eventfd");
  return std::unique_ptr<AttachServer>(
      new AttachServer(std::move(options), handler, std::move(socket), std::move(stop)));
}

AttachServer::AttachServer(AttachServerOptions options, AttachHandler& handler, UniqueFd socket,
                           UniqueFd stop)
    : options_(std::move(options)),
      handler_(handler),
      socket_(std::move(socket)),
      stop_(std::move(stop)),
      acceptor_([this] { accept_loop(); }) {}

AttachServer::~AttachServer() {
  std::uint64_t one = 1;
  (void)!write(stop_.get(), &one, sizeof(one));
  acceptor_.join();
  (void)unlink(options_.socket.c_str());
  reap(/*all=*/true);
}

void AttachServer::accept_loop() {
  for (;;) {
    pollfd wait[2] = {{socket_.get(), POLLIN, 0}, {stop_.get(), POLLIN, 0}};
    if (poll(wait, 2, -1) < 0 && errno != EINTR) return;
    if (wait[1].revents != 0) return;
    if ((wait[0].revents & POLLIN) == 0) continue;
    UniqueFd peer(accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!peer.valid()) continue;
    reap(/*all=*/false);
    std::lock_guard lock(mutex_);
    auto who = peer_of(peer.get());
    auto seated = who ? check_seat(who->uid) : Status(tl::unexpected(who.error()));
    if (!seated) {
      (void)send_reply_error(peer.get(), seated.error());
      continue;
    }
    Connection& connection = connections_.emplace_back();
    connection.socket = std::move(peer);
    connection.peer = *std::move(who);
    connection.thread = std::thread([this, &connection] {
      serve(connection);
      // Closed here, not when the thread is joined: that may be a long time from now.
      std::lock_guard done_lock(mutex_);
      connection.socket.reset();
      connection.done.store(true, std::memory_order_release);
    });
  }
}

Status AttachServer::check_seat(uid_t uid) const {
  std::size_t theirs = 0;
  std::size_t others = 0;
  for (const Connection& connection : connections_) {
    if (connection.peer.uid != 0) ++others;
    if (connection.peer.uid == uid) ++theirs;
  }
  const std::size_t most = options_.max_connections;
  const std::size_t share = std::max<std::size_t>(most / 4, 1);
  bool room = connections_.size() < most;
  // A user who holds connections open keeps out neither other users nor root.
  if (uid != 0) room = room && theirs < share && others < most - share;
  if (room) return {};
  return fail(Code::kUnavailable, "too many programs attach at once; try again");
}

void AttachServer::reap(bool all) {
  std::list<Connection> over;
  {
    std::lock_guard lock(mutex_);
    for (auto it = connections_.begin(); it != connections_.end();) {
      auto here = it++;
      if (all && here->socket.valid()) (void)shutdown(here->socket.get(), SHUT_RDWR);
      if (all || here->done.load(std::memory_order_acquire)) {
        over.splice(over.end(), connections_, here);
      }
    }
  }
  for (Connection& connection : over)
    connection.thread.join();
}

void AttachServer::serve(Connection& connection) {
  const int socket = connection.socket.get();
  auto give_up = [&](const Error& error) {
    spdlog::info("attach refused: {}", error.message);
    (void)send_reply_error(socket, error);
    (void)shutdown(socket, SHUT_RDWR);
  };
  if (auto set = set_timeouts(socket, options_.patience); !set) return give_up(set.error());
  auto packet = receive_packet(socket);
  if (!packet) return give_up(packet.error());
  v1::AttachRequest request;
  if (!request.ParseFromString(packet->bytes)) {
    return give_up({Code::kInvalidArgument, "not an AttachRequest", 0, {}});
  }

  AttachPeer peer{connection.peer, request.command().substr(0, 256), 0};
  auto offer = handler_.offer(request.endpoint(), peer);
  if (!offer) return give_up(offer.error());
  v1::AttachReply reply;
  reply.set_endpoint(offer->terms.endpoint);
  reply.set_reserved_fd_first(offer->terms.reserved_first);
  reply.set_reserved_fd_count(offer->terms.reserved_count);
  reply.set_open_mode(offer->terms.tenant_opens ? "tenant" : "agent");
  for (const AttachMount& mount : offer->terms.mounts) {
    auto* out = reply.add_mounts();
    out->set_source(mount.source);
    out->set_target(mount.target);
    out->set_read_only(mount.read_only);
    out->set_no_devices(mount.no_devices);
  }
  if (!send_packet(socket, reply.SerializeAsString(), offer->netns.get())) return;

  auto handover = receive_packet(socket);
  if (!handover) return;  // the program gave up on its own side and has said why
  Status status = [&]() -> Status {
    if (!handover->descriptor.valid()) {
      return fail(Code::kInvalidArgument, "no listener came with the handover");
    }
    QMASQ_ASSIGN(auto port, open_port(std::move(handover->descriptor)));
    v1::ListenerHandover words;
    if (!words.ParseFromString(handover->bytes))
      return fail(Code::kInvalidArgument, "not a ListenerHandover");
    peer.kept_below = words.kept_below();
    QMASQ_TRY(prove(*port, peer.pid, options_.patience));
    return handler_.attached(offer->endpoint, peer, std::move(port));
  }();
  if (!status)
    spdlog::warn("attach to {} failed: {}", offer->terms.endpoint, status.error().message);
  (void)send_ready(socket, status);
  (void)shutdown(socket, SHUT_RDWR);
}

}  // namespace qmasq::vbond

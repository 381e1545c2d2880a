// SPDX-License-Identifier: Apache-2.0
#include "vbond/attach/attach_client.h"

#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cerrno>

#include "qmasq/v1/agent.pb.h"
#include "vbond/attach/packet.h"

namespace qmasq::vbond {
namespace {

constexpr unsigned long kVerbsIoctl = 0xc0181b01;

// The agent turns a program away without reading on when it has too many. The kernel reports that
// reset first, and its words only when asked again.
Result<Packet> receive_last_words(int socket) {
  auto packet = receive_packet(socket);
  if (!packet && packet.error().err == ECONNRESET) return receive_packet(socket);
  return packet;
}

tl::unexpected<Error> silence(const std::string& name) {
  return fail(Code::kDeadlineExceeded,
              "the agent at " + name + " does not answer; it may hang or be stopped");
}

Error explain(Error error, const std::string& name) {
  if (error.code == Code::kDeadlineExceeded) return silence(name).value();
  if (error.err == ECONNRESET || error.err == EPIPE) {
    return {Code::kUnavailable,
            "the agent at " + name + " closed the connection, perhaps because too many programs " +
                "attach at once; try again",
            EAGAIN,
            {}};
  }
  error.message = "agent at " + name + ": " + error.message;
  return error;
}

tl::unexpected<Error> refusal(int err, const std::string& text) {
  Error error;
  error.code = code_of_errno(err);
  error.err = err;
  error.message = text;
  return tl::unexpected(std::move(error));
}

}  // namespace

Result<AttachClient> AttachClient::connect(const std::string& socket,
                                           std::chrono::milliseconds patience) {
  QMASQ_ASSIGN(auto address, socket_address(socket));
  UniqueFd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return fail_errno(errno, "socket");
  QMASQ_TRY(set_timeouts(fd.get(), patience));
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    int err = errno;
    if (err == ENOENT || err == ECONNREFUSED) {
      return fail(Code::kUnavailable,
                  "no agent listens on " + socket + " (is qmasq-vbond running on this host?)");
    }
    // Its queue of callers is full.
    if (err == EAGAIN) return silence(socket);
    return fail_errno(err, "connect to the agent at " + socket);
  }
  return AttachClient(std::move(fd), socket);
}

Result<AttachClient::Offer> AttachClient::request(const std::string& endpoint,
                                                  const std::string& command) {
  v1::AttachRequest request;
  request.set_endpoint(endpoint);
  request.set_command(command);
  auto sent = send_packet(socket_.get(), request.SerializeAsString());
  if (!sent && sent.error().err != EPIPE) return tl::unexpected(explain(sent.error(), name_));
  auto packet = receive_last_words(socket_.get());
  if (!packet) return tl::unexpected(explain(packet.error(), name_));
  v1::AttachReply reply;
  if (!reply.ParseFromString(packet->bytes)) {
    return fail(Code::kInternal, "the agent at " + name_ + " answers with another protocol");
  }
  if (reply.error_number() != 0) return refusal(reply.error_number(), reply.error());
  if (!packet->descriptor.valid()) {
    return fail(Code::kInternal, "the agent sent no network namespace");
  }
  Offer offer;
  offer.netns = std::move(packet->descriptor);
  offer.terms.endpoint = reply.endpoint();
  offer.terms.reserved_first = reply.reserved_fd_first();
  offer.terms.reserved_count = reply.reserved_fd_count();
  offer.terms.tenant_opens = reply.open_mode() == "tenant";
  for (const auto& mount : reply.mounts()) {
    offer.terms.mounts.push_back(
        {mount.source(), mount.target(), mount.read_only(), mount.no_devices()});
  }
  return offer;
}

Status AttachClient::hand_over(UniqueFd listener) {
  // An empty message cannot be told from the end of the stream; the descriptor tells.
  v1::ListenerHandover handover;
  handover.set_kept_below(kKeptBelow);
  QMASQ_TRY(send_packet(socket_.get(), handover.SerializeAsString(), listener.get()));
  listener.reset();
  // Trapped, if this program is the one that the listener listens to; see AttachServer. No answer
  // is lost: whatever comes back, AttachReady says what the agent made of it.
  (void)ioctl(-1, kVerbsIoctl, nullptr);
  auto packet = receive_packet(socket_.get());
  if (!packet) return tl::unexpected(explain(packet.error(), name_));
  v1::AttachReady ready;
  if (!ready.ParseFromString(packet->bytes)) {
    return fail(Code::kInternal, "the agent at " + name_ + " answers with another protocol");
  }
  if (ready.error_number() != 0) return refusal(ready.error_number(), ready.error());
  return {};
}

}  // namespace qmasq::vbond

// SPDX-License-Identifier: Apache-2.0
#include "cli/rpc.h"

#include <fmt/format.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>
#include <string_view>
#include <system_error>
#include <utility>

#include "common/clock.h"
#include "common/loopback.h"
#include "common/unique_fd.h"
#include "trust/tls.h"

namespace qmasq::cli {
namespace {

constexpr std::string_view kUnix = "unix:";

// Connects once to see whether somebody listens. Answers the reason why not, or empty.
std::string why_not_listening(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return "the path is longer than a socket may have";
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return std::generic_category().message(errno);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
    return "";
  }
  switch (errno) {
    case ENOENT:
      return "there is no such socket";
    case ECONNREFUSED:
      return "the socket is there, but nobody listens on it";
    case EACCES:
      return "permission denied: try it as root";
    default:
      return std::generic_category().message(errno);
  }
}

}  // namespace

std::string normal_address(const std::string& text) {
  if (!text.empty() && text[0] == '/') return std::string(kUnix) + text;
  if (text.rfind("unix:///", 0) == 0) return std::string(kUnix) + text.substr(7);
  return text;
}

Server::Server(std::string who, const std::string& address, std::string hint,
               std::chrono::milliseconds timeout)
    : who_(std::move(who)),
      address_(normal_address(address)),
      hint_(std::move(hint)),
      timeout_(timeout) {}

Outcome<Server> Server::controller(const CommonOptions& options) {
  return Server("the controller", options.controller,
                "Start it with qmasq-controller, or say where it is with --controller ADDRESS or "
                "QMASQ_CONTROLLER.",
                options.timeout)
      .opened(options.certificates);
}

Outcome<Server> Server::agent(const CommonOptions& options) {
  return Server("this host's agent", "unix:" + options.socket_dir + "/vbond.sock",
                "Start it with qmasq-vbond as root, or say where its sockets are with "
                "--agent-socket-dir DIR.",
                options.timeout)
      .opened();
}

Outcome<Server> Server::opened(const std::string& certificates) && {
  if (address_.rfind(kUnix, 0) == 0) {
    if (auto reason = why_not_listening(address_.substr(kUnix.size())); !reason.empty()) {
      return failed(kExitUnreachable,
                    fmt::format("cannot reach {} at {}: {}", who_, address_, reason), hint_);
    }
    channel_ = grpc::CreateChannel(address_, grpc::InsecureChannelCredentials());
    return std::move(*this);
  }
  if (certificates.empty()) {
    if (!is_loopback_target(address_)) {
      return failed(kExitUsage,
                    fmt::format("{} at {} is spoken to over TLS, which takes a certificate of "
                                "yours",
                                who_, address_),
                    "Say where it is with --certificates DIR or QMASQ_CERTIFICATES; an admin makes "
                    "one with: qmasq access create NAME --role ROLE --out DIR");
    }
    channel_ = grpc::CreateChannel(address_, grpc::InsecureChannelCredentials());
    return std::move(*this);
  }
  static const SystemClock clock;  // outlives every channel
  auto credentials = trust::client_credentials(certificates, clock);
  if (!credentials) {
    return failed(kExitFailed,
                  fmt::format("cannot use the certificate in {}: {}", certificates,
                              credentials.error().message),
                  "It is what qmasq access create --out made: identity.pem, closed to others, and "
                  "ca.pem.");
  }
  channel_ = grpc::CreateChannel(address_, *credentials);
  return std::move(*this);
}

Failure Server::explain(const grpc::Status& status) const {
  switch (status.error_code()) {
    case grpc::StatusCode::UNAVAILABLE:
      return {kExitUnreachable,
              fmt::format("cannot reach {} at {}: {}", who_, address_, status.error_message()),
              hint_, false};
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      return {kExitUnreachable,
              fmt::format("no answer from {} at {} within {} ms", who_, address_, timeout_.count()),
              "Allow more with --timeout.", false};
    case grpc::StatusCode::UNIMPLEMENTED:
      return {kExitFailed,
              fmt::format("{} at {} does not offer this: {}", who_, address_,
                          status.error_message().empty() ? "is it an older version?"
                                                         : status.error_message()),
              "", false};
    case grpc::StatusCode::UNAUTHENTICATED:
      return {kExitFailed,
              fmt::format("{} at {} does not take us for anybody: {}", who_, address_,
                          status.error_message()),
              "Who it takes you for: qmasq whoami. Certificates: docs/authentication.md.", false};
    default: {
      std::string message = status.error_message();
      return {kExitFailed, message.empty() ? "refused without a reason" : message, "",
              status.error_code() == grpc::StatusCode::NOT_FOUND};
    }
  }
}

}  // namespace qmasq::cli

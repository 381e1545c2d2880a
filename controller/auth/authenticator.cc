// SPDX-License-Identifier: Apache-2.0
#include "controller/auth/authenticator.h"

#include <fmt/format.h>
#include <unistd.h>

#include "trust/tls.h"

namespace qmasq::controller {
namespace {

constexpr std::size_t kMaxVerified = 4096;
constexpr std::size_t kMaxRefused = 256;
constexpr std::chrono::seconds kRefusalLife{5};

// "ipv4:192.0.2.7:51234" and "ipv6:%5B2001:db8::1%5D:51234" as people write them.
std::string readable(std::string peer) {
  for (std::string_view scheme : {"ipv4:", "ipv6:"})
    if (peer.starts_with(scheme)) peer.erase(0, scheme.size());
  auto replace = [&](std::string_view from, std::string_view to) {
    auto at = peer.find(from);
    if (at != std::string::npos) peer.replace(at, from.size(), to);
  };
  replace("%5B", "[");
  replace("%5D", "]");
  return peer;
}

}  // namespace

Authenticator::Authenticator(const AuthBook& book, const Clock& clock, std::string ca_pem,
                             bool insecure)
    : book_(book), clock_(clock), ca_pem_(std::move(ca_pem)), insecure_(insecure) {}

Result<trust::CertificateInfo> Authenticator::verify(const std::string& pem) {
  const auto now = clock_.wall();
  {
    std::lock_guard lock(mutex_);
    auto known = verified_.find(pem);
    if (known != verified_.end() && known->second.not_before <= now &&
        now < known->second.not_after) {
      return known->second;
    }
    auto wrong = refused_.find(pem);
    if (wrong != refused_.end() && clock_.now() < wrong->second.until) {
      return tl::unexpected<Error>(wrong->second.why);
    }
  }
  auto info = trust::verify_certificate(pem, ca_pem_, trust::Purpose::kClient, now);
  std::lock_guard lock(mutex_);
  if (!info) {
    if (refused_.size() >= kMaxRefused) refused_.clear();
    refused_.insert_or_assign(pem, Refusal{info.error(), clock_.now() + kRefusalLife});
    return info;
  }
  // All at once: only who has that many certificates of ours can make this happen.
  if (verified_.size() >= kMaxVerified) verified_.clear();
  verified_.insert_or_assign(pem, *info);
  return info;
}

Status Authenticator::of_certificate(const std::string& pem, Caller* caller) {
  if (pem.empty()) {
    return fail(Code::kUnauthenticated,
                "no certificate was shown: over TCP a caller needs one (an agent gets it by "
                "joining, others from an admin)");
  }
  auto info = verify(pem);
  if (!info) {
    Error error = std::move(info).error();
    // Whom it pretends to be, for the audit log.
    if (auto claimed = trust::read_certificate(pem)) {
      error.message +=
          fmt::format(" (it says that it is of {})", trust::name_of(claimed->identity));
    }
    return tl::unexpected<Error>(std::move(error));
  }
  auto known = book_.of_certificate(*info);
  if (!known) {
    // Nobody any more, but who it was is proven.
    caller->name = trust::name_of(info->identity);
    caller->certificate_serial = info->serial;
    return tl::unexpected<Error>(std::move(known).error());
  }
  std::string where = std::move(caller->peer);
  *caller = std::move(*known);
  caller->peer = std::move(where);
  return {};
}

Authenticator::Outcome Authenticator::identify(const grpc::ServerContextBase& context) {
  Outcome out;
  const std::string peer = context.peer();
  if (peer.starts_with("fd:")) {
    out.caller.via = Caller::Via::kUnix;
    auto known = socket_ != nullptr ? socket_->find(peer) : std::nullopt;
    if (known) {
      out.caller = book_.of_peer(*known, ::geteuid());
    } else {
      out.caller.peer = "unix";
      out.status = fail(Code::kUnauthenticated, "the connection has ended");
    }
    return out;
  }
  out.caller.peer = readable(peer);
  auto security = context.auth_context();
  if (!security || !trust::is_tls(*security)) {
    if (!insecure_) {
      out.status = fail(Code::kUnauthenticated, "the connection has no TLS");
      return out;
    }
    out.caller.name = "loopback";
    out.caller.via = Caller::Via::kLoopback;
    out.caller.role = Role::kAdmin;
    return out;
  }
  out.status = of_certificate(trust::peer_certificate(*security), &out.caller);
  return out;
}

}  // namespace qmasq::controller

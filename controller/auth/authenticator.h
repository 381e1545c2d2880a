// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <grpcpp/server_context.h>

#include <chrono>
#include <mutex>
#include <string>
#include <unordered_map>

#include "common/clock.h"
#include "controller/auth/auth_book.h"
#include "trust/peer_socket.h"

namespace qmasq::controller {

// Finds out who calls. Any thread.
class Authenticator {
 public:
  // `ca_pem` empty: nobody comes over TLS. `insecure`: who comes over TCP without TLS is an admin;
  // else it is nobody. The book and the clock outlive this.
  Authenticator(const AuthBook& book, const Clock& clock, std::string ca_pem, bool insecure);

  // Before the first call. Null: there is no Unix socket.
  void set_socket(const trust::PeerSocket* socket) { socket_ = socket; }

  struct Outcome {
    Caller caller;  // also of a stranger: where from; of one that was revoked: who it was
    Status status;  // kUnauthenticated says why it is a stranger
  };
  [[nodiscard]] Outcome identify(const grpc::ServerContextBase& context);

 private:
  // Fills in the caller as far as it is proven.
  [[nodiscard]] Status of_certificate(const std::string& pem, Caller* caller);
  [[nodiscard]] Result<trust::CertificateInfo> verify(const std::string& pem);

  const AuthBook& book_;
  const Clock& clock_;
  const std::string ca_pem_;
  const bool insecure_;
  const trust::PeerSocket* socket_ = nullptr;
  std::mutex mutex_;
  // Certificates whose signature was found right, by their whole text: verifying costs as much as a
  // call. When they are valid is looked at each time.
  std::unordered_map<std::string, trust::CertificateInfo> verified_;
  // And those that were found wrong lately: a stranger's flood on one connection costs a look.
  struct Refusal {
    Error why;
    std::chrono::steady_clock::time_point until;
  };
  std::unordered_map<std::string, Refusal> refused_;
};

}  // namespace qmasq::controller

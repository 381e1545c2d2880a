// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <shared_mutex>
#include <string>
#include <unordered_map>

#include "common/result.h"
#include "controller/store/store.h"
#include "trust/certificate.h"
#include "trust/peer_socket.h"

namespace qmasq::controller {

// Accesses and certificates in memory, because every call asks. Kept up by the store's listener:
// when a write returns, what it revoked is revoked here. Any thread.
class AuthBook {
 public:
  [[nodiscard]] Status load(Store& store);
  void apply(const Commit& commit);

  // Fills in who a verified certificate speaks for. kUnauthenticated: revoked, or not of ours.
  [[nodiscard]] Result<Caller> of_certificate(const trust::CertificateInfo& info) const;
  // Root and `own_uid`, the controller's own user, are admins; others what their access says, or
  // nobody (Role::kNone).
  [[nodiscard]] Caller of_peer(const trust::PeerCredentials& peer, uid_t own_uid) const;
  // Whether a caller that was somebody still is.
  [[nodiscard]] Status check(const Caller& caller, TimePoint now) const;

  struct Counts {
    std::size_t accesses = 0;      // not revoked
    std::size_t certificates = 0;  // neither revoked nor expired
  };
  [[nodiscard]] Counts counts(TimePoint now) const;

 private:
  [[nodiscard]] Status check_certificate(std::string_view serial) const;  // lock held
  [[nodiscard]] AccessPtr access_of(const trust::PeerCredentials& peer) const;

  mutable std::shared_mutex mutex_;
  std::map<std::string, AccessPtr, std::less<>> accesses_;  // by id
  std::map<std::string, CertificateRecord, std::less<>> certificates_;
};

}  // namespace qmasq::controller

// SPDX-License-Identifier: Apache-2.0
#include "controller/auth/auth_book.h"

#include <fmt/format.h>

#include <mutex>

#include "common/resource_name.h"

namespace qmasq::controller {
namespace {

constexpr std::size_t kPage = 1000;

tl::unexpected<Error> refuse(std::string text) {
  return fail(Code::kUnauthenticated, std::move(text));
}

}  // namespace

Status AuthBook::load(Store& store) {
  return store.read([&](ReadView& view) -> Status {
    Commit all;
    ListQuery query{"", kPage};
    for (;;) {
      QMASQ_ASSIGN(auto page, view.list_accesses(query));
      all.accesses.insert(all.accesses.end(), page.begin(), page.end());
      if (page.size() < kPage) break;
      query.after = page.back()->id;
    }
    QMASQ_ASSIGN(all.certificates, view.list_certificates());
    apply(all);
    return {};
  });
}

void AuthBook::apply(const Commit& commit) {
  if (commit.accesses.empty() && commit.certificates.empty()) return;
  std::unique_lock lock(mutex_);
  for (const auto& access : commit.accesses)
    accesses_[access->id] = access;
  for (const auto& certificate : commit.certificates)
    certificates_[certificate.serial] = certificate;
}

Status AuthBook::check_certificate(std::string_view serial) const {
  auto found = certificates_.find(serial);
  if (found == certificates_.end()) {
    return refuse("the certificate is none that this controller remembers to have issued");
  }
  if (found->second.revoke_time) return refuse("the certificate was revoked");
  return {};
}

Result<Caller> AuthBook::of_certificate(const trust::CertificateInfo& info) const {
  std::shared_lock lock(mutex_);
  QMASQ_TRY(check_certificate(info.serial));
  Caller caller;
  caller.via = Caller::Via::kTls;
  caller.name = trust::name_of(info.identity);
  caller.certificate_serial = info.serial;
  caller.certificate_start = info.not_before;
  caller.certificate_end = info.not_after;
  if (info.identity.kind == trust::Identity::Kind::kHost) {
    caller.role = Role::kHost;
    return caller;
  }
  auto access = accesses_.find(info.identity.id);
  if (info.identity.kind != trust::Identity::Kind::kAccess || access == accesses_.end()) {
    return refuse(fmt::format("the certificate is of {}, which may do nothing here", caller.name));
  }
  if (access->second->revoke_time) return refuse(fmt::format("{} was revoked", caller.name));
  caller.role = access->second->role;
  caller.vpcs = access->second->vpcs;
  return caller;
}

// The user's own before a group's. Of several groups the one that may most; of equals the first by
// name.
AccessPtr AuthBook::access_of(const trust::PeerCredentials& peer) const {
  auto rank = [](Role role) { return role == Role::kAdmin ? 0 : role == Role::kVpcAdmin ? 1 : 2; };
  AccessPtr best;
  for (const auto& [id, access] : accesses_) {
    if (access->revoke_time) continue;
    if (access->user_id && *access->user_id == peer.uid) return access;
    if (!access->group_id || !peer.in_group(*access->group_id)) continue;
    if (!best || rank(access->role) < rank(best->role)) best = access;
  }
  return best;
}

Caller AuthBook::of_peer(const trust::PeerCredentials& peer, uid_t own_uid) const {
  Caller caller;
  caller.via = Caller::Via::kUnix;
  caller.peer = trust::to_string(peer);
  caller.name = fmt::format("uid/{}", peer.uid);
  if (peer.uid == 0 || peer.uid == own_uid) {
    caller.role = Role::kAdmin;
    return caller;
  }
  std::shared_lock lock(mutex_);
  if (auto access = access_of(peer)) {
    caller.name = access_name(access->id);
    caller.role = access->role;
    caller.vpcs = access->vpcs;
  }
  return caller;
}

Status AuthBook::check(const Caller& caller, TimePoint now) const {
  std::shared_lock lock(mutex_);
  if (!caller.certificate_serial.empty()) {
    QMASQ_TRY(check_certificate(caller.certificate_serial));
    if (caller.certificate_end <= now) return refuse("the certificate has expired meanwhile");
  }
  constexpr std::string_view kPrefix = "accesses/";
  if (!caller.name.starts_with(kPrefix)) return {};
  auto access = accesses_.find(std::string_view(caller.name).substr(kPrefix.size()));
  if (access == accesses_.end() || access->second->revoke_time) {
    return refuse(fmt::format("{} was revoked", caller.name));
  }
  return {};
}

AuthBook::Counts AuthBook::counts(TimePoint now) const {
  std::shared_lock lock(mutex_);
  Counts out;
  for (const auto& [id, access] : accesses_)
    if (!access->revoke_time) ++out.accesses;
  for (const auto& [serial, certificate] : certificates_)
    if (!certificate.revoke_time && certificate.expire_time > now) ++out.certificates;
  return out;
}

}  // namespace qmasq::controller

// SPDX-License-Identifier: Apache-2.0
#include "controller/service/auth_actions.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>

#include "common/resource_name.h"
#include "controller/auth/installation.h"
#include "controller/service/actions.h"
#include "controller/wire/convert.h"
#include "trust/certificate_request.h"
#include "trust/join_token.h"

namespace qmasq::controller {
namespace {

using std::chrono::hours;
using std::chrono::seconds;

constexpr seconds kTokenLife = hours(1);
constexpr seconds kMaxTokenLife = hours(24 * 7);
constexpr seconds kAccessLife = hours(24 * 90);
constexpr seconds kMaxAccessLife = hours(24 * 365 * 10);
constexpr int kMaxVpcs = 64;

Result<const trust::Authority*> require_authority(const ServiceContext& context) {
  if (context.authority != nullptr) return context.authority;
  return fail(Code::kFailedPrecondition,
              "this controller has no CA: stop it, run `qmasq-controller init`, start it again");
}

Result<seconds> check_ttl(const google::protobuf::Duration& ttl, bool given, seconds usual,
                          seconds most) {
  if (!given || (ttl.seconds() == 0 && ttl.nanos() == 0)) return usual;
  if (ttl.seconds() < 1 || ttl.seconds() > most.count()) {
    return fail(
        Code::kInvalidArgument,
        fmt::format("from 1 second to {} hours", std::chrono::duration_cast<hours>(most).count()),
        "ttl");
  }
  return seconds(ttl.seconds());
}

// Signs the request's key for the holder and remembers the certificate.
Status issue(WriteView& view, const ServiceContext& context, const trust::Identity& holder,
             const std::string& request, seconds validity, v1::Certificate* out) {
  QMASQ_ASSIGN(const auto* authority, require_authority(context));
  QMASQ_ASSIGN(auto key, in_field(trust::read_certificate_request(request), "certificate_request"));
  trust::IssueOptions options;
  options.identity = holder;
  options.now = view.now();
  options.validity = validity;
  QMASQ_ASSIGN(auto issued, authority->issue(key, options));
  QMASQ_TRY(view.put(CertificateRecord{issued.info.serial, trust::name_of(holder), view.now(),
                                       issued.info.not_after, std::nullopt}));
  out->set_certificate(issued.pem);
  out->set_ca_certificate(authority->certificate());
  to_proto(issued.info.not_after, out->mutable_expire_time());
  return {};
}

std::string access_json(const Access& access) {
  v1::Access message;
  to_proto(access, &message);
  return audit_json(message);
}

Status append(WriteView& view, const ServiceContext& context, AuditRecord record) {
  record.revision = view.pending().revision.value;
  return view.append(std::move(record), context.retention);
}

std::string utc(TimePoint time) {
  return fmt::format("{:%Y-%m-%d %H:%M:%S} UTC",
                     fmt::gmtime(std::chrono::system_clock::to_time_t(time)));
}

Result<Access> read_access(const v1::CreateAccessRequest& request, TimePoint now) {
  const auto& asked = request.access();
  Access access;
  QMASQ_TRY(in_field(check_access_id(request.access_id()), "access_id"));
  access.id = request.access_id();
  access.create_time = now;
  if (asked.role() != v1::ADMIN && asked.role() != v1::VIEWER && asked.role() != v1::VPC_ADMIN) {
    return fail(Code::kInvalidArgument, "say ADMIN, VIEWER or VPC_ADMIN", "access.role");
  }
  access.role = static_cast<Role>(asked.role());
  if ((access.role == Role::kVpcAdmin) != (asked.vpcs_size() > 0)) {
    return fail(Code::kInvalidArgument, "VPCs are named for a VPC_ADMIN, and only for one",
                "access.vpcs");
  }
  if (asked.vpcs_size() > kMaxVpcs) {
    return fail(Code::kInvalidArgument, fmt::format("at most {}", kMaxVpcs), "access.vpcs");
  }
  for (int i = 0; i < asked.vpcs_size(); ++i) {
    QMASQ_ASSIGN(auto id,
                 in_field(parse_vpc_name(asked.vpcs(i)), fmt::format("access.vpcs[{}]", i)));
    access.vpcs.push_back(std::move(id));
  }
  std::sort(access.vpcs.begin(), access.vpcs.end());
  access.vpcs.erase(std::unique(access.vpcs.begin(), access.vpcs.end()), access.vpcs.end());
  if (asked.unix_case() == v1::Access::kUserId) access.user_id = asked.user_id();
  if (asked.unix_case() == v1::Access::kGroupId) access.group_id = asked.group_id();
  const bool is_unix = access.user_id || access.group_id;
  if (is_unix != request.certificate_request().empty()) {
    return fail(Code::kInvalidArgument,
                "either a certificate request, or a user or group of the controller's machine",
                "certificate_request");
  }
  return access;
}

// Root is an admin anyway, and two accesses of one user would leave open which holds.
Status check_user_is_free(WriteView& view, const Access& access) {
  if (access.user_id && *access.user_id == 0) {
    return fail(Code::kInvalidArgument, "root is an admin, and cannot be made anything else",
                "access.user_id");
  }
  if (!access.user_id && !access.group_id) return {};
  ListQuery query{"", 1000};
  for (;;) {
    QMASQ_ASSIGN(auto page, view.list_accesses(query));
    for (const auto& other : page) {
      if (other->revoke_time || other->user_id != access.user_id ||
          other->group_id != access.group_id) {
        continue;
      }
      return fail(
          Code::kAlreadyExists,
          fmt::format("{} is for the same user or group: revoke it first", access_name(other->id)),
          access.user_id ? "access.user_id" : "access.group_id");
    }
    if (page.size() < query.limit) return {};
    query.after = page.back()->id;
  }
}

}  // namespace

Status create_join_token(WriteView& view, const ServiceContext& context, const Caller& caller,
                         const v1::CreateJoinTokenRequest& request, v1::JoinToken* response) {
  QMASQ_ASSIGN(const auto* authority, require_authority(context));
  QMASQ_ASSIGN(auto host, in_field(parse_host_name(request.host()), "host"));
  QMASQ_ASSIGN(auto life, check_ttl(request.ttl(), request.has_ttl(), kTokenLife, kMaxTokenLife));
  QMASQ_ASSIGN(auto token, trust::make_join_token(authority->fingerprint()));
  QMASQ_ASSIGN(auto parts, trust::parse_join_token(token.reveal()));
  QMASQ_ASSIGN(auto hash, trust::hash_join_secret(parts.secret));
  const auto expires = view.now() + life;
  QMASQ_TRY(view.put(JoinTokenRecord{hash, host, view.now(), expires, std::nullopt}));
  response->set_token(token.reveal());
  response->set_host(host_name(host));
  to_proto(expires, response->mutable_expire_time());
  AuditRecord done = audit_record(caller, "AuthService/CreateJoinToken");
  done.resource = host_name(host);
  done.message = fmt::format("good until {}", utc(expires));
  return append(view, context, std::move(done));
}

Status join_with_token(WriteView& view, const ServiceContext& context, const Caller& caller,
                       const v1::JoinHostRequest& request, v1::Certificate* response) {
  constexpr std::string_view kRemedy = "ask an admin for a new one (qmasq host token)";
  auto refuse = [&](std::string_view why) {
    return fail(Code::kUnauthenticated, fmt::format("{}: {}", why, kRemedy), "token");
  };
  auto parts = trust::parse_join_token(request.token());
  if (!parts) return fail(Code::kUnauthenticated, parts.error().message, "token");
  QMASQ_ASSIGN(auto hash, trust::hash_join_secret(parts->secret));
  QMASQ_ASSIGN(auto token, view.find_join_token(hash));
  if (!token || !trust::equal_secrets(token->hash, hash)) {
    return refuse("this controller knows no such join token");
  }
  if (token->use_time) {
    return refuse(fmt::format("the join token was used or revoked on {}", utc(*token->use_time)));
  }
  if (token->expire_time <= view.now()) {
    return refuse(fmt::format("the join token expired on {}", utc(token->expire_time)));
  }
  const trust::Identity holder{trust::Identity::Kind::kHost, token->host_id};
  QMASQ_TRY(issue(view, context, holder, request.certificate_request(), kHostLife, response));
  token->use_time = view.now();
  QMASQ_TRY(view.put(*token));
  AuditRecord done = audit_record(caller, "AuthService/JoinHost");
  done.caller = trust::name_of(holder);
  done.role = Role::kHost;
  done.resource = trust::name_of(holder);
  return append(view, context, std::move(done));
}

Status renew_certificate(WriteView& view, const ServiceContext& context, const Caller& caller,
                         const v1::RenewCertificateRequest& request, v1::Certificate* response) {
  if (caller.certificate_serial.empty()) {
    return fail(Code::kFailedPrecondition,
                fmt::format("{} came without a certificate: there is none to renew", caller.name));
  }
  QMASQ_ASSIGN(auto holder, trust::identity_of_name(caller.name));
  // As long as the one before.
  const auto life =
      std::chrono::duration_cast<seconds>(caller.certificate_end - caller.certificate_start);
  QMASQ_TRY(issue(view, context, holder, request.certificate_request(),
                  std::max<seconds>(life - std::chrono::minutes(5), seconds(1)), response));
  AuditRecord done = audit_record(caller, "AuthService/RenewCertificate");
  done.resource = caller.name;
  return append(view, context, std::move(done));
}

Status create_access(WriteView& view, const ServiceContext& context, const Caller& caller,
                     const v1::CreateAccessRequest& request, v1::CreateAccessResponse* response) {
  QMASQ_ASSIGN(Access access, read_access(request, view.now()));
  QMASQ_ASSIGN(auto life, check_ttl(request.ttl(), request.has_ttl(), kAccessLife, kMaxAccessLife));
  QMASQ_ASSIGN(AccessPtr taken, view.find_access(access.id));
  if (taken) {
    return fail(Code::kAlreadyExists,
                fmt::format("{} exists already{}: names are not used again", access_name(access.id),
                            taken->revoke_time ? ", revoked" : ""),
                "access_id");
  }
  QMASQ_TRY(check_user_is_free(view, access));
  QMASQ_TRY(view.put(access));
  if (!request.certificate_request().empty()) {
    const trust::Identity holder{trust::Identity::Kind::kAccess, access.id};
    QMASQ_TRY(issue(view, context, holder, request.certificate_request(), life,
                    response->mutable_certificate()));
  }
  QMASQ_ASSIGN(AccessPtr made, view.find_access(access.id));
  to_proto(*made, response->mutable_access());
  AuditRecord done = audit_record(caller, "AuthService/CreateAccess");
  done.resource = access_name(access.id);
  done.after = access_json(*made);
  return append(view, context, std::move(done));
}

Status revoke_access(WriteView& view, const ServiceContext& context, const Caller& caller,
                     const v1::RevokeAccessRequest& request, v1::Access* response) {
  QMASQ_ASSIGN(auto id, in_field(parse_access_name(request.name()), "name"));
  QMASQ_ASSIGN(AccessPtr before, view.find_access(id));
  if (!before) {
    return fail(Code::kNotFound, fmt::format("there is no {}", access_name(id)), "name");
  }
  if (before->revoke_time) {
    to_proto(*before, response);
    return {};
  }
  Access after = *before;
  after.revoke_time = view.now();
  QMASQ_TRY(view.put(after));
  QMASQ_TRY(view.revoke_certificates(access_name(id)));
  to_proto(after, response);
  AuditRecord done = audit_record(caller, "AuthService/RevokeAccess");
  done.resource = access_name(id);
  done.before = access_json(*before);
  done.after = access_json(after);
  return append(view, context, std::move(done));
}

Status revoke_host(WriteView& view, const ServiceContext& context, const Caller& caller,
                   const v1::RevokeHostRequest& request) {
  QMASQ_ASSIGN(auto id, in_field(parse_host_name(request.name()), "name"));
  QMASQ_ASSIGN(auto certificates, view.revoke_certificates(host_name(id)));
  QMASQ_ASSIGN(auto tokens, view.revoke_join_tokens(id));
  if (certificates + tokens == 0) {
    QMASQ_ASSIGN(HostPtr host, view.find_host(id));
    if (!host) return fail(Code::kNotFound, fmt::format("there is no {}", host_name(id)), "name");
  }
  AuditRecord done = audit_record(caller, "AuthService/RevokeHost");
  done.resource = host_name(id);
  done.message = fmt::format("{} certificates, {} join tokens", certificates, tokens);
  return append(view, context, std::move(done));
}

void to_proto(const Access& access, v1::Access* out) {
  out->set_name(access_name(access.id));
  out->set_role(static_cast<v1::Role>(access.role));
  for (const auto& vpc : access.vpcs)
    out->add_vpcs(vpc_name(vpc));
  if (access.user_id) out->set_user_id(*access.user_id);
  if (access.group_id) out->set_group_id(*access.group_id);
  to_proto(access.create_time, out->mutable_create_time());
  if (access.expire_time) to_proto(*access.expire_time, out->mutable_expire_time());
  if (access.revoke_time) to_proto(*access.revoke_time, out->mutable_revoke_time());
}

void to_proto(const AuditRecord& record, v1::AuditRecord* out) {
  out->set_sequence(record.sequence);
  to_proto(record.time, out->mutable_time());
  out->mutable_caller()->set_name(record.caller);
  out->mutable_caller()->set_role(static_cast<v1::Role>(record.role));
  out->mutable_caller()->set_peer(record.peer);
  out->mutable_caller()->set_certificate_serial(record.certificate_serial);
  out->set_method(record.method);
  out->set_resource(record.resource);
  out->set_status(record.status);
  out->set_message(record.message);
  out->set_before(record.before);
  out->set_after(record.after);
  out->set_revision(record.revision);
}

void to_proto(const Caller& caller, v1::Caller* out) {
  out->set_name(caller.name);
  out->set_role(static_cast<v1::Role>(caller.role));
  for (const auto& vpc : caller.vpcs)
    out->add_vpcs(vpc_name(vpc));
  out->set_peer(caller.peer);
  out->set_certificate_serial(caller.certificate_serial);
}

}  // namespace qmasq::controller

// SPDX-License-Identifier: Apache-2.0
#include "controller/auth/audit.h"

#include <fmt/format.h>
#include <google/protobuf/util/json_util.h>
#include <spdlog/spdlog.h>

#include <algorithm>

#include "common/resource_name.h"
#include "controller/wire/convert.h"

namespace qmasq::controller {
namespace {

constexpr std::size_t kMaxMessage = 512;
constexpr qos::VerbRate kOfOnePeer{1, 20};
constexpr qos::VerbRate kOfAll{10, 200};

std::string cut(std::string_view text, std::size_t most) {
  if (text.size() <= most) return std::string(text);
  // Not inside a character: the log is UTF-8.
  while (most > 0 && (static_cast<unsigned char>(text[most]) & 0xc0U) == 0x80U)
    --most;
  return std::string(text.substr(0, most)) + "...(cut)";
}

struct Named {
  std::string name;
  std::string vpc_id;
};
Named name_of(const Vpc& vpc) {
  return {vpc_name(vpc.id), vpc.id};
}
Named name_of(const Endpoint& endpoint) {
  return {endpoint_name(endpoint.vpc_id, endpoint.id), endpoint.vpc_id};
}
Named name_of(const SecurityGroup& group) {
  return {security_group_name(group.vpc_id, group.id), group.vpc_id};
}
Named name_of(const Host& host) {
  return {host_name(host.id), {}};
}
Named name_of(const QosPolicy& policy) {
  return {qos_policy_name(policy.policy.id), {}};
}

template <typename Message, typename T>
std::string json_of(const std::shared_ptr<const T>& value) {
  if (!value) return {};
  Message message;
  to_proto(*value, &message);
  return audit_json(message);
}

template <typename Message, typename T>
bool describe(const std::vector<Changed<T>>& changes, AuditRecord* record) {
  if (changes.empty()) return false;
  // Of several the last: what is asked for comes after what makes room for it.
  const auto& change = changes.back();
  Named named = name_of(change.after ? *change.after : *change.before);
  record->resource = std::move(named.name);
  record->vpc_id = std::move(named.vpc_id);
  record->before = json_of<Message>(change.before);
  record->after = json_of<Message>(change.after);
  return true;
}

}  // namespace

AuditRecord audit_record(const Caller& caller, std::string_view method) {
  AuditRecord record;
  record.caller = caller.name;
  record.role = caller.role;
  record.peer = caller.peer;
  record.certificate_serial = caller.certificate_serial;
  record.method = std::string(method);
  return record;
}

std::string audit_json(const google::protobuf::Message& message) {
  std::string json;
  if (!google::protobuf::util::MessageToJsonString(message, &json).ok()) return "{}";
  return cut(json, kMaxAuditJson);
}

Status audit_change(WriteView& view, const Caller& caller, std::string_view method,
                    const AuditRetention& retention) {
  const Commit& done = view.pending();
  AuditRecord record = audit_record(caller, method);
  record.revision = done.revision.value;
  // What one call changes beside its own resource hangs on it: a VPC's groups on the VPC.
  if (!describe<v1::Vpc>(done.vpcs, &record) && !describe<v1::Endpoint>(done.endpoints, &record) &&
      !describe<v1::SecurityGroup>(done.groups, &record) &&
      !describe<v1::QosPolicy>(done.policies, &record) &&
      !describe<v1::Host>(done.hosts, &record)) {
    return {};
  }
  return view.append(std::move(record), retention);
}

void RefusalLog::note(const Caller& caller, std::string_view method, const Subject& subject,
                      const Error& why) {
  metrics_.refused(status_name(why.code));
  const auto now = clock_.now();
  const std::string peer = caller.name == "unknown" ? peer_address(caller.peer) : caller.name;
  if (limits_.take("peer/" + peer, kOfOnePeer, now) || limits_.take("all", kOfAll, now)) {
    dropped_.fetch_add(1);
    metrics_.audit_dropped();
    return;
  }
  spdlog::warn("refused {} to {} ({}): {}", method, caller.name, caller.peer, why.message);
  AuditRecord record = audit_record(caller, method);
  record.refused = true;
  record.resource = subject.resource;
  record.vpc_id = subject.vpc_id;
  record.status = status_name(why.code);
  record.message = cut(why.message, kMaxMessage);
  const std::uint64_t dropped = dropped_.exchange(0);
  if (dropped > 0) {
    record.message += fmt::format(" ({} refusals before this one were not recorded)", dropped);
  }
  auto written = store_.write([&](WriteView& view) { return view.append(record, retention_); });
  if (written) return;
  dropped_.fetch_add(dropped + 1);
  metrics_.audit_dropped();
  spdlog::error("cannot record a refusal: {}", written.error().message);
}

std::string peer_address(const std::string& peer) {
  auto colon = peer.rfind(':');
  return colon == std::string::npos || peer.starts_with("unix:") ? peer : peer.substr(0, colon);
}

std::string status_name(Code code) {
  std::string name(to_string(code));
  std::transform(name.begin(), name.end(), name.begin(), [](char c) {
    return c == ' ' ? '_' : c >= 'a' && c <= 'z' ? char(c - 32) : c;
  });
  return name;
}

}  // namespace qmasq::controller

// SPDX-License-Identifier: Apache-2.0
// Security groups on the way of a QP: asked when it connects, carried out when they change.
#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "conntrack/rule_text.h"
#include "vbond/events/event_log.h"
#include "vbond/rename/connection_event.h"
#include "vbond/rename/endpoint_table.h"
#include "vbond/rename/metrics.h"
#include "vbond/rename/permission.h"
#include "vbond/rename/policy_metrics.h"
#include "vbond/rename/renamer.h"

namespace qmasq::vbond {
namespace {

namespace qp_mask = uverbs::qp_mask;
using conntrack::Admission;
using conntrack::Effect;

std::string explain(const conntrack::VerdictPtr& verdict, const Connection& held) {
  return conntrack::explain(verdict->verdict, held.endpoint_name,
                            held.path ? held.path->peer_name : "its peer");
}

std::string why_cut(const Effect& effect, const Connection& held) {
  const std::string peer = held.path ? held.path->peer_name : std::string("its peer");
  switch (effect.cause) {
    case Effect::Cause::kOwnGone:
      return fmt::format("{} is gone or has lost {}", held.endpoint_name,
                         to_string(effect.connection.own_address));
    case Effect::Cause::kPeerGone:
      return fmt::format("{} is gone or has lost {}", peer,
                         to_string(effect.connection.peer_address));
    case Effect::Cause::kPeerMoved:
      return fmt::format("{} has moved to another host", peer);
    case Effect::Cause::kRules:
      break;
  }
  return fmt::format("was: {}; now: {}", explain(effect.before, held), explain(effect.after, held));
}

}  // namespace

Verdict<void> Renamer::check_transport(const ContextInfo& context, uverbs::QpType type) const {
  if (!parts_.sync.in_sync()) {
    return refuse(EAGAIN, "the agent has no state from the controller yet");
  }
  EndpointPtr endpoint = parts_.endpoints.find(context.endpoint);
  if (endpoint == nullptr) {
    return refuse(ENODEV, fmt::format("endpoint uid {} is not on this host (any more)",
                                      context.endpoint.value));
  }
  const conntrack::Transport transport = transport_of(type);
  if (parts_.tracker.could_use(endpoint->uid, endpoint->gids.front().address(), transport)) {
    return {};
  }
  return refuse(EACCES, fmt::format("no rule of the security groups of {} could ever admit {}",
                                    endpoint->name, conntrack::to_string(transport)));
}

Verdict<Admission> Renamer::admit(const ContextInfo& context, const char* verb, QpKey key,
                                  conntrack::Transport transport, const Path& path) const {
  conntrack::Tracked connection;
  connection.key = key;
  connection.transport = transport;
  connection.own = context.endpoint;
  connection.peer = path.peer;
  connection.own_address = path.virt.local.address();
  connection.peer_address = path.virt.remote.address();
  connection.peer_host = path.peer_host;
  Admission admission = parts_.tracker.admit(connection);
  EndpointPtr endpoint = parts_.endpoints.find(context.endpoint);
  if (endpoint != nullptr && parts_.policy_metrics != nullptr) {
    parts_.policy_metrics->count(*endpoint, admission.result);
    for (std::size_t i = 0; i < admission.shadow.size(); ++i)
      parts_.policy_metrics->count_shadow(*endpoint);
  }
  report_shadow(context, verb, path, admission.shadow);
  switch (admission.result) {
    case Admission::Result::kAdmitted:
      break;
    case Admission::Result::kForbidden:
      return refuse(EACCES,
                    conntrack::explain(admission.verdict->verdict,
                                       endpoint ? endpoint->name : std::string("this endpoint"),
                                       path.peer_name));
    case Admission::Result::kGone:
      return refuse(EHOSTUNREACH,
                    fmt::format("{} or this endpoint has changed just now", path.peer_name));
    case Admission::Result::kLimit:
      return refuse(EDQUOT, "the VPC has as many connections on this host as it may have");
  }
  return admission;
}

void Renamer::narrow_access(ModifyPlan& plan, uverbs::ModifyQp& command) const {
  plan.asked_access = command.access_flags;
  const bool sets = command.sets(qp_mask::kAccessFlags);
  if (!sets && !plan.verdict) return;
  const auto held = parts_.connections.find(plan.key);
  const conntrack::VerdictPtr verdict =
      plan.verdict ? plan.verdict : (held ? held->verdict : nullptr);
  if (!verdict) return;  // no peer yet: nobody can reach the QP
  const std::uint32_t asked = sets ? command.access_flags : (held ? held->asked_access : 0);
  const std::uint32_t permitted = permitted_access(asked, verdict->verdict.on_first);
  // What the tenant set before it had a peer is narrowed with the peer.
  if (!sets && permitted == asked) return;
  command.attr_mask |= qp_mask::kAccessFlags;
  command.access_flags = permitted;
}

void Renamer::enforce(const Effect& effect, const Hands& hands) {
  const auto held = parts_.connections.find(effect.connection.key);
  // Reset, destroyed or led elsewhere since: whatever it has now was asked about by itself.
  if (!held || !(held->admission == effect.ticket)) return;
  if (effect.kind == Effect::Kind::kCut) {
    cut(effect.cause, *held, why_cut(effect, *held), hands);
  } else {
    narrow(effect, *held, hands);
  }
}

void Renamer::narrow(const Effect& effect, const Connection& held, const Hands& hands) {
  const std::uint32_t before = permitted_access(held.asked_access, effect.before->verdict.on_first);
  const std::uint32_t after = permitted_access(held.asked_access, effect.after->verdict.on_first);
  if (before != after) {
    uverbs::ModifyQp command;
    command.qp_handle = held.key.handle;
    command.attr_mask = qp_mask::kAccessFlags;
    command.access_flags = after;
    const int err = hands.modify_qp(command);
    if (err != 0 && (before & ~after) != 0) {
      parts_.tracker.release(effect.ticket);
      cut(effect.cause, held,
          fmt::format("operations shrank, and the NIC takes no other access flags in state {} "
                      "({}); was: {}; now: {}",
                      state_name(held.state), std::strerror(err), explain(effect.before, held),
                      explain(effect.after, held)),
          hands);
      return;
    }
    if (err == 0) {
      if (parts_.policy_metrics != nullptr) {
        parts_.policy_metrics->count_narrowed(held.endpoint_name);
      }
      parts_.events.record(
          connection_event(EventType::kNarrowed, held,
                           fmt::format("the peer may now {}, before {}",
                                       conntrack::to_string(effect.after->verdict.on_first),
                                       conntrack::to_string(effect.before->verdict.on_first))));
    }
  }
  parts_.connections.update(held.key, [&](Connection& record) { record.verdict = effect.after; });
}

void Renamer::cut(Effect::Cause cause, const Connection& held, std::string why,
                  const Hands& hands) {
  const bool address_handle = is_address_handle(held.key);
  int err = 0;
  if (address_handle) {
    err = hands.destroy_ah(held.address_handle);
    if (err != 0) why += fmt::format("; the NIC keeps the address: {}", std::strerror(err));
  } else {
    uverbs::ModifyQp command;
    command.qp_handle = held.key.handle;
    command.attr_mask = qp_mask::kState;
    command.state = uverbs::QpState::kErr;
    err = hands.modify_qp(command);
    if (err != 0) why += fmt::format("; the NIC refused the error state: {}", std::strerror(err));
  }
  Event event = connection_event(EventType::kCut, held, std::move(why));
  event.err = err;
  parts_.events.record(std::move(event));
  if (address_handle) {
    forget(held.key);
    parts_.connections.remove(held.key);
  } else {
    parts_.connections.update(held.key, [&](Connection& record) {
      if (err == 0) record.state = uverbs::QpState::kErr;
      record.connected = false;
      record.admission = {};
    });
  }
  if (parts_.metrics != nullptr && held.connected) parts_.metrics->count_disconnect();
  if (parts_.policy_metrics != nullptr) parts_.policy_metrics->count_cut(held.endpoint_name, cause);
  show();
}

void Renamer::report_admitted(QpKey key) const {
  const auto held = parts_.connections.find(key);
  if (!held || !held->verdict) return;
  const conntrack::Verdict& verdict = held->verdict->verdict;
  auto logs = [](const conntrack::Opening& opening) {
    return opening.open() && (opening.egress.log || opening.ingress.log);
  };
  if (!logs(verdict.first_opens) && !logs(verdict.second_opens)) return;
  parts_.events.record(
      connection_event(EventType::kAdmitted, *held, explain(held->verdict, *held)));
}

void Renamer::report_shadow(const ContextInfo& context, const char* verb, const Path& path,
                            const std::vector<conntrack::ShadowHit>& hits) const {
  for (const conntrack::ShadowHit& hit : hits) {
    EndpointPtr endpoint = parts_.endpoints.find(context.endpoint);
    Event event;
    event.type = EventType::kShadowHit;
    event.endpoint = endpoint ? endpoint->name : std::string();
    event.verb = verb;
    event.pid = context.pid;
    event.command = context.command;
    event.reason = fmt::format("{} would decide for {}, if it were enforced; peer {} ({})",
                               conntrack::describe(hit.decision, hit.direction),
                               hit.endpoint == path.peer ? path.peer_name : event.endpoint,
                               path.peer_name, to_string(path.virt.remote.address()));
    parts_.events.record(std::move(event));
  }
}

}  // namespace qmasq::vbond

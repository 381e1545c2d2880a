// SPDX-License-Identifier: Apache-2.0
#include "vbond/enforce/query_answers.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "conntrack/rule_text.h"
#include "schema/verdict_message.h"
#include "vbond/rename/connection_table.h"
#include "vbond/rename/peer_map.h"
#include "vbond/sync/group_from.h"

namespace qmasq::vbond {
namespace {

using conntrack::Effect;

constexpr std::size_t kMostConnections = 100;

v1::Answer failure(std::string error) {
  v1::Answer out;
  out.set_error(std::move(error));
  return out;
}

std::string reason_of(const Effect& effect, const std::string& own, const std::string& peer) {
  switch (effect.cause) {
    case Effect::Cause::kOwnGone:
      return fmt::format("{} has lost {}", own, to_string(effect.connection.own_address));
    case Effect::Cause::kPeerGone:
      return fmt::format("{} has lost {}", peer, to_string(effect.connection.peer_address));
    case Effect::Cause::kPeerMoved:
      return fmt::format("{} has moved", peer);
    case Effect::Cause::kRules:
      break;
  }
  if (effect.kind == Effect::Kind::kChanged) {
    return fmt::format("the peer may {} instead of {}", to_string(effect.after->verdict.on_first),
                       to_string(effect.before->verdict.on_first));
  }
  return explain(effect.after->verdict, own, peer);
}

}  // namespace

v1::Answer QueryAnswers::answer(const v1::Query& query) {
  switch (query.kind_case()) {
    case v1::Query::kTrace:
      return trace(query.trace());
    case v1::Query::kImpact:
      return impact(query.impact());
    case v1::Query::kQos:
    case v1::Query::KIND_NOT_SET:
      break;
  }
  return failure("this agent does not know the question");
}

v1::Answer QueryAnswers::trace(const v1::TraceQuery& query) const {
  auto from_address = parse_ip(query.from_address().substr(0, 64));
  auto to_address = parse_ip(query.to_address().substr(0, 64));
  if (!from_address || !to_address) return failure("an address does not read");
  const EndpointUid from{query.from_endpoint_uid()};
  const EndpointUid to{query.to_endpoint_uid()};
  const conntrack::Transport transport = qmasq::transport_of(query.transport());
  auto held = tracker_.judge(from, *from_address, to, *to_address, transport);
  auto from_info = peers_.describe(from);
  auto to_info = peers_.describe(to);
  if (!held || !from_info || !to_info) {
    return failure("one of the two endpoints is not known here, or has lost the address");
  }
  v1::Answer out;
  *out.mutable_trace() =
      explain_verdict({from_info->name, held->own->party(*from_address)},
                      {to_info->name, held->peer->party(*to_address)}, transport);
  return out;
}

v1::Answer QueryAnswers::impact(const v1::ImpactQuery& query) const {
  conntrack::Hypothesis hypothesis;
  for (const auto& message : query.security_groups()) {
    auto group = group_from(message);
    if (!group) return failure(group.error().message);
    hypothesis.groups.push_back(std::move(*group));
  }
  for (const auto& message : query.endpoints()) {
    conntrack::Hypothesis::Member member;
    member.endpoint = EndpointUid{message.uid()};
    for (auto uid : message.security_group_uids())
      member.groups.push_back(SecurityGroupUid{uid});
    for (const auto& text : message.addresses()) {
      auto address = parse_ip(text.substr(0, 64));
      if (!address) return failure("an address does not read");
      member.addresses.push_back(*address);
    }
    hypothesis.endpoints.push_back(std::move(member));
  }
  std::vector<Effect> effects = tracker_.suppose(hypothesis);
  std::stable_partition(effects.begin(), effects.end(),
                        [](const Effect& effect) { return effect.kind == Effect::Kind::kCut; });
  v1::Answer out;
  v1::Impact& impact = *out.mutable_impact();
  for (const Effect& effect : effects) {
    const bool cut = effect.kind == Effect::Kind::kCut;
    const bool narrower =
        !cut && !effect.after->verdict.on_first.covers(effect.before->verdict.on_first);
    if (!cut && !narrower) continue;
    if (cut) {
      impact.set_cut_count(impact.cut_count() + 1);
    } else {
      impact.set_narrowed_count(impact.narrowed_count() + 1);
    }
    if (static_cast<std::size_t>(impact.connections_size()) == kMostConnections) continue;
    v1::AffectedConnection& to = *impact.add_connections();
    to.set_host(host_);
    const auto record = connections_.find(effect.connection.key);
    if (record) {
      to.set_endpoint(record->endpoint_name);
      to.set_qpn(record->qpn.value);
      if (record->path) to.set_peer_endpoint(record->path->peer_name);
    }
    to.set_virtual_address(to_string(effect.connection.own_address));
    to.set_peer_virtual_address(to_string(effect.connection.peer_address));
    to.set_transport(conntrack::to_string(effect.connection.transport));
    to.set_cut(cut);
    to.set_reason(reason_of(effect, to.endpoint(), to.peer_endpoint()));
  }
  return out;
}

}  // namespace qmasq::vbond

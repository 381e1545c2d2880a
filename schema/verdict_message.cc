// SPDX-License-Identifier: Apache-2.0
#include "schema/verdict_message.h"

#include <algorithm>
#include <tuple>
#include <utility>
#include <vector>

#include "conntrack/rule_text.h"

namespace qmasq {
namespace {

using conntrack::Direction;
using conntrack::Match;
using conntrack::Operations;
using conntrack::Program;
using conntrack::Rule;
using conntrack::SideDecision;
using conntrack::Transport;

constexpr int kMostNamed = 20;

void put(const Program& program, std::uint16_t rule, v1::RuleReference* out) {
  out->set_security_group(program.group().name);
  out->set_rule_id(program.group().rules[rule].id);
  out->set_text(to_string(program.group().rules[rule]));
}

v1::SideDecision explain_side(const TracedEnd& own, const TracedEnd& peer, Direction direction,
                              Transport transport, const SideDecision& decision) {
  v1::SideDecision out;
  out.set_endpoint(own.endpoint);
  out.set_admits(decision.admits);
  if (decision.program != nullptr) put(*decision.program, decision.rule, out.mutable_rule());

  struct Found {
    std::uint32_t order;
    const Program* program;
    std::uint16_t rule;
  };
  std::vector<Found> others;
  for (const conntrack::ProgramPtr& program : own.party.programs) {
    for (std::uint16_t rule :
         program->all_matching(direction, transport, peer.party.groups, peer.party.address)) {
      const Rule& value = program->group().rules[rule];
      if (value.shadow || (program.get() == decision.program && rule == decision.rule)) continue;
      others.push_back({Match::order_of(value), program.get(), rule});
    }
  }
  std::stable_sort(others.begin(), others.end(),
                   [](const Found& a, const Found& b) { return a.order < b.order; });
  for (const Found& found : others) {
    if (out.also_size() == kMostNamed) break;
    put(*found.program, found.rule, out.add_also());
  }
  const SideDecision shadow =
      shadow_decision(direction, transport, own.party, peer.party, decision);
  if (shadow.program != nullptr) put(*shadow.program, shadow.rule, out.add_shadow());
  return out;
}

v1::Opening explain_opening(const TracedEnd& opener, const TracedEnd& other, Transport transport,
                            const conntrack::Opening& opening) {
  v1::Opening out;
  out.set_open(opening.open());
  *out.mutable_egress() =
      explain_side(opener, other, Direction::kEgress, transport, opening.egress);
  *out.mutable_ingress() =
      explain_side(other, opener, Direction::kIngress, transport, opening.ingress);
  return out;
}

template <typename Add>
void put(Operations operations, Add add) {
  using Message = v1::SecurityGroupRule;
  if (operations.has(Operations::kSend)) add(Message::SEND);
  if (operations.has(Operations::kRead)) add(Message::READ);
  if (operations.has(Operations::kWrite)) add(Message::WRITE);
  if (operations.has(Operations::kAtomic)) add(Message::ATOMIC);
}

}  // namespace

v1::ConnectionVerdict explain_verdict(const TracedEnd& first, const TracedEnd& second,
                                      Transport transport) {
  const conntrack::Verdict verdict = evaluate(first.party, second.party, transport);
  v1::ConnectionVerdict out;
  out.set_allowed(verdict.allowed);
  *out.mutable_from_opens() = explain_opening(first, second, transport, verdict.first_opens);
  *out.mutable_to_opens() = explain_opening(second, first, transport, verdict.second_opens);
  put(verdict.on_first, [&](auto operation) { out.add_operations_on_from(operation); });
  put(verdict.on_second, [&](auto operation) { out.add_operations_on_to(operation); });
  out.set_reason(explain(verdict, first.endpoint, second.endpoint));
  return out;
}

Transport transport_of(v1::SecurityGroupRule::Transport transport) {
  switch (transport) {
    case v1::SecurityGroupRule::UC:
      return Transport::kUc;
    case v1::SecurityGroupRule::UD:
      return Transport::kUd;
    case v1::SecurityGroupRule::XRC:
      return Transport::kXrc;
    default:
      return Transport::kRc;
  }
}

}  // namespace qmasq

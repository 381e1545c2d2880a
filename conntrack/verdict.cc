// SPDX-License-Identifier: Apache-2.0
#include "conntrack/verdict.h"

#include <fmt/format.h>

#include <algorithm>

#include "conntrack/rule_text.h"

namespace qmasq::conntrack {
namespace {

// The best match of all programs of a party, and whose it is. Of equal precedence, the first
// program's counts as the deciding one: programs come in the order of their groups' uids.
struct Best {
  Match match;
  const Program* program = nullptr;

  void take(const Match& other, const Program* whose) {
    if (!other.found()) return;
    if (other.order < match.order) {
      match = other;
      program = whose;
    } else if (other.order == match.order) {
      match.operations = match.operations | other.operations;
      match.log = match.log || other.log;
    }
  }
};

SideDecision decision_of(const Best& best) {
  SideDecision out;
  out.admits = best.match.allows();
  if (out.admits) out.operations = best.match.operations;
  out.log = best.match.log;
  out.program = best.program;
  out.rule = best.match.rule;
  return out;
}

std::string id_of(const Group& group) {
  return group.name.substr(group.name.rfind('/') + 1);
}

std::string sentence(const char* verb, const Opening& opening, std::string_view opener,
                     std::string_view other) {
  return fmt::format("{} {} a connection to {} ({}; {})", opener, verb, other,
                     describe(opening.egress, Direction::kEgress),
                     describe(opening.ingress, Direction::kIngress));
}

// Who of the two sides says no.
std::string refusal(const Opening& opening, std::string_view opener, std::string_view other) {
  if (!opening.egress.admits) {
    return fmt::format("{} may not connect to {}: {} of {}", opener, other,
                       describe(opening.egress, Direction::kEgress), opener);
  }
  return fmt::format("{} does not admit {}: {} of {}", other, opener,
                     describe(opening.ingress, Direction::kIngress), other);
}

}  // namespace

SideDecision decide(Direction direction, Transport transport, const Party& own, const Party& peer) {
  Best best;
  for (const ProgramPtr& program : own.programs)
    best.take(program->find(direction, transport, peer.groups, peer.address), program.get());
  if (best.match.found()) return decision_of(best);
  SideDecision out;
  out.admits = direction == Direction::kEgress && transport != Transport::kUd;
  if (out.admits) out.operations = Operations::all();
  return out;
}

Verdict evaluate(const Party& first, const Party& second, Transport transport) {
  Verdict out;
  out.first_opens.egress = decide(Direction::kEgress, transport, first, second);
  out.first_opens.ingress = decide(Direction::kIngress, transport, second, first);
  out.second_opens.egress = decide(Direction::kEgress, transport, second, first);
  out.second_opens.ingress = decide(Direction::kIngress, transport, first, second);
  if (out.first_opens.open()) {
    out.allowed = true;
    out.on_first = out.on_first | out.first_opens.egress.operations;
    out.on_second = out.on_second | out.first_opens.ingress.operations;
  }
  if (out.second_opens.open()) {
    out.allowed = true;
    out.on_first = out.on_first | out.second_opens.ingress.operations;
    out.on_second = out.on_second | out.second_opens.egress.operations;
  }
  return out;
}

SideDecision shadow_decision(Direction direction, Transport transport, const Party& own,
                             const Party& peer, const SideDecision& now) {
  Best best;
  for (const ProgramPtr& program : own.programs) {
    if (!program->has_shadow()) continue;
    best.take(program->find_shadow(direction, transport, peer.groups, peer.address), program.get());
  }
  const Rule* deciding = now.deciding_rule();
  const std::uint32_t order = deciding == nullptr ? Match::kNoOrder : Match::order_of(*deciding);
  if (!best.match.found() || best.match.order > order) return {};
  return decision_of(best);
}

bool could_use(const Party& party, Transport transport) {
  for (Direction direction : {Direction::kIngress, Direction::kEgress}) {
    std::uint32_t allow = Match::kNoOrder;
    std::uint32_t deny = Match::kNoOrder;
    for (const ProgramPtr& program : party.programs) {
      allow = std::min(allow, program->best_allow(direction, transport));
      deny = std::min(deny, program->denies_all(direction, transport));
    }
    const bool by_default = direction == Direction::kEgress && transport != Transport::kUd;
    if (allow < deny || (by_default && deny == Match::kNoOrder)) return true;
  }
  return false;
}

std::string describe(const SideDecision& decision, Direction direction) {
  const Rule* rule = decision.deciding_rule();
  if (rule == nullptr) {
    return fmt::format("no rule matches: default {} {}", decision.admits ? "allow" : "deny",
                       to_string(direction));
  }
  return fmt::format("rule {}/{}: {}", id_of(decision.program->group()), rule->id,
                     to_string(*rule));
}

std::string explain(const Verdict& verdict, std::string_view first, std::string_view second) {
  if (verdict.first_opens.open()) {
    return sentence("may open", verdict.first_opens, first, second);
  }
  if (verdict.second_opens.open()) {
    return sentence("may open", verdict.second_opens, second, first);
  }
  return refusal(verdict.first_opens, first, second) + "; and " +
         refusal(verdict.second_opens, second, first);
}

}  // namespace qmasq::conntrack

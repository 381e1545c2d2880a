// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>

#include "conntrack/program.h"
#include "conntrack/types.h"

namespace qmasq::conntrack {

// One end of a connection, as rules see it. A group it carries may have no program: one that is not
// known has no rules.
struct Party {
  std::span<const ProgramPtr> programs;
  std::span<const SecurityGroupUid> groups;
  IpAddress address;  // that it uses on this connection
};

// What the rules of one side in one direction say.
struct SideDecision {
  bool admits = false;
  Operations operations;  // none unless it admits
  bool log = false;
  // The rule that decides; null: none matches, and the default holds (in: deny; out: allow all,
  // but not for UD). Lives as long as the parties' programs.
  const Program* program = nullptr;
  std::uint16_t rule = 0;

  [[nodiscard]] const Rule* deciding_rule() const {
    return program == nullptr ? nullptr : &program->group().rules[rule];
  }
  bool operator==(const SideDecision&) const = default;
};

// X opens a connection to Y.
struct Opening {
  SideDecision egress;   // of X
  SideDecision ingress;  // of Y
  [[nodiscard]] bool open() const { return egress.admits && ingress.admits; }
  bool operator==(const Opening&) const = default;
};

// The two-sided formula (docs/security-groups.md): allowed when one of the two could have opened
// it. Both hosts come to the same, with the sides swapped.
struct Verdict {
  bool allowed = false;
  Opening first_opens;
  Opening second_opens;
  // What the other side may do to the memory of each.
  Operations on_first;
  Operations on_second;
  bool operator==(const Verdict&) const = default;
};

[[nodiscard]] SideDecision decide(Direction direction, Transport transport, const Party& own,
                                  const Party& peer);
[[nodiscard]] Verdict evaluate(const Party& first, const Party& second, Transport transport);

// The shadow rule that would decide if it were enforced: it comes before what decides now. Program
// null: there is none.
[[nodiscard]] SideDecision shadow_decision(Direction direction, Transport transport,
                                           const Party& own, const Party& peer,
                                           const SideDecision& now);

// A rule of the party's could ever admit the transport: else its queue pairs are refused when they
// are made.
[[nodiscard]] bool could_use(const Party& party, Transport transport);

// One sentence: who decides, with the rule; `first` and `second` name the two ("vpcs/blue/...").
[[nodiscard]] std::string explain(const Verdict& verdict, std::string_view first,
                                  std::string_view second);
// "default/self-in: in allow 100 any from sg:default", or "no rule: default deny in".
[[nodiscard]] std::string describe(const SideDecision& decision, Direction direction);

}  // namespace qmasq::conntrack

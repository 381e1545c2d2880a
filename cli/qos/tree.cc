// SPDX-License-Identifier: Apache-2.0
#include "cli/qos/tree.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "cli/names.h"
#include "cli/qos/words.h"
#include "cli/resources.h"
#include "cli/table.h"

namespace qmasq::cli {
namespace {

using Node = v1::QosNode;

// Backends round rates; less than a percent is not worth a word.
bool differs(std::uint64_t a, std::uint64_t b) {
  constexpr std::uint64_t kPercent = 100;
  return (a > b ? a - b : b - a) > a / kPercent;
}

// As configured; with what became of it where the rest of the tree made it something else.
std::string limit_text(bool configured, std::uint64_t wanted, bool programmed, std::uint64_t is) {
  if (!configured) return "";
  if (!programmed || !differs(wanted, is)) return rate_text(wanted);
  return fmt::format("{} (is {})", rate_text(wanted), rate_text(is));
}

std::string node_text(const Node& node) {
  constexpr const char* kVpcIndent = "  ";
  constexpr const char* kEndpointIndent = "    ";
  switch (node.kind()) {
    case Node::VPC:
      return kVpcIndent + short_name(node.name());
    case Node::ENDPOINT:
      return kEndpointIndent + short_name(node.name());
    case Node::OTHER:
      return "  (all else)";
    default:
      return node.name();
  }
}

bool limited(const Node& node) {
  const v1::QosLimits& limits = node.configured();
  return limits.has_guaranteed_bps() || limits.has_maximum_bps() || limits.has_burst_bytes();
}

std::string enforced_text(const Node& node) {
  if (!node.enforced()) {
    return node.unenforced().empty()
               ? "NO"
               : "NO: " + join({node.unenforced().begin(), node.unenforced().end()}, "; ");
  }
  return limited(node) ? "yes" : "";
}

void add_node(Table& table, const Node& node) {
  const v1::QosLimits& wanted = node.configured();
  const v1::QosLimits& is = node.programmed();
  const bool observed = node.has_observed();
  auto weight = wanted.has_weight() ? std::to_string(wanted.weight()) : "";
  table.add({node_text(node), short_name(node.policy()),
             limit_text(wanted.has_guaranteed_bps(), wanted.guaranteed_bps(),
                        is.has_guaranteed_bps(), is.guaranteed_bps()),
             limit_text(wanted.has_maximum_bps(), wanted.maximum_bps(), is.has_maximum_bps(),
                        is.maximum_bps()),
             weight, observed ? observed_rate(static_cast<double>(node.observed().rate_bps())) : "",
             observed ? observed_bytes(node.observed().bytes()) : "",
             observed ? std::to_string(node.observed().drops()) : "", enforced_text(node)});
}

// "rxe0 on eth1: 30Mbit, set by an administrator; tc enforces guaranteed, maximum"
std::string nic_text(const v1::NicQos& nic) {
  std::string out = nic.device();
  if (!nic.netdev().empty()) out += " on " + nic.netdev();
  out += nic.rate_bps() == 0 ? ": rate unknown" : ": " + rate_text(nic.rate_bps());
  out += nic.rate_by_admin() ? ", set by an administrator; " : "; ";
  if (nic.backend().empty()) {
    out += "nothing enforces limits";
  } else {
    out += fmt::format("{} enforces {}", nic.backend(),
                       join({nic.capabilities().begin(), nic.capabilities().end()}));
  }
  return out;
}

void print_nic(const Shell& shell, const v1::NicQos& nic) {
  std::ostream& out = shell.console.out;
  out << printable(nic_text(nic)) << '\n';
  if (!nic.message().empty()) out << "  " << printable(nic.message()) << '\n';
  if (nic.nodes().empty()) return;
  Table table(
      {"NODE", "POLICY", "GUARANTEED", "MAXIMUM", "WEIGHT", "RATE", "BYTES", "DROPS", "ENFORCED"});
  for (const Node& node : nic.nodes())
    add_node(table, node);
  table.print(out, shell.console.colour);
}

void print_quotas(const Shell& shell, const v1::HostQos& host) {
  Table table({"QUOTA OF", "RESOURCE", "USED", "LIMIT", "REFUSED"});
  for (const v1::QuotaUse& use : host.quotas()) {
    if (use.used() == 0 && use.limit() == 0 && use.refused() == 0) continue;
    table.add({short_name(use.name()), quota_word(use.resource()),
               quota_text(use.resource(), use.used()),
               use.limit() == 0 ? "" : quota_text(use.resource(), use.limit()),
               std::to_string(use.refused())});
  }
  if (table.empty()) return;
  shell.console.out << '\n';
  table.print(shell.console.out, shell.console.colour);
}

void print_verb_rates(const Shell& shell, const v1::HostQos& host) {
  Table table({"RATE OF", "VERB", "USED", "LIMIT", "REFUSED"});
  for (const v1::VerbRateUse& use : host.verb_rates()) {
    if (use.admitted() == 0 && use.per_second() == 0 && use.refused() == 0) continue;
    table.add({short_name(use.name()), verb_word(use.verb()), std::to_string(use.admitted()),
               verb_rate_text(use.per_second(), use.burst()), std::to_string(use.refused())});
  }
  if (table.empty()) return;
  shell.console.out << '\n';
  table.print(shell.console.out, shell.console.colour);
}

void print_host(const Shell& shell, const v1::HostQos& host) {
  std::ostream& out = shell.console.out;
  const std::string name = printable(short_name(host.host()));
  if (!host.error().empty()) {
    out << name << ": no answer: " << printable(host.error()) << '\n';
    return;
  }
  out << fmt::format("{}: revision {}, at {}\n", name, host.revision(), time_text(host.time()));
  if (host.nics().empty()) out << "no NICs\n";
  for (const v1::NicQos& nic : host.nics())
    print_nic(shell, nic);
  print_quotas(shell, host);
  print_verb_rates(shell, host);
}

}  // namespace

void print_qos(const Shell& shell, const v1::ShowQosResponse& answer) {
  bool first = true;
  for (const v1::HostQos& host : answer.hosts()) {
    if (!first) shell.console.out << '\n';
    first = false;
    print_host(shell, host);
  }
}

void keep_vpc(const std::string& vpc, v1::HostQos& host) {
  auto of_another = [&](const std::string& name) {
    return name != vpc && !name.starts_with(vpc + "/");
  };
  auto drop = [](auto& items, auto wanted) {
    items.erase(std::remove_if(items.begin(), items.end(), wanted), items.end());
  };
  for (v1::NicQos& nic : *host.mutable_nics()) {
    drop(*nic.mutable_nodes(), [&](const Node& node) {
      return node.kind() == Node::OTHER || (node.kind() != Node::NIC && of_another(node.name()));
    });
  }
  drop(*host.mutable_quotas(), [&](const auto& use) { return of_another(use.name()); });
  drop(*host.mutable_verb_rates(), [&](const auto& use) { return of_another(use.name()); });
}

}  // namespace qmasq::cli

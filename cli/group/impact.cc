// SPDX-License-Identifier: Apache-2.0
#include "cli/group/impact.h"

#include <fmt/format.h>

#include "cli/names.h"
#include "cli/table.h"

namespace qmasq::cli {

void print_impact(const Shell& shell, const v1::Impact& impact) {
  std::ostream& out = shell.console.out;
  out << fmt::format("\nWould cut {} connections, and leave {} with fewer operations.\n",
                     impact.cut_count(), impact.narrowed_count());
  if (!impact.connections().empty()) {
    Table table({"HOST", "ENDPOINT", "PEER", "TRANSPORT", "QPN", "WHAT", "WHY"});
    for (const auto& each : impact.connections()) {
      table.add({short_name(each.host()), short_name(each.endpoint()),
                 short_name(each.peer_endpoint()), each.transport(),
                 each.qpn() == 0 ? "" : fmt::format("0x{:06x}", each.qpn()),
                 each.cut() ? "cut" : "narrowed", each.reason()});
    }
    table.print(out, shell.console.colour);
  }
  for (const std::string& host : impact.unknown_hosts()) {
    shell.console.err << printable(short_name(host))
                      << " did not answer: its connections are not counted\n";
  }
}

}  // namespace qmasq::cli

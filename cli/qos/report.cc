// SPDX-License-Identifier: Apache-2.0
#include "cli/qos/report.h"

#include <fmt/format.h>

#include <vector>

#include "cli/names.h"
#include "cli/qos/words.h"
#include "cli/table.h"

namespace qmasq::cli {

void warn_of_oversubscription(
    const Shell& shell,
    const google::protobuf::RepeatedPtrField<v1::Oversubscription>& oversubscriptions) {
  for (const v1::Oversubscription& nic : oversubscriptions) {
    std::vector<std::string> names;
    for (const std::string& name : nic.may_suffer())
      names.push_back(short_name(name));
    const std::string what =
        nic.vpc().empty()
            ? fmt::format("{} of {} has {}, and the guarantees there", nic.device(),
                          short_name(nic.host()), rate_text(nic.rate_bps()))
            : fmt::format(
                  "{} may have {} on {}, and the guarantees of its "
                  "endpoints there",
                  short_name(nic.vpc()), rate_text(nic.rate_bps()), short_name(nic.host()));
    shell.console.err << printable(fmt::format("warning: {} add up to {}", what,
                                               rate_text(nic.guaranteed_bps())))
                      << '\n';
    if (!names.empty()) {
      shell.console.err << "  may get less than promised: " << printable(join(names)) << '\n';
    }
  }
}

std::string qos_cell(const std::string& policy, const v1::QosStatus& status) {
  if (policy.empty() && !status.configured()) return "";
  std::string out = policy.empty() ? "VPC's" : short_name(policy);
  if (status.configured() && !status.enforced()) out += ", not enforced";
  return out;
}

std::string qos_status_text(const std::string& policy, bool reported, const v1::QosStatus& status) {
  if (!reported) return policy.empty() ? "" : "not reported yet";
  if (!status.configured()) return policy.empty() ? "" : "no limits to enforce";
  if (status.enforced()) return "enforced";
  std::string out = "NOT enforced";
  for (const std::string& limit : status.unenforced())
    out += "\n" + limit;
  return out;
}

}  // namespace qmasq::cli

// SPDX-License-Identifier: Apache-2.0
#include "cli/gid_text.h"

#include "common/net_types.h"

namespace qmasq::cli {

std::string short_gid(const std::string& gid) {
  auto parsed = parse_gid(gid);
  return parsed ? to_string(parsed->address()) : gid;
}

}  // namespace qmasq::cli

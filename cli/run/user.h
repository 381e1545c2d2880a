// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"

namespace qmasq::cli {

// Whom the tenant's program runs as.
struct User {
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups;  // supplementary
  std::string home;           // empty if the user is a bare number
};

// "alice", "1000", "alice:rdma", "1000:1000". A group that is named replaces the user's own; the
// supplementary groups are then only that one.
[[nodiscard]] Result<User> parse_user(std::string_view text);

// Takes the ids on, for good. REQUIRES: CAP_SETUID and CAP_SETGID.
[[nodiscard]] Status become(const User& user);

}  // namespace qmasq::cli

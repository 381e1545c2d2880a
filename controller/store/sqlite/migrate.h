// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>

#include "common/result.h"
#include "controller/store/sqlite/connection.h"

namespace qmasq::controller::sqlite {

// Forward only. `version` is the database's user_version after it.
struct Migration {
  int version;
  const char* name;
  const char* sql;
};

// schema/sql, in order.
[[nodiscard]] std::span<const Migration> embedded_migrations();

// Brings an empty or older database to the newest version, all steps in one transaction. Refuses a
// newer one, and a file that another program made.
[[nodiscard]] Status migrate(Connection& connection, std::span<const Migration> migrations);

}  // namespace qmasq::controller::sqlite

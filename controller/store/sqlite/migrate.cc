// SPDX-License-Identifier: Apache-2.0
#include "controller/store/sqlite/migrate.h"

#include <fmt/format.h>

namespace qmasq::controller::sqlite {
namespace {

// "qmsq": lets file(1), people and us tell our databases from others.
constexpr std::int64_t kApplicationId = 0x716d7371;

Status run(Connection& connection, std::span<const Migration> migrations) {
  int newest = migrations.empty() ? 0 : migrations.back().version;
  QMASQ_ASSIGN(auto version, connection.number("PRAGMA user_version"));
  QMASQ_ASSIGN(auto application, connection.number("PRAGMA application_id"));
  QMASQ_ASSIGN(auto objects, connection.number("SELECT count(*) FROM sqlite_schema"));
  bool empty = version == 0 && application == 0 && objects == 0;
  if (!empty && application != kApplicationId) {
    return fail(Code::kFailedPrecondition, "this database was made by another program");
  }
  if (version > newest) {
    return fail(Code::kFailedPrecondition,
                fmt::format("this database has version {}, made by a newer qmasq-controller; this "
                            "one knows versions up to {}: upgrade the program, or use a backup "
                            "from before",
                            version, newest));
  }
  for (const auto& step : migrations) {
    if (step.version <= version) continue;
    if (auto status = connection.exec(step.sql); !status) {
      return with_context(std::move(status).error(), fmt::format("migration {}", step.name));
    }
  }
  if (version == newest && !empty) return {};
  QMASQ_TRY(connection.exec(fmt::format("PRAGMA application_id = {}", kApplicationId)));
  return connection.exec(fmt::format("PRAGMA user_version = {}", newest));
}

}  // namespace

Status migrate(Connection& connection, std::span<const Migration> migrations) {
  QMASQ_TRY(connection.exec("BEGIN IMMEDIATE"));
  auto status = run(connection, migrations);
  if (status) status = connection.exec("COMMIT");
  if (!status) connection.rollback();
  return status;
}

}  // namespace qmasq::controller::sqlite

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <memory>
#include <span>
#include <string>

#include "common/clock.h"
#include "controller/store/sqlite/migrate.h"
#include "controller/store/store.h"

namespace qmasq::controller::sqlite {

struct Options {
  // Made when missing (its parent must exist). Holds qmasq.db and its side files, and `lock`.
  std::string data_dir;
  // SQLite VFS by name; empty: the system's. Tests put one that fails on demand.
  std::string vfs = {};
  // Empty: those of this build.
  std::span<const Migration> migrations = {};
  // How long to wait for another process that looks into the file.
  std::chrono::milliseconds busy_timeout{5000};
};

// State in one SQLite file: WAL, synchronous=FULL, one writer, several readers that do not wait for
// it. One process at a time (flock on DIR/lock). `clock` must outlive the store.
[[nodiscard]] Result<std::unique_ptr<Store>> open_store(const Options& options, const Clock& clock);

}  // namespace qmasq::controller::sqlite

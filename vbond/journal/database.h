// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "common/result.h"
#include "vbond/rename/connection_table.h"

struct sqlite3;
struct sqlite3_stmt;

namespace qmasq::vbond {

// The journal's file: rows of bytes by context and handle, for one boot of the machine. SQLite in
// WAL mode; what was committed is there after kill -9, and need not be after a power cut, which
// ends all that it speaks of. One thread at a time.
class JournalDatabase {
 public:
  static constexpr int kSchema = 1;

  struct Opened;
  // DIRECTORY/journal.db, made where it is not there. One that is damaged, or of a newer version,
  // is set aside ("journal.db.set-aside", replacing an older one) and a new one begun. `boot`: rows
  // of another boot are dropped. Errors: a disk or a directory that does not take it.
  [[nodiscard]] static Result<Opened> open(const std::string& directory, const std::string& boot);
  ~JournalDatabase();
  JournalDatabase(const JournalDatabase&) = delete;
  JournalDatabase& operator=(const JournalDatabase&) = delete;

  // In one transaction. Nothing: the row goes. kResourceExhausted: the disk is full.
  using Rows = std::vector<std::pair<QpKey, std::optional<std::string>>>;
  [[nodiscard]] Status write(const Rows& rows);
  // Errors: the file is damaged.
  [[nodiscard]] Status read(const std::function<void(QpKey, std::string_view)>& each);

 private:
  explicit JournalDatabase(std::string path) : path_(std::move(path)) {}
  [[nodiscard]] Status begin(const std::string& boot);
  [[nodiscard]] Status exec(const char* sql);
  [[nodiscard]] Status error(const char* doing) const;

  const std::string path_;
  sqlite3* handle_ = nullptr;
  sqlite3_stmt* put_ = nullptr;
  sqlite3_stmt* remove_ = nullptr;
};

struct JournalDatabase::Opened {
  std::unique_ptr<JournalDatabase> database;
  std::string set_aside;  // why one was, or empty
};

[[nodiscard]] std::string boot_id();

}  // namespace qmasq::vbond

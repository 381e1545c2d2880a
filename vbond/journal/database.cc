// SPDX-License-Identifier: Apache-2.0
#include "vbond/journal/database.h"

#include <fmt/format.h>
#include <sqlite3.h>
#include <sys/stat.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <utility>

namespace qmasq::vbond {
namespace {

constexpr int kBusyMilliseconds = 2000;

constexpr const char* kTables = R"(
  CREATE TABLE IF NOT EXISTS boot (id TEXT NOT NULL);
  CREATE TABLE IF NOT EXISTS connections (
    context INTEGER NOT NULL, handle INTEGER NOT NULL, record BLOB NOT NULL,
    PRIMARY KEY (context, handle)) WITHOUT ROWID;
  PRAGMA user_version = 1;
)";

struct Finalize {
  void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};
using Statement = std::unique_ptr<sqlite3_stmt, Finalize>;

bool is_damaged(const Error& error) {
  return error.code == Code::kInternal || error.code == Code::kUnsupported;
}

}  // namespace

std::string boot_id() {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string out;
  std::getline(file, out);
  return out;
}

JournalDatabase::~JournalDatabase() {
  sqlite3_finalize(put_);
  sqlite3_finalize(remove_);
  sqlite3_close(handle_);
}

Status JournalDatabase::error(const char* doing) const {
  const int code = handle_ == nullptr ? SQLITE_NOMEM : sqlite3_extended_errcode(handle_);
  Code kind = Code::kInternal;  // the file itself
  switch (code & 0xff) {
    case SQLITE_FULL:
    case SQLITE_NOMEM:
      kind = Code::kResourceExhausted;
      break;
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_IOERR:
      kind = Code::kFailedPrecondition;
      break;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      kind = Code::kUnavailable;
      break;
    default:
      break;
  }
  return fail(kind, fmt::format("journal {}: {}: {}", path_, doing,
                                handle_ == nullptr ? "no memory" : sqlite3_errmsg(handle_)));
}

Status JournalDatabase::exec(const char* sql) {
  if (sqlite3_exec(handle_, sql, nullptr, nullptr, nullptr) != SQLITE_OK) return error("writing");
  return {};
}

Status JournalDatabase::begin(const std::string& boot) {
  constexpr int kFlags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
  if (sqlite3_open_v2(path_.c_str(), &handle_, kFlags, nullptr) != SQLITE_OK)
    return error("opening");
  sqlite3_extended_result_codes(handle_, 1);
  sqlite3_busy_timeout(handle_, kBusyMilliseconds);
  (void)::chmod(path_.c_str(), 0600);
  sqlite3_stmt* raw = nullptr;
  if (sqlite3_prepare_v2(handle_, "PRAGMA user_version", -1, &raw, nullptr) != SQLITE_OK ||
      sqlite3_step(raw) != SQLITE_ROW) {
    Statement held(raw);
    return error("reading its version");
  }
  const int version = sqlite3_column_int(raw, 0);
  sqlite3_finalize(raw);
  if (version > kSchema) {
    return fail(
        Code::kUnsupported,
        fmt::format("journal {}: it has version {}, this agent knows {}", path_, version, kSchema));
  }
  QMASQ_TRY(exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"));
  if (version == 0) QMASQ_TRY(exec(kTables));
  if (sqlite3_prepare_v2(handle_, "SELECT id FROM boot", -1, &raw, nullptr) != SQLITE_OK)
    return error("reading");
  Statement select(raw);
  const int row = sqlite3_step(raw);
  if (row != SQLITE_ROW && row != SQLITE_DONE) return error("reading");
  const auto* text =
      row == SQLITE_ROW ? reinterpret_cast<const char*>(sqlite3_column_text(raw, 0)) : nullptr;
  const bool same = text != nullptr && boot == text;
  select.reset();
  if (!same) {
    QMASQ_TRY(exec("BEGIN; DELETE FROM connections; DELETE FROM boot;"));
    Status done = exec(fmt::format("INSERT INTO boot VALUES ('{}'); COMMIT;", boot).c_str());
    if (!done) return done;
  }
  if (sqlite3_prepare_v2(handle_, "INSERT OR REPLACE INTO connections VALUES (?, ?, ?)", -1, &put_,
                         nullptr) != SQLITE_OK ||
      sqlite3_prepare_v2(handle_, "DELETE FROM connections WHERE context = ? AND handle = ?", -1,
                         &remove_, nullptr) != SQLITE_OK) {
    return error("preparing");
  }
  return {};
}

Result<JournalDatabase::Opened> JournalDatabase::open(const std::string& directory,
                                                      const std::string& boot) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  fs::create_directories(directory, ignored);
  const std::string path = directory + "/journal.db";
  Opened out;
  for (int attempt = 0;; ++attempt) {
    out.database.reset(new JournalDatabase(path));
    Status begun = out.database->begin(boot);
    // Read once to its end: a page that is damaged shows only when it is read.
    if (begun) begun = out.database->read([](QpKey, std::string_view) {});
    if (begun) return out;
    if (attempt > 0 || !is_damaged(begun.error())) return tl::unexpected(begun.error());
    out.set_aside = begun.error().message;
    out.database.reset();
    fs::rename(path, path + ".set-aside", ignored);
    if (ignored) fs::remove(path, ignored);
    fs::remove(path + "-wal", ignored);
    fs::remove(path + "-shm", ignored);
  }
}

Status JournalDatabase::write(const Rows& rows) {
  QMASQ_TRY(exec("BEGIN IMMEDIATE"));
  auto give_up = [&](const char* doing) {
    Status why = error(doing);
    if (sqlite3_get_autocommit(handle_) == 0)
      (void)sqlite3_exec(handle_, "ROLLBACK", nullptr, nullptr, nullptr);
    return why;
  };
  for (const auto& [key, record] : rows) {
    sqlite3_stmt* statement = record ? put_ : remove_;
    sqlite3_bind_int64(statement, 1, static_cast<sqlite3_int64>(key.context));
    sqlite3_bind_int64(statement, 2, key.handle);
    if (record) {
      sqlite3_bind_blob64(statement, 3, record->data(), record->size(), SQLITE_STATIC);
    }
    const int done = sqlite3_step(statement);
    sqlite3_reset(statement);
    if (done != SQLITE_DONE) return give_up("writing");
  }
  if (sqlite3_exec(handle_, "COMMIT", nullptr, nullptr, nullptr) != SQLITE_OK)
    return give_up("writing");
  return {};
}

Status JournalDatabase::read(const std::function<void(QpKey, std::string_view)>& each) {
  sqlite3_stmt* raw = nullptr;
  if (sqlite3_prepare_v2(handle_, "SELECT context, handle, record FROM connections", -1, &raw,
                         nullptr) != SQLITE_OK) {
    return error("reading");
  }
  Statement select(raw);
  int row = SQLITE_ROW;
  while ((row = sqlite3_step(raw)) == SQLITE_ROW) {
    const auto* bytes = static_cast<const char*>(sqlite3_column_blob(raw, 2));
    const auto size = static_cast<std::size_t>(sqlite3_column_bytes(raw, 2));
    each(QpKey{static_cast<std::uint64_t>(sqlite3_column_int64(raw, 0)),
               static_cast<std::uint32_t>(sqlite3_column_int64(raw, 1))},
         bytes == nullptr ? std::string_view() : std::string_view(bytes, size));
  }
  if (row != SQLITE_DONE) return error("reading");
  return {};
}

}  // namespace qmasq::vbond

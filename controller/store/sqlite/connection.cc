// SPDX-License-Identifier: Apache-2.0
#include "controller/store/sqlite/connection.h"

#include <fmt/format.h>
#include <sqlite3.h>

#include <cstring>
#include <utility>

namespace qmasq::controller::sqlite {
namespace {

Error explain(int code, const std::string& detail, const std::string& path) {
  auto with = [&](Code kind, std::string_view text) {
    return Error{kind, fmt::format("database {}: {} ({})", path, text, detail), 0, {}};
  };
  switch (code & 0xff) {
    case SQLITE_FULL:
      return with(Code::kResourceExhausted,
                  "the disk is full: nothing was changed; free space and try again");
    case SQLITE_READONLY:
      return with(Code::kFailedPrecondition,
                  "it cannot be written: nothing was changed; check its file system and its owner");
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return with(Code::kUnavailable, "another process has locked it: nothing was changed");
    case SQLITE_CORRUPT:
      return with(Code::kInternal, "the file is damaged: restore it from a backup");
    case SQLITE_NOTADB:
      return with(Code::kInternal, "the file is not a database");
    case SQLITE_CANTOPEN:
      return with(Code::kFailedPrecondition,
                  "it cannot be opened: check that its directory exists and can be written");
    case SQLITE_PERM:
    case SQLITE_AUTH:
      return with(Code::kPermissionDenied, "access denied");
    case SQLITE_IOERR:
      return with(Code::kInternal, "reading or writing it failed: nothing was changed");
    case SQLITE_CONSTRAINT:
      if (code == SQLITE_CONSTRAINT_UNIQUE || code == SQLITE_CONSTRAINT_PRIMARYKEY) {
        return Error{Code::kAlreadyExists, detail, 0, {}};
      }
      if (code == SQLITE_CONSTRAINT_FOREIGNKEY || code == SQLITE_CONSTRAINT_TRIGGER) {
        return Error{Code::kFailedPrecondition, detail, 0, {}};
      }
      return Error{Code::kInvalidArgument, detail, 0, {}};
    case SQLITE_NOMEM:
      return with(Code::kResourceExhausted, "out of memory");
    default:
      return with(Code::kInternal, "unexpected failure");
  }
}

}  // namespace

Query::Query(Query&& other) noexcept
    : connection_(other.connection_),
      statement_(std::exchange(other.statement_, nullptr)),
      next_(other.next_),
      bind_error_(other.bind_error_) {}

Query::~Query() {
  if (statement_ == nullptr) return;
  sqlite3_reset(statement_);
  sqlite3_clear_bindings(statement_);
}

void Query::note(int code) {
  if (code != SQLITE_OK && bind_error_ == 0) bind_error_ = code;
}

Query& Query::bind(std::int64_t value) {
  note(sqlite3_bind_int64(statement_, ++next_, value));
  return *this;
}

Query& Query::bind(std::string_view text) {
  // A null pointer would bind NULL.
  const char* data = text.empty() ? "" : text.data();
  note(sqlite3_bind_text64(statement_, ++next_, data, text.size(), SQLITE_STATIC, SQLITE_UTF8));
  return *this;
}

Query& Query::bind(std::span<const std::uint8_t> bytes) {
  const void* data = bytes.empty() ? static_cast<const void*>("") : bytes.data();
  note(sqlite3_bind_blob64(statement_, ++next_, data, bytes.size(), SQLITE_STATIC));
  return *this;
}

Result<bool> Query::step() {
  if (bind_error_ != 0) return connection_->error(bind_error_);
  int code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  return connection_->error(code);
}

Status Query::run() {
  QMASQ_ASSIGN(bool row, step());
  if (row) return fail(Code::kInternal, "a statement gave an unexpected row");
  return {};
}

std::int64_t Query::number(int column) const {
  return sqlite3_column_int64(statement_, column);
}

std::string Query::text(int column) const {
  const auto* data = sqlite3_column_text(statement_, column);
  auto size = static_cast<std::size_t>(sqlite3_column_bytes(statement_, column));
  return data == nullptr ? std::string() : std::string(reinterpret_cast<const char*>(data), size);
}

std::string Query::bytes(int column) const {
  const void* data = sqlite3_column_blob(statement_, column);
  auto size = static_cast<std::size_t>(sqlite3_column_bytes(statement_, column));
  return data == nullptr ? std::string() : std::string(static_cast<const char*>(data), size);
}

Status Query::copy(int column, std::span<std::uint8_t> out) const {
  const void* data = sqlite3_column_blob(statement_, column);
  if (data == nullptr ||
      static_cast<std::size_t>(sqlite3_column_bytes(statement_, column)) != out.size()) {
    return fail(Code::kInternal, "the database holds a value of the wrong size");
  }
  std::memcpy(out.data(), data, out.size());
  return {};
}

Result<std::unique_ptr<Connection>> Connection::open(const std::string& path, Mode mode,
                                                     const std::string& vfs,
                                                     std::chrono::milliseconds busy_timeout) {
  int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
  flags |=
      mode == Mode::kReadOnly ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
  sqlite3* handle = nullptr;
  int code = sqlite3_open_v2(path.c_str(), &handle, flags, vfs.empty() ? nullptr : vfs.c_str());
  if (handle == nullptr) return fail(Code::kResourceExhausted, "out of memory");
  std::unique_ptr<Connection> connection(new Connection(handle, path));
  if (code != SQLITE_OK) return connection->error(code);
  sqlite3_busy_timeout(handle, static_cast<int>(busy_timeout.count()));
  return connection;
}

Connection::~Connection() {
  for (auto& [sql, statement] : statements_)
    sqlite3_finalize(statement);
  sqlite3_close_v2(handle_);
}

Status Connection::exec(std::string_view sql) {
  int code = sqlite3_exec(handle_, std::string(sql).c_str(), nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) return error(code);
  return {};
}

Result<Query> Connection::query(const char* sql) {
  sqlite3_stmt*& statement = statements_[sql];
  if (statement == nullptr) {
    int code = sqlite3_prepare_v3(handle_, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
    if (code != SQLITE_OK) {
      statements_.erase(sql);
      return error(code);
    }
  }
  return Query(*this, statement);
}

Result<std::int64_t> Connection::number(const char* sql) {
  QMASQ_ASSIGN(Query query, this->query(sql));
  QMASQ_ASSIGN(bool row, query.step());
  if (!row) return fail(Code::kInternal, "the database lacks a row that it must have");
  return query.number(0);
}

void Connection::rollback() {
  // After some errors SQLite has rolled back by itself.
  if (sqlite3_get_autocommit(handle_) == 0) {
    sqlite3_exec(handle_, "ROLLBACK", nullptr, nullptr, nullptr);
  }
}

bool Connection::read_only() const {
  return sqlite3_db_readonly(handle_, "main") == 1;
}

std::int64_t Connection::changed() const {
  return sqlite3_changes64(handle_);
}

tl::unexpected<Error> Connection::error(int code) const {
  return tl::unexpected<Error>(explain(code, sqlite3_errmsg(handle_), path_));
}

}  // namespace qmasq::controller::sqlite

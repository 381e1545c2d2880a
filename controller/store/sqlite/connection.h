// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>

#include "common/result.h"

struct sqlite3;
struct sqlite3_stmt;

// A thin layer over SQLite: errors as Results in words a person can act on, statements prepared
// once. A connection and its statements belong to one thread at a time.
namespace qmasq::controller::sqlite {

// One use of a prepared statement: bind, then step. It goes back to the connection reset. Binding
// errors (out of memory) show at the next step.
class Query {
 public:
  Query(class Connection& connection, sqlite3_stmt* statement)
      : connection_(&connection), statement_(statement) {}
  Query(Query&& other) noexcept;
  Query(const Query&) = delete;
  Query& operator=(const Query&) = delete;
  Query& operator=(Query&&) = delete;
  ~Query();

  // Parameters in order of their numbers. Text and bytes must outlive the last step.
  Query& bind(std::int64_t value);
  Query& bind(std::string_view text);
  Query& bind(std::span<const std::uint8_t> bytes);

  // True: a row is there.
  Result<bool> step();
  // For statements that give no rows.
  Status run();

  // Columns of the current row.
  [[nodiscard]] std::int64_t number(int column) const;
  [[nodiscard]] std::string text(int column) const;
  [[nodiscard]] std::string bytes(int column) const;
  // Fails (kInternal) when the column has not exactly so many bytes: the file is damaged.
  Status copy(int column, std::span<std::uint8_t> out) const;

 private:
  void note(int code);

  Connection* connection_;
  sqlite3_stmt* statement_;
  int next_ = 0;
  int bind_error_ = 0;
};

class Connection {
 public:
  enum class Mode { kReadWrite, kReadOnly };
  // `vfs` empty: the system's. A lock of another process is waited for as long as `busy_timeout`.
  // Creates the file in kReadWrite mode.
  static Result<std::unique_ptr<Connection>> open(const std::string& path, Mode mode,
                                                  const std::string& vfs,
                                                  std::chrono::milliseconds busy_timeout);
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection();

  // Statements without parameters and rows, any number of them.
  Status exec(std::string_view sql);
  // `sql` must be a literal: statements are cached by its address.
  Result<Query> query(const char* sql);
  Result<std::int64_t> number(const char* sql);
  // Ends a transaction whatever its state.
  void rollback();
  [[nodiscard]] bool read_only() const;
  // Rows changed by the last statement.
  [[nodiscard]] std::int64_t changed() const;
  [[nodiscard]] tl::unexpected<Error> error(int code) const;

 private:
  Connection(sqlite3* handle, std::string path) : handle_(handle), path_(std::move(path)) {}

  sqlite3* handle_;
  std::string path_;
  std::unordered_map<const char*, sqlite3_stmt*> statements_;
};

}  // namespace qmasq::controller::sqlite

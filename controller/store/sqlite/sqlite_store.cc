// SPDX-License-Identifier: Apache-2.0
#include "controller/store/sqlite/sqlite_store.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <condition_variable>
#include <mutex>
#include <vector>

#include "common/unique_fd.h"
#include "controller/store/sqlite/rows.h"
#include "controller/store/sqlite/sqlite_views.h"

namespace qmasq::controller::sqlite {
namespace {

// Readers beside the writer. More only compete for the same processors.
constexpr std::size_t kReaders = 4;

Result<UniqueFd> lock_directory(const std::string& dir) {
  if (::mkdir(dir.c_str(), 0750) != 0 && errno != EEXIST) {
    int err = errno;
    return fail_errno(err, fmt::format("cannot make the data directory {}", dir));
  }
  std::string path = dir + "/lock";
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0640));
  if (!fd.valid()) {
    int err = errno;
    return fail_errno(err, fmt::format("the data directory {} cannot be written", dir));
  }
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    int err = errno;
    if (err != EWOULDBLOCK) return fail_errno(err, fmt::format("cannot lock {}", path));
    std::array<char, 32> text{};
    ssize_t size = ::pread(fd.get(), text.data(), text.size() - 1, 0);
    std::string pid(text.data(), size > 0 ? static_cast<std::size_t>(size) : 0);
    return fail(Code::kFailedPrecondition,
                fmt::format("another qmasq-controller uses {}{}{}: stop it first, or give this one "
                            "another --data-dir",
                            dir, pid.empty() ? "" : ", process ", pid));
  }
  // Only for people and the message above; the lock itself is what counts.
  std::string pid = fmt::format("{}", ::getpid());
  if (::ftruncate(fd.get(), 0) == 0) {
    [[maybe_unused]] auto written = ::pwrite(fd.get(), pid.data(), pid.size(), 0);
  }
  return fd;
}

Result<std::string> random_id() {
  std::array<std::uint8_t, 16> bytes{};
  if (::getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) {
    return fail_errno(errno, "getrandom");
  }
  std::string out;
  for (auto byte : bytes)
    out += fmt::format("{:02x}", byte);
  return out;
}

Status prepare(Connection& connection) {
  QMASQ_TRY(connection.exec("PRAGMA foreign_keys = ON"));
  QMASQ_TRY(connection.exec("PRAGMA trusted_schema = OFF"));
  return connection.exec("PRAGMA synchronous = FULL");
}

Status check_file(Connection& connection) {
  QMASQ_ASSIGN(Query query, connection.query("PRAGMA quick_check(1)"));
  QMASQ_ASSIGN(bool row, query.step());
  std::string verdict = row ? query.text(0) : "no answer";
  if (verdict == "ok") return {};
  return fail(Code::kInternal,
              fmt::format("the file is damaged: restore it from a backup ({})", verdict));
}

Result<std::string> ensure_identity(Connection& connection, TimePoint now) {
  auto read = [&]() -> Result<std::string> {
    QMASQ_ASSIGN(Query query, connection.query("SELECT store_id FROM store WHERE one = 1"));
    QMASQ_ASSIGN(bool row, query.step());
    return row ? query.text(0) : std::string();
  };
  QMASQ_ASSIGN(std::string id, read());
  if (!id.empty()) return id;
  QMASQ_ASSIGN(id, random_id());
  QMASQ_ASSIGN(Query insert,
               connection.query("INSERT INTO store (one, store_id, revision, next_uid, "
                                "create_time) VALUES (1, ?1, 0, 1, ?2)"));
  QMASQ_TRY(insert.bind(id).bind(to_micros(now)).run());
  return id;
}

// Rolls back unless told that the transaction is over.
class Transaction {
 public:
  explicit Transaction(Connection& connection) : connection_(&connection) {}
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;
  ~Transaction() {
    if (connection_ != nullptr) connection_->rollback();
  }
  Status commit() {
    QMASQ_TRY(connection_->exec("COMMIT"));
    connection_ = nullptr;
    return {};
  }

 private:
  Connection* connection_;
};

class SqliteStore final : public Store {
 public:
  SqliteStore(UniqueFd lock, std::unique_ptr<Connection> writer, std::string store_id,
              const Clock& clock)
      : lock_(std::move(lock)),
        store_id_(std::move(store_id)),
        clock_(clock),
        writer_(std::move(writer)) {}

  Status add_reader(std::unique_ptr<Connection> reader) {
    QMASQ_TRY(prepare(*reader));
    QMASQ_TRY(reader->exec("PRAGMA query_only = ON"));
    readers_.push_back(std::move(reader));
    return {};
  }

  const std::string& store_id() const override { return store_id_; }

  Status read(const ReadFn& fn) override {
    Reader reader(*this);
    QMASQ_TRY(reader->exec("BEGIN"));
    Transaction transaction(*reader);
    SqliteView view(*reader, clock_.wall(), {});
    return fn(view);
  }

  Status write(const WriteFn& fn, WriteMode mode) override {
    std::lock_guard lock(write_mutex_);
    QMASQ_TRY(writer_->exec("BEGIN IMMEDIATE"));
    Transaction transaction(*writer_);
    QMASQ_ASSIGN(auto base, writer_->number("SELECT revision FROM store WHERE one = 1"));
    SqliteView view(*writer_, clock_.wall(), Revision{static_cast<std::uint64_t>(base)});
    QMASQ_TRY(fn(view));
    if (mode == WriteMode::kDryRun || !view.changed_anything()) return {};
    QMASQ_TRY(view.finish());
    QMASQ_TRY(transaction.commit());
    if (listener_) listener_(view.take_commit());
    return {};
  }

  void listen(Listener listener) override {
    std::lock_guard lock(write_mutex_);
    listener_ = std::move(listener);
  }

 private:
  // Borrows a read connection; waits for one.
  class Reader {
   public:
    explicit Reader(SqliteStore& store) : store_(store) {
      std::unique_lock lock(store_.readers_mutex_);
      store_.reader_free_.wait(lock, [&] { return !store_.readers_.empty(); });
      connection_ = std::move(store_.readers_.back());
      store_.readers_.pop_back();
    }
    Reader(const Reader&) = delete;
    Reader& operator=(const Reader&) = delete;
    ~Reader() {
      {
        std::lock_guard lock(store_.readers_mutex_);
        store_.readers_.push_back(std::move(connection_));
      }
      store_.reader_free_.notify_one();
    }
    Connection& operator*() { return *connection_; }
    Connection* operator->() { return connection_.get(); }

   private:
    SqliteStore& store_;
    std::unique_ptr<Connection> connection_;
  };

  UniqueFd lock_;
  const std::string store_id_;
  const Clock& clock_;

  std::mutex readers_mutex_;
  std::condition_variable reader_free_;
  std::vector<std::unique_ptr<Connection>> readers_;

  std::mutex write_mutex_;
  std::unique_ptr<Connection> writer_;
  Listener listener_;
};

Status check_wal(Connection& connection) {
  QMASQ_ASSIGN(Query query, connection.query("PRAGMA journal_mode = WAL"));
  QMASQ_ASSIGN(bool row, query.step());
  if (row && query.text(0) == "wal") return {};
  return fail(Code::kUnsupported,
              "the file system does not carry SQLite's write-ahead log (shared memory)");
}

Status start_file(Connection& writer, const Options& options) {
  if (writer.read_only()) {
    return fail(Code::kFailedPrecondition,
                "it cannot be written: check its file system and its owner");
  }
  // First of all: a file of another kind must be left as it is, WAL mode would change it.
  QMASQ_TRY(check_file(writer));
  QMASQ_TRY(prepare(writer));
  auto migrations = options.migrations.empty() ? embedded_migrations() : options.migrations;
  QMASQ_TRY(migrate(writer, migrations));
  return check_wal(writer);
}

}  // namespace

Result<std::unique_ptr<Store>> open_store(const Options& options, const Clock& clock) {
  QMASQ_ASSIGN(UniqueFd lock, lock_directory(options.data_dir));
  const std::string path = options.data_dir + "/qmasq.db";
  QMASQ_ASSIGN(auto writer, Connection::open(path, Connection::Mode::kReadWrite, options.vfs,
                                             options.busy_timeout));
  if (auto status = start_file(*writer, options); !status) {
    return with_context(std::move(status).error(), path);
  }
  QMASQ_ASSIGN(std::string id, ensure_identity(*writer, clock.wall()));
  auto store =
      std::make_unique<SqliteStore>(std::move(lock), std::move(writer), std::move(id), clock);
  for (std::size_t i = 0; i < kReaders; ++i) {
    // Not kReadOnly: a reader of a write-ahead log takes part in its shared memory.
    QMASQ_ASSIGN(auto reader, Connection::open(path, Connection::Mode::kReadWrite, options.vfs,
                                               options.busy_timeout));
    QMASQ_TRY(store->add_reader(std::move(reader)));
  }
  return std::unique_ptr<Store>(std::move(store));
}

}  // namespace qmasq::controller::sqlite

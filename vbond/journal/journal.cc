// SPDX-License-Identifier: Apache-2.0
#include "vbond/journal/journal.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <utility>

#include "vbond/journal/record.h"

namespace qmasq::vbond {
namespace {

// Between two attempts at a disk that does not take it.
constexpr std::chrono::milliseconds kRetry{1000};
// What comes in this time goes to the disk together.
constexpr std::chrono::milliseconds kGather{5};

}  // namespace

Result<Journal::Opened> Journal::open(const std::string& directory, UniqueFd memory) {
  Opened out;
  std::unique_ptr<MemoryLog> log;
  const bool had_memory = memory.valid();
  if (had_memory) {
    auto adopted = MemoryLog::adopt(std::move(memory));
    if (adopted) {
      log = std::move(*adopted);
    } else {
      out.complaints.push_back("the journal's part in memory: " + adopted.error().message);
    }
  }
  out.fresh_memory = log == nullptr;

  std::string error;
  std::unique_ptr<JournalDatabase> database;
  std::unordered_map<QpKey, std::string, KeyHash> rows;
  auto opened = JournalDatabase::open(directory, boot_id());
  if (opened) {
    database = std::move(opened->database);
    if (!opened->set_aside.empty()) {
      out.complaints.push_back(opened->set_aside + "; it was set aside and a new one begun");
    }
    (void)database->read([&](QpKey key, std::string_view record) { rows[key] = record; });
  } else {
    error = opened.error().message;
    out.complaints.push_back(error);
  }
  Dirty unwritten;
  if (log != nullptr) {
    const bool sound = log->replay([&](QpKey key, std::string_view record) {
      unwritten[key] = record.empty() ? std::nullopt : std::optional<std::string>(record);
    });
    if (!sound) out.complaints.push_back("the journal's part in memory is damaged at its end");
    if (log->lost()) {
      out.complaints.push_back(
          "the agent before this one had no disk to write its journal to: it does not have all");
    }
  } else {
    QMASQ_ASSIGN(log, MemoryLog::create());
  }
  for (const auto& [key, record] : unwritten) {
    if (record) {
      rows[key] = *record;
    } else {
      rows.erase(key);
    }
  }
  std::size_t unreadable = 0;
  for (const auto& [key, record] : rows) {
    auto connection = decode_record(key, record);
    if (connection) {
      out.connections[key.context].push_back(std::move(*connection));
    } else {
      unwritten[key] = std::nullopt;
      ++unreadable;
    }
  }
  if (unreadable > 0) {
    out.complaints.push_back(fmt::format("{} entries of the journal cannot be read", unreadable));
  }
  out.journal.reset(new Journal(directory, std::move(log), std::move(database), std::move(error)));
  std::lock_guard lock(out.journal->mutex_);
  // In the log already, or to be dropped from the disk.
  for (auto& [key, record] : unwritten)
    out.journal->dirty_.insert_or_assign(key, std::move(record));
  out.journal->changed_.notify_all();
  return out;
}

Journal::Journal(std::string directory, std::unique_ptr<MemoryLog> log,
                 std::unique_ptr<JournalDatabase> database, std::string error)
    : directory_(std::move(directory)), log_(std::move(log)), database_(std::move(database)) {
  health_.error = std::move(error);
  writer_ = std::thread([this] { write_loop(); });
}

Journal::~Journal() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  writer_.join();
}

void Journal::put(const JournaledConnection& connection) {
  change(connection.key, encode_record(connection));
}
void Journal::remove(QpKey key) {
  change(key, std::nullopt);
}

void Journal::change(QpKey key, std::optional<std::string> record) {
  std::lock_guard lock(mutex_);
  if (!log_->append(key, record ? std::string_view(*record) : std::string_view())) ++health_.lost;
  const bool idle = dirty_.empty();
  dirty_.insert_or_assign(key, std::move(record));
  if (idle) changed_.notify_all();
}

Status Journal::write(const JournalDatabase::Rows& rows) {
  if (database_ == nullptr) {
    QMASQ_ASSIGN(auto opened, JournalDatabase::open(directory_, boot_id()));
    database_ = std::move(opened.database);
  }
  Status done = database_->write(rows);
  // Begun anew at the next attempt, should the file have been taken from under us.
  if (!done && done.error().code != Code::kResourceExhausted) database_.reset();
  return done;
}

void Journal::write_loop() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return stopping_ || !dirty_.empty(); });
    if (!stopping_) changed_.wait_for(lock, kGather, [&] { return stopping_; });
    if (dirty_.empty()) {
      settled_.notify_all();
      if (stopping_) return;
      continue;
    }
    Dirty work;
    work.swap(dirty_);
    const std::uint64_t position = log_->position();
    writing_ = true;
    lock.unlock();
    JournalDatabase::Rows rows(work.begin(), work.end());
    Status done = write(rows);
    lock.lock();
    writing_ = false;
    if (done) {
      log_->trim(position);
      health_.written += rows.size();
      if (dirty_.empty()) log_->clear_lost();
      if (!health_.error.empty()) spdlog::info("journal: the disk takes it again");
      health_.error.clear();
      settled_.notify_all();
      continue;
    }
    if (health_.error.empty()) {
      spdlog::error("{}: connections made from now on may be cut if the agent is started again",
                    done.error().message);
    }
    health_.error = done.error().message;
    for (auto& [key, record] : work)
      dirty_.try_emplace(key, std::move(record));  // what came since is newer
    if (stopping_) return;
    changed_.wait_for(lock, kRetry, [&] { return stopping_; });
  }
}

Journal::Health Journal::health() const {
  std::lock_guard lock(mutex_);
  Health out = health_;
  out.waiting = dirty_.size();
  return out;
}

bool Journal::flush(std::chrono::milliseconds patience) {
  std::unique_lock lock(mutex_);
  return settled_.wait_for(lock, patience, [&] { return dirty_.empty() && !writing_; });
}

}  // namespace qmasq::vbond

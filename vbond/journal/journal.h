// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "common/result.h"
#include "vbond/journal/database.h"
#include "vbond/journal/memory_log.h"
#include "vbond/rename/connection_journal.h"

namespace qmasq::vbond {

// Connections for the agent that comes after this one: a log in memory that outlives the agent
// (MemoryLog), which a thread of its own brings to the disk (JournalDatabase). A verb waits for
// neither disk nor lock of it.
//
// A disk that takes nothing stops no verb. What was changed since waits in this process and, up to
// 4 MiB of it, in the memory that outlives it; what is beyond that is lost when the agent dies
// before the disk takes it, and those connections are cut then. health() says so; the log and the
// metrics do. Thread-safe.
class Journal final : public ConnectionJournal {
 public:
  struct Opened;
  // Never fails for what was there before: what cannot be read is in the complaints, and the
  // connections that it would have told of are unknown. `memory`: the log of the agent before,
  // invalid: none. Errors: no memory for a log.
  [[nodiscard]] static Result<Opened> open(const std::string& directory, UniqueFd memory);
  // Brings what is left to the disk, if it takes it.
  ~Journal() override;
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;

  void put(const JournaledConnection& connection) override;
  void remove(QpKey key) override;

  // Of the log in memory, for the keeper.
  [[nodiscard]] int descriptor() const { return log_->descriptor(); }

  struct Health {
    std::string error;          // of the disk; empty: it takes everything
    std::size_t waiting = 0;    // rows that are not on the disk
    std::uint64_t written = 0;  // rows that came to it
    std::uint64_t lost = 0;     // rows that the log had no room for
  };
  [[nodiscard]] Health health() const;
  // Until all that was put is on the disk. False: not in time.
  [[nodiscard]] bool flush(std::chrono::milliseconds patience);

 private:
  Journal(std::string directory, std::unique_ptr<MemoryLog> log,
          std::unique_ptr<JournalDatabase> database, std::string error);
  void change(QpKey key, std::optional<std::string> record);
  void write_loop();
  [[nodiscard]] Status write(const JournalDatabase::Rows& rows);

  struct KeyHash {
    std::size_t operator()(const QpKey& key) const noexcept {
      return static_cast<std::size_t>((key.context * 0x9E3779B97F4A7C15ULL) ^ key.handle);
    }
  };
  using Dirty = std::unordered_map<QpKey, std::optional<std::string>, KeyHash>;

  const std::string directory_;
  const std::unique_ptr<MemoryLog> log_;
  std::unique_ptr<JournalDatabase> database_;  // of the writer; null: it could not be opened
  mutable std::mutex mutex_;                   // guards all below, and appending to the log
  std::condition_variable changed_;
  std::condition_variable settled_;
  Dirty dirty_;
  bool writing_ = false;
  bool stopping_ = false;
  Health health_;
  std::thread writer_;
};

struct Journal::Opened {
  std::unique_ptr<Journal> journal;
  bool fresh_memory = false;  // the log is a new one: to be put into the keeper
  // By context.
  std::unordered_map<std::uint64_t, std::vector<JournaledConnection>> connections;
  std::vector<std::string> complaints;
};

}  // namespace qmasq::vbond

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace prometheus {
class Registry;
}

namespace qmasq::vbond {

// qmasq_vbond_keeper_up                      1: what the agent has open outlives it
// qmasq_vbond_keeper_descriptors{state}      wanted in custody, and held by the keeper
// qmasq_vbond_journal_up                     1: the disk takes the journal
// qmasq_vbond_journal_waiting                rows that are not on the disk yet
// qmasq_vbond_journal_lost_total             rows that would be missing if the agent ended now, or
// did qmasq_vbond_restored{what}                 what this agent took over when it started
// Thread-safe.
class SurvivalMetrics {
 public:
  explicit SurvivalMetrics(prometheus::Registry& registry);
  ~SurvivalMetrics();
  SurvivalMetrics(const SurvivalMetrics&) = delete;
  SurvivalMetrics& operator=(const SurvivalMetrics&) = delete;

  void set_keeper(bool up, std::size_t wanted, std::size_t held);
  void set_journal(bool up, std::size_t waiting, std::uint64_t lost);
  void set_restored(std::size_t programs, std::size_t contexts, std::size_t queue_pairs);

 private:
  struct Families;
  std::unique_ptr<Families> families_;
};

}  // namespace qmasq::vbond

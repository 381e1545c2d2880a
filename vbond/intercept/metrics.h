// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>

#include "vbond/uverbs/verb.h"

namespace prometheus {
class Registry;
}

namespace qmasq::vbond {

// What became of a trapped call; label `verdict`.
enum class Outcome : std::size_t {
  kExecuted,  // by the agent, on its own descriptor
  kAnswered,  // by the agent, without the kernel
  kPassed,    // the tenant's own call runs
  kRefused,   // not offered or not allowed
  kFailed,    // the kernel refused what the agent executed, or would have: bad arguments
  kGone,      // nobody was left to answer
};
inline constexpr std::size_t kOutcomes = 6;
[[nodiscard]] const char* to_string(Outcome outcome);

// Calls that are no verb of the table; they have metrics rows behind those of the table.
enum class OtherCall : std::size_t {
  kOpen,         // a verbs device was opened
  kDoorbell,     // write() that rings a software NIC
  kWrite,        // any other write() on a verbs device
  kUndecodable,  // no sound ioctl header
  kForeign,      // verbs device that the attachment did not open
};
inline constexpr std::size_t kOtherCalls = 5;
[[nodiscard]] const char* to_string(OtherCall call);

// Metrics of this folder:
//   qmasq_vbond_verbs_total{verb,verdict}   counter
//   qmasq_vbond_verb_seconds{verb}          histogram, from the agent's waking to its answer
//   qmasq_vbond_attachments_unsealed        of these: nothing but the guard sees what they change
//   qmasq_vbond_attachments, _contexts, _queue_pairs, _receivers   gauges
//   qmasq_vbond_contexts_opened_total
//   qmasq_vbond_contexts_abandoned_total    closed because no process held them any more
//   qmasq_vbond_guard_violations_total{what}   verbs that were not let run and were made all the
//   same qmasq_vbond_holder_scans_total, qmasq_vbond_holder_scan_seconds_total
//
// Every handle is looked up here once, so that counting a verb costs two atomic additions and one
// uncontended lock. Thread-safe.
class InterceptMetrics {
 public:
  explicit InterceptMetrics(prometheus::Registry& registry);
  ~InterceptMetrics();

  // Rows: index of the verb in all_verbs(), or behind them an OtherCall.
  [[nodiscard]] static std::size_t row(const uverbs::Verb& verb);
  [[nodiscard]] static std::size_t row(OtherCall call);

  void count(std::size_t row, Outcome outcome, std::chrono::nanoseconds took);
  void add_attachments(int count);
  void add_unsealed(int count);
  void add_contexts(int count);
  void add_queue_pairs(int count);
  void add_receivers(int count);
  void count_abandoned();
  void count_scan(std::chrono::nanoseconds took);
  void count_violation(const char* what);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace qmasq::vbond

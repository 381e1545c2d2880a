// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

#include "controller/watch/scope_tracker.h"
#include "qmasq/v1/sync.pb.h"

namespace qmasq::controller {

// Serialized size that a part of a batch stays below, bytes (a single object may be larger only if
// it is so itself; the rules keep objects smaller).
inline constexpr std::size_t kMaxPart = 1U << 20U;

// Turns a cut into Batch messages of bounded size, one at a time: only one part exists as a message
// at any moment; the rest are pointers to values that never change. Pure, not thread-safe.
class BatchStream {
 public:
  explicit BatchStream(Cut cut, std::size_t max_part = kMaxPart)
      : cut_(std::move(cut)), max_part_(max_part) {}

  [[nodiscard]] Revision revision() const { return cut_.revision; }
  [[nodiscard]] bool done() const { return done_; }
  // REQUIRES: !done().
  [[nodiscard]] v1::SyncResponse next();

 private:
  [[nodiscard]] std::size_t total() const;
  std::size_t add(std::size_t index, v1::Batch& batch) const;

  Cut cut_;
  std::size_t max_part_;
  std::size_t position_ = 0;  // over all lists of the cut, one after the other
  bool done_ = false;
};

}  // namespace qmasq::controller

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "qmasq/v1/sync.pb.h"

namespace qmasq::vbond {

// Answers what the controller asks beside the state.
class QueryHandler {
 public:
  virtual ~QueryHandler() = default;
  // On the thread that reads the stream: the state does not change meanwhile, and the next change
  // waits for as long as it takes. The session fills in query_id and held_revision.
  [[nodiscard]] virtual v1::Answer answer(const v1::Query& query) = 0;
};

}  // namespace qmasq::vbond

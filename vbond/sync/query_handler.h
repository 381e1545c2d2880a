// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace qmasq::v1 {
class Answer;
class Query;
}  // namespace qmasq::v1

namespace qmasq::vbond {

// Who answers what the controller asks beside the state. Nothing may be changed by it.
class QueryHandler {
 public:
  virtual ~QueryHandler() = default;
  // Called on a thread of SyncClient's own, one query at a time, while changes are applied and
  // reports are sent on others: what it reads, it guards itself, with no lock that `apply` needs
  // for longer than a moment. May take milliseconds; stopping the agent waits for it. Whatever the
  // controller had sent before it asked is applied by then.
  //
  // `query` is of a kind that this agent's schema has; the rest of it is not checked. Fills in the
  // answer, or `error` when there is none (also for a kind that it has no answer to). `query_id` is
  // set by the caller, and `held_revision`, too, unless it was set here: to what was held before
  // the call, so that the answer is at least of that revision.
  [[nodiscard]] virtual v1::Answer answer(const v1::Query& query) = 0;
};

}  // namespace qmasq::vbond

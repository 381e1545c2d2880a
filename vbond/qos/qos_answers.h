// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "qmasq/v1/sync.pb.h"
#include "vbond/qos/qos_manager.h"
#include "vbond/sync/query_handler.h"

namespace qmasq::vbond {

// Answers how limits stand; any other question is another's.
class QosAnswers final : public QueryHandler {
 public:
  // Nothing is owned.
  QosAnswers(const QosManager& qos, QueryHandler& others) : qos_(qos), others_(others) {}

  [[nodiscard]] v1::Answer answer(const v1::Query& query) override {
    if (!query.has_qos()) return others_.answer(query);
    v1::Answer out;
    *out.mutable_qos() = qos_.describe(VpcUid{query.qos().vpc_uid()});
    return out;
  }

 private:
  const QosManager& qos_;
  QueryHandler& others_;
};

}  // namespace qmasq::vbond

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "conntrack/tracker.h"
#include "qmasq/v1/sync.pb.h"
#include "vbond/sync/query_handler.h"

namespace qmasq::vbond {

class ConnectionTable;
class PeerMap;

// What the controller asks about connections: would this one be admitted, and what would become of
// those that stand.
class QueryAnswers final : public QueryHandler {
 public:
  // `host`: "hosts/hostA". Nothing is owned.
  QueryAnswers(std::string host, const conntrack::Tracker& tracker, const PeerMap& peers,
               const ConnectionTable& connections)
      : host_(std::move(host)), tracker_(tracker), peers_(peers), connections_(connections) {}

  [[nodiscard]] v1::Answer answer(const v1::Query& query) override;

 private:
  [[nodiscard]] v1::Answer trace(const v1::TraceQuery& query) const;
  [[nodiscard]] v1::Answer impact(const v1::ImpactQuery& query) const;

  const std::string host_;
  const conntrack::Tracker& tracker_;
  const PeerMap& peers_;
  const ConnectionTable& connections_;
};

}  // namespace qmasq::vbond

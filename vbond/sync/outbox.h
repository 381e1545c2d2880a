// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <deque>
#include <map>
#include <optional>
#include <set>

#include "common/net_types.h"
#include "qmasq/v1/sync.pb.h"
#include "vbond/nic/nic_watcher.h"
#include "vbond/state/reports.h"

namespace qmasq::vbond {

// What waits to be sent. Of reports only the newest of each kind is kept, of acknowledgements the
// newest, of answers to queries so many: a controller that does not read makes nothing grow. Not
// thread-safe.
class Outbox {
 public:
  static constexpr std::size_t kMostReplies = 256;

  // Reports outlive streams: all of them are sent again after each Welcome.
  void report_host(const HostNics& nics, std::string guard = {});
  void report_endpoint(EndpointUid uid, const EndpointReport& report);
  void forget_endpoint(EndpointUid uid);

  // Ack or Reject.
  void answer(v1::SyncRequest request);
  // Answer to a query; dropped where kMostReplies wait to be read. Goes before reports, of which
  // there may be thousands after a Welcome.
  void reply(v1::Answer answer);
  // Reports may be sent from now on, and all are due.
  void welcomed();
  // The stream is gone; what was to be answered on it means nothing on another.
  void closed();

  [[nodiscard]] bool pending() const;
  // None: nothing waits.
  [[nodiscard]] std::optional<v1::SyncRequest> take();

 private:
  std::optional<HostNics> host_;
  std::string guard_;
  std::map<EndpointUid, EndpointReport> endpoints_;
  bool open_ = false;
  bool host_due_ = false;
  std::set<EndpointUid> endpoints_due_;
  std::deque<v1::SyncRequest> answers_;
  std::deque<v1::Answer> replies_;
};

[[nodiscard]] v1::Nic to_proto(const Nic& nic);
[[nodiscard]] v1::HostReport to_proto(const HostNics& nics);
[[nodiscard]] v1::EndpointStatus to_proto(const EndpointReport& report);

}  // namespace qmasq::vbond

// SPDX-License-Identifier: Apache-2.0
#include "vbond/agent/endpoint_reporter.h"

#include <map>
#include <utility>

namespace qmasq::vbond {

EndpointReport make_report(const BondStatus& bond) {
  EndpointReport out;
  switch (bond.state) {
    case BondState::kUnbound:
      out.state = EndpointReport::State::kUnbound;
      break;
    case BondState::kBound:
      out.state = EndpointReport::State::kBound;
      break;
    case BondState::kDegraded:
      out.state = EndpointReport::State::kDegraded;
      break;
  }
  out.message = bond.message;
  out.netns = bond.netns;
  out.interface = bond.interface;
  out.observed_addresses = bond.observed_addresses;
  return out;
}

void EndpointReporter::refresh() {
  std::map<EndpointUid, std::uint32_t> attachments;
  for (const AttachmentInfo& info : interceptor_.list())
    ++attachments[info.endpoint];
  std::lock_guard lock(mutex_);
  std::set<EndpointUid> now;
  for (const auto& [uid, bond] : binder_.list()) {
    EndpointReport report = make_report(bond);
    report.attachments = attachments[uid];
    report.queue_pairs = static_cast<std::uint32_t>(connections_.count_of(uid));
    report.limits = qos_.report_of(uid);
    sync_.report_endpoint(uid, report);
    now.insert(uid);
  }
  for (EndpointUid uid : reported_) {
    if (now.count(uid) == 0) sync_.forget_endpoint(uid);
  }
  reported_ = std::move(now);
}

}  // namespace qmasq::vbond

// SPDX-License-Identifier: Apache-2.0
#include "vbond/sync/outbox.h"

#include <utility>

namespace qmasq::vbond {

void Outbox::report_host(const HostNics& nics, std::string guard) {
  if (host_ == nics && guard_ == guard) return;
  host_ = nics;
  guard_ = std::move(guard);
  host_due_ = true;
}

void Outbox::report_endpoint(EndpointUid uid, const EndpointReport& report) {
  auto [entry, fresh] = endpoints_.try_emplace(uid, report);
  if (!fresh && entry->second == report) return;
  entry->second = report;
  endpoints_due_.insert(uid);
}

void Outbox::forget_endpoint(EndpointUid uid) {
  endpoints_.erase(uid);
  endpoints_due_.erase(uid);
}

void Outbox::answer(v1::SyncRequest request) {
  // A later Ack says all that an earlier one says.
  if (request.has_ack() && !answers_.empty() && answers_.back().has_ack()) answers_.pop_back();
  answers_.push_back(std::move(request));
}

void Outbox::reply(v1::Answer answer) {
  if (replies_.size() < kMostReplies) replies_.push_back(std::move(answer));
}

void Outbox::welcomed() {
  open_ = true;
  host_due_ = host_.has_value();
  endpoints_due_.clear();
  for (const auto& [uid, report] : endpoints_)
    endpoints_due_.insert(uid);
}

void Outbox::closed() {
  open_ = false;
  answers_.clear();
  replies_.clear();
}

bool Outbox::pending() const {
  return !answers_.empty() || !replies_.empty() ||
         (open_ && (host_due_ || !endpoints_due_.empty()));
}

std::optional<v1::SyncRequest> Outbox::take() {
  v1::SyncRequest out;
  if (!answers_.empty()) {
    out = std::move(answers_.front());
    answers_.pop_front();
    return out;
  }
  if (!replies_.empty()) {
    *out.mutable_answer() = std::move(replies_.front());
    replies_.pop_front();
    return out;
  }
  if (!open_) return std::nullopt;
  if (host_due_) {
    host_due_ = false;
    *out.mutable_host_report() = to_proto(*host_);
    out.mutable_host_report()->set_guard(guard_);
    return out;
  }
  if (endpoints_due_.empty()) return std::nullopt;
  EndpointUid uid = *endpoints_due_.begin();
  endpoints_due_.erase(endpoints_due_.begin());
  out.mutable_endpoint_report()->set_endpoint_uid(uid.value);
  *out.mutable_endpoint_report()->mutable_status() = to_proto(endpoints_.at(uid));
  return out;
}

v1::Nic to_proto(const Nic& nic) {
  v1::Nic out;
  out.set_device(nic.device);
  out.set_port(nic.port);
  out.set_netdev(nic.netdev);
  out.set_driver(nic.driver);
  out.set_active(nic.active);
  out.set_active_mtu(nic.active_mtu);
  out.set_rate_bps(nic.rate_bps);
  for (const PhysicalGid& gid : nic.gids) {
    auto* entry = out.add_gids();
    entry->set_index(gid.index);
    entry->set_gid(to_string(gid.gid));
    entry->set_type(gid.type == GidType::kRoceV2 ? v1::ROCE_V2 : v1::IB_ROCE_V1);
  }
  if (nic.primary) out.set_primary_gid(to_string(nic.primary->gid));
  if (nic.vpc_prefix) out.set_vpc_gid_prefix(to_string(*nic.vpc_prefix));
  return out;
}

v1::HostReport to_proto(const HostNics& nics) {
  v1::HostReport out;
  if (nics.underlay) out.set_underlay_address(to_string(*nics.underlay));
  for (const Nic& nic : nics.nics)
    *out.add_nics() = to_proto(nic);
  return out;
}

v1::EndpointStatus to_proto(const EndpointReport& report) {
  v1::EndpointStatus out;
  switch (report.state) {
    case EndpointReport::State::kUnbound:
      out.set_state(v1::EndpointStatus::UNBOUND);
      break;
    case EndpointReport::State::kBound:
      out.set_state(v1::EndpointStatus::BOUND);
      break;
    case EndpointReport::State::kDegraded:
      out.set_state(v1::EndpointStatus::DEGRADED);
      break;
  }
  out.set_message(report.message);
  out.set_netns(report.netns);
  out.set_interface(report.interface);
  for (const IpAddress& address : report.observed_addresses) {
    out.add_observed_addresses(to_string(address));
  }
  out.set_attachments(report.attachments);
  out.set_queue_pairs(report.queue_pairs);
  if (!report.limits.configured) return out;
  v1::QosStatus& qos = *out.mutable_qos();
  qos.set_configured(true);
  qos.set_enforced(report.limits.unenforced.empty());
  for (const std::string& text : report.limits.unenforced)
    qos.add_unenforced(text);
  return out;
}

}  // namespace qmasq::vbond

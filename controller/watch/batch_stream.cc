// SPDX-License-Identifier: Apache-2.0
#include "controller/watch/batch_stream.h"

#include "controller/wire/convert.h"

namespace qmasq::controller {
namespace {

// A uid as a packed varint, at most; and tag and length of a message field, at most.
constexpr std::size_t kUidBytes = 10;
constexpr std::size_t kFieldBytes = 6;

}  // namespace

std::size_t BatchStream::total() const {
  return cut_.removed_vpcs.size() + cut_.removed_endpoints.size() + cut_.removed_hosts.size() +
         cut_.removed_groups.size() + cut_.removed_policies.size() + cut_.policies.size() +
         cut_.vpcs.size() + cut_.hosts.size() + cut_.groups.size() + cut_.endpoints.size();
}

// Adds one thing; returns its size in bytes, or a little more.
std::size_t BatchStream::add(std::size_t index, v1::Batch& batch) const {
  // Steps through the lists; true when `index` falls into this one.
  auto in = [&](std::size_t size) {
    if (index < size) return true;
    index -= size;
    return false;
  };
  if (in(cut_.removed_vpcs.size())) {
    batch.add_removed_vpc_uids(cut_.removed_vpcs[index].value);
    return kUidBytes;
  }
  if (in(cut_.removed_endpoints.size())) {
    batch.add_removed_endpoint_uids(cut_.removed_endpoints[index].value);
    return kUidBytes;
  }
  if (in(cut_.removed_hosts.size())) {
    batch.add_removed_host_uids(cut_.removed_hosts[index].value);
    return kUidBytes;
  }
  if (in(cut_.removed_groups.size())) {
    batch.add_removed_security_group_uids(cut_.removed_groups[index].value);
    return kUidBytes;
  }
  if (in(cut_.removed_policies.size())) {
    batch.add_removed_qos_policy_uids(cut_.removed_policies[index].value);
    return kUidBytes;
  }
  if (in(cut_.policies.size())) {
    auto* out = batch.add_qos_policies();
    to_proto(*cut_.policies[index], out);
    return out->ByteSizeLong() + kFieldBytes;
  }
  if (in(cut_.vpcs.size())) {
    auto* out = batch.add_vpcs();
    to_proto(*cut_.vpcs[index], out);
    return out->ByteSizeLong() + kFieldBytes;
  }
  if (in(cut_.hosts.size())) {
    auto* out = batch.add_hosts();
    to_proto(*cut_.hosts[index], out);
    return out->ByteSizeLong() + kFieldBytes;
  }
  if (in(cut_.groups.size())) {
    auto* out = batch.add_security_groups();
    to_proto(*cut_.groups[index], out);
    return out->ByteSizeLong() + kFieldBytes;
  }
  auto* out = batch.add_endpoints();
  to_proto(*cut_.endpoints[index], out);
  return out->ByteSizeLong() + kFieldBytes;
}

v1::SyncResponse BatchStream::next() {
  v1::SyncResponse response;
  auto* batch = response.mutable_batch();
  batch->set_revision(cut_.revision.value);
  batch->set_snapshot(cut_.snapshot);
  const std::size_t end = total();
  // The fields above, and the frame around the batch.
  std::size_t size = 64;
  while (position_ < end) {
    const int policies = batch->qos_policies_size();
    const int vpcs = batch->vpcs_size();
    const int hosts = batch->hosts_size();
    const int groups = batch->security_groups_size();
    const int endpoints = batch->endpoints_size();
    std::size_t more = add(position_, *batch);
    bool first = size == 64;
    if (!first && size + more > max_part_) {
      // Took one too many: it opens the next part.
      if (batch->qos_policies_size() > policies) {
        batch->mutable_qos_policies()->RemoveLast();
      } else if (batch->vpcs_size() > vpcs) {
        batch->mutable_vpcs()->RemoveLast();
      } else if (batch->hosts_size() > hosts) {
        batch->mutable_hosts()->RemoveLast();
      } else if (batch->security_groups_size() > groups) {
        batch->mutable_security_groups()->RemoveLast();
      } else if (batch->endpoints_size() > endpoints) {
        batch->mutable_endpoints()->RemoveLast();
      } else {
        ++position_;  // a few bytes of a uid: not worth a part
      }
      break;
    }
    size += more;
    ++position_;
  }
  done_ = position_ >= end;
  batch->set_more(!done_);
  return response;
}

}  // namespace qmasq::controller

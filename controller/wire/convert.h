// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "common/result.h"
#include "controller/model/types.h"
#include "qmasq/v1/sync.pb.h"

// Values to protobuf messages and back. Pure.
namespace qmasq::controller {

void to_proto(const Vpc& vpc, v1::Vpc* out);
void to_proto(const Endpoint& endpoint, v1::Endpoint* out);         // without status
void to_proto(const Host& host, v1::Host* out);                     // without status
void to_proto(const SecurityGroup& group, v1::SecurityGroup* out);  // without endpoint_count
// Without counts and oversubscriptions. `weight` is always set.
void to_proto(const QosPolicy& policy, v1::QosPolicy* out);
void to_proto(TimePoint time, google::protobuf::Timestamp* out);

// What a host may report at most; keeps one host's value well below a batch's size.
inline constexpr int kMaxNics = 128;
inline constexpr int kMaxGids = 8192;  // of all NICs together

struct ReportedHost {
  IpAddress underlay;
  std::vector<Nic> nics;
};
// Checks and reads what an agent says about its host.
[[nodiscard]] Result<ReportedHost> read_report(const v1::HostReport& report);

}  // namespace qmasq::controller

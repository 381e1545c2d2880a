// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/net_types.h"
#include "conntrack/types.h"
#include "controller/model/auth_types.h"
#include "qos/policy.h"

// The controller's resources as values, without protobuf and SQL. What each field means stands in
// schema/proto; ids are the last part of a resource name. Once stored a value never changes: a
// change makes a new one, so pointers may be shared between threads.
namespace qmasq::controller {

using TimePoint = std::chrono::system_clock::time_point;

struct QosPolicy {
  qos::Policy policy;  // with uid and id
  std::string description;
  std::uint64_t version = 0;  // counts changes of this object; the etag is made of it
  Revision revision;
  TimePoint create_time;
  TimePoint update_time;
};

// A policy by both of its names. uid 0: none.
struct PolicyReference {
  QosPolicyUid uid;
  std::string id;
  bool operator==(const PolicyReference&) const = default;
};

struct Vpc {
  VpcUid uid;
  std::string id;
  Vni vni;
  std::vector<IpPrefix> ranges;
  std::uint32_t mtu = 0;  // bytes; 0: from the underlay
  PolicyReference qos_policy;
  std::string description;
  std::uint64_t version = 0;
  Revision revision;
  TimePoint create_time;
  TimePoint update_time;
};

struct SecurityGroupRule {
  conntrack::Rule rule;
  std::string description;
  bool operator==(const SecurityGroupRule&) const = default;
};

struct SecurityGroup {
  SecurityGroupUid uid;
  VpcUid vpc;
  std::string vpc_id;
  std::string id;
  std::vector<SecurityGroupRule> rules;
  std::string description;
  std::uint64_t version = 0;
  Revision revision;
  TimePoint create_time;
  TimePoint update_time;
};

// Made with each VPC, gone with it.
inline constexpr std::string_view kDefaultGroup = "default";

// A group by both of its names.
struct GroupReference {
  SecurityGroupUid uid;
  std::string id;
  bool operator==(const GroupReference&) const = default;
};

struct Endpoint {
  EndpointUid uid;
  VpcUid vpc;
  std::string vpc_id;
  std::string id;
  HostUid host;
  std::string host_id;
  std::vector<IpAddress> addresses;
  Mac mac;
  std::vector<GroupReference> groups;
  PolicyReference qos_policy;
  std::vector<std::uint32_t> user_ids;   // sorted, as are
  std::vector<std::uint32_t> group_ids;  // these
  std::string description;
  std::uint64_t version = 0;
  Revision revision;
  TimePoint create_time;
  TimePoint update_time;
};

enum class GidType : std::uint8_t { kUnspecified = 0, kIbRoceV1 = 1, kRoceV2 = 2 };

struct PhysicalGid {
  std::uint32_t index = 0;
  Gid gid;
  GidType type = GidType::kUnspecified;
  bool operator==(const PhysicalGid&) const = default;
};

struct Nic {
  std::string device;
  std::uint32_t port = 0;
  std::string netdev;
  std::string driver;
  bool active = false;
  std::uint32_t active_mtu = 0;  // bytes
  std::uint64_t rate_bps = 0;
  std::vector<PhysicalGid> gids;
  Gid primary_gid;     // zero: none
  Gid vpc_gid_prefix;  // zero: none
  bool operator==(const Nic&) const = default;
};

// What tenants may use of a NIC, as an administrator says.
struct NicRate {
  std::string device;
  std::uint64_t rate_bps = 0;
  bool operator==(const NicRate&) const = default;
};

struct Host {
  HostUid uid;
  std::string id;
  std::string description;
  IpAddress underlay;  // all zero: not reported
  std::vector<Nic> nics;
  std::vector<NicRate> nic_rates;  // devices need not be in `nics`
  bool joined = false;             // an agent was here at least once
  std::string agent_version;
  std::string kernel_release;
  std::uint64_t version = 0;
  Revision revision;  // of the last change that other hosts must know
  TimePoint create_time;
  TimePoint update_time;
};

using VpcPtr = std::shared_ptr<const Vpc>;
using EndpointPtr = std::shared_ptr<const Endpoint>;
using HostPtr = std::shared_ptr<const Host>;
using SecurityGroupPtr = std::shared_ptr<const SecurityGroup>;
using QosPolicyPtr = std::shared_ptr<const QosPolicy>;

// A change of one object. Created: no `before`; removed: no `after`.
template <typename T>
struct Changed {
  std::shared_ptr<const T> before;
  std::shared_ptr<const T> after;
};

// What one transaction did.
struct Commit {
  Revision revision;  // newest after it; the same as before it when only quiet changes were made
  std::vector<Changed<Vpc>> vpcs;
  std::vector<Changed<Endpoint>> endpoints;
  std::vector<Changed<Host>> hosts;
  std::vector<Changed<SecurityGroup>> groups = {};
  std::vector<Changed<QosPolicy>> policies = {};
  std::vector<AccessPtr> accesses = {};              // as they are now
  std::vector<CertificateRecord> certificates = {};  // as they are now
};

enum class Kind : std::uint8_t {
  kVpc = 1,
  kEndpoint = 2,
  kHost = 3,
  kSecurityGroup = 4,
  kQosPolicy = 5
};
enum class Op : std::uint8_t { kCreate = 1, kUpdate = 2, kDelete = 3 };

// A line of the revision log.
struct LogEntry {
  Revision revision;
  Kind kind = Kind::kVpc;
  Op op = Op::kCreate;
  std::uint64_t uid = 0;
  VpcUid vpc;             // of a VPC, an endpoint or a security group
  HostUid host;           // of an endpoint after the change, of a host
  HostUid previous_host;  // of an endpoint before the change
  bool operator==(const LogEntry&) const = default;
};

}  // namespace qmasq::controller

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"
#include "controller/model/types.h"

// Where the controller's state lives. The seam is transactions over typed objects, so that a store
// can lock (SQLite) or retry (etcd) without its callers knowing: a function given to read() or
// write() may run more than once and must not act on anything but its view.
namespace qmasq::controller {

struct ListQuery {
  std::string after;        // id; the list starts behind it
  std::size_t limit = 100;  // rows
};

// Endpoints in the order of (VPC id, endpoint id).
struct EndpointQuery {
  std::optional<VpcUid> vpc;
  std::optional<HostUid> host;
  std::string after_vpc;  // ids; the list starts behind this endpoint
  std::string after_endpoint;
  std::size_t limit = 100;
};

// Groups in the order of (VPC id, group id).
struct GroupQuery {
  std::optional<VpcUid> vpc;
  std::string after_vpc;  // ids; the list starts behind this group
  std::string after_group;
  std::size_t limit = 100;
};

struct AddressUse {
  IpAddress address;
  EndpointPtr endpoint;
};

// An endpoint that has a policy of its own.
struct PolicedEndpoint {
  EndpointUid uid;
  VpcUid vpc;
  QosPolicyUid policy;
  bool operator==(const PolicedEndpoint&) const = default;
};

// A VPC that has a policy.
struct PolicedVpc {
  VpcUid uid;
  QosPolicyUid policy;
  bool operator==(const PolicedVpc&) const = default;
};

// A host by both of its names.
struct HostReference {
  HostUid uid;
  std::string id;
  bool operator==(const HostReference&) const = default;
};

// An answered request, kept so that its repetition gets the same answer.
struct RequestRecord {
  std::string id;
  std::string method;
  std::string request;   // bytes, to tell a repetition from another request with the same id
  std::string response;  // bytes
};

// One consistent state. Not thread-safe; valid only inside the function it was given to. A pointer
// in a result is null where there is no such object: that is not an error here.
class ReadView {
 public:
  virtual ~ReadView() = default;

  virtual Result<Revision> revision() = 0;

  virtual Result<VpcPtr> find_vpc(std::string_view id) = 0;
  virtual Result<VpcPtr> get_vpc(VpcUid uid) = 0;
  virtual Result<VpcPtr> vni_owner(Vni vni) = 0;
  virtual Result<std::vector<VpcPtr>> list_vpcs(const ListQuery& query) = 0;

  virtual Result<EndpointPtr> find_endpoint(VpcUid vpc, std::string_view id) = 0;
  virtual Result<EndpointPtr> get_endpoint(EndpointUid uid) = 0;
  virtual Result<EndpointPtr> address_owner(VpcUid vpc, const IpAddress& address) = 0;
  virtual Result<EndpointPtr> mac_owner(VpcUid vpc, const Mac& mac) = 0;
  // The lowest used address in [first, last].
  virtual Result<std::optional<AddressUse>> first_address(VpcUid vpc, const IpAddress& first,
                                                          const IpAddress& last) = 0;
  virtual Result<std::vector<EndpointPtr>> list_endpoints(const EndpointQuery& query) = 0;

  virtual Result<HostPtr> find_host(std::string_view id) = 0;
  virtual Result<HostPtr> get_host(HostUid uid) = 0;
  virtual Result<std::vector<HostPtr>> list_hosts(const ListQuery& query) = 0;

  virtual Result<SecurityGroupPtr> find_group(VpcUid vpc, std::string_view id) = 0;
  virtual Result<SecurityGroupPtr> get_group(SecurityGroupUid uid) = 0;
  virtual Result<std::vector<SecurityGroupPtr>> list_groups(const GroupQuery& query) = 0;
  // Endpoints that carry it: the first by (VPC id, endpoint id), and how many.
  virtual Result<std::vector<EndpointPtr>> carriers(SecurityGroupUid group, std::size_t limit) = 0;
  virtual Result<std::size_t> count_carriers(SecurityGroupUid group) = 0;
  // Other groups with rules that name it.
  virtual Result<std::vector<SecurityGroupPtr>> groups_naming(SecurityGroupUid group,
                                                              std::size_t limit) = 0;

  virtual Result<QosPolicyPtr> find_policy(std::string_view id) = 0;
  virtual Result<QosPolicyPtr> get_policy(QosPolicyUid uid) = 0;
  virtual Result<std::vector<QosPolicyPtr>> list_policies(const ListQuery& query) = 0;
  virtual Result<std::size_t> count_policies() = 0;
  // Who has it: some of them by name ("vpcs/blue"), and how many.
  virtual Result<std::vector<std::string>> policy_vpcs(QosPolicyUid policy, std::size_t limit) = 0;
  virtual Result<std::size_t> count_policy_vpcs(QosPolicyUid policy) = 0;
  virtual Result<std::vector<std::string>> policy_endpoints(QosPolicyUid policy,
                                                            std::size_t limit) = 0;
  virtual Result<std::size_t> count_policy_endpoints(QosPolicyUid policy) = 0;

  // What promises are added up from. All of these cost what they give, not what the host or VPC
  // has otherwise. A host's own endpoints, by VPC; its VPCs.
  virtual Result<std::vector<PolicedEndpoint>> policed_endpoints(HostUid host) = 0;
  virtual Result<std::vector<PolicedVpc>> policed_vpcs(HostUid host) = 0;
  // What may be shared out of each NIC, by device: as the administrator says, else as reported.
  // Those of which nobody said anything are left out.
  virtual Result<std::vector<NicRate>> shared_rates(HostUid host) = 0;
  // By id: hosts with endpoints; with endpoints of the VPC; with endpoints that have the policy or
  // whose VPC has it.
  virtual Result<std::vector<HostReference>> used_hosts() = 0;
  virtual Result<std::vector<HostReference>> hosts_of(VpcUid vpc) = 0;
  virtual Result<std::vector<HostReference>> hosts_of(QosPolicyUid policy) = 0;

  // Policies that the VPC's endpoints have.
  virtual Result<std::vector<QosPolicyUid>> endpoint_policies(VpcUid vpc) = 0;

  virtual Result<AccessPtr> find_access(std::string_view id) = 0;
  virtual Result<std::vector<AccessPtr>> list_accesses(const ListQuery& query) = 0;
  // That have not expired, or not long ago.
  virtual Result<std::vector<CertificateRecord>> list_certificates() = 0;
  virtual Result<std::optional<JoinTokenRecord>> find_join_token(std::string_view hash) = 0;
  // Newest first.
  virtual Result<std::vector<AuditRecord>> list_audit(const AuditQuery& query) = 0;

  // The log behind `after`, oldest first, at most `limit` lines.
  virtual Result<std::vector<LogEntry>> log(Revision after, std::size_t limit) = 0;
};

// Sees its own changes. All of them become durable together, or none.
class WriteView : public ReadView {
 public:
  // A number that no object had or will have.
  virtual Result<std::uint64_t> new_uid() = 0;
  // Inserts, or replaces the object with the same uid. Stamps version, revision and times; gives
  // back the value as stored. Taken names, numbers and addresses are refused with kAlreadyExists,
  // but callers check before, with better words.
  virtual Result<VpcPtr> put(Vpc vpc) = 0;
  virtual Result<EndpointPtr> put(Endpoint endpoint) = 0;
  // `logged`: other hosts must know; otherwise the change makes no revision.
  virtual Result<HostPtr> put(Host host, bool logged) = 0;
  virtual Result<SecurityGroupPtr> put(SecurityGroup group) = 0;
  virtual Result<QosPolicyPtr> put(QosPolicy policy) = 0;
  // Of what exists. Removing what others refer to fails with kFailedPrecondition.
  virtual Status remove(const VpcPtr& vpc) = 0;
  virtual Status remove(const EndpointPtr& endpoint) = 0;
  virtual Status remove(const HostPtr& host) = 0;
  virtual Status remove(const SecurityGroupPtr& group) = 0;
  virtual Status remove(const QosPolicyPtr& policy) = 0;

  // Inserts, or replaces what has the same id, serial or hash. Of an access the role, users and
  // VPCs stay what they were.
  virtual Status put(const Access& access) = 0;
  virtual Status put(const CertificateRecord& certificate) = 0;
  virtual Status put(const JoinTokenRecord& token) = 0;
  // Those of the holder that are not yet; tells how many.
  virtual Result<std::size_t> revoke_certificates(std::string_view holder) = 0;
  // Unused tokens of the host.
  virtual Result<std::size_t> revoke_join_tokens(std::string_view host_id) = 0;
  // Stamps its sequence and time. Old records go, as `retention` says.
  virtual Status append(AuditRecord record, const AuditRetention& retention) = 0;
  // What this transaction has done so far; its revision is the one that it will make.
  [[nodiscard]] virtual const Commit& pending() = 0;
  [[nodiscard]] virtual TimePoint now() const = 0;

  // Younger than 24 hours.
  virtual Result<std::optional<RequestRecord>> find_request(std::string_view id) = 0;
  virtual Status put_request(const RequestRecord& record) = 0;
};

enum class WriteMode { kCommit, kDryRun };

// Thread-safe.
class Store {
 public:
  using ReadFn = std::function<Status(ReadView&)>;
  using WriteFn = std::function<Status(WriteView&)>;
  using Listener = std::function<void(const Commit&)>;

  virtual ~Store() = default;

  // Names this set of data, for ever: an agent that followed another store starts anew.
  [[nodiscard]] virtual const std::string& store_id() const = 0;

  [[nodiscard]] virtual Status read(const ReadFn& fn) = 0;
  // Runs `fn`; when it succeeds and `mode` says so, commits. Success means durable. Failure means
  // that nothing of it is visible. Errors of the medium: kResourceExhausted (disk full),
  // kFailedPrecondition (read-only), kUnavailable (locked by another process), kInternal (damaged).
  [[nodiscard]] virtual Status write(const WriteFn& fn, WriteMode mode = WriteMode::kCommit) = 0;

  // Called for every commit, in their order, under the lock that writes hold: be quick, and do not
  // call the store. Set once, before the first write.
  virtual void listen(Listener listener) = 0;
};

}  // namespace qmasq::controller

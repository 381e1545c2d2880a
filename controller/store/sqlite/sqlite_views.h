// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "controller/store/sqlite/connection.h"
#include "controller/store/store.h"

namespace qmasq::controller::sqlite {

// Answered requests live so long.
inline constexpr std::chrono::hours kRequestLife{24};

// Both kinds of view on one connection inside a transaction that SqliteStore opened. Reads are
// given out through WriteView too; a read connection refuses writes (query_only).
class SqliteView final : public WriteView {
 public:
  // `now` stamps what is written; `base` is the revision that a write starts from.
  SqliteView(Connection& connection, TimePoint now, Revision base)
      : connection_(connection), now_(now), base_(base) {}

  Result<Revision> revision() override;
  Result<VpcPtr> find_vpc(std::string_view id) override;
  Result<VpcPtr> get_vpc(VpcUid uid) override;
  Result<VpcPtr> vni_owner(Vni vni) override;
  Result<std::vector<VpcPtr>> list_vpcs(const ListQuery& query) override;
  Result<EndpointPtr> find_endpoint(VpcUid vpc, std::string_view id) override;
  Result<EndpointPtr> get_endpoint(EndpointUid uid) override;
  Result<EndpointPtr> address_owner(VpcUid vpc, const IpAddress& address) override;
  Result<EndpointPtr> mac_owner(VpcUid vpc, const Mac& mac) override;
  Result<std::optional<AddressUse>> first_address(VpcUid vpc, const IpAddress& first,
                                                  const IpAddress& last) override;
  Result<std::vector<EndpointPtr>> list_endpoints(const EndpointQuery& query) override;
  Result<HostPtr> find_host(std::string_view id) override;
  Result<HostPtr> get_host(HostUid uid) override;
  Result<std::vector<HostPtr>> list_hosts(const ListQuery& query) override;
  Result<SecurityGroupPtr> find_group(VpcUid vpc, std::string_view id) override;
  Result<SecurityGroupPtr> get_group(SecurityGroupUid uid) override;
  Result<std::vector<SecurityGroupPtr>> list_groups(const GroupQuery& query) override;
  Result<std::vector<EndpointPtr>> carriers(SecurityGroupUid group, std::size_t limit) override;
  Result<std::size_t> count_carriers(SecurityGroupUid group) override;
  Result<std::vector<SecurityGroupPtr>> groups_naming(SecurityGroupUid group,
                                                      std::size_t limit) override;
  Result<QosPolicyPtr> find_policy(std::string_view id) override;
  Result<QosPolicyPtr> get_policy(QosPolicyUid uid) override;
  Result<std::vector<QosPolicyPtr>> list_policies(const ListQuery& query) override;
  Result<std::size_t> count_policies() override;
  Result<std::vector<std::string>> policy_vpcs(QosPolicyUid policy, std::size_t limit) override;
  Result<std::size_t> count_policy_vpcs(QosPolicyUid policy) override;
  Result<std::vector<std::string>> policy_endpoints(QosPolicyUid policy,
                                                    std::size_t limit) override;
  Result<std::size_t> count_policy_endpoints(QosPolicyUid policy) override;
  Result<std::vector<PolicedEndpoint>> policed_endpoints(HostUid host) override;
  Result<std::vector<PolicedVpc>> policed_vpcs(HostUid host) override;
  Result<std::vector<NicRate>> shared_rates(HostUid host) override;
  Result<std::vector<HostReference>> used_hosts() override;
  Result<std::vector<HostReference>> hosts_of(VpcUid vpc) override;
  Result<std::vector<HostReference>> hosts_of(QosPolicyUid policy) override;
  // In auth_views.cc, with all that is about callers.
  Result<std::vector<QosPolicyUid>> endpoint_policies(VpcUid vpc) override;
  Result<AccessPtr> find_access(std::string_view id) override;
  Result<std::vector<AccessPtr>> list_accesses(const ListQuery& query) override;
  Result<std::vector<CertificateRecord>> list_certificates() override;
  Result<std::optional<JoinTokenRecord>> find_join_token(std::string_view hash) override;
  Result<std::vector<AuditRecord>> list_audit(const AuditQuery& query) override;
  Result<std::vector<LogEntry>> log(Revision after, std::size_t limit) override;

  Result<std::uint64_t> new_uid() override;
  Result<VpcPtr> put(Vpc vpc) override;
  Result<EndpointPtr> put(Endpoint endpoint) override;
  Result<HostPtr> put(Host host, bool logged) override;
  Result<SecurityGroupPtr> put(SecurityGroup group) override;
  Result<QosPolicyPtr> put(QosPolicy policy) override;
  Status remove(const VpcPtr& vpc) override;
  Status remove(const EndpointPtr& endpoint) override;
  Status remove(const HostPtr& host) override;
  Status remove(const SecurityGroupPtr& group) override;
  Status remove(const QosPolicyPtr& policy) override;
  Status put(const Access& access) override;
  Status put(const CertificateRecord& certificate) override;
  Status put(const JoinTokenRecord& token) override;
  Result<std::size_t> revoke_certificates(std::string_view holder) override;
  Result<std::size_t> revoke_join_tokens(std::string_view host_id) override;
  Status append(AuditRecord record, const AuditRetention& retention) override;
  const Commit& pending() override {
    commit_.revision = logged_ > 0 ? next() : base_;
    return commit_;
  }
  TimePoint now() const override { return now_; }
  Result<std::optional<RequestRecord>> find_request(std::string_view id) override;
  Status put_request(const RequestRecord& record) override;

  // Writes what belongs to the transaction as a whole. Called once, after the function.
  Status finish();
  [[nodiscard]] Commit take_commit() { return std::move(commit_); }
  [[nodiscard]] bool changed_anything() const { return changed_; }

 private:
  // The revision that this transaction makes.
  [[nodiscard]] Revision next() const { return Revision{base_.value + 1}; }
  // In qos_views.cc, with all that is about policies.
  Result<std::size_t> count(const char* sql, std::uint64_t uid);
  Status log_change(LogEntry entry);
  Status sweep_audit(std::int64_t refused, std::uint64_t keep);
  Status delete_row(const char* sql, std::uint64_t uid, std::string_view what);
  Result<std::vector<EndpointPtr>> endpoints_in(VpcUid vpc, const std::string& after,
                                                std::size_t limit);

  Connection& connection_;
  const TimePoint now_;
  const Revision base_;
  int logged_ = 0;
  bool changed_ = false;
  Commit commit_;
};

}  // namespace qmasq::controller::sqlite

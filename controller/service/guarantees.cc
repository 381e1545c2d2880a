// SPDX-License-Identifier: Apache-2.0
#include "controller/service/guarantees.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <utility>

#include "common/resource_name.h"
#include "qos/fit.h"

namespace qmasq::controller {
namespace {

constexpr std::size_t kMostListed = 100;
constexpr std::size_t kMostSufferers = 20;

// Each policy is read once.
class Policies {
 public:
  explicit Policies(ReadView& view) : view_(view) {}

  Result<QosPolicyPtr> get(QosPolicyUid uid) {
    auto [entry, inserted] = known_.try_emplace(uid);
    if (inserted) {
      QMASQ_ASSIGN(entry->second, view_.get_policy(uid));
      if (!entry->second) return fail(Code::kInternal, "the database lacks a QoS policy in use");
    }
    return entry->second;
  }

 private:
  ReadView& view_;
  std::map<QosPolicyUid, QosPolicyPtr> known_;
};

// What is promised on a host.
struct Book {
  std::vector<NicRate> rates;
  std::vector<qos::FitVpc> vpcs;             // with a policy, or endpoints with one; by uid
  std::map<VpcUid, QosPolicyUid> policy_of;  // of these, where they have one
  std::map<QosPolicyUid, QosPolicyPtr> policies;
};

Result<Book> read_book(ReadView& view, Policies& policies, HostUid host) {
  Book book;
  QMASQ_ASSIGN(auto vpcs, view.policed_vpcs(host));
  QMASQ_ASSIGN(auto endpoints, view.policed_endpoints(host));
  if (vpcs.empty() && endpoints.empty()) return book;
  QMASQ_ASSIGN(book.rates, view.shared_rates(host));
  std::map<VpcUid, qos::FitVpc> fit;
  for (const PolicedVpc& vpc : vpcs) {
    QMASQ_ASSIGN(auto policy, policies.get(vpc.policy));
    fit[vpc.uid] = {vpc.uid, policy->policy.bandwidth, {}};
    book.policy_of[vpc.uid] = vpc.policy;
    book.policies[vpc.policy] = std::move(policy);
  }
  for (const PolicedEndpoint& endpoint : endpoints) {
    QMASQ_ASSIGN(auto policy, policies.get(endpoint.policy));
    qos::FitVpc& vpc = fit[endpoint.vpc];
    vpc.vpc = endpoint.vpc;
    vpc.endpoints.push_back({endpoint.uid, policy->policy.bandwidth});
    book.policies[endpoint.policy] = std::move(policy);
  }
  book.vpcs.reserve(fit.size());
  for (auto& [uid, vpc] : fit)
    book.vpcs.push_back(std::move(vpc));
  return book;
}

// Single limits first: they say more than a sum.
std::vector<Excess> excesses(const Book& book, const HostReference& host) {
  std::vector<Excess> out;
  for (const auto& [uid, policy] : book.policies) {
    const qos::Bandwidth& bandwidth = policy->policy.bandwidth;
    for (const NicRate& nic : book.rates) {
      const BitsPerSecond rate{nic.rate_bps};
      if (bandwidth.guaranteed && *bandwidth.guaranteed > rate) {
        out.push_back(
            {Excess::Kind::kGuarantee, host.id, nic.device, {}, uid, *bandwidth.guaranteed, rate});
      }
      if (bandwidth.maximum && *bandwidth.maximum > rate) {
        out.push_back(
            {Excess::Kind::kMaximum, host.id, nic.device, {}, uid, *bandwidth.maximum, rate});
      }
    }
  }
  for (const qos::FitVpc& vpc : book.vpcs) {
    if (!vpc.bandwidth.maximum) continue;
    // More than the maximum, which its own guarantee cannot be: the endpoints'.
    const BitsPerSecond sum = qos::promised(vpc);
    if (sum <= *vpc.bandwidth.maximum) continue;
    out.push_back({Excess::Kind::kVpc,
                   host.id,
                   {},
                   vpc.vpc,
                   book.policy_of.at(vpc.vpc),
                   sum,
                   *vpc.bandwidth.maximum});
  }
  const BitsPerSecond sum = qos::promised(book.vpcs);
  for (const NicRate& nic : book.rates) {
    const BitsPerSecond rate{nic.rate_bps};
    if (sum > rate) out.push_back({Excess::Kind::kNic, host.id, nic.device, {}, {}, sum, rate});
  }
  return out;
}

bool made_worse(const Excess& now, const std::vector<Excess>& before) {
  for (const Excess& was : before) {
    if (was.kind != now.kind || was.device != now.device || was.vpc != now.vpc) continue;
    // By which policy a VPC's maximum is what it is does not matter.
    if (now.kind != Excess::Kind::kVpc && was.policy != now.policy) continue;
    return now.asked > was.asked || now.available < was.available;
  }
  return true;
}

// Names of those with a guarantee, of the VPC or (0) of all, largest first.
Result<std::vector<std::string>> sufferers(ReadView& view, const Book& book, VpcUid of) {
  struct Promise {
    BitsPerSecond guaranteed;
    VpcUid vpc;
    EndpointUid endpoint;  // 0: the VPC itself
  };
  std::vector<Promise> all;
  for (const qos::FitVpc& vpc : book.vpcs) {
    if (of.value != 0 && vpc.vpc != of) continue;
    if (of.value == 0 && vpc.bandwidth.guaranteed) {
      all.push_back({*vpc.bandwidth.guaranteed, vpc.vpc, {}});
    }
    for (const auto& endpoint : vpc.endpoints) {
      const auto& guaranteed = endpoint.bandwidth.guaranteed;
      if (guaranteed) all.push_back({*guaranteed, vpc.vpc, endpoint.endpoint});
    }
  }
  const std::size_t count = std::min(all.size(), kMostSufferers);
  std::partial_sort(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(count), all.end(),
                    [](const Promise& a, const Promise& b) {
                      return std::tuple(b.guaranteed, a.vpc, a.endpoint) <
                             std::tuple(a.guaranteed, b.vpc, b.endpoint);
                    });
  all.resize(count);
  std::vector<std::string> names;
  names.reserve(count);
  for (const Promise& promise : all) {
    if (promise.endpoint.value != 0) {
      QMASQ_ASSIGN(auto endpoint, view.get_endpoint(promise.endpoint));
      if (endpoint) names.push_back(endpoint_name(endpoint->vpc_id, endpoint->id));
      continue;
    }
    QMASQ_ASSIGN(auto vpc, view.get_vpc(promise.vpc));
    if (vpc) names.push_back(vpc_name(vpc->id));
  }
  return names;
}

Result<std::string> describe(ReadView& view, Policies& policies, const Excess& excess) {
  const std::string host = host_name(excess.host_id);
  const std::string asked = to_string(excess.asked);
  const std::string available = to_string(excess.available);
  switch (excess.kind) {
    case Excess::Kind::kGuarantee:
    case Excess::Kind::kMaximum: {
      QMASQ_ASSIGN(auto policy, policies.get(excess.policy));
      return fmt::format("the {} of {} is {}, but {} of {} has {}",
                         excess.kind == Excess::Kind::kMaximum ? "maximum" : "guarantee",
                         qos_policy_name(policy->policy.id), asked, excess.device, host, available);
    }
    case Excess::Kind::kVpc: {
      QMASQ_ASSIGN(auto vpc, view.get_vpc(excess.vpc));
      if (!vpc) return fail(Code::kInternal, "the database lacks a VPC in use");
      return fmt::format(
          "guarantees of endpoints of {} on {} would add up to {}, but the maximum of the VPC is "
          "{}",
          vpc_name(vpc->id), host, asked, available);
    }
    case Excess::Kind::kNic:
      break;
  }
  return fmt::format("guarantees on {} would add up to {}, but {} has {}", host, asked,
                     excess.device, available);
}

Result<v1::Oversubscription> to_message(ReadView& view, const Book& book, const Excess& excess) {
  v1::Oversubscription out;
  out.set_host(host_name(excess.host_id));
  out.set_device(excess.device);
  out.set_rate_bps(excess.available.value);
  out.set_guaranteed_bps(excess.asked.value);
  if (excess.kind == Excess::Kind::kVpc) {
    QMASQ_ASSIGN(auto vpc, view.get_vpc(excess.vpc));
    if (vpc) out.set_vpc(vpc_name(vpc->id));
  }
  QMASQ_ASSIGN(auto names, sufferers(view, book, excess.vpc));
  for (std::string& name : names)
    out.add_may_suffer(std::move(name));
  return out;
}

}  // namespace

Result<GuaranteeCheck> GuaranteeCheck::begin(ReadView& view, std::vector<HostReference> hosts) {
  GuaranteeCheck check;
  check.hosts_ = std::move(hosts);
  check.before_.reserve(check.hosts_.size());
  Policies policies(view);
  for (const HostReference& host : check.hosts_) {
    QMASQ_ASSIGN(auto book, read_book(view, policies, host.uid));
    check.before_.push_back(excesses(book, host));
  }
  return check;
}

Result<Oversubscriptions> GuaranteeCheck::finish(ReadView& view, const Options& options,
                                                 const FieldOf& field_of) const {
  Policies policies(view);
  Oversubscriptions out;
  std::optional<Excess> first;
  std::set<std::string> others;
  for (std::size_t i = 0; i < hosts_.size(); ++i) {
    QMASQ_ASSIGN(auto book, read_book(view, policies, hosts_[i].uid));
    for (const Excess& excess : excesses(book, hosts_[i])) {
      if (!options.force && made_worse(excess, before_[i])) {
        if (!first) first = excess;
        if (excess.host_id != first->host_id) others.insert(excess.host_id);
      }
      // A limit that is never reached hurts nobody.
      const bool promised = excess.kind == Excess::Kind::kNic || excess.kind == Excess::Kind::kVpc;
      if (!promised || out.size() == kMostListed || !(options.force || options.validate_only)) {
        continue;
      }
      QMASQ_ASSIGN(auto message, to_message(view, book, excess));
      out.push_back(std::move(message));
    }
  }
  if (!first) return out;
  QMASQ_ASSIGN(std::string text, describe(view, policies, *first));
  if (!others.empty()) {
    text += fmt::format("; too much also for {} more {}", others.size(),
                        others.size() == 1 ? "host" : "hosts");
  }
  return fail(Code::kFailedPrecondition, text + " (force accepts it)", field_of(*first));
}

}  // namespace qmasq::controller

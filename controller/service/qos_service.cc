// SPDX-License-Identifier: Apache-2.0
#include "controller/service/qos_service.h"

#include <fmt/format.h>

#include "common/resource_name.h"
#include "controller/model/filter.h"
#include "controller/model/request_rules.h"
#include "controller/service/fleet_queries.h"
#include "controller/service/scope.h"
#include "controller/wire/convert.h"

namespace qmasq::controller {
namespace {

// Clients take messages of 4 MiB; hosts whose trees do not fit say so instead.
constexpr std::size_t kMostBytes = 3U << 20U;

Status fill(ReadView& view, const Caller& caller, const QosPolicy& policy, v1::QosPolicy* out) {
  to_proto(policy, out);
  // How many others have it is not a VPC admin's to know.
  if (caller.scoped()) return {};
  QMASQ_ASSIGN(auto vpcs, view.count_policy_vpcs(policy.policy.uid));
  QMASQ_ASSIGN(auto endpoints, view.count_policy_endpoints(policy.policy.uid));
  out->set_vpc_count(static_cast<std::uint32_t>(vpcs));
  out->set_endpoint_count(static_cast<std::uint32_t>(endpoints));
  return {};
}

}  // namespace

grpc::Status QosServiceImpl::CreateQosPolicy(grpc::ServerContext* rpc,
                                             const v1::CreateQosPolicyRequest* request,
                                             v1::QosPolicy* response) {
  return run_call(context_, *rpc, "QosService/CreateQosPolicy", *request,
                  [&](const Caller& caller) {
                    return mutate(context_, caller,
                                  {"QosService/CreateQosPolicy", *request, request->request_id(),
                                   request->validate_only()},
                                  response, [&](WriteView& view) -> Status {
                                    QMASQ_ASSIGN(auto policy, create_policy(view, *request));
                                    return fill(view, caller, *policy, response);
                                  });
                  });
}

grpc::Status QosServiceImpl::GetQosPolicy(grpc::ServerContext* rpc,
                                          const v1::GetQosPolicyRequest* request,
                                          v1::QosPolicy* response) {
  return run_call(context_, *rpc, "QosService/GetQosPolicy", *request, [&](const Caller& caller) {
    return context_.store.read([&](ReadView& view) -> Status {
      response->Clear();
      QMASQ_ASSIGN(auto scope, Scope::of(view, caller));
      QMASQ_ASSIGN(auto policy, require_policy(view, request->name(), "name"));
      if (!scope.has(policy->policy.uid)) {
        return fail(Code::kNotFound, fmt::format("there is no {}", request->name()), "name");
      }
      return fill(view, caller, *policy, response);
    });
  });
}

grpc::Status QosServiceImpl::ListQosPolicies(grpc::ServerContext* rpc,
                                             const v1::ListQosPoliciesRequest* request,
                                             v1::ListQosPoliciesResponse* response) {
  return run_call(
      context_, *rpc, "QosService/ListQosPolicies", *request, [&](const Caller& caller) -> Status {
        constexpr std::string_view kFields[] = {"name"};
        QMASQ_ASSIGN(auto filter, Filter::parse(request->filter(), kFields));
        QMASQ_ASSIGN(auto size, check_page_size(request->page_size()));
        const std::string scope = "qosPolicies?" + request->filter();
        QMASQ_ASSIGN(auto after, read_page_token(request->page_token(), scope));
        return context_.store.read([&](ReadView& view) -> Status {
          response->Clear();
          QMASQ_ASSIGN(auto visible, Scope::of(view, caller));
          ListQuery query{after, filter.empty() && !caller.scoped() ? size + 1 : 1000};
          std::string last;
          for (;;) {
            QMASQ_ASSIGN(auto page, view.list_policies(query));
            for (const auto& policy : page) {
              if (!visible.has(policy->policy.uid)) continue;
              const std::string& id = policy->policy.id;
              bool fits = filter.matches([&](std::string_view) -> std::vector<std::string> {
                return {qos_policy_name(id), id};
              });
              if (!fits) continue;
              if (static_cast<std::size_t>(response->qos_policies_size()) == size) {
                response->set_next_page_token(make_page_token(scope, last));
                return {};
              }
              QMASQ_TRY(fill(view, caller, *policy, response->add_qos_policies()));
              last = id;
            }
            if (page.size() < query.limit) return {};
            query.after = page.back()->policy.id;
          }
        });
      });
}

grpc::Status QosServiceImpl::UpdateQosPolicy(grpc::ServerContext* rpc,
                                             const v1::UpdateQosPolicyRequest* request,
                                             v1::QosPolicy* response) {
  return run_call(
      context_, *rpc, "QosService/UpdateQosPolicy", *request, [&](const Caller& caller) {
        return mutate(context_, caller,
                      {"QosService/UpdateQosPolicy", *request, request->request_id(),
                       request->validate_only()},
                      response, [&](WriteView& view) -> Status {
                        Oversubscriptions over;
                        QMASQ_ASSIGN(auto policy, update_policy(view, *request, over));
                        response->mutable_oversubscriptions()->Add(over.begin(), over.end());
                        return fill(view, caller, *policy, response);
                      });
      });
}

grpc::Status QosServiceImpl::DeleteQosPolicy(grpc::ServerContext* rpc,
                                             const v1::DeleteQosPolicyRequest* request,
                                             v1::DeleteQosPolicyResponse* response) {
  return run_call(context_, *rpc, "QosService/DeleteQosPolicy", *request,
                  [&](const Caller& caller) {
                    return mutate(context_, caller,
                                  {"QosService/DeleteQosPolicy", *request, request->request_id(),
                                   request->validate_only()},
                                  response, [&](WriteView& view) -> Status {
                                    QMASQ_TRY(delete_policy(view, *request));
                                    QMASQ_ASSIGN(auto revision, coming_revision(view));
                                    response->set_revision(revision);
                                    return {};
                                  });
                  });
}

grpc::Status QosServiceImpl::ShowQos(grpc::ServerContext* rpc, const v1::ShowQosRequest* request,
                                     v1::ShowQosResponse* response) {
  return run_call(
      context_, *rpc, "QosService/ShowQos", *request, [&](const Caller& caller) -> Status {
        v1::Query query;
        std::vector<HostReference> hosts;
        if (caller.scoped() && request->vpc().empty()) {
          return fail(Code::kPermissionDenied,
                      fmt::format("{} sees only its VPCs: name one of them", caller.name), "vpc");
        }
        auto look = [&](ReadView& view) -> Status {
          response->Clear();
          hosts.clear();
          QMASQ_ASSIGN(auto revision, view.revision());
          response->set_revision(revision.value);
          VpcUid vpc;
          if (!request->vpc().empty()) {
            QMASQ_ASSIGN(auto found, require_vpc(view, request->vpc(), "vpc"));
            vpc = found->uid;
          }
          query.mutable_qos()->set_vpc_uid(vpc.value);
          if (!request->host().empty()) {
            QMASQ_ASSIGN(auto scope, Scope::of(view, caller));
            QMASQ_ASSIGN(auto host, scope.require_host(view, request->host(), "host"));
            hosts.push_back({host->uid, host->id});
            return {};
          }
          QMASQ_ASSIGN(hosts, vpc.value != 0 ? view.hosts_of(vpc) : view.used_hosts());
          return {};
        };
        QMASQ_TRY(context_.store.read(look));
        std::vector<HostUid> uids;
        uids.reserve(hosts.size());
        for (const HostReference& host : hosts)
          uids.push_back(host.uid);
        std::vector<v1::Answer> answers = queries_.ask(uids, query);
        std::size_t bytes = 0;
        for (std::size_t i = 0; i < answers.size(); ++i) {
          v1::HostQos& out = *response->add_hosts();
          v1::Answer& answer = answers[i];
          if (!answer.error().empty()) {
            out.set_error(answer.error());
          } else if (!answer.has_qos()) {
            out.set_error("its agent does not know the question");
          } else if (bytes + answer.qos().ByteSizeLong() > kMostBytes) {
            out.set_error("no room in this answer: ask for this host, or for one VPC");
          } else {
            bytes += answer.qos().ByteSizeLong();
            out = std::move(*answer.mutable_qos());
            if (out.revision() == 0) out.set_revision(answer.held_revision());
          }
          out.set_host(host_name(hosts[i].id));
        }
        return {};
      });
}

}  // namespace qmasq::controller

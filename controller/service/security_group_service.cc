// SPDX-License-Identifier: Apache-2.0
#include "controller/service/security_group_service.h"

#include <fmt/format.h>

#include "common/resource_name.h"
#include "controller/model/filter.h"
#include "controller/model/request_rules.h"
#include "controller/service/fleet_queries.h"
#include "controller/wire/convert.h"

namespace qmasq::controller {
namespace {

constexpr std::string_view kAnyVpc = "vpcs/-";

Status fill(ReadView& view, const SecurityGroup& group, v1::SecurityGroup* out) {
  to_proto(group, out);
  QMASQ_ASSIGN(auto count, view.count_carriers(group.uid));
  out->set_endpoint_count(static_cast<std::uint32_t>(count));
  return {};
}

// Page keys are "vpc/group".
Status read_key(const std::string& key, GroupQuery& query) {
  if (key.empty()) return {};
  auto name = parse_security_group_reference(key);
  if (!name) return fail(Code::kInvalidArgument, "not a token of this list", "page_token");
  query.after_vpc = name->vpc;
  query.after_group = name->group;
  return {};
}

}  // namespace

grpc::Status SecurityGroupServiceImpl::CreateSecurityGroup(
    grpc::ServerContext* rpc, const v1::CreateSecurityGroupRequest* request,
    v1::SecurityGroup* response) {
  return run_call(context_, *rpc, "SecurityGroupService/CreateSecurityGroup", *request,
                  [&](const Caller& caller) {
                    return mutate(context_, caller,
                                  {"SecurityGroupService/CreateSecurityGroup", *request,
                                   request->request_id(), request->validate_only()},
                                  response, [&](WriteView& view) -> Status {
                                    QMASQ_ASSIGN(auto group, create_group(view, *request));
                                    return fill(view, *group, response);
                                  });
                  });
}

grpc::Status SecurityGroupServiceImpl::GetSecurityGroup(grpc::ServerContext* rpc,
                                                        const v1::GetSecurityGroupRequest* request,
                                                        v1::SecurityGroup* response) {
  return run_call(context_, *rpc, "SecurityGroupService/GetSecurityGroup", *request,
                  [&](const Caller&) {
                    return context_.store.read([&](ReadView& view) -> Status {
                      response->Clear();
                      QMASQ_ASSIGN(auto group, require_group(view, request->name(), "name"));
                      return fill(view, *group, response);
                    });
                  });
}

grpc::Status SecurityGroupServiceImpl::ListSecurityGroups(
    grpc::ServerContext* rpc, const v1::ListSecurityGroupsRequest* request,
    v1::ListSecurityGroupsResponse* response) {
  return run_call(
      context_, *rpc, "SecurityGroupService/ListSecurityGroups", *request,
      [&](const Caller& caller) -> Status {
        constexpr std::string_view kFields[] = {"name", "group"};
        QMASQ_ASSIGN(auto filter, Filter::parse(request->filter(), kFields));
        QMASQ_ASSIGN(auto size, check_page_size(request->page_size()));
        const std::string scope = "groups:" + request->parent() + "?" + request->filter();
        QMASQ_ASSIGN(auto after, read_page_token(request->page_token(), scope));
        return context_.store.read([&](ReadView& view) -> Status {
          response->Clear();
          GroupQuery query;
          QMASQ_TRY(read_key(after, query));
          if (request->parent() != kAnyVpc) {
            QMASQ_ASSIGN(auto vpc, require_vpc(view, request->parent(), "parent"));
            query.vpc = vpc->uid;
          }
          query.limit = filter.empty() && !caller.scoped() ? size + 1 : 1000;
          SecurityGroupPtr last;
          for (;;) {
            QMASQ_ASSIGN(auto page, view.list_groups(query));
            for (const auto& group : page) {
              if (!caller.sees(group->vpc_id)) continue;
              bool fits = filter.matches([&](std::string_view field) -> std::vector<std::string> {
                if (field == "name") return {security_group_name(group->vpc_id, group->id)};
                return {group->id};
              });
              if (!fits) continue;
              if (static_cast<std::size_t>(response->security_groups_size()) == size) {
                response->set_next_page_token(
                    make_page_token(scope, fmt::format("{}/{}", last->vpc_id, last->id)));
                return {};
              }
              QMASQ_TRY(fill(view, *group, response->add_security_groups()));
              last = group;
            }
            if (page.size() < query.limit) return {};
            query.after_vpc = page.back()->vpc_id;
            query.after_group = page.back()->id;
          }
        });
      });
}

grpc::Status SecurityGroupServiceImpl::UpdateSecurityGroup(
    grpc::ServerContext* rpc, const v1::UpdateSecurityGroupRequest* request,
    v1::SecurityGroup* response) {
  return run_call(context_, *rpc, "SecurityGroupService/UpdateSecurityGroup", *request,
                  [&](const Caller& caller) -> Status {
                    QMASQ_TRY(mutate(context_, caller,
                                     {"SecurityGroupService/UpdateSecurityGroup", *request,
                                      request->request_id(), request->validate_only()},
                                     response, [&](WriteView& view) -> Status {
                                       QMASQ_ASSIGN(auto group, update_group(view, *request));
                                       return fill(view, *group, response);
                                     }));
                    if (!request->validate_only()) return {};
                    v1::ImpactQuery question;
                    *question.add_security_groups() = *response;
                    *response->mutable_impact() =
                        queries_.impact(VpcUid{response->vpc_uid()}, question);
                    return {};
                  });
}

grpc::Status SecurityGroupServiceImpl::DeleteSecurityGroup(
    grpc::ServerContext* rpc, const v1::DeleteSecurityGroupRequest* request,
    v1::DeleteSecurityGroupResponse* response) {
  return run_call(context_, *rpc, "SecurityGroupService/DeleteSecurityGroup", *request,
                  [&](const Caller& caller) {
                    return mutate(context_, caller,
                                  {"SecurityGroupService/DeleteSecurityGroup", *request,
                                   request->request_id(), request->validate_only()},
                                  response, [&](WriteView& view) -> Status {
                                    QMASQ_TRY(delete_group(view, *request));
                                    QMASQ_ASSIGN(auto revision, coming_revision(view));
                                    response->set_revision(revision);
                                    return {};
                                  });
                  });
}

}  // namespace qmasq::controller

// SPDX-License-Identifier: Apache-2.0
#include "controller/service/vpc_service.h"

#include <fmt/format.h>

#include "common/resource_name.h"
#include "controller/model/filter.h"
#include "controller/model/request_rules.h"
#include "controller/wire/convert.h"

namespace qmasq::controller {

grpc::Status VpcServiceImpl::CreateVpc(grpc::ServerContext* rpc,
                                       const v1::CreateVpcRequest* request, v1::Vpc* response) {
  return run_call(context_, *rpc, "VpcService/CreateVpc", *request, [&](const Caller& caller) {
    return mutate(
        context_, caller,
        {"VpcService/CreateVpc", *request, request->request_id(), request->validate_only()},
        response, [&](WriteView& view) -> Status {
          QMASQ_ASSIGN(auto vpc, create_vpc(view, context_.actions, *request));
          to_proto(*vpc, response);
          return {};
        });
  });
}

grpc::Status VpcServiceImpl::GetVpc(grpc::ServerContext* rpc, const v1::GetVpcRequest* request,
                                    v1::Vpc* response) {
  return run_call(context_, *rpc, "VpcService/GetVpc", *request, [&](const Caller&) {
    return context_.store.read([&](ReadView& view) -> Status {
      QMASQ_ASSIGN(auto vpc, require_vpc(view, request->name(), "name"));
      to_proto(*vpc, response);
      return {};
    });
  });
}

grpc::Status VpcServiceImpl::ListVpcs(grpc::ServerContext* rpc, const v1::ListVpcsRequest* request,
                                      v1::ListVpcsResponse* response) {
  return run_call(
      context_, *rpc, "VpcService/ListVpcs", *request, [&](const Caller& caller) -> Status {
        constexpr std::string_view kFields[] = {"name", "vni"};
        QMASQ_ASSIGN(auto filter, Filter::parse(request->filter(), kFields));
        QMASQ_ASSIGN(auto size, check_page_size(request->page_size()));
        const std::string scope = "vpcs?" + request->filter();
        QMASQ_ASSIGN(auto after, read_page_token(request->page_token(), scope));
        return context_.store.read([&](ReadView& view) -> Status {
          ListQuery query{after, 1000};
          if (filter.empty() && !caller.scoped()) query.limit = size + 1;
          for (;;) {
            QMASQ_ASSIGN(auto page, view.list_vpcs(query));
            for (const auto& vpc : page) {
              if (!caller.sees(vpc->id)) continue;
              bool fits = filter.matches([&](std::string_view field) -> std::vector<std::string> {
                if (field == "name") return {vpc_name(vpc->id), vpc->id};
                return {std::to_string(vpc->vni.value)};
              });
              if (!fits) continue;
              if (static_cast<std::size_t>(response->vpcs_size()) == size) {
                auto last = parse_vpc_name(response->vpcs(response->vpcs_size() - 1).name());
                response->set_next_page_token(make_page_token(scope, *last));
                return {};
              }
              to_proto(*vpc, response->add_vpcs());
            }
            if (page.size() < query.limit) return {};
            query.after = page.back()->id;
          }
        });
      });
}

grpc::Status VpcServiceImpl::UpdateVpc(grpc::ServerContext* rpc,
                                       const v1::UpdateVpcRequest* request, v1::Vpc* response) {
  return run_call(context_, *rpc, "VpcService/UpdateVpc", *request, [&](const Caller& caller) {
    return mutate(
        context_, caller,
        {"VpcService/UpdateVpc", *request, request->request_id(), request->validate_only()},
        response, [&](WriteView& view) -> Status {
          Oversubscriptions over;
          QMASQ_ASSIGN(auto vpc, update_vpc(view, *request, over));
          to_proto(*vpc, response);
          response->mutable_oversubscriptions()->Add(over.begin(), over.end());
          return {};
        });
  });
}

grpc::Status VpcServiceImpl::DeleteVpc(grpc::ServerContext* rpc,
                                       const v1::DeleteVpcRequest* request,
                                       v1::DeleteVpcResponse* response) {
  return run_call(context_, *rpc, "VpcService/DeleteVpc", *request, [&](const Caller& caller) {
    return mutate(
        context_, caller,
        {"VpcService/DeleteVpc", *request, request->request_id(), request->validate_only()},
        response, [&](WriteView& view) -> Status {
          QMASQ_TRY(delete_vpc(view, *request));
          QMASQ_ASSIGN(auto revision, coming_revision(view));
          response->set_revision(revision);
          return {};
        });
  });
}

}  // namespace qmasq::controller

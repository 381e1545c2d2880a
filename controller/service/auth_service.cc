// SPDX-License-Identifier: Apache-2.0
#include "controller/service/auth_service.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "common/resource_name.h"
#include "controller/model/filter.h"
#include "controller/model/request_rules.h"
#include "controller/service/actions.h"
#include "controller/service/auth_actions.h"

namespace qmasq::controller {
namespace {

constexpr std::string_view kJoinHost = "AuthService/JoinHost";
// Of a page; records are up to 33 kB.
constexpr std::size_t kMostRecords = 100;

// In one transaction for callers that may still call.
Status change(const ServiceContext& context, const Caller& caller,
              const std::function<Status(WriteView&)>& work) {
  return context.store.write([&](WriteView& view) -> Status {
    QMASQ_TRY(context.gate.check(caller));
    return work(view);
  });
}

std::vector<std::string> values_of(const AuditRecord& record, std::string_view field) {
  if (field == "caller") return {record.caller};
  if (field == "method") {
    return {record.method, record.method.substr(record.method.find('/') + 1)};
  }
  if (field == "resource") return {record.resource};
  return {record.status};
}

}  // namespace

grpc::Status AuthServiceImpl::CreateJoinToken(grpc::ServerContext* rpc,
                                              const v1::CreateJoinTokenRequest* request,
                                              v1::JoinToken* response) {
  // Not by mutate(): that keeps answers, and this one is a secret. A repetition gets another token.
  return run_call(context_, *rpc, "AuthService/CreateJoinToken", *request,
                  [&](const Caller& caller) -> Status {
                    QMASQ_TRY(check_request_id(request->request_id()));
                    return change(context_, caller, [&](WriteView& view) {
                      response->Clear();
                      return create_join_token(view, context_, caller, *request, response);
                    });
                  });
}

grpc::Status AuthServiceImpl::JoinHost(grpc::ServerContext* rpc, const v1::JoinHostRequest* request,
                                       v1::Certificate* response) {
  return run_call(context_, *rpc, kJoinHost, *request, [&](const Caller& caller) -> Status {
    auto joined = context_.store.write([&](WriteView& view) {
      response->Clear();
      return join_with_token(view, context_, caller, *request, response);
    });
    if (!joined && joined.error().code == Code::kUnauthenticated) {
      context_.gate.refused(caller, kJoinHost, {}, joined.error());
    }
    return joined;
  });
}

grpc::Status AuthServiceImpl::RenewCertificate(grpc::ServerContext* rpc,
                                               const v1::RenewCertificateRequest* request,
                                               v1::Certificate* response) {
  return run_call(context_, *rpc, "AuthService/RenewCertificate", *request,
                  [&](const Caller& caller) {
                    return change(context_, caller, [&](WriteView& view) {
                      response->Clear();
                      return renew_certificate(view, context_, caller, *request, response);
                    });
                  });
}

grpc::Status AuthServiceImpl::CreateAccess(grpc::ServerContext* rpc,
                                           const v1::CreateAccessRequest* request,
                                           v1::CreateAccessResponse* response) {
  return run_call(context_, *rpc, "AuthService/CreateAccess", *request, [&](const Caller& caller) {
    return mutate(
        context_, caller,
        {"AuthService/CreateAccess", *request, request->request_id(), request->validate_only()},
        response,
        [&](WriteView& view) { return create_access(view, context_, caller, *request, response); });
  });
}

grpc::Status AuthServiceImpl::GetAccess(grpc::ServerContext* rpc,
                                        const v1::GetAccessRequest* request, v1::Access* response) {
  return run_call(context_, *rpc, "AuthService/GetAccess", *request, [&](const Caller&) {
    return context_.store.read([&](ReadView& view) -> Status {
      response->Clear();
      QMASQ_ASSIGN(auto id, in_field(parse_access_name(request->name()), "name"));
      QMASQ_ASSIGN(AccessPtr access, view.find_access(id));
      if (!access) {
        return fail(Code::kNotFound, fmt::format("there is no {}", access_name(id)), "name");
      }
      to_proto(*access, response);
      return {};
    });
  });
}

grpc::Status AuthServiceImpl::ListAccesses(grpc::ServerContext* rpc,
                                           const v1::ListAccessesRequest* request,
                                           v1::ListAccessesResponse* response) {
  return run_call(context_, *rpc, "AuthService/ListAccesses", *request,
                  [&](const Caller&) -> Status {
                    constexpr std::string_view kScope = "accesses";
                    QMASQ_ASSIGN(auto size, check_page_size(request->page_size()));
                    QMASQ_ASSIGN(auto after, read_page_token(request->page_token(), kScope));
                    return context_.store.read([&](ReadView& view) -> Status {
                      response->Clear();
                      QMASQ_ASSIGN(auto page, view.list_accesses({after, size + 1}));
                      for (std::size_t i = 0; i < page.size() && i < size; ++i)
                        to_proto(*page[i], response->add_accesses());
                      if (page.size() > size) {
                        response->set_next_page_token(make_page_token(kScope, page[size - 1]->id));
                      }
                      return {};
                    });
                  });
}

grpc::Status AuthServiceImpl::RevokeAccess(grpc::ServerContext* rpc,
                                           const v1::RevokeAccessRequest* request,
                                           v1::Access* response) {
  return run_call(context_, *rpc, "AuthService/RevokeAccess", *request, [&](const Caller& caller) {
    return mutate(
        context_, caller, {"AuthService/RevokeAccess", *request, request->request_id(), false},
        response,
        [&](WriteView& view) { return revoke_access(view, context_, caller, *request, response); });
  });
}

grpc::Status AuthServiceImpl::RevokeHost(grpc::ServerContext* rpc,
                                         const v1::RevokeHostRequest* request,
                                         v1::RevokeHostResponse* response) {
  return run_call(context_, *rpc, "AuthService/RevokeHost", *request, [&](const Caller& caller) {
    return mutate(context_, caller,
                  {"AuthService/RevokeHost", *request, request->request_id(), false}, response,
                  [&](WriteView& view) { return revoke_host(view, context_, caller, *request); });
  });
}

grpc::Status AuthServiceImpl::ListAuditRecords(grpc::ServerContext* rpc,
                                               const v1::ListAuditRecordsRequest* request,
                                               v1::ListAuditRecordsResponse* response) {
  return run_call(
      context_, *rpc, "AuthService/ListAuditRecords", *request,
      [&](const Caller& caller) -> Status {
        constexpr std::string_view kFields[] = {"caller", "method", "resource", "status"};
        QMASQ_ASSIGN(auto filter, Filter::parse(request->filter(), kFields));
        QMASQ_ASSIGN(auto size, check_page_size(request->page_size()));
        size = std::min(size, kMostRecords);
        const std::string scope = "audit?" + request->filter();
        QMASQ_ASSIGN(auto after, read_page_token(request->page_token(), scope));
        std::uint64_t before = 0;
        std::from_chars(after.data(), after.data() + after.size(), before);
        return context_.store.read([&](ReadView& view) -> Status {
          response->Clear();
          AuditQuery query;
          query.before = before;
          query.limit = 500;
          if (caller.scoped()) query.vpcs = caller.vpcs;
          for (;;) {
            QMASQ_ASSIGN(auto page, view.list_audit(query));
            for (const auto& record : page) {
              if (!filter.matches([&](std::string_view field) { return values_of(record, field); }))
                continue;
              if (static_cast<std::size_t>(response->records_size()) == size) {
                const auto& last = response->records(response->records_size() - 1);
                response->set_next_page_token(
                    make_page_token(scope, std::to_string(last.sequence())));
                return {};
              }
              to_proto(record, response->add_records());
            }
            if (page.size() < query.limit) return {};
            query.before = page.back().sequence;
          }
        });
      });
}

grpc::Status AuthServiceImpl::WhoAmI(grpc::ServerContext* rpc, const v1::WhoAmIRequest* request,
                                     v1::Caller* response) {
  return run_call(context_, *rpc, "AuthService/WhoAmI", *request,
                  [&](const Caller& caller) -> Status {
                    to_proto(caller, response);
                    return {};
                  });
}

}  // namespace qmasq::controller

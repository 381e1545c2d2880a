// SPDX-License-Identifier: Apache-2.0
#include "controller/service/endpoint_service.h"

#include <fmt/format.h>

#include "common/resource_name.h"
#include "controller/model/filter.h"
#include "controller/model/request_rules.h"
#include "controller/service/fleet_queries.h"
#include "controller/wire/convert.h"

namespace qmasq::controller {
namespace {

constexpr std::string_view kAnyVpc = "vpcs/-";

std::vector<std::string> values_of(const Endpoint& endpoint, std::string_view field) {
  if (field == "name") return {endpoint_name(endpoint.vpc_id, endpoint.id)};
  if (field == "endpoint") return {endpoint.id};
  if (field == "host") return {host_name(endpoint.host_id), endpoint.host_id};
  if (field == "mac") return {to_string(endpoint.mac)};
  if (field == "group") {
    std::vector<std::string> groups;
    for (const auto& group : endpoint.groups)
      groups.push_back(group.id);
    return groups;
  }
  std::vector<std::string> addresses;
  for (const auto& address : endpoint.addresses)
    addresses.push_back(to_string(address));
  return addresses;
}

// Narrows the query where an index helps. False: nothing can match.
Result<bool> use_indexes(ReadView& view, const Filter& filter, EndpointQuery& query) {
  const std::string* host = filter.exact("host");
  if (host == nullptr) return true;
  auto id = parse_host_reference(*host);
  if (!id) return false;
  QMASQ_ASSIGN(HostPtr found, view.find_host(*id));
  if (!found) return false;
  query.host = found->uid;
  return true;
}

// Page keys are "vpc/endpoint".
Status read_key(const std::string& key, EndpointQuery& query) {
  if (key.empty()) return {};
  auto name = parse_endpoint_reference(key);
  if (!name) return fail(Code::kInvalidArgument, "not a token of this list", "page_token");
  query.after_vpc = name->vpc;
  query.after_endpoint = name->endpoint;
  return {};
}

}  // namespace

void EndpointServiceImpl::fill_status(v1::Endpoint* endpoint) const {
  auto* status = endpoint->mutable_status();
  status->set_state(v1::EndpointStatus::UNBOUND);
  auto live = context_.board.endpoint(EndpointUid{endpoint->uid()});
  if (!live) return;
  status->set_state(static_cast<v1::EndpointStatus::State>(live->state));
  status->set_message(live->message);
  status->set_netns(live->netns);
  status->set_interface(live->interface);
  for (const auto& address : live->observed_addresses)
    status->add_observed_addresses(address);
  status->set_attachments(live->attachments);
  status->set_queue_pairs(live->queue_pairs);
  if (live->qos) {
    status->mutable_qos()->set_configured(live->qos->configured);
    status->mutable_qos()->set_enforced(live->qos->enforced);
    for (const auto& text : live->qos->unenforced)
      status->mutable_qos()->add_unenforced(text);
  }
  if (live->state == BindState::kUnspecified) return;  // nothing was reported, nor when
  to_proto(live->report_time, status->mutable_report_time());
}

grpc::Status EndpointServiceImpl::CreateEndpoint(grpc::ServerContext* rpc,
                                                 const v1::CreateEndpointRequest* request,
                                                 v1::Endpoint* response) {
  return run_call(
      context_, *rpc, "EndpointService/CreateEndpoint", *request,
      [&](const Caller& caller) -> Status {
        QMASQ_TRY(mutate(context_, caller,
                         {"EndpointService/CreateEndpoint", *request, request->request_id(),
                          request->validate_only()},
                         response, [&](WriteView& view) -> Status {
                           Oversubscriptions over;
                           QMASQ_ASSIGN(auto endpoint,
                                        create_endpoint(view, context_.actions, *request, over));
                           to_proto(*endpoint, response);
                           response->mutable_oversubscriptions()->Add(over.begin(), over.end());
                           return {};
                         }));
        fill_status(response);
        return {};
      });
}

grpc::Status EndpointServiceImpl::GetEndpoint(grpc::ServerContext* rpc,
                                              const v1::GetEndpointRequest* request,
                                              v1::Endpoint* response) {
  return run_call(context_, *rpc, "EndpointService/GetEndpoint", *request, [&](const Caller&) {
    return context_.store.read([&](ReadView& view) -> Status {
      QMASQ_ASSIGN(auto endpoint, require_endpoint(view, request->name(), "name"));
      to_proto(*endpoint, response);
      fill_status(response);
      return {};
    });
  });
}

grpc::Status EndpointServiceImpl::ListEndpoints(grpc::ServerContext* rpc,
                                                const v1::ListEndpointsRequest* request,
                                                v1::ListEndpointsResponse* response) {
  return run_call(context_, *rpc, "EndpointService/ListEndpoints", *request,
                  [&](const Caller& caller) -> Status {
                    constexpr std::string_view kFields[] = {"name",    "endpoint", "host",
                                                            "address", "mac",      "group"};
                    QMASQ_ASSIGN(auto filter, Filter::parse(request->filter(), kFields));
                    QMASQ_ASSIGN(auto size, check_page_size(request->page_size()));
                    const std::string scope = request->parent() + "?" + request->filter();
                    QMASQ_ASSIGN(auto after, read_page_token(request->page_token(), scope));
                    EndpointQuery query;
                    QMASQ_TRY(read_key(after, query));
                    return context_.store.read([&](ReadView& view) -> Status {
                      if (request->parent() != kAnyVpc) {
                        QMASQ_ASSIGN(auto vpc, require_vpc(view, request->parent(), "parent"));
                        query.vpc = vpc->uid;
                      }
                      QMASQ_ASSIGN(bool possible, use_indexes(view, filter, query));
                      if (!possible) return {};
                      query.limit = filter.empty() && !caller.scoped() ? size + 1 : 1000;
                      EndpointPtr last;
                      for (;;) {
                        QMASQ_ASSIGN(auto page, view.list_endpoints(query));
                        for (const auto& endpoint : page) {
                          if (!caller.sees(endpoint->vpc_id)) continue;
                          bool fits = filter.matches(
                              [&](std::string_view field) { return values_of(*endpoint, field); });
                          if (!fits) continue;
                          if (static_cast<std::size_t>(response->endpoints_size()) == size) {
                            response->set_next_page_token(make_page_token(
                                scope, fmt::format("{}/{}", last->vpc_id, last->id)));
                            return {};
                          }
                          auto* out = response->add_endpoints();
                          to_proto(*endpoint, out);
                          fill_status(out);
                          last = endpoint;
                        }
                        if (page.size() < query.limit) return {};
                        query.after_vpc = page.back()->vpc_id;
                        query.after_endpoint = page.back()->id;
                      }
                    });
                  });
}

grpc::Status EndpointServiceImpl::UpdateEndpoint(grpc::ServerContext* rpc,
                                                 const v1::UpdateEndpointRequest* request,
                                                 v1::Endpoint* response) {
  return run_call(
      context_, *rpc, "EndpointService/UpdateEndpoint", *request,
      [&](const Caller& caller) -> Status {
        QMASQ_TRY(mutate(context_, caller,
                         {"EndpointService/UpdateEndpoint", *request, request->request_id(),
                          request->validate_only()},
                         response, [&](WriteView& view) -> Status {
                           Oversubscriptions over;
                           QMASQ_ASSIGN(auto endpoint,
                                        update_endpoint(view, context_.actions, *request, over));
                           to_proto(*endpoint, response);
                           response->mutable_oversubscriptions()->Add(over.begin(), over.end());
                           return {};
                         }));
        fill_status(response);
        if (!request->validate_only()) return {};
        v1::ImpactQuery question;
        *question.add_endpoints() = *response;
        *response->mutable_impact() = queries_.impact(VpcUid{response->vpc_uid()}, question);
        return {};
      });
}

grpc::Status EndpointServiceImpl::DeleteEndpoint(grpc::ServerContext* rpc,
                                                 const v1::DeleteEndpointRequest* request,
                                                 v1::DeleteEndpointResponse* response) {
  return run_call(context_, *rpc, "EndpointService/DeleteEndpoint", *request,
                  [&](const Caller& caller) {
                    return mutate(context_, caller,
                                  {"EndpointService/DeleteEndpoint", *request,
                                   request->request_id(), request->validate_only()},
                                  response, [&](WriteView& view) -> Status {
                                    QMASQ_TRY(delete_endpoint(view, context_.actions, *request));
                                    QMASQ_ASSIGN(auto revision, coming_revision(view));
                                    response->set_revision(revision);
                                    return {};
                                  });
                  });
}

}  // namespace qmasq::controller

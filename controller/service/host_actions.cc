// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "common/resource_name.h"
#include "controller/model/request_rules.h"
#include "controller/service/actions.h"

namespace qmasq::controller {

Result<HostPtr> require_host(ReadView& view, std::string_view name, std::string_view field) {
  QMASQ_ASSIGN(std::string id, in_field(parse_host_name(name), field));
  QMASQ_ASSIGN(HostPtr host, view.find_host(id));
  if (host) return host;
  return fail(Code::kNotFound,
              fmt::format("there is no {}: create it, or start its agent", host_name(id)),
              std::string(field));
}

Result<HostPtr> create_host(WriteView& view, const v1::CreateHostRequest& request) {
  QMASQ_TRY(in_field(check_host_id(request.host_id()), "host_id"));
  QMASQ_TRY(check_description(request.host().description(), "host.description"));
  QMASQ_ASSIGN(HostPtr taken, view.find_host(request.host_id()));
  if (taken) {
    return fail(Code::kAlreadyExists, fmt::format("{} exists already", host_name(taken->id)),
                "host_id");
  }
  Host host;
  host.id = request.host_id();
  host.description = request.host().description();
  QMASQ_ASSIGN(host.uid.value, view.new_uid());
  return view.put(std::move(host), true);
}

Result<HostPtr> update_host(WriteView& view, const v1::UpdateHostRequest& request) {
  const auto& asked = request.host();
  QMASQ_ASSIGN(HostPtr before, require_host(view, asked.name(), "host.name"));
  QMASQ_TRY(check_etag(asked.etag(), before->uid.value, before->version, asked.name()));
  constexpr std::string_view kFields[] = {"description"};
  const auto& paths = request.update_mask().paths();
  QMASQ_TRY(check_mask(std::vector<std::string>(paths.begin(), paths.end()), kFields, kFields));
  QMASQ_TRY(check_description(asked.description(), "host.description"));
  if (asked.description() == before->description) return before;
  Host host = *before;
  host.description = asked.description();
  return view.put(std::move(host), false);
}

Status delete_host(WriteView& view, const ActionContext& context,
                   const v1::DeleteHostRequest& request) {
  QMASQ_ASSIGN(HostPtr host, require_host(view, request.name(), "name"));
  QMASQ_TRY(check_etag(request.etag(), host->uid.value, host->version, request.name()));
  EndpointQuery query;
  query.host = host->uid;
  query.limit = 1;
  QMASQ_ASSIGN(auto endpoints, view.list_endpoints(query));
  if (!endpoints.empty()) {
    return fail(Code::kFailedPrecondition,
                fmt::format("{} still has endpoints ({} is one): delete or move them first",
                            request.name(), endpoint_name(endpoints[0]->vpc_id, endpoints[0]->id)),
                "name");
  }
  auto live = context.board.host(host->uid);
  if (live && live->state == LiveState::kOnline) {
    return fail(Code::kFailedPrecondition,
                fmt::format("the agent of {} is online and would join again: stop it first",
                            request.name()),
                "name");
  }
  return view.remove(host);
}

}  // namespace qmasq::controller

// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>

#include "common/resource_name.h"
#include "controller/model/qos_rules.h"
#include "controller/model/request_rules.h"
#include "controller/service/actions.h"

namespace qmasq::controller {
namespace {

Result<std::vector<NicRate>> read_nic_rates(const v1::Host& asked) {
  std::vector<NicRate> out;
  out.reserve(static_cast<std::size_t>(asked.nic_rates_size()));
  for (const auto& rate : asked.nic_rates())
    out.push_back({rate.device(), rate.rate_bps()});
  QMASQ_TRY(check_nic_rates(out));
  return out;
}

// Where the rate of the NIC stands in the request; it can also be one that is no longer there.
std::string rate_field(const std::vector<NicRate>& rates, const Excess& excess) {
  auto found = std::find_if(rates.begin(), rates.end(),
                            [&](const NicRate& rate) { return rate.device == excess.device; });
  if (found == rates.end()) return "host.nic_rates";
  return fmt::format("host.nic_rates[{}].rate_bps", found - rates.begin());
}

}  // namespace

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
  QMASQ_ASSIGN(host.nic_rates, read_nic_rates(request.host()));
  QMASQ_ASSIGN(host.uid.value, view.new_uid());
  return view.put(std::move(host), true);
}

Result<HostPtr> update_host(WriteView& view, const v1::UpdateHostRequest& request,
                            Oversubscriptions& over) {
  const auto& asked = request.host();
  QMASQ_ASSIGN(HostPtr before, require_host(view, asked.name(), "host.name"));
  QMASQ_TRY(check_etag(asked.etag(), before->uid.value, before->version, asked.name()));
  constexpr std::string_view kFields[] = {"description", "nic_rates"};
  constexpr std::string_view kDefaults[] = {"description"};
  const auto& paths = request.update_mask().paths();
  QMASQ_ASSIGN(auto fields, check_mask(std::vector<std::string>(paths.begin(), paths.end()),
                                       kFields, kDefaults));
  Host host = *before;
  for (const auto& field : fields) {
    if (field == "nic_rates") {
      QMASQ_ASSIGN(host.nic_rates, read_nic_rates(asked));
    } else {
      QMASQ_TRY(check_description(asked.description(), "host.description"));
      host.description = asked.description();
    }
  }
  // Agents need not know descriptions.
  if (host.nic_rates == before->nic_rates) {
    if (host.description == before->description) return before;
    return view.put(std::move(host), false);
  }
  QMASQ_ASSIGN(auto check, GuaranteeCheck::begin(view, {{host.uid, host.id}}));
  QMASQ_ASSIGN(HostPtr after, view.put(std::move(host), true));
  QMASQ_ASSIGN(over, check.finish(view, {request.force(), request.validate_only()},
                                  [&](const Excess& excess) {
                                    return rate_field(after->nic_rates, excess);
                                  }));
  return after;
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

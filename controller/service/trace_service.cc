// SPDX-License-Identifier: Apache-2.0
#include "controller/service/trace_service.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "common/resource_name.h"
#include "conntrack/group_sets.h"
#include "controller/service/fleet_queries.h"
#include "schema/verdict_message.h"

namespace qmasq::controller {
namespace {

using Rule = v1::SecurityGroupRule;

// One end, with its rules compiled.
struct End {
  EndpointPtr endpoint;
  IpAddress address;
  std::vector<std::string> group_names;
  conntrack::GroupSetPtr groups;

  [[nodiscard]] TracedEnd traced() const {
    return {endpoint_name(endpoint->vpc_id, endpoint->id), groups->party(address)};
  }
};

conntrack::Group to_group(const SecurityGroup& from) {
  conntrack::Group out;
  out.uid = from.uid;
  out.vpc = from.vpc;
  out.name = security_group_name(from.vpc_id, from.id);
  out.rules.reserve(from.rules.size());
  for (const SecurityGroupRule& rule : from.rules)
    out.rules.push_back(rule.rule);
  return out;
}

Status compile(ReadView& view, End& end) {
  std::vector<SecurityGroupUid> uids;
  for (const GroupReference& reference : end.endpoint->groups)
    uids.push_back(reference.uid);
  std::sort(uids.begin(), uids.end());
  std::vector<conntrack::ProgramPtr> programs;
  for (SecurityGroupUid uid : uids) {
    QMASQ_ASSIGN(auto group, view.get_group(uid));
    if (!group) continue;
    end.group_names.push_back(security_group_name(group->vpc_id, group->id));
    programs.push_back(conntrack::Program::compile(to_group(*group)));
  }
  end.groups = conntrack::make_group_set(std::move(uids), programs);
  return {};
}

// The other end by name or by address.
Status find_to(ReadView& view, const Endpoint& from, const std::string& text, End& to) {
  if (auto address = parse_ip(std::string_view(text).substr(0, 64))) {
    QMASQ_ASSIGN(to.endpoint, view.address_owner(from.vpc, *address));
    if (!to.endpoint) {
      return fail(Code::kNotFound,
                  fmt::format("no endpoint of {} has address {}", vpc_name(from.vpc_id),
                              to_string(*address)),
                  "to");
    }
    to.address = *address;
    return {};
  }
  QMASQ_ASSIGN(to.endpoint, require_endpoint(view, text, "to"));
  if (to.endpoint->vpc != from.vpc) {
    return fail(Code::kInvalidArgument,
                fmt::format("{} is of another VPC than {}: nothing connects them", text,
                            endpoint_name(from.vpc_id, from.id)),
                "to");
  }
  return {};
}

// The addresses that the two use: `to` first where it was given as one.
Status choose_addresses(const v1::TraceRequest& request, End& from, End& to) {
  const bool to_chosen = to.address != IpAddress{};
  const auto& mine = from.endpoint->addresses;
  const auto& theirs = to.endpoint->addresses;
  if (!request.from_address().empty()) {
    QMASQ_ASSIGN(
        from.address,
        in_field(parse_ip(std::string_view(request.from_address()).substr(0, 64)), "from_address"));
    if (std::find(mine.begin(), mine.end(), from.address) == mine.end()) {
      return fail(
          Code::kInvalidArgument,
          fmt::format("{} does not have address {}", request.from(), to_string(from.address)),
          "from_address");
    }
  }
  for (const IpAddress& own : mine) {
    if (from.address != IpAddress{} && own != from.address) continue;
    for (const IpAddress& other : theirs) {
      if (to_chosen && other != to.address) continue;
      if (own.is_v4() != other.is_v4()) continue;
      from.address = own;
      to.address = other;
      return {};
    }
  }
  return fail(
      Code::kFailedPrecondition,
      fmt::format("{} and {} have no addresses of one family", request.from(), request.to()), "to");
}

void put(const End& end, v1::TraceParty* out) {
  out->set_endpoint(endpoint_name(end.endpoint->vpc_id, end.endpoint->id));
  out->set_address(to_string(end.address));
  out->set_host(host_name(end.endpoint->host_id));
  for (const std::string& name : end.group_names)
    out->add_security_groups(name);
}

}  // namespace

grpc::Status TraceServiceImpl::Trace(grpc::ServerContext* rpc, const v1::TraceRequest* request,
                                     v1::TraceResponse* response) {
  return run_call(context_, *rpc, "TraceService/Trace", *request, [&](const Caller&) -> Status {
    if (!Rule::Transport_IsValid(request->transport())) {
      return fail(Code::kInvalidArgument, "say RC, UC, UD or XRC", "transport");
    }
    if (!Rule::Operation_IsValid(request->operation())) {
      return fail(Code::kInvalidArgument, "say SEND, READ, WRITE or ATOMIC", "operation");
    }
    End from;
    End to;
    auto look = [&](ReadView& view) -> Status {
      from = {};
      to = {};
      response->Clear();
      QMASQ_ASSIGN(auto revision, view.revision());
      response->set_revision(revision.value);
      QMASQ_ASSIGN(from.endpoint, require_endpoint(view, request->from(), "from"));
      QMASQ_TRY(find_to(view, *from.endpoint, request->to(), to));
      QMASQ_TRY(choose_addresses(*request, from, to));
      QMASQ_TRY(compile(view, from));
      return compile(view, to);
    };
    QMASQ_TRY(context_.store.read(look));
    put(from, response->mutable_from());
    put(to, response->mutable_to());
    response->set_transport(request->transport() == Rule::TRANSPORT_ANY ? Rule::RC
                                                                        : request->transport());
    v1::ConnectionVerdict& verdict = *response->mutable_verdict();
    verdict = explain_verdict(from.traced(), to.traced(), transport_of(response->transport()));
    if (request->operation() != Rule::OPERATION_UNSPECIFIED) {
      const auto& permitted = verdict.operations_on_to();
      response->set_operation_permitted(
          std::find(permitted.begin(), permitted.end(), request->operation()) != permitted.end());
    }
    if (!request->live()) return {};

    v1::Query query;
    v1::TraceQuery& trace = *query.mutable_trace();
    trace.set_from_endpoint_uid(from.endpoint->uid.value);
    trace.set_to_endpoint_uid(to.endpoint->uid.value);
    trace.set_from_address(to_string(from.address));
    trace.set_to_address(to_string(to.address));
    trace.set_transport(response->transport());
    std::vector<HostUid> hosts{from.endpoint->host};
    std::vector<std::string> names{host_name(from.endpoint->host_id)};
    if (to.endpoint->host != from.endpoint->host) {
      hosts.push_back(to.endpoint->host);
      names.push_back(host_name(to.endpoint->host_id));
    }
    const std::vector<v1::Answer> answers = queries_.ask(hosts, query);
    for (std::size_t i = 0; i < answers.size(); ++i) {
      v1::LiveVerdict& live = *response->add_live();
      live.set_host(names[i]);
      live.set_revision(answers[i].held_revision());
      live.set_error(answers[i].error());
      if (answers[i].has_trace()) *live.mutable_verdict() = answers[i].trace();
    }
    return {};
  });
}

}  // namespace qmasq::controller

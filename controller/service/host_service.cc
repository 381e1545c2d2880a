// SPDX-License-Identifier: Apache-2.0
#include "controller/service/host_service.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>

#include "common/resource_name.h"
#include "controller/model/filter.h"
#include "controller/model/request_rules.h"
#include "controller/service/scope.h"
#include "controller/wire/convert.h"
#include "schema/grpc_status.h"

namespace qmasq::controller {
namespace {

constexpr std::chrono::minutes kMaxWait{5};

v1::HostStatus::State to_proto_state(LiveState state) {
  switch (state) {
    case LiveState::kNeverJoined:
      return v1::HostStatus::NEVER_JOINED;
    case LiveState::kOnline:
      return v1::HostStatus::ONLINE;
    case LiveState::kOffline:
      break;
  }
  return v1::HostStatus::OFFLINE;
}

std::string state_name(LiveState state) {
  switch (state) {
    case LiveState::kNeverJoined:
      return "never_joined";
    case LiveState::kOnline:
      return "online";
    case LiveState::kOffline:
      break;
  }
  return "offline";
}

LiveState state_of(const StatusBoard& board, const Host& host) {
  if (auto live = board.host(host.uid)) return live->state;
  return host.joined ? LiveState::kOffline : LiveState::kNeverJoined;
}

void fill(const RolloutState& state, const Scope& scope, v1::WaitRolloutResponse* response) {
  using State = RolloutState::OneHost::State;
  response->set_complete(state.complete);
  for (const auto& one : state.hosts) {
    if (!scope.has(one.host->uid)) continue;
    auto* out = response->add_hosts();
    out->set_host(host_name(one.host->id));
    out->set_applied_revision(one.applied.value);
    out->set_reason(one.reason);
    switch (one.state) {
      case State::kApplied:
        out->set_state(v1::HostRollout::APPLIED);
        break;
      case State::kPending:
        out->set_state(v1::HostRollout::PENDING);
        break;
      case State::kRejected:
        out->set_state(v1::HostRollout::REJECTED);
        break;
      case State::kOffline:
        out->set_state(v1::HostRollout::OFFLINE);
        break;
    }
  }
}

constexpr std::string_view kWaitRollout = "HostService/WaitRollout";

// One waiting call. Lives until gRPC is done with it and the hub has let go of it. Ends at once
// when its caller is revoked.
class WaitCall final : public grpc::ServerUnaryReactor,
                       public std::enable_shared_from_this<WaitCall> {
 public:
  WaitCall(const ServiceContext& context, Watch& watch, v1::WaitRolloutResponse* response)
      : context_(context), watch_(watch), response_(response), id_(watch.new_id()) {}

  void start(const Caller& caller, Scope scope, Revision revision,
             std::chrono::milliseconds timeout) {
    self_ = shared_from_this();
    scope_ = std::move(scope);
    auto live = context_.gate.live().add(caller.name, caller.certificate_serial,
                                         [weak = weak_from_this()](Error why) {
                                           if (auto self = weak.lock()) self->cut(std::move(why));
                                         });
    if (!live) return cut(std::move(live).error());
    live_ = *live;
    if (auto still = context_.gate.check(caller); !still) return cut(std::move(still).error());
    watch_.post([self = self_, revision, timeout](Hub& hub) {
      if (revision > hub.world().revision()) {
        self->end(fail(Code::kInvalidArgument,
                       fmt::format("there is no revision {} yet: the newest is {}", revision.value,
                                   hub.world().revision().value),
                       "revision"));
        return;
      }
      hub.wait_rollout(self->id_, revision, timeout, [self](const RolloutState& state) {
        if (self->ended_.load()) return;
        fill(state, self->scope_, self->response_);
        self->end({});
      });
    });
  }
  void refuse(Error error) {
    self_ = shared_from_this();
    end(tl::unexpected<Error>(std::move(error)));
  }

 private:
  // On the watch thread, or before the call was given to it; or, by cut(), on one that revokes.
  void end(const Status& status) {
    if (ended_.exchange(true)) return;
    auto result = count_call(context_, kWaitRollout, [&] { return status; });
    Finish(std::move(result));
  }
  // On the watch thread too: it may be filling the response.
  void cut(Error why) {
    watch_.post([self = shared_from_this(), why = std::move(why)](Hub& hub) {
      self->end(tl::unexpected<Error>(why));
      hub.cancel_rollout(self->id_);
    });
  }
  void OnCancel() override {
    watch_.post([id = id_](Hub& hub) { hub.cancel_rollout(id); });
  }
  void OnDone() override {
    context_.gate.live().remove(live_);
    self_.reset();
  }

  const ServiceContext& context_;
  Watch& watch_;
  v1::WaitRolloutResponse* response_;
  const std::uint64_t id_;
  Scope scope_;
  std::uint64_t live_ = 0;
  std::atomic<bool> ended_{false};
  std::shared_ptr<WaitCall> self_;
};

}  // namespace

void HostServiceImpl::fill_status(const Host& host, v1::Host* out) const {
  auto* status = out->mutable_status();
  status->set_state(to_proto_state(state_of(context_.board, host)));
  status->set_agent_version(host.agent_version);
  status->set_kernel_release(host.kernel_release);
  status->set_current_revision(context_.board.current().value);
  auto live = context_.board.host(host.uid);
  if (!live) return;
  if (live->last_heartbeat != TimePoint{}) {
    to_proto(live->last_heartbeat, status->mutable_last_heartbeat());
  }
  status->set_applied_revision(live->applied.value);
  status->set_rejected_revision(live->rejected.value);
  status->set_reject_reason(live->reject_reason);
  status->set_guard(live->guard);
}

grpc::Status HostServiceImpl::CreateHost(grpc::ServerContext* rpc,
                                         const v1::CreateHostRequest* request, v1::Host* response) {
  return run_call(context_, *rpc, "HostService/CreateHost", *request, [&](const Caller& caller) {
    return mutate(
        context_, caller,
        {"HostService/CreateHost", *request, request->request_id(), request->validate_only()},
        response, [&](WriteView& view) -> Status {
          QMASQ_ASSIGN(auto host, create_host(view, *request));
          to_proto(*host, response);
          fill_status(*host, response);
          return {};
        });
  });
}

grpc::Status HostServiceImpl::GetHost(grpc::ServerContext* rpc, const v1::GetHostRequest* request,
                                      v1::Host* response) {
  return run_call(context_, *rpc, "HostService/GetHost", *request, [&](const Caller& caller) {
    return context_.store.read([&](ReadView& view) -> Status {
      QMASQ_ASSIGN(auto scope, Scope::of(view, caller));
      QMASQ_ASSIGN(auto host, scope.require_host(view, request->name(), "name"));
      to_proto(*host, response);
      fill_status(*host, response);
      scope.strip(response);
      return {};
    });
  });
}

grpc::Status HostServiceImpl::ListHosts(grpc::ServerContext* rpc,
                                        const v1::ListHostsRequest* request,
                                        v1::ListHostsResponse* response) {
  return run_call(
      context_, *rpc, "HostService/ListHosts", *request, [&](const Caller& caller) -> Status {
        constexpr std::string_view kFields[] = {"name", "state"};
        QMASQ_ASSIGN(auto filter, Filter::parse(request->filter(), kFields));
        QMASQ_ASSIGN(auto size, check_page_size(request->page_size()));
        const std::string scope = "hosts?" + request->filter();
        QMASQ_ASSIGN(auto after, read_page_token(request->page_token(), scope));
        return context_.store.read([&](ReadView& view) -> Status {
          QMASQ_ASSIGN(auto visible, Scope::of(view, caller));
          ListQuery query{after, filter.empty() && !caller.scoped() ? size + 1 : 1000};
          std::string last;
          for (;;) {
            QMASQ_ASSIGN(auto page, view.list_hosts(query));
            for (const auto& host : page) {
              if (!visible.has(host->uid)) continue;
              bool fits = filter.matches([&](std::string_view field) -> std::vector<std::string> {
                if (field == "name") return {host_name(host->id), host->id};
                return {state_name(state_of(context_.board, *host))};
              });
              if (!fits) continue;
              if (static_cast<std::size_t>(response->hosts_size()) == size) {
                response->set_next_page_token(make_page_token(scope, last));
                return {};
              }
              auto* out = response->add_hosts();
              to_proto(*host, out);
              fill_status(*host, out);
              visible.strip(out);
              last = host->id;
            }
            if (page.size() < query.limit) return {};
            query.after = page.back()->id;
          }
        });
      });
}

grpc::Status HostServiceImpl::UpdateHost(grpc::ServerContext* rpc,
                                         const v1::UpdateHostRequest* request, v1::Host* response) {
  return run_call(context_, *rpc, "HostService/UpdateHost", *request, [&](const Caller& caller) {
    return mutate(
        context_, caller,
        {"HostService/UpdateHost", *request, request->request_id(), request->validate_only()},
        response, [&](WriteView& view) -> Status {
          Oversubscriptions over;
          QMASQ_ASSIGN(auto host, update_host(view, *request, over));
          to_proto(*host, response);
          response->mutable_oversubscriptions()->Add(over.begin(), over.end());
          fill_status(*host, response);
          return {};
        });
  });
}

grpc::Status HostServiceImpl::DeleteHost(grpc::ServerContext* rpc,
                                         const v1::DeleteHostRequest* request,
                                         v1::DeleteHostResponse* response) {
  return run_call(context_, *rpc, "HostService/DeleteHost", *request, [&](const Caller& caller) {
    return mutate(
        context_, caller,
        {"HostService/DeleteHost", *request, request->request_id(), request->validate_only()},
        response, [&](WriteView& view) -> Status {
          QMASQ_TRY(delete_host(view, context_.actions, *request));
          QMASQ_ASSIGN(auto revision, coming_revision(view));
          response->set_revision(revision);
          return {};
        });
  });
}

grpc::ServerUnaryReactor* HostServiceImpl::WaitRollout(grpc::CallbackServerContext* rpc,
                                                       const v1::WaitRolloutRequest* request,
                                                       v1::WaitRolloutResponse* response) {
  auto call = std::make_shared<WaitCall>(context_, watch_, response);
  auto caller = context_.gate.admit(*rpc, kWaitRollout, request);
  if (!caller) {
    call->refuse(std::move(caller).error());
    return call.get();
  }
  Scope scope;
  auto looked = context_.store.read([&](ReadView& view) -> Status {
    QMASQ_ASSIGN(scope, Scope::of(view, *caller));
    return {};
  });
  if (!looked) {
    call->refuse(std::move(looked).error());
    return call.get();
  }
  const auto& asked = request->timeout();
  if (asked.seconds() < 0 || asked.nanos() < 0) {
    call->refuse(Error{Code::kInvalidArgument, "must not be negative", 0, "timeout"});
    return call.get();
  }
  auto seconds = std::min<std::int64_t>(asked.seconds(), kMaxWait / std::chrono::seconds(1));
  std::chrono::milliseconds timeout =
      std::chrono::seconds(seconds) + std::chrono::milliseconds(asked.nanos() / 1'000'000);
  call->start(*caller, std::move(scope), Revision{request->revision()},
              std::min<std::chrono::milliseconds>(timeout, kMaxWait));
  return call.get();
}

}  // namespace qmasq::controller

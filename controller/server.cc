// SPDX-License-Identifier: Apache-2.0
#include "controller/server.h"

#include <fmt/format.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include "controller/listen.h"
#include "controller/metrics.h"
#include "controller/service/endpoint_service.h"
#include "controller/service/fleet_queries.h"
#include "controller/service/host_service.h"
#include "controller/service/qos_service.h"
#include "controller/service/security_group_service.h"
#include "controller/service/sync_service.h"
#include "controller/service/trace_service.h"
#include "controller/service/vpc_service.h"
#include "controller/store/sqlite/sqlite_store.h"
#include "controller/watch/watch.h"

namespace qmasq::controller {
namespace {

// Largest request. A host report with full GID tables is some 500 kB.
constexpr int kMaxRequest = 4 << 20;
// Threads for calls; those beyond are refused (RESOURCE_EXHAUSTED) and try again.
constexpr int kMaxThreads = 64;
constexpr std::chrono::seconds kShutdownGrace{2};

void set_channel_options(grpc::ServerBuilder& builder) {
  builder.SetMaxReceiveMessageSize(kMaxRequest);
  builder.SetSyncServerOption(grpc::ServerBuilder::MAX_POLLERS, 2);
  grpc::ResourceQuota quota("controller");
  quota.SetMaxThreads(kMaxThreads);
  builder.SetResourceQuota(quota);
  // Two controllers on one port would each get half of the agents.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  // Finds agents that vanished without a word, and lets them look for us more often.
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 20'000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10'000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 1'000);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
}

}  // namespace

struct Server::Parts {
  Parts(std::unique_ptr<Store> s, const ServerOptions& o, const Clock& clock,
        prometheus::Registry& registry)
      : options(o),
        metrics(registry),
        store(std::move(s)),
        watch({store->store_id(), o.heartbeat, 100'000}, clock, board, metrics),
        context{*store, {allocator, board}, board, metrics, clock},
        vpcs(context),
        queries(watch),
        groups(context, queries),
        endpoints(context, queries),
        policies(context, queries),
        traces(context, queries),
        hosts(context, watch),
        sync(*store, watch) {}

  Status load() {
    QMASQ_TRY(watch.load(*store, [this](const Commit& all) { allocator.apply(all); }));
    store->listen([this](const Commit& commit) {
      allocator.apply(commit);
      watch.commit(commit);
    });
    return {};
  }

  Status listen() {
    if (!options.listen.empty()) QMASQ_TRY(check_listen(options.listen, options.insecure_listen));
    if (!options.socket.empty()) QMASQ_TRY(prepare_socket(options.socket));
    grpc::EnableDefaultHealthCheckService(true);
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
    grpc::ServerBuilder builder;
    set_channel_options(builder);
    auto insecure = grpc::InsecureServerCredentials();
    if (!options.listen.empty()) builder.AddListeningPort(options.listen, insecure, &port);
    int socket_bound = 0;
    if (!options.socket.empty()) {
      builder.AddListeningPort("unix:" + options.socket, insecure, &socket_bound);
    }
    builder.RegisterService(&vpcs);
    builder.RegisterService(&groups);
    builder.RegisterService(&endpoints);
    builder.RegisterService(&policies);
    builder.RegisterService(&traces);
    builder.RegisterService(&hosts);
    builder.RegisterService(&sync);
    // Nobody but the owner while it is not yet what it should be.
    mode_t before = ::umask(0177);
    server = builder.BuildAndStart();
    ::umask(before);
    if (!server) {
      return fail(Code::kUnavailable,
                  fmt::format("cannot listen on {} or {}", options.socket, options.listen));
    }
    if (!options.socket.empty() && ::chmod(options.socket.c_str(), 0660) != 0) {
      int err = errno;
      return fail_errno(err, fmt::format("cannot set the mode of the socket {}", options.socket));
    }
    return {};
  }

  ~Parts() {
    if (server) {
      server->Shutdown(std::chrono::system_clock::now() + kShutdownGrace);
      server->Wait();
      if (!options.socket.empty()) ::unlink(options.socket.c_str());
    }
    store->listen(nullptr);
    watch.stop();
  }

  const ServerOptions options;
  ControllerMetrics metrics;
  StatusBoard board;
  Allocator allocator;
  std::unique_ptr<Store> store;
  Watch watch;
  ServiceContext context;
  VpcServiceImpl vpcs;
  FleetQueries queries;
  SecurityGroupServiceImpl groups;
  EndpointServiceImpl endpoints;
  QosServiceImpl policies;
  TraceServiceImpl traces;
  HostServiceImpl hosts;
  SyncServiceImpl sync;
  int port = 0;
  std::unique_ptr<grpc::Server> server;
};

Server::Server(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

Server::~Server() = default;

std::string Server::listen_address() const {
  const std::string& asked = parts_->options.listen;
  if (asked.empty()) return {};
  return fmt::format("{}:{}", asked.substr(0, asked.rfind(':')), parts_->port);
}

Result<std::unique_ptr<Server>> Server::start(const ServerOptions& options, const Clock& clock,
                                              prometheus::Registry& registry) {
  sqlite::Options store_options;
  store_options.data_dir = options.data_dir;
  QMASQ_ASSIGN(auto store, sqlite::open_store(store_options, clock));
  auto parts = std::make_unique<Parts>(std::move(store), options, clock, registry);
  QMASQ_TRY(parts->load());
  QMASQ_TRY(parts->listen());
  return std::unique_ptr<Server>(new Server(std::move(parts)));
}

}  // namespace qmasq::controller

// SPDX-License-Identifier: Apache-2.0
#include "controller/server.h"

#include <fmt/format.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>
#include <spdlog/spdlog.h>
#include <sys/types.h>

#include "controller/auth/installation.h"
#include "controller/listen.h"
#include "controller/metrics.h"
#include "controller/service/auth_service.h"
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
#include "trust/peer_socket.h"
#include "trust/stored_identity.h"
#include "trust/tls.h"

namespace qmasq::controller {
namespace {

// Largest request. A host report with full GID tables is some 500 kB.
constexpr int kMaxRequest = 4 << 20;
// Threads for calls; those beyond are refused (RESOURCE_EXHAUSTED) and try again.
constexpr int kMaxThreads = 64;
constexpr std::chrono::seconds kShutdownGrace{2};
// Anybody on this machine may ask; what they get is for the gate to say.
constexpr mode_t kSocketMode = 0666;

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
  // Strangers hold few connections, and not for long: one must finish its handshake, and one on
  // which nothing is called ends. An agent always has its stream.
  builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, 10'000);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_IDLE_MS, 120'000);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, 128);
  builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, 16 << 10);
}

}  // namespace

struct Server::Parts {
  Parts(std::unique_ptr<Store> s, std::optional<trust::Authority> ca, const ServerOptions& o,
        const Clock& c, prometheus::Registry& registry)
      : options(o),
        clock(c),
        authority(std::move(ca)),
        metrics(registry),
        store(std::move(s)),
        watch({store->store_id(), o.heartbeat, 100'000}, clock, board, metrics),
        authenticator(book, clock, authority ? authority->certificate() : std::string(),
                      o.insecure_listen),
        refusals(*store, clock, metrics, o.audit),
        gate(book, authenticator, live, refusals, clock, metrics, rates(o)),
        context{*store,  {allocator, board},
                board,   metrics,
                clock,   gate,
                o.audit, authority ? &*authority : nullptr},
        auth(context),
        vpcs(context),
        queries(watch),
        groups(context, queries),
        endpoints(context, queries),
        policies(context, queries),
        traces(context, queries),
        hosts(context, watch),
        sync(context, watch) {}

  static Gate::Rates rates(const ServerOptions& o) {
    Gate::Rates out;
    out.known = {o.calls_per_second, 2 * o.calls_per_second};
    return out;
  }

  Status load() {
    QMASQ_TRY(watch.load(*store, [this](const Commit& all) { allocator.apply(all); }));
    QMASQ_TRY(book.load(*store));
    count_callers();
    store->listen([this](const Commit& commit) {
      // First of all: once the write returns, who was revoked is nobody.
      book.apply(commit);
      live.apply(commit);
      if (!commit.accesses.empty() || !commit.certificates.empty()) count_callers();
      allocator.apply(commit);
      watch.commit(commit);
    });
    return {};
  }

  void count_callers() {
    const auto counts = book.counts(clock.wall());
    metrics.set_callers(counts.accesses, counts.certificates);
  }

  // TLS for all, or nothing on loopback where that was asked for.
  Result<std::shared_ptr<grpc::ServerCredentials>> tcp_credentials() {
    if (options.insecure_listen) return grpc::InsecureServerCredentials();
    if (!authority) {
      return fail(Code::kFailedPrecondition,
                  fmt::format("--listen {} needs a CA and certificates, and {} has none: run "
                              "`qmasq-controller init --data-dir {}` first. On loopback, "
                              "--insecure-listen does without",
                              options.listen, tls_directory(options.data_dir), options.data_dir));
    }
    QMASQ_ASSIGN(bool renewed,
                 renew_server_certificate(options.data_dir, *authority, clock.wall()));
    if (renewed) spdlog::info("the server's certificate was renewed");
    QMASQ_ASSIGN(auto identity, trust::read_identity(tls_directory(options.data_dir)));
    metrics.set_expiry("server", identity.info.not_after);
    QMASQ_ASSIGN(auto end, trust::expiry_of(authority->certificate()));
    metrics.set_expiry("ca", end);
    keeper = std::make_unique<ServerCertificateKeeper>(options.data_dir, *authority, clock);
    return trust::server_credentials(tls_directory(options.data_dir));
  }

  Status listen() {
    if (!options.listen.empty()) QMASQ_TRY(check_listen(options.listen, options.insecure_listen));
    if (!options.socket.empty()) {
      QMASQ_TRY(prepare_socket(options.socket));
      QMASQ_ASSIGN(socket, trust::PeerSocket::listen(options.socket, kSocketMode, {}));
      authenticator.set_socket(socket.get());
    }
    // Health is for everybody: probes have no certificate, and it says one word.
    grpc::EnableDefaultHealthCheckService(true);
    // Reflection does not pass our gate, so it is not there where strangers are.
    if (options.listen.empty() || options.insecure_listen) {
      grpc::reflection::InitProtoReflectionServerBuilderPlugin();
    }
    grpc::ServerBuilder builder;
    set_channel_options(builder);
    if (!options.listen.empty()) {
      QMASQ_ASSIGN(auto credentials, tcp_credentials());
      builder.AddListeningPort(options.listen, credentials, &port);
    }
    builder.RegisterService(&auth);
    builder.RegisterService(&vpcs);
    builder.RegisterService(&groups);
    builder.RegisterService(&endpoints);
    builder.RegisterService(&policies);
    builder.RegisterService(&traces);
    builder.RegisterService(&hosts);
    builder.RegisterService(&sync);
    server = builder.BuildAndStart();
    if (!server) {
      return fail(Code::kUnavailable, fmt::format("cannot listen on {}", options.listen));
    }
    if (socket) socket->serve(*server);
    return {};
  }

  ~Parts() {
    if (socket) socket->stop();
    if (server) {
      server->Shutdown(std::chrono::system_clock::now() + kShutdownGrace);
      server->Wait();
    }
    store->listen(nullptr);
    watch.stop();
  }

  const ServerOptions options;
  const Clock& clock;
  const std::optional<trust::Authority> authority;
  ControllerMetrics metrics;
  StatusBoard board;
  Allocator allocator;
  std::unique_ptr<Store> store;
  Watch watch;
  AuthBook book;
  LiveCalls live;
  Authenticator authenticator;
  RefusalLog refusals;
  Gate gate;
  ServiceContext context;
  AuthServiceImpl auth;
  VpcServiceImpl vpcs;
  FleetQueries queries;
  SecurityGroupServiceImpl groups;
  EndpointServiceImpl endpoints;
  QosServiceImpl policies;
  TraceServiceImpl traces;
  HostServiceImpl hosts;
  SyncServiceImpl sync;
  int port = 0;
  std::unique_ptr<ServerCertificateKeeper> keeper;
  std::unique_ptr<trust::PeerSocket> socket;  // outlives the server, whose calls ask it
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
  QMASQ_ASSIGN(auto authority, load_authority(options.data_dir));
  auto parts =
      std::make_unique<Parts>(std::move(store), std::move(authority), options, clock, registry);
  QMASQ_TRY(parts->load());
  QMASQ_TRY(parts->listen());
  return std::unique_ptr<Server>(new Server(std::move(parts)));
}

}  // namespace qmasq::controller

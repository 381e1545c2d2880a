// SPDX-License-Identifier: Apache-2.0
#include "vbond/agent/agent.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>

#include <algorithm>
#include <optional>
#include <random>
#include <set>
#include <utility>

#include "common/version.h"
#include "vbond/access/local_access.h"
#include "vbond/admission/admission_control.h"
#include "vbond/admission/report.h"
#include "vbond/agent/attach_planner.h"
#include "vbond/agent/endpoint_files.h"
#include "vbond/agent/endpoint_reporter.h"
#include "vbond/agent/legacy.h"
#include "vbond/agent/standing.h"
#include "vbond/agent/state_relay.h"
#include "vbond/attach/attach_server.h"
#include "vbond/bond/binder.h"
#include "vbond/enforce/enforcer.h"
#include "vbond/enforce/query_answers.h"
#include "vbond/events/event_log.h"
#include "vbond/guard/metrics.h"
#include "vbond/intercept/interceptor.h"
#include "vbond/join/membership.h"
#include "vbond/local/agent_server.h"
#include "vbond/netlink/loop.h"
#include "vbond/nic/nic_watcher.h"
#include "vbond/overlay/overlay.h"
#include "vbond/qos/policy_table.h"
#include "vbond/qos/qos_answers.h"
#include "vbond/qos/qos_manager.h"
#include "vbond/rename/connection_table.h"
#include "vbond/rename/endpoint_table.h"
#include "vbond/rename/metrics.h"
#include "vbond/rename/nic_table.h"
#include "vbond/rename/peer_map.h"
#include "vbond/rename/policy_metrics.h"
#include "vbond/rename/port_block_policy.h"
#include "vbond/rename/renamer.h"
#include "vbond/state/sync_state.h"
#include "vbond/sync/metrics.h"
#include "vbond/sync/sync_client.h"
#include "vbond/vpc_gids/vpc_addresses.h"

namespace qmasq::vbond {
namespace {

constexpr std::size_t kEventsKept = 4096;
constexpr std::chrono::seconds kPatienceForGids{5};  // a program waits so long for its VPC's GIDs

// The number that a namespace has for an interface of its own.
Result<std::uint32_t> interface_index(netlink::Namespaces& namespaces, int netns,
                                      const std::string& interface) {
  QMASQ_ASSIGN(auto connection, namespaces.connect(netns));
  QMASQ_ASSIGN(auto links, connection->links());
  for (const netlink::Link& link : links) {
    if (link.name == interface) return static_cast<std::uint32_t>(link.index);
  }
  return fail(Code::kNotFound,
              fmt::format("no interface {} in the endpoint's network namespace", interface));
}

InterceptOptions intercept_options(const AgentOptions& options) {
  InterceptOptions out;
  out.tenant_opens = options.tenant_opens;
  return out;
}

Overlay::Options overlay_options(const AgentOptions& options, const IpAddress& underlay) {
  Overlay::Options out;
  out.host = options.host;
  out.underlay = underlay;
  return out;
}

SyncClient::Options sync_options(const AgentOptions& options, const AgentSeams& seams,
                                 Membership& membership) {
  SyncClient::Options out;
  out.controller = options.controller;
  out.identity = {options.host, std::string(version()), seams.kernel_release};
  out.backoff = seams.backoff;
  out.credentials = [&membership] { return membership.credentials(); };
  out.unauthenticated = [&membership] { membership.refused(); };
  return out;
}

// What lies where a program as root could reach it: sockets of the agent, the keeper and the
// controller, keys, journals, the store.
std::vector<std::string> hidden_from_programs(const AgentOptions& options) {
  std::vector<std::string> out = {options.socket_directory, "/run/qmasq",
                                  "/run/qmasq-controller",  "/var/lib/qmasq",
                                  "/var/lib/qmasq-vbond",   options.certificates};
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

// Of any thread; AgentSeams::random is the sync thread's.
double random_number() {
  thread_local std::mt19937_64 engine{std::random_device{}()};
  return std::uniform_real_distribution<double>(0, 1)(engine);
}

NicWatcher::Options watcher_options(const AgentOptions& options) {
  NicWatcher::Options out;
  out.only = options.nics;
  out.vpc_gids = options.vpc_gids;
  return out;
}

Result<std::unique_ptr<qos::Backend>> no_backend(const Nic& /*nic*/,
                                                 const PolicyTable& /*policies*/) {
  return fail(Code::kUnsupported, "this agent has no backend for limits");
}

// Soft-RoCE and soft iWARP: what a tenant may be let open.
bool is_software(const Nic& nic) {
  return nic.driver == "rxe" || nic.driver == "siw";
}

}  // namespace

// In the order of construction; what is below uses what is above.
struct Agent::Impl {
  Impl(const AgentOptions& given, AgentSeams&& given_seams, const Clock& given_clock,
       Metrics& metrics, std::unique_ptr<netlink::LoopThread> network_loop,
       std::unique_ptr<netlink::LoopThread> chores_loop,
       std::unique_ptr<netlink::LoopThread> enforcement_loop,
       std::unique_ptr<netlink::LoopThread> limits_loop, const IpAddress& underlay,
       std::unique_ptr<Legacy> left);

  void on_endpoint(EndpointUid uid, const EndpointPtr& endpoint);
  void on_nics(const HostNics& now);
  void on_in_sync();
  void put_under_guard(const Nic& nic);
  [[nodiscard]] std::string guard_text() const;
  void prepare_restored();
  void show_legacy();

  const AgentOptions options;
  AgentSeams seams;
  const Clock& clock;
  const std::string socket;
  const std::string attach_socket;

  EventLog events;
  std::unique_ptr<Legacy> legacy;  // null: nothing outlives the agent
  SurvivalMetrics survival_metrics;
  SyncState sync_state;
  NicTable nic_table;
  NicMetrics nic_metrics;
  SyncMetrics sync_metrics;
  GuardMetrics guard_metrics;
  conntrack::GroupSets sets;
  PeerMap peers;
  conntrack::Tracker tracker;
  EndpointTable endpoints;
  PolicyTable policies;
  AdmissionControl admission;
  ConnectionTable connections;
  PortBlockPolicy wire;
  RenameMetrics rename_metrics;
  PolicyMetrics policy_metrics;
  Renamer renamer;
  std::unique_ptr<netlink::LoopThread> network;
  // What must not hold up the threads that notice it: files, and contexts to be closed.
  std::unique_ptr<netlink::LoopThread> chores;
  // Where queue pairs are cut: a context may be busy with a verb in the kernel.
  std::unique_ptr<netlink::LoopThread> enforcement;
  // Where limits are planned and programmed.
  std::unique_ptr<netlink::LoopThread> limits;
  QosManager qos;
  std::optional<Overlay> overlay;
  std::optional<VpcAddresses> vpc_addresses;
  Binder binder;
  Interceptor interceptor;
  Enforcer enforcer;
  GidStaging staging;
  EndpointFiles files;
  StateRelay relay;
  QueryAnswers answers;
  QosAnswers qos_answers;
  Membership membership;
  SyncClient sync;
  EndpointReporter reporter;
  NicWatcher watcher;
  LocalAccess access;
  AttachPlanner planner;
  Standing standing;
  std::unique_ptr<AgentServer> server;
  std::unique_ptr<AttachServer> attach_server;
  bool swept = false;    // of sync's thread
  bool stopped = false;  // of the thread that stops
};

Agent::Impl::Impl(const AgentOptions& given, AgentSeams&& given_seams, const Clock& given_clock,
                  Metrics& metrics, std::unique_ptr<netlink::LoopThread> network_loop,
                  std::unique_ptr<netlink::LoopThread> chores_loop,
                  std::unique_ptr<netlink::LoopThread> enforcement_loop,
                  std::unique_ptr<netlink::LoopThread> limits_loop, const IpAddress& underlay,
                  std::unique_ptr<Legacy> left)
    : options(given),
      seams(std::move(given_seams)),
      clock(given_clock),
      socket(given.socket_directory + "/vbond.sock"),
      attach_socket(given.socket_directory + "/attach.sock"),
      events(clock, kEventsKept),
      legacy(std::move(left)),
      survival_metrics(metrics.registry()),
      nic_metrics(metrics.registry()),
      sync_metrics(metrics.registry()),
      guard_metrics(metrics.registry()),
      peers(sets),
      tracker(sets, peers, {options.connections_per_vpc}),
      endpoints(peers, sync_state),
      admission(clock, events, metrics.registry()),
      rename_metrics(metrics.registry(), peers),
      policy_metrics(metrics.registry()),
      renamer({sync_state, endpoints, peers, nic_table, tracker, connections, events, clock, wire,
               &rename_metrics, &policy_metrics, legacy ? &legacy->journal() : nullptr},
              RenameOptions{}),
      network(std::move(network_loop)),
      chores(std::move(chores_loop)),
      enforcement(std::move(enforcement_loop)),
      limits(std::move(limits_loop)),
      qos({options.host},
          {policies, wire, sync_state, *limits, clock, events, metrics.registry(),
           seams.hw_counters.get(), [this](v1::HostQos& out) { report(admission, out); },
           [this] { chores->post([this] { reporter.refresh(); }); }},
          seams.qos_backend ? seams.qos_backend : no_backend),
      binder(
          {options.host}, *seams.namespaces, *network, clock, events,
          options.builtin_overlay
              ? &overlay.emplace(overlay_options(options, underlay), *seams.namespaces, *network,
                                 clock, metrics.registry())
              : nullptr,
          [this](EndpointUid, const BondStatus&) { chores->post([this] { reporter.refresh(); }); }),
      interceptor({renamer, endpoints, nic_table, events, clock, *seams.memory, *seams.devices,
                   *seams.tasks, metrics.registry(), admission, seams.guard.get(),
                   legacy ? &legacy->survival() : nullptr, seams.redirector.get()},
                  intercept_options(options)),
      enforcer(
          tracker, sets, connections, *enforcement, clock, &policy_metrics,
          [this](std::span<const conntrack::Effect> effects) { interceptor.enforce(effects); }),
      staging(seams.files),
      files(staging, endpoints, nic_table),
      relay(
          [this] {
            if (options.vpc_gids) {
              vpc_addresses.emplace(
                  VpcAddresses::Options{*options.vpc_gids}, endpoints, *seams.namespaces, *network,
                  clock, [this](std::set<Vni> vpcs) { watcher.expect(std::move(vpcs)); });
            }
            // An endpoint has its limits before it can be attached to.
            std::vector<ChangeObserver*> out{&policies,  &qos,      &peers,
                                             &endpoints, &enforcer, &rename_metrics};
            if (vpc_addresses) out.push_back(&*vpc_addresses);
            if (overlay) out.push_back(&*overlay);
            out.push_back(&binder);
            return out;
          }(),
          {[this](HostUid uid) {
             policies.set_host(uid);
             qos.set_host(uid);
             endpoints.set_host(uid, options.host);
           },
           [this] { on_in_sync(); }}),
      answers(options.host, tracker, peers, connections),
      qos_answers(qos, answers),
      membership(
          {options.controller, options.host, options.certificates, options.token_file}, clock,
          metrics.registry(), random_number,
          [this](const std::string& what) {
            Event event;
            event.type = EventType::kSync;
            event.reason = what;
            events.record(std::move(event));
          },
          [this] { sync.retry(); }),
      sync(
          sync_options(options, seams, membership), sync_state, relay, events, sync_metrics,
          seams.random, [this] { reporter.refresh(); }, &qos_answers),
      reporter(binder, interceptor, connections, qos, sync),
      watcher(*seams.nics, *seams.underlay, events, nic_metrics, clock, watcher_options(options),
              [this](const HostNics& now) { on_nics(now); }),
      access(endpoints, sync_state),
      planner({endpoints, access, nic_table, files,
               [this](EndpointUid uid) { return binder.bind(uid); },
               [this](Vni vni) { return watcher.await(vni, kPatienceForGids); },
               [this](int netns, const std::string& interface) {
                 return interface_index(*seams.namespaces, netns, interface);
               },
               [this](std::unique_ptr<NotificationPort> port, EndpointUid uid, pid_t pid,
                      std::string command, std::uint64_t kept_below) {
                 return interceptor.attach(std::move(port), uid, pid, std::move(command),
                                           kept_below);
               },
               seams.node_of},
              {interceptor.options().reserved_first, interceptor.options().reserved_count,
               options.tenant_opens, seams.device_directory, hidden_from_programs(options)}),
      standing({sync_state, peers, endpoints, nic_table, connections, binder, interceptor, qos,
                seams.guard.get()},
               {options.host, options.controller, seams.features,
                [this] { return legacy ? legacy->describe() : std::string("off"); }}) {
  policies.add_listener(
      [this](const PolicyTable::Changed& changed) { admission.policies_changed(changed); });
  policies.add_listener([this](const PolicyTable::Changed& changed) {
    std::vector<EndpointUid> gone;
    for (const auto& [uid, endpoint] : changed) {
      if (endpoint == nullptr) gone.push_back(uid);
    }
    policy_metrics.forget(gone);
  });
  endpoints.set_listener(
      [this](EndpointUid uid, const EndpointPtr& endpoint) { on_endpoint(uid, endpoint); });
}

void Agent::Impl::on_endpoint(EndpointUid uid, const EndpointPtr& endpoint) {
  bool gone = endpoint == nullptr;
  chores->post([this, uid, gone] {
    if (gone) interceptor.detach_endpoint(uid);
    files.refresh(uid);
    reporter.refresh();
  });
}

void Agent::Impl::on_nics(const HostNics& now) {
  for (const Nic& nic : now.nics) {
    if (options.tenant_opens.count(nic.device) != 0 && !is_software(nic)) {
      spdlog::error(
          "--open {}=tenant: its driver is {}, and that is for Soft-RoCE only: a tenant "
          "that opens a hardware NIC reaches every other tenant",
          nic.device, nic.driver.empty() ? "unknown" : nic.driver);
    }
  }
  for (const Nic& nic : now.nics) {
    if (options.tenant_opens.contains(nic.device)) put_under_guard(nic);
  }
  nic_table.update(now.nics);
  if (vpc_addresses) vpc_addresses->set_nics(now);
  qos.update_nics(now);
  const std::string guard = guard_text();
  guard_metrics.show(guard);
  sync.report_host(now, guard);
  chores->post([this] { files.refresh_all(); });
}

// Before the table has it, so before a tenant gets it.
void Agent::Impl::put_under_guard(const Nic& nic) {
  if (!seams.guard || !seams.node_of) return;
  const std::string node = seams.device_directory + "/" + seams.node_of(nic.device);
  struct stat status {};
  if (::stat(node.c_str(), &status) != 0 || !S_ISCHR(status.st_mode)) {
    spdlog::error("{} of {} is no device: the guard does not watch who opens it", node, nic.device);
    return;
  }
  if (auto marked = seams.guard->open_by_tenants(status.st_rdev); !marked)
    spdlog::error("{}: {}", nic.device, marked.error().message);
}

std::string Agent::Impl::guard_text() const {
  return seams.guard ? seams.guard->describe() : "off";
}

void Agent::Impl::on_in_sync() {
  if (vpc_addresses) vpc_addresses->in_sync();
  if (overlay) overlay->in_sync();
  binder.in_sync();
  qos.in_sync();
  if (swept) return;
  swept = true;
  chores->post([this] {
    prepare_restored();
    files.sweep();
    if (legacy) enforcement->post([this] { interceptor.in_sync(); });
  });
}

// Programs of before find their interface and GID files as if they had attached to this agent.
void Agent::Impl::prepare_restored() {
  std::set<EndpointUid> done;
  for (const AttachmentInfo& info : interceptor.list()) {
    if (!info.restored || !done.insert(info.endpoint).second) continue;
    if (auto status = planner.restore(info.endpoint); !status)
      spdlog::warn("{} after a restart: {}", info.endpoint_name, status.error().message);
  }
}

// Every second, for the metrics.
void Agent::Impl::show_legacy() {
  legacy->show(survival_metrics);
  chores->post_at(clock.now() + std::chrono::seconds(1), [this] { show_legacy(); });
}

Agent::Agent(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Result<std::unique_ptr<Agent>> Agent::start(const AgentOptions& options, AgentSeams seams,
                                            const Clock& clock, Metrics& metrics) {
  QMASQ_ASSIGN(IpAddress underlay, seams.underlay->address());
  QMASQ_ASSIGN(auto network, netlink::LoopThread::start());
  QMASQ_ASSIGN(auto chores, netlink::LoopThread::start());
  QMASQ_ASSIGN(auto enforcement, netlink::LoopThread::start());
  QMASQ_ASSIGN(auto limits, netlink::LoopThread::start());
  std::unique_ptr<Legacy> legacy;
  if (seams.keeper) {
    QMASQ_ASSIGN(legacy, Legacy::open({seams.keeper, seams.open_port, seams.devices.get(),
                                       seams.tasks.get()},
                                      options.state_directory));
  }
  auto impl = std::make_unique<Impl>(options, std::move(seams), clock, metrics, std::move(network),
                                     std::move(chores), std::move(enforcement), std::move(limits),
                                     underlay, std::move(legacy));
  std::unique_ptr<Agent> agent(new Agent(std::move(impl)));
  Impl& parts = *agent->impl_;
  parts.watcher.scan();
  for (const Nic& nic : parts.watcher.current().nics) {
    if (options.tenant_opens.count(nic.device) != 0 && !is_software(nic)) {
      return fail(Code::kFailedPrecondition,
                  fmt::format("--open {}=tenant: only Soft-RoCE devices may be opened by tenants; "
                              "the driver of this one is {}",
                              nic.device, nic.driver.empty() ? "unknown" : nic.driver));
    }
  }
  if (parts.legacy) {
    parts.legacy->tell(parts.events);
    parts.legacy->hand_to(parts.interceptor, parts.connections, parts.events);
    const InterceptStats stats = parts.interceptor.stats();
    parts.survival_metrics.set_restored(stats.attachments, stats.contexts, stats.queue_pairs);
    parts.chores->post([&parts] { parts.show_legacy(); });
  }
  if (parts.seams.guard) {
    parts.seams.guard->listen(
        [&parts](const Violation& violation) { parts.interceptor.punish(violation); });
  }
  QMASQ_ASSIGN(parts.server,
               AgentServer::start(parts.socket, parts.standing, parts.events, parts.access));
  AttachServerOptions attach;
  attach.socket = parts.attach_socket;
  QMASQ_ASSIGN(parts.attach_server, AttachServer::start(attach, parts.planner));
  parts.watcher.start();
  parts.membership.start();
  parts.sync.start();
  return agent;
}

Agent::~Agent() {
  // Whoever cannot wait calls stop() and ends the process.
  while (!stop(std::chrono::seconds(60))) {
  }
}

bool Agent::stop(std::chrono::milliseconds patience) {
  Impl& parts = *impl_;
  if (parts.stopped) return true;
  parts.attach_server.reset();
  parts.sync.stop();
  parts.membership.stop();
  parts.watcher.stop();
  parts.enforcement->stop();
  // What is programmed stays: tenants' queue pairs go on without us.
  parts.limits->stop();
  if (parts.seams.guard) parts.seams.guard->stop();
  const bool ended =
      parts.legacy ? parts.interceptor.leave(patience) : parts.interceptor.stop(patience);
  if (!ended) return false;
  parts.server.reset();
  parts.chores->stop();
  parts.network->stop();
  parts.stopped = true;
  return true;
}

const std::string& Agent::socket() const {
  return impl_->socket;
}

const std::string& Agent::attach_socket() const {
  return impl_->attach_socket;
}

}  // namespace qmasq::vbond

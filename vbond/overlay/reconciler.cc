// SPDX-License-Identifier: Apache-2.0
#include "vbond/overlay/reconciler.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <utility>

namespace qmasq::vbond {
namespace {

using netlink::Link;
using netlink::LinkKind;
using netlink::Operation;

// It was to go and is gone.
bool is_gone_already(const Operation& operation, const Error& error) {
  if (std::holds_alternative<netlink::DeleteLink>(operation)) return error.err == ENODEV;
  if (std::holds_alternative<netlink::DeleteAddress>(operation)) {
    return error.err == EADDRNOTAVAIL || error.err == ENODEV;
  }
  return (std::holds_alternative<netlink::DeleteFdb>(operation) ||
          std::holds_alternative<netlink::DeleteNeighbour>(operation)) &&
         (error.err == ENOENT || error.err == ENODEV);
}

// A namespace may have IPv6 turned off; the link-local address is then missed by nobody.
bool is_optional(const Operation& operation, const Error& error) {
  const auto* add = std::get_if<netlink::AddAddress>(&operation);
  return add != nullptr && !add->ip.is_v4() && add->ip.is_link_local() &&
         (error.err == EACCES || error.err == EOPNOTSUPP || error.err == EAFNOSUPPORT);
}

const Link* find_link(const std::vector<Link>& links, const std::string& name) {
  auto it =
      std::find_if(links.begin(), links.end(), [&](const Link& link) { return link.name == name; });
  return it == links.end() ? nullptr : &*it;
}

bool same_links(const VpcPlan& a, const VpcPlan& b) {
  return a.links == b.links && a.plugs == b.plugs;
}

}  // namespace

Reconciler::Reconciler(Options options, netlink::Namespaces& namespaces, const Clock& clock,
                       OverlayMetrics& metrics)
    : options_(std::move(options)), namespaces_(namespaces), clock_(clock), metrics_(metrics) {
  site_.port = options_.port;
}

void Reconciler::apply(const Change& change) {
  OverlaySite before = site_;
  std::set<VpcUid> touched = state_.apply(change);
  refresh_site();
  if (site_ != before) {
    for (const auto& [uid, vpc] : state_.vpcs())
      touched.insert(uid);
  }
  pass(touched);
}

void Reconciler::in_sync() {
  if (in_sync_) return;
  in_sync_ = true;
  sweep_due_ = true;
  pass({});
}

void Reconciler::resync() {
  site_looked_ = false;
  refresh_site();
  std::set<VpcUid> all;
  for (auto& [uid, vpc] : vpcs_)
    vpc.applied.reset();
  for (auto& [uid, plug] : plugs_)
    plug.neighbours.reset();
  for (const auto& [uid, vpc] : state_.vpcs())
    all.insert(uid);
  sweep_due_ = true;
  pass(all);
}

void Reconciler::retry() {
  std::set<VpcUid> due;
  for (const auto& [uid, vpc] : vpcs_) {
    auto at = vpc.faults.retry_at();
    if (at && *at <= clock_.now()) due.insert(uid);
  }
  if (!due.empty()) pass(due);
}

std::optional<Faults::TimePoint> Reconciler::next_retry() const {
  std::optional<Faults::TimePoint> next;
  for (const auto& [uid, vpc] : vpcs_) {
    auto at = vpc.faults.retry_at();
    if (at && (!next || *at < *next)) next = at;
  }
  return next;
}

void Reconciler::refresh_site() {
  site_.self = state_.host_named(options_.host);
  IpAddress underlay = options_.underlay ? *options_.underlay : state_.underlay_of(site_.self);
  if (underlay == site_.underlay && site_looked_) return;
  site_.underlay = underlay;
  site_.underlay_mtu = 0;
  if (underlay.is_unspecified()) return;
  if (!host_) {
    auto host = namespaces_.connect(-1);
    if (!host) return;  // pass_vpc meets the same error and reports it
    host_ = std::move(*host);
  }
  auto addresses = host_->addresses();
  auto links = host_->links();
  if (!addresses || !links) return;
  for (const netlink::Address& address : *addresses) {
    if (address.ip != underlay) continue;
    for (const Link& link : *links) {
      if (link.index == address.link) site_.underlay_mtu = link.mtu;
    }
  }
  site_looked_ = true;
}

std::vector<OverlayPlug> Reconciler::plugs_of(const OverlayVpc& vpc) const {
  std::vector<OverlayPlug> plugs;
  for (const auto& [uid, plug] : plugs_) {
    if (vpc.endpoints.count(uid) > 0) plugs.push_back({uid, plug.interface});
  }
  return plugs;
}

void Reconciler::pass(const std::set<VpcUid>& vpcs) {
  auto started = clock_.now();
  look_.reset();
  for (VpcUid uid : vpcs)
    pass_vpc(uid);
  if (in_sync_ && sweep_due_) sweep();
  bool full = look_.has_value();
  look_.reset();
  publish();
  metrics_.count_reconcile(full, clock_.now() - started);
}

void Reconciler::pass_vpc(VpcUid uid) {
  const OverlayVpc* view = state_.vpc(uid);
  std::optional<VpcPlan> plan;
  if (view != nullptr) plan = plan_vpc(site_, state_, *view, plugs_of(*view));
  if (!plan) {
    if (vpcs_.erase(uid) > 0) sweep_due_ = true;
    return;
  }
  Vpc& vpc = vpcs_[uid];
  vpc.warnings = plan->warnings;
  vpc.links.clear();
  for (const LinkPlan& link : plan->links)
    vpc.links.push_back(link.link.name);
  vpc.faults.begin();
  if (vpc.applied && same_links(*vpc.applied, *plan)) {
    deltas(vpc, *plan);
  } else {
    if (vpc.applied) sweep_due_ = true;
    compare(vpc, *plan);
  }
  if (vpc.faults.end(clock_.now())) {
    // What is there now is not known for sure: look next time.
    vpc.applied.reset();
    spdlog::warn("overlay: {}: {} objects are not as they should be", view->view.name,
                 vpc.faults.size());
  } else {
    vpc.applied = std::move(*plan);
  }
}

void Reconciler::deltas(Vpc& vpc, const VpcPlan& plan) {
  program(vpc, *net_, diff_fdb(plan.fdb, vpc.applied->fdb), {}, std::nullopt);
  fill_neighbours(vpc, plan);
}

void Reconciler::compare(Vpc& vpc, const VpcPlan& plan) {
  Status ready = open_namespace();
  if (ready && !look_) ready = look();
  if (!ready) {
    // Nothing can be said of single objects.
    Error error = ready.error();
    vpc.faults.add("overlay", {error, std::nullopt, false});
    for (const PlugPlan& plug : plan.plugs) {
      vpc.faults.add("overlay of " + plug.port, {error, plug.endpoint, true});
    }
    return;
  }
  std::set<std::string> broken;
  make_links(vpc, plan, broken);
  for (const PlugPlan& plug : plan.plugs)
    mend_plug(vpc, plug, broken);

  std::vector<FdbRow> actual;
  for (const LinkPlan& link : plan.links) {
    auto rows = look_->rows.find(link.link.name);
    if (rows != look_->rows.end()) {
      actual.insert(actual.end(), rows->second.begin(), rows->second.end());
    }
  }
  std::sort(actual.begin(), actual.end());
  program(vpc, *net_, diff_fdb(plan.fdb, actual), broken, std::nullopt);
  for (const PlugPlan& plug : plan.plugs)
    plugs_.at(plug.endpoint).neighbours.reset();
  fill_neighbours(vpc, plan);
}

Status Reconciler::open_namespace() {
  if (!host_) {
    QMASQ_ASSIGN(host_, namespaces_.connect(-1));
  }
  if (net_) return {};
  auto found = namespaces_.open(kOverlayNamespace);
  if (!found && found.error().code == Code::kNotFound) {
    found = namespaces_.create(kOverlayNamespace, kOverlayMark);
  }
  if (!found) return with_context(std::move(found).error(), "the overlay's namespace");
  QMASQ_ASSIGN(auto net, namespaces_.connect(found->get()));
  QMASQ_ASSIGN(std::vector<Link> links, net->links());
  bool ours = std::any_of(links.begin(), links.end(), [](const Link& link) {
    return link.kind == LinkKind::kLoopback && link.alias == kOverlayMark;
  });
  if (!ours) {
    return fail(Code::kAlreadyExists, "network namespace " + namespaces_.path(kOverlayNamespace) +
                                          " was not made by qmasq: it is left alone");
  }
  netns_ = std::move(*found);
  net_ = std::move(net);
  return {};
}

Status Reconciler::look() {
  Look seen;
  QMASQ_ASSIGN(seen.links, net_->links());
  QMASQ_ASSIGN(std::vector<netlink::FdbEntry> entries, net_->fdb());
  for (FdbRow& row : rows_of(entries, seen.links)) {
    auto& rows = seen.rows[row.link];
    rows.push_back(std::move(row));
  }
  look_ = std::move(seen);
  return {};
}

void Reconciler::make_links(Vpc& vpc, const VpcPlan& plan, std::set<std::string>& broken) {
  for (const LinkPlan& link : plan.links) {
    const std::string& name = link.link.name;
    std::optional<EndpointUid> endpoint;
    for (const PlugPlan& plug : plan.plugs) {
      if (plug.port == name) endpoint = plug.endpoint;
    }
    LinkAction action = diff_link(link, look_->links);
    Status done;
    switch (action.kind) {
      case LinkAction::Kind::kKeep:
        break;
      case LinkAction::Kind::kSet:
        done = run(*net_, action.set);
        break;
      case LinkAction::Kind::kMake:
      case LinkAction::Kind::kRemake:
        look_->rows.erase(name);
        if (endpoint) {
          plugs_.at(*endpoint).addresses.reset();
          plugs_.at(*endpoint).neighbours.reset();
        }
        done = make_link(link, action, plan);
        break;
      case LinkAction::Kind::kForeign:
        done = fail(Code::kAlreadyExists, action.reason);
        break;
    }
    if (done) continue;
    broken.insert(name);
    vpc.faults.add("link " + name, {done.error(), endpoint, endpoint.has_value()});
  }
}

Status Reconciler::make_link(const LinkPlan& link, const LinkAction& action, const VpcPlan& plan) {
  if (action.kind == LinkAction::Kind::kRemake) {
    QMASQ_TRY(run(*net_, netlink::DeleteLink{link.link.name}));
  }
  netlink::AddLink add;
  add.link = link.link;
  netlink::Netlink* from = net_.get();
  if (link.link.kind == LinkKind::kVxlan) {
    // Its UDP socket stays where it is made from.
    from = host_.get();
    add.target = netns_.get();
  }
  for (const PlugPlan& plug : plan.plugs) {
    if (plug.port != link.link.name) continue;
    const Plug& held = plugs_.at(plug.endpoint);
    // The other end may be left of an older pair.
    QMASQ_ASSIGN(std::vector<Link> inside, held.net->links());
    if (const Link* old = find_link(inside, plug.tenant.name); old != nullptr) {
      if (old->group != netlink::kLinkGroup) {
        return fail(Code::kAlreadyExists, "interface " + plug.tenant.name +
                                              " in the namespace was not made by qmasq: it is "
                                              "left alone");
      }
      QMASQ_TRY(run(*held.net, netlink::DeleteLink{plug.tenant.name}));
    }
    add.peer = plug.tenant;
    add.peer_target = held.netns.get();
  }
  QMASQ_TRY(run(*from, add));
  return run(*net_, action.set);
}

void Reconciler::mend_plug(Vpc& vpc, const PlugPlan& plan, std::set<std::string>& broken) {
  Plug& plug = plugs_.at(plan.endpoint);
  const std::string& name = plan.tenant.name;
  const std::string object = "interface " + name + " of " + plan.port;
  if (broken.count(plan.port) > 0) return;
  auto fault = [&](Error error) {
    vpc.faults.add(object, {std::move(error), plan.endpoint, true});
  };
  auto links = plug.net->links();
  if (!links) return fault(links.error());
  const Link* there = find_link(*links, name);
  if (there == nullptr || there->group != netlink::kLinkGroup) {
    // The port has lost its other end: the pair goes and is made again at the next try.
    if (there == nullptr) (void)run(*net_, netlink::DeleteLink{plan.port});
    return fault({Code::kFailedPrecondition, "interface " + name + " is missing", 0, ""});
  }
  bool configured = plug.addresses == plan.addresses;
  LinkAction action = diff_link({plan.tenant, ""}, *links);
  // The tenant may take its own interface down: followed and reported, not fought.
  if (configured && action.set.up) {
    action.set.up.reset();
    action.set.no_link_local = false;
  }
  if (action.kind == LinkAction::Kind::kSet) {
    if (Status done = run(*plug.net, action.set); !done) return fault(done.error());
  }
  if (configured) return;
  auto addresses = plug.net->addresses();
  if (!addresses) return fault(addresses.error());
  std::vector<netlink::Address> on_it;
  for (const netlink::Address& address : *addresses) {
    if (address.link == there->index) on_it.push_back(address);
  }
  std::vector<Operation> operations = diff_addresses(name, plan.addresses, on_it);
  std::vector<Status> results = plug.net->apply(operations);
  std::size_t failed = 0;
  for (std::size_t i = 0; i < results.size(); ++i) {
    if (results[i] || is_gone_already(operations[i], results[i].error()) ||
        is_optional(operations[i], results[i].error())) {
      continue;
    }
    ++failed;
    vpc.faults.add(netlink::describe(operations[i]) + " of " + plan.port,
                   {results[i].error(), plan.endpoint, true});
  }
  metrics_.count_changes(results.size() - failed, failed);
  if (failed == 0) plug.addresses = plan.addresses;
}

void Reconciler::fill_neighbours(Vpc& vpc, const VpcPlan& plan) {
  for (const PlugPlan& planned : plan.plugs) {
    Plug& plug = plugs_.at(planned.endpoint);
    if (plug.neighbours == plan.neighbours || vpc.faults.fatal(planned.endpoint)) continue;
    std::vector<Operation> operations;
    if (plug.neighbours) {
      operations = diff_neighbours(plug.interface, *plan.neighbours, *plug.neighbours);
    } else {
      auto links = plug.net->links();
      auto entries = plug.net->neighbours();
      const Link* link = links ? find_link(*links, plug.interface) : nullptr;
      if (!links || !entries || link == nullptr) {
        Error error = !links     ? links.error()
                      : !entries ? entries.error()
                                 : Error{Code::kNotFound, "no interface " + plug.interface, 0, ""};
        vpc.faults.add("neighbours of " + planned.port, {error, planned.endpoint, false});
        continue;
      }
      operations =
          diff_neighbours(plug.interface, *plan.neighbours, rows_of(*entries, link->index));
    }
    std::size_t before = vpc.faults.size();
    program(vpc, *plug.net, operations, {}, planned.endpoint);
    plug.neighbours = vpc.faults.size() == before ? plan.neighbours : nullptr;
  }
}

void Reconciler::program(Vpc& vpc, netlink::Netlink& net, const std::vector<Operation>& operations,
                         const std::set<std::string>& broken, std::optional<EndpointUid> endpoint) {
  std::vector<Operation> chosen;
  const std::vector<Operation>* todo = &operations;
  if (!broken.empty()) {
    for (const Operation& operation : operations) {
      if (broken.count(netlink::link_of(operation)) == 0) chosen.push_back(operation);
    }
    todo = &chosen;
  }
  std::vector<Status> results = net.apply(*todo);
  std::size_t failed = 0;
  for (std::size_t i = 0; i < results.size(); ++i) {
    if (results[i] || is_gone_already((*todo)[i], results[i].error())) continue;
    ++failed;
    std::string object = netlink::describe((*todo)[i]);
    if (endpoint) object += " of " + port_name(*endpoint);
    vpc.faults.add(object, {results[i].error(), endpoint, false});
  }
  metrics_.count_changes(results.size() - failed, failed);
}

Status Reconciler::run(netlink::Netlink& net, const Operation& operation) {
  Status done = net.apply(std::span<const Operation>(&operation, 1)).front();
  bool ok = done || is_gone_already(operation, done.error());
  metrics_.count_changes(ok ? 1 : 0, ok ? 0 : 1);
  return ok ? Status{} : done;
}

void Reconciler::sweep() {
  sweep_due_ = false;
  if (!net_ && vpcs_.empty()) {
    // Of an agent before this one. Not there, or not ours: nothing to do.
    auto found = namespaces_.open(kOverlayNamespace);
    if (!found || !open_namespace()) return;
  }
  if (!net_) return;
  auto links = net_->links();
  if (!links) {
    sweep_due_ = true;
    return;
  }
  std::set<std::string> wanted;
  for (const auto& [uid, vpc] : state_.vpcs()) {
    auto plan = plan_vpc(site_, state_, vpc, plugs_of(vpc));
    if (!plan) continue;
    for (const LinkPlan& link : plan->links)
      wanted.insert(link.link.name);
  }
  bool clean = true;
  for (const Operation& operation : leftovers(wanted, *links)) {
    if (Status done = run(*net_, operation); !done) {
      clean = false;
      sweep_due_ = true;
      spdlog::warn("overlay: leftover: {}", done.error().message);
    }
  }
  if (!wanted.empty() || !clean) return;
  // The last VPC has gone; foreign links in it, if any, keep it.
  bool foreign = std::any_of(links->begin(), links->end(), [](const Link& link) {
    return link.group != netlink::kLinkGroup && link.kind != LinkKind::kLoopback;
  });
  if (foreign) return;
  net_.reset();
  netns_.reset();
  if (Status done = namespaces_.remove(kOverlayNamespace); !done) {
    spdlog::warn("overlay: {}", done.error().message);
  }
}

Status Reconciler::wire(EndpointUid endpoint, int netns, const std::string& interface) {
  VpcUid vpc = state_.vpc_of(endpoint);
  if (vpc == VpcUid{}) {
    return fail(Code::kNotFound, "the overlay knows no endpoint " + std::to_string(endpoint.value));
  }
  auto it = plugs_.find(endpoint);
  if (it == plugs_.end()) {
    Plug plug;
    plug.interface = interface;
    plug.netns.reset(::fcntl(netns, F_DUPFD_CLOEXEC, 0));
    if (!plug.netns.valid()) return fail_errno(errno, "keep the namespace");
    QMASQ_ASSIGN(plug.net, namespaces_.connect(plug.netns.get()));
    plugs_.emplace(endpoint, std::move(plug));
  } else {
    // Asked again: look again, and put back what somebody took away.
    it->second.addresses.reset();
    it->second.neighbours.reset();
    if (auto held = vpcs_.find(vpc); held != vpcs_.end()) held->second.applied.reset();
  }
  pass({vpc});
  auto held = vpcs_.find(vpc);
  if (held == vpcs_.end()) {
    return fail(Code::kFailedPrecondition, "the endpoint is not of this host");
  }
  if (auto error = held->second.faults.fatal(endpoint)) return tl::unexpected(*error);
  return {};
}

void Reconciler::unwire(EndpointUid endpoint) {
  if (plugs_.erase(endpoint) == 0) return;
  // Named in plans only while plugged: take it away here, in sync or not.
  if (net_) (void)run(*net_, netlink::DeleteLink{port_name(endpoint)});
  pass({state_.vpc_of(endpoint)});
}

void Reconciler::look_again(EndpointUid endpoint) {
  auto it = plugs_.find(endpoint);
  if (it == plugs_.end()) return;
  it->second.neighbours.reset();
  pass({state_.vpc_of(endpoint)});
}

std::string Reconciler::problems(EndpointUid endpoint) const {
  auto it = vpcs_.find(state_.vpc_of(endpoint));
  if (it == vpcs_.end()) return {};
  std::string text = it->second.faults.text(endpoint);
  for (const std::string& warning : it->second.warnings) {
    if (!text.empty()) text += "; ";
    text += warning;
  }
  return text;
}

void Reconciler::publish() {
  std::array<std::size_t, kOverlayObjects> actual{};
  std::array<std::size_t, kOverlayObjects> desired{};
  std::size_t faults = 0;
  for (const auto& [uid, vpc] : vpcs_) {
    faults += vpc.faults.size();
    const OverlayVpc* view = state_.vpc(uid);
    if (view == nullptr) continue;
    std::optional<VpcPlan> planned;
    if (!vpc.applied) planned = plan_vpc(site_, state_, *view, plugs_of(*view));
    const VpcPlan* plan = vpc.applied ? &*vpc.applied : planned ? &*planned : nullptr;
    if (plan == nullptr) continue;
    std::array<std::size_t, kOverlayObjects> counts{};
    for (const LinkPlan& link : plan->links) {
      OverlayObject kind = link.link.kind == LinkKind::kBridge  ? OverlayObject::kBridge
                           : link.link.kind == LinkKind::kVxlan ? OverlayObject::kVxlan
                                                                : OverlayObject::kPort;
      ++counts[static_cast<std::size_t>(kind)];
    }
    counts[static_cast<std::size_t>(OverlayObject::kForwarding)] = plan->fdb.size();
    counts[static_cast<std::size_t>(OverlayObject::kNeighbour)] =
        plan->neighbours->size() * plan->plugs.size();
    for (std::size_t i = 0; i < kOverlayObjects; ++i) {
      desired[i] += counts[i];
      if (vpc.applied) actual[i] += counts[i];
    }
  }
  for (std::size_t i = 0; i < kOverlayObjects; ++i) {
    metrics_.set_objects(static_cast<OverlayObject>(i), desired[i], actual[i]);
  }
  metrics_.set_faults(faults);
}

}  // namespace qmasq::vbond

// SPDX-License-Identifier: Apache-2.0
#include "qos/backends/devlink/backend.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <map>
#include <set>
#include <string_view>
#include <utility>

#include "qos/backends/devlink/kernel.h"

namespace qmasq::qos::devlink {
namespace {

constexpr std::string_view kMark = "qmasq-vpc-";
constexpr std::uint64_t kBits = 8;  // of a byte: devlink counts bytes

std::string node_name(std::uint64_t vpc) {
  return std::string(kMark) + std::to_string(vpc);
}

// The VPC of a node of ours; exactly as node_name() writes it.
std::optional<std::uint64_t> vpc_of_name(const std::string& name) {
  if (name.compare(0, kMark.size(), kMark) != 0) return std::nullopt;
  std::uint64_t vpc = 0;
  const char* end = name.data() + name.size();
  auto [stop, error] = std::from_chars(name.data() + kMark.size(), end, vpc);
  if (error != std::errc() || stop != end || node_name(vpc) != name) return std::nullopt;
  return vpc;
}

BitsPerSecond rounded(BitsPerSecond rate) {
  std::uint64_t unit = kGranularity.value;
  return {std::max(rate.value / unit, std::uint64_t{1}) * unit};
}

// What stands for no guarantee needs no rate of the NIC's.
BitsPerSecond rounded_guarantee(BitsPerSecond rate) {
  return rate <= kLeastGuarantee ? kLeastGuarantee : rounded(rate);
}

std::uint64_t share_of(const Node& node) {
  BitsPerSecond rate = rounded_guarantee(node.guaranteed);
  return rate <= kLeastGuarantee ? 0 : rate.value / kBits;
}

std::uint64_t maximum_of(const Node& node) {
  return rounded(node.maximum).value / kBits;
}

Node rounded(Node node) {
  node.guaranteed = rounded_guarantee(node.guaranteed);
  node.maximum = rounded(node.maximum);
  return node;
}

bool gone(const Status& status) {
  return !status && status.error().err == ENODEV;
}

bool refused(const Status& status) {
  return !status && status.error().err == EOPNOTSUPP;
}

class DevlinkBackend final : public Backend {
 public:
  DevlinkBackend(Options options, std::unique_ptr<Rates> rates)
      : options_(std::move(options)), rates_(std::move(rates)) {
    capabilities_.guarantee = true;
    capabilities_.maximum = true;
    capabilities_.per_vpc = true;
    capabilities_.per_endpoint = true;
    capabilities_.granularity = kGranularity;
  }

  Status start() {
    QMASQ_ASSIGN(auto objects, rates_->objects());
    learn(objects);
    return {};
  }

  const char* name() const override { return "devlink"; }
  const Capabilities& capabilities() const override { return capabilities_; }
  Result<Plan> readback(const VpcOf& vpc_of) override;
  std::vector<Status> program(std::span<const Step> steps) override;
  Result<std::map<NodeId, Counters>> counters() override { return std::map<NodeId, Counters>(); }

 private:
  struct Leaf {
    std::uint32_t port = 0;
    std::uint64_t vpc = 0;
  };

  void learn(const std::vector<RateObject>& objects);
  [[nodiscard]] Status run(const Step& step);
  [[nodiscard]] Status put_vpc(const Node& node);
  [[nodiscard]] Status put_endpoint(const Node& node);
  [[nodiscard]] Status remove_vpc(std::uint64_t vpc);
  [[nodiscard]] Status remove_endpoint(const NodeId& id);
  [[nodiscard]] Status remove_all();
  // Removes what readback() could not tell. Best effort: what fails is tried again next time.
  void sweep();

  // Limits of a node, where `now` differs from them.
  [[nodiscard]] Status limit(const RateObject& now, const Node& node);
  // Takes limits and mark off a leaf.
  [[nodiscard]] Status release(std::uint32_t port);
  [[nodiscard]] Status delete_node(const std::string& name);
  [[nodiscard]] Result<RateObject> claim(const RateId& leaf, const std::string& parent);

  Options options_;
  std::unique_ptr<Rates> rates_;
  Capabilities capabilities_;
  bool weights_in_kernel_ = false;
  // What was programmed, as rounded. The NIC and `other` are only here.
  std::map<NodeId, Node> nodes_;
  std::map<NodeId, Leaf> leaves_;          // of the endpoints in nodes_
  std::map<std::uint32_t, NodeId> ports_;  // the same, by port
  // Of ours and of nobody: leaves, nodes.
  std::set<std::uint32_t> strays_;
  std::set<std::string> stray_nodes_;
  bool read_ = false;
};

// What objects there are says what the kernel offers and how many nodes a plan can have: each
// endpoint needs a port, each VPC an endpoint.
void DevlinkBackend::learn(const std::vector<RateObject>& objects) {
  std::size_t ports = 0;
  for (const RateObject& object : objects) {
    if (object.id.kind == RateId::Kind::kLeaf) ++ports;
    if (object.tx_weight && !weights_in_kernel_) {
      weights_in_kernel_ = true;
      capabilities_.weight = true;
    }
  }
  capabilities_.most_nodes = 2 + 2 * ports;
}

Result<Plan> DevlinkBackend::readback(const VpcOf& vpc_of) {
  QMASQ_ASSIGN(auto objects, rates_->objects());
  learn(objects);
  auto before = std::exchange(nodes_, {});
  leaves_.clear();
  ports_.clear();
  strays_.clear();
  stray_nodes_.clear();

  Plan plan;
  auto add = [&](const RateObject& object, NodeId id, NodeId parent) {
    Node node{id, parent, {object.tx_share * kBits}, {object.tx_max * kBits}, 0, 0, {}};
    node.guaranteed = std::max(node.guaranteed, kLeastGuarantee);
    if (auto was = before.find(id); was != before.end()) {
      node.burst = was->second.burst;
      node.weight = was->second.weight;
      node.ports = was->second.ports;
    }
    if (capabilities_.weight && object.tx_weight) node.weight = *object.tx_weight;
    plan.nodes.emplace(id, node);
  };
  for (const RateObject& object : objects) {
    auto vpc = object.id.kind == RateId::Kind::kLeaf ? vpc_of_name(object.parent) : std::nullopt;
    if (!vpc) continue;
    auto endpoint = options_.endpoint_of(object.id.port);
    if (!endpoint || vpc_of(*endpoint) != VpcUid{*vpc}) {
      strays_.insert(object.id.port);
      continue;
    }
    NodeId id = NodeId::endpoint(*endpoint);
    add(object, id, NodeId::vpc(VpcUid{*vpc}));
    leaves_[id] = {object.id.port, *vpc};
    ports_[object.id.port] = id;
  }
  // A node that no endpoint of ours is below is of no VPC that is here.
  for (const RateObject& object : objects) {
    auto vpc = object.id.kind == RateId::Kind::kNode ? vpc_of_name(object.id.name) : std::nullopt;
    if (!vpc) continue;
    if (std::any_of(leaves_.begin(), leaves_.end(),
                    [&](const auto& leaf) { return leaf.second.vpc == *vpc; })) {
      add(object, NodeId::vpc(VpcUid{*vpc}), NodeId::nic());
    } else {
      stray_nodes_.insert(object.id.name);
    }
  }
  bool known = before.count(NodeId::nic()) != 0;
  for (NodeId id : {NodeId::nic(), NodeId::other()}) {
    if (auto was = before.find(id); was != before.end()) {
      plan.nodes.insert(*was);
    } else if (!known && !leaves_.empty()) {
      plan.nodes.emplace(id, Node{id, NodeId::nic(), kLeastGuarantee, kUnlimited, 0, 0, {}});
    }
  }
  nodes_ = plan.nodes;
  read_ = true;
  return plan;
}

std::vector<Status> DevlinkBackend::program(std::span<const Step> steps) {
  if (!read_) {
    Status unread = fail(Code::kFailedPrecondition, "what the kernel has was not read back yet");
    return std::vector<Status>(steps.size(), unread);
  }
  sweep();
  // An endpoint that is removed and added (its ports changed, which devlink does not have) keeps
  // its limits meanwhile, as long as its parent stays too.
  std::map<NodeId, std::uint64_t> added;
  std::set<NodeId> removed;
  for (const Step& step : steps) {
    if (step.kind == Step::Kind::kAdd) added.emplace(step.node.id, step.node.parent.uid);
    if (step.kind == Step::Kind::kRemove) removed.insert(step.node.id);
  }
  std::vector<Status> results;
  results.reserve(steps.size());
  for (const Step& step : steps) {
    auto again = added.find(step.node.id);
    auto leaf = leaves_.find(step.node.id);
    bool stays = step.kind == Step::Kind::kRemove && again != added.end() &&
                 leaf != leaves_.end() && leaf->second.vpc == again->second &&
                 removed.count(step.node.parent) == 0 && removed.count(NodeId::nic()) == 0;
    results.push_back(stays ? Status() : run(step));
  }
  return results;
}

Status DevlinkBackend::run(const Step& step) {
  const NodeId& id = step.node.id;
  bool removal = step.kind == Step::Kind::kRemove;
  switch (id.kind) {
    case NodeId::Kind::kNic:
      if (removal) return remove_all();
      break;
    case NodeId::Kind::kOther:
      if (removal) nodes_.erase(id);
      break;
    case NodeId::Kind::kVpc:
      QMASQ_TRY(removal ? remove_vpc(id.uid) : put_vpc(step.node));
      break;
    case NodeId::Kind::kEndpoint:
      QMASQ_TRY(removal ? remove_endpoint(id) : put_endpoint(step.node));
      break;
  }
  if (!removal) nodes_[id] = rounded(step.node);
  return {};
}

Status DevlinkBackend::put_vpc(const Node& node) {
  RateId id = RateId::node(node_name(node.id.uid));
  stray_nodes_.erase(id.name);
  auto now = rates_->object(id);
  if (!now && now.error().err == ENODEV) {
    // First the mark, then the limits: nothing is below it yet.
    Status added = rates_->add_node(id.name);
    if (refused(added)) {
      return with_context(added.error(),
                          options_.handle +
                              " takes no rate nodes: it needs a driver that has them "
                              "and switchdev mode (devlink dev eswitch show " +
                              options_.handle + ")");
    }
    QMASQ_TRY(added);
    now = rates_->object(id);
  }
  if (!now) return with_context(now.error(), to_string(node.id));
  return limit(*now, node);
}

Status DevlinkBackend::put_endpoint(const Node& node) {
  if (nodes_.count(node.parent) == 0) {
    return fail(
        Code::kFailedPrecondition,
        to_string(node.id) + " is below " + to_string(node.parent) + ", which is not programmed");
  }
  auto port = options_.port_of(EndpointUid{node.id.uid});
  if (!port) {
    return fail(
        Code::kFailedPrecondition,
        to_string(node.id) + " has no port of " + options_.handle + ": nothing there limits it",
        "port");
  }
  if (auto other = ports_.find(*port); other != ports_.end() && other->second != node.id) {
    return fail(Code::kFailedPrecondition,
                "port " + std::to_string(*port) + " of " + options_.handle + " limits " +
                    to_string(other->second) + " and cannot limit " + to_string(node.id) + " too",
                "port");
  }
  std::uint64_t vpc = node.parent.uid;
  auto had = leaves_.find(node.id);
  if (had != leaves_.end() && (had->second.port != *port || had->second.vpc != vpc)) {
    QMASQ_TRY(remove_endpoint(node.id));
  }
  auto now = claim(RateId::leaf(*port), node_name(vpc));
  if (!now) return with_context(now.error(), to_string(node.id));
  // From here on the leaf has our mark: it is found again whatever happens.
  leaves_[node.id] = {*port, vpc};
  ports_[*port] = node.id;
  strays_.erase(*port);
  Status limited = limit(*now, node);
  if (!limited && nodes_.count(node.id) == 0) {
    // Half an endpoint is none. What cannot be undone is swept.
    if (!release(*port)) strays_.insert(*port);
    leaves_.erase(node.id);
    ports_.erase(*port);
  }
  return limited;
}

// The leaf as it is, with our mark.
Result<RateObject> DevlinkBackend::claim(const RateId& leaf, const std::string& parent) {
  auto now = rates_->object(leaf);
  if (!now && now.error().err == ENODEV) {
    return fail(Code::kNotFound,
                options_.handle + "/" + std::to_string(leaf.port) +
                    " has no rates: the port is gone, or the device is not in switchdev mode");
  }
  if (!now) return now;
  if (now->parent == parent) return now;
  std::string where = options_.handle + "/" + std::to_string(leaf.port);
  std::string advice = "devlink port function rate set " + where + " tx_share 0 tx_max 0 noparent";
  bool ours = vpc_of_name(now->parent).has_value();
  if (!ours && (!now->parent.empty() || now->tx_share != 0 || now->tx_max != 0)) {
    return fail(Code::kFailedPrecondition,
                where + " has rates of the site's, which stay; to have it limited here: " + advice);
  }
  // A node of ours of another VPC. The kernel wants no parent in between.
  if (ours) QMASQ_TRY(rates_->set(leaf, {{}, {}, {}, ""}));
  QMASQ_TRY(rates_->set(leaf, {{}, {}, {}, parent}));
  now->parent = parent;
  return now;
}

Status DevlinkBackend::limit(const RateObject& now, const Node& node) {
  RateChange change;
  std::uint64_t share = capabilities_.guarantee ? share_of(node) : 0;
  if (share != now.tx_share) change.tx_share = share;
  if (std::uint64_t maximum = maximum_of(node); maximum != now.tx_max) change.tx_max = maximum;
  if (capabilities_.weight && now.tx_weight && node.weight != *now.tx_weight) {
    change.tx_weight = node.weight;
  }
  if (change.empty()) return {};
  Status all = rates_->set(now.id, change);
  if (!refused(all)) {
    if (all) return {};
    return with_context(all.error(), to_string(node.id) + ": " + to_string(now.id));
  }
  // Something is not supported, and the kernel does not say what: one by one.
  if (change.tx_max) {
    Status maximum = rates_->set(now.id, {{}, change.tx_max, {}, {}});
    if (!maximum) return with_context(maximum.error(), to_string(node.id) + ": maximum");
  }
  if (change.tx_share) {
    Status guarantee = rates_->set(now.id, {change.tx_share, {}, {}, {}});
    if (refused(guarantee)) {
      capabilities_.guarantee = false;
    } else if (!guarantee) {
      return with_context(guarantee.error(), to_string(node.id) + ": guarantee");
    }
  }
  if (change.tx_weight) {
    Status weight = rates_->set(now.id, {{}, {}, change.tx_weight, {}});
    if (refused(weight)) {
      capabilities_.weight = false;
    } else if (!weight) {
      return with_context(weight.error(), to_string(node.id) + ": weight");
    }
  }
  return {};
}

Status DevlinkBackend::release(std::uint32_t port) {
  RateId leaf = RateId::leaf(port);
  auto now = rates_->object(leaf);
  if (!now && now.error().err == ENODEV) return {};  // gone with its function
  if (!now) return tl::unexpected(now.error());
  // Somebody took it from us meanwhile: theirs.
  if (!vpc_of_name(now->parent)) return {};
  if (capabilities_.weight && now->tx_weight.value_or(0) != 0) {
    // ice takes 1 to 200 and no way back to none.
    Status none = rates_->set(leaf, {{}, {}, 0, {}});
    if (!none) (void)rates_->set(leaf, {{}, {}, 1, {}});
  }
  // The kernel does it in this order: as long as anything of ours is on it, so is our mark.
  RateChange change;
  if (now->tx_share != 0) change.tx_share = 0;
  if (now->tx_max != 0) change.tx_max = 0;
  change.parent = "";
  Status done = rates_->set(leaf, change);
  return gone(done) ? Status() : done;
}

Status DevlinkBackend::remove_endpoint(const NodeId& id) {
  if (auto leaf = leaves_.find(id); leaf != leaves_.end()) {
    Status released = release(leaf->second.port);
    if (!released) return with_context(released.error(), to_string(id));
    ports_.erase(leaf->second.port);
    leaves_.erase(leaf);
  }
  nodes_.erase(id);
  return {};
}

Status DevlinkBackend::remove_vpc(std::uint64_t vpc) {
  std::vector<NodeId> below;
  for (const auto& [id, leaf] : leaves_) {
    if (leaf.vpc == vpc) below.push_back(id);
  }
  for (const NodeId& id : below)
    QMASQ_TRY(remove_endpoint(id));
  Status deleted = delete_node(node_name(vpc));
  if (!deleted) return with_context(deleted.error(), to_string(NodeId::vpc(VpcUid{vpc})));
  nodes_.erase(NodeId::vpc(VpcUid{vpc}));
  return {};
}

Status DevlinkBackend::delete_node(const std::string& name) {
  Status deleted = rates_->delete_node(name);
  if (deleted || gone(deleted)) return {};
  if (deleted.error().err != EBUSY) return deleted;
  // Children that are not known: leaves are ours by their parent, nodes are not.
  QMASQ_ASSIGN(auto objects, rates_->objects());
  for (const RateObject& object : objects) {
    if (object.parent != name) continue;
    if (object.id.kind == RateId::Kind::kNode) {
      return fail(Code::kFailedPrecondition, to_string(object.id) + " of the site's is below " +
                                                 name + ": devlink port function rate set " +
                                                 options_.handle + "/" + object.id.name +
                                                 " noparent");
    }
    QMASQ_TRY(release(object.id.port));
    strays_.erase(object.id.port);
  }
  deleted = rates_->delete_node(name);
  return gone(deleted) ? Status() : deleted;
}

Status DevlinkBackend::remove_all() {
  QMASQ_ASSIGN(auto objects, rates_->objects());
  Status first;
  for (const RateObject& object : objects) {
    if (object.id.kind != RateId::Kind::kLeaf || !vpc_of_name(object.parent)) continue;
    if (Status released = release(object.id.port); !released && first) first = released;
  }
  for (const RateObject& object : objects) {
    if (object.id.kind != RateId::Kind::kNode || !vpc_of_name(object.id.name)) continue;
    if (Status deleted = delete_node(object.id.name); !deleted && first) first = deleted;
  }
  // What is left is told by the next readback().
  if (!first) return with_context(first.error(), "remove all rates of ours");
  nodes_.clear();
  leaves_.clear();
  ports_.clear();
  strays_.clear();
  stray_nodes_.clear();
  return {};
}

void DevlinkBackend::sweep() {
  for (auto stray = strays_.begin(); stray != strays_.end();) {
    stray = release(*stray) ? strays_.erase(stray) : std::next(stray);
  }
  for (auto stray = stray_nodes_.begin(); stray != stray_nodes_.end();) {
    stray = delete_node(*stray) ? stray_nodes_.erase(stray) : std::next(stray);
  }
}

}  // namespace

Result<std::unique_ptr<Backend>> make_devlink_backend(Options options) {
  QMASQ_ASSIGN(Handle handle, parse_handle(options.handle));
  QMASQ_ASSIGN(auto rates, open_kernel_rates(handle));
  return make_devlink_backend(std::move(options), std::move(rates));
}

Result<std::unique_ptr<Backend>> make_devlink_backend(Options options,
                                                      std::unique_ptr<Rates> rates) {
  auto backend = std::make_unique<DevlinkBackend>(std::move(options), std::move(rates));
  QMASQ_TRY(backend->start());
  return backend;
}

}  // namespace qmasq::qos::devlink

// SPDX-License-Identifier: Apache-2.0
#include "qos/backends/tc/backend.h"

#include <algorithm>
#include <array>
#include <bit>
#include <limits>
#include <unordered_map>
#include <utility>

#include "qos/backends/tc/limits.h"
#include "qos/backends/tc/scan.h"
#include "qos/policy.h"

namespace qmasq::qos::tc {
namespace {

using Kind = NodeId::Kind;

constexpr Capabilities kCapabilities{
    .guarantee = true,
    .maximum = true,
    .burst = true,
    .weight = true,
    .per_vpc = true,
    .per_endpoint = true,
    .counters = true,
    .granularity = BitsPerSecond{8},
    .most_nodes = std::size_t{kLastMinor} - kFirstMinor + 1,
};

bool has_filters(const NodeId& id) {
  return id.kind == Kind::kEndpoint || id.kind == Kind::kOther;
}

// Nodes of a level have their parents in the ones before.
int level_of(const NodeId& id) {
  if (id.kind == Kind::kNic) return 0;
  return id.kind == Kind::kEndpoint ? 2 : 1;
}

// The kernel may or may not have done it.
bool is_unknown(const Status& status) {
  return !status && (status.error().code == Code::kDeadlineExceeded ||
                     status.error().code == Code::kUnavailable);
}

bool is_absent(const Status& status) {
  return !status && (status.error().err == ENOENT || status.error().err == ESRCH);
}

Status check(const Node& node) {
  auto bad = [&](const char* field, const std::string& what) {
    return fail(Code::kInvalidArgument, to_string(node.id) + ": " + what, field);
  };
  NodeId parent = NodeId::nic();
  if (node.id.kind == Kind::kEndpoint) {
    if (node.parent.kind != Kind::kVpc) return bad("parent", "an endpoint's parent is a VPC");
    parent = node.parent;
    if (node.id.uid == 0 || node.id.uid > std::numeric_limits<std::uint32_t>::max()) {
      return bad("id", "a filter's handle has room for numbers from 1 to 2^32 - 1");
    }
    if (!std::has_single_bit(node.ports.count) || node.ports.count > 0x8000 ||
        (node.ports.first & (node.ports.count - 1U)) != 0) {
      return bad("ports", "not a power of two of ports that starts at a multiple of their number");
    }
  }
  if (node.parent != parent) return bad("parent", "the parent must be the NIC");
  if (node.maximum.value == 0) return bad("maximum", "a class needs a rate above 0");
  if (node.maximum < node.guaranteed) return bad("maximum", "below what is guaranteed");
  if (node.weight < 1 || node.weight > kMaxWeight) return bad("weight", "must be 1 to 100");
  return {};
}

// Why the kernel refused, with advice where some helps.
Status explain(Status status, const std::string& doing) {
  if (status) return status;
  Error error = std::move(status).error();
  if (error.err == ENOENT && error.message.find("classifier") != std::string::npos) {
    error.code = Code::kUnsupported;
    error.message += " (the kernel has no cls_flower: CONFIG_NET_CLS_FLOWER)";
  }
  if (error.err == ENOENT && error.message.find("qdisc kind is unknown") != std::string::npos) {
    error.code = Code::kUnsupported;
    error.message += " (the kernel has no sch_htb: CONFIG_NET_SCH_HTB)";
  }
  return with_context(std::move(error), doing);
}

class TcBackend final : public Backend {
 public:
  TcBackend(Options options, std::unique_ptr<TcKernel> kernel)
      : options_(std::move(options)), kernel_(std::move(kernel)) {}

  const char* name() const override { return "tc"; }
  const Capabilities& capabilities() const override { return kCapabilities; }
  Result<Plan> readback(const VpcOf& vpc_of) override;
  std::vector<Status> program(std::span<const Step> steps) override;
  Result<std::map<NodeId, Counters>> counters() override;

 private:
  // One step of a run and what became of it.
  struct Item {
    std::size_t step;
    Held before;  // of a change
    bool added = false;
  };

  Status load(const VpcOf& vpc_of, const std::unordered_map<Handle, VpcUid>& vpcs);
  Status reload();
  void sweep();
  Status make_root();
  Status foreign(const Qdisc& root) const;
  Result<std::optional<Qdisc>> root();

  void remove(std::span<const Step> steps, std::span<Status> results);
  void remove_all(std::span<Status> results);
  void put(std::span<const Step> steps, std::span<Status> results);
  void put_level(int level, std::span<const Step> steps, std::span<Status> results);
  void put_filters(std::span<const Step> steps, std::span<const Item> items,
                   std::span<Status> results);
  Result<Item> prepare(const Step& step, std::size_t index, std::vector<Operation>& operations);
  std::vector<Operation> weigh_children(const Node& vpc) const;

  std::vector<Status> apply(std::span<const Operation> operations);
  std::uint32_t weight_of(const NodeId& vpc) const;
  Result<Handle> take_minor(const NodeId& id);
  void forget(const NodeId& id);
  std::string where(const NodeId& id, Handle handle) const {
    return options_.device + ": " + to_string(id) + " (class " + handle_to_string(handle) + ")";
  }

  Options options_;
  std::unique_ptr<TcKernel> kernel_;
  bool read_ = false;
  bool stale_ = false;  // an answer was lost: the kernel is asked before anything else is done
  bool root_is_ours_ = false;
  std::map<NodeId, Held> nodes_;
  std::vector<Operation> leftovers_;
  std::vector<bool> minors_ = std::vector<bool>(std::size_t{kLastMinor} + 1);
  std::size_t lowest_ = kFirstMinor;  // no minor below it is free
  // Of every endpoint that may be in the kernel.
  std::unordered_map<EndpointUid, VpcUid> vpcs_;
  // Drops of a VPC's endpoints that are gone: its own class counts none.
  std::map<NodeId, std::uint64_t> drops_gone_;
};

Result<std::optional<Qdisc>> TcBackend::root() {
  auto qdiscs = kernel_->qdiscs();
  if (!qdiscs) {
    return with_context(std::move(qdiscs).error(), options_.device + ": read queueing disciplines");
  }
  for (Qdisc& one : *qdiscs) {
    if (one.parent == kRoot) return std::move(one);
  }
  return std::nullopt;
}

Status TcBackend::foreign(const Qdisc& root) const {
  return fail(Code::kFailedPrecondition,
              options_.device + " has a root queueing discipline that is not qmasq's: " +
                  root.kind + " " + handle_to_string(root.handle) +
                  ". It stays. To have limits here remove it (tc qdisc del dev " + options_.device +
                  " root) and what sets it up");
}

Status TcBackend::load(const VpcOf& vpc_of, const std::unordered_map<Handle, VpcUid>& vpcs) {
  QMASQ_ASSIGN(auto at_root, root());
  root_is_ours_ = at_root && at_root->handle == kOurs && at_root->kind == "htb";
  Scan found;
  if (root_is_ours_) {
    auto classes = kernel_->classes(kOurs);
    if (!classes) return with_context(std::move(classes).error(), options_.device + ": classes");
    auto filters = kernel_->filters(kOurs);
    if (!filters) return with_context(std::move(filters).error(), options_.device + ": filters");
    found = scan(*classes, *filters, vpc_of, vpcs);
    if (!found.nodes.contains(NodeId::nic())) {
      found = {};
      found.leftovers.emplace_back(DeleteQdisc{kOurs});
    }
  }
  nodes_ = std::move(found.nodes);
  leftovers_ = std::move(found.leftovers);
  minors_.assign(minors_.size(), false);
  lowest_ = kFirstMinor;
  for (std::uint16_t minor : found.minors)
    minors_[minor] = true;
  vpcs_.clear();
  for (const auto& [id, held] : nodes_) {
    if (id.kind == Kind::kEndpoint) vpcs_[EndpointUid{id.uid}] = VpcUid{held.node.parent.uid};
  }
  stale_ = false;
  return {};
}

Status TcBackend::reload() {
  std::unordered_map<Handle, VpcUid> vpcs;
  for (const auto& [id, held] : nodes_) {
    if (id.kind == Kind::kVpc) vpcs[held.id] = VpcUid{id.uid};
  }
  auto known = vpcs_;
  return load(
      [&known](EndpointUid endpoint) -> std::optional<VpcUid> {
        auto at = known.find(endpoint);
        if (at == known.end()) return std::nullopt;
        return at->second;
      },
      vpcs);
}

Result<Plan> TcBackend::readback(const VpcOf& vpc_of) {
  QMASQ_TRY(load(vpc_of, {}));
  read_ = true;
  drops_gone_.clear();
  Plan plan;
  for (const auto& [id, held] : nodes_)
    plan.nodes[id] = held.node;
  return plan;
}

std::vector<Status> TcBackend::apply(std::span<const Operation> operations) {
  if (operations.empty()) return {};
  auto results = kernel_->apply(operations);
  stale_ = stale_ || std::any_of(results.begin(), results.end(), is_unknown);
  return results;
}

// What cannot be removed now is tried again with the next steps.
void TcBackend::sweep() {
  if (leftovers_.empty()) return;
  auto results = apply(leftovers_);
  std::vector<Operation> rest;
  for (std::size_t i = 0; i < results.size(); ++i) {
    if (!results[i] && !is_absent(results[i])) {
      rest.push_back(leftovers_[i]);
      continue;
    }
    if (const auto* gone = std::get_if<DeleteClass>(&leftovers_[i])) {
      minors_[minor_of(gone->id)] = false;
      lowest_ = std::min<std::size_t>(lowest_, std::max(minor_of(gone->id), kFirstMinor));
    }
    if (std::holds_alternative<DeleteQdisc>(leftovers_[i])) root_is_ours_ = false;
  }
  leftovers_ = std::move(rest);
}

std::vector<Status> TcBackend::program(std::span<const Step> steps) {
  std::vector<Status> results(steps.size());
  Status ready;
  if (!read_) ready = fail(Code::kFailedPrecondition, "nothing was read back yet");
  if (ready && stale_) ready = reload();
  if (!ready) {
    std::fill(results.begin(), results.end(), ready);
    return results;
  }
  sweep();
  auto removes = [&](std::size_t i) { return steps[i].kind == Step::Kind::kRemove; };
  for (std::size_t at = 0; at < steps.size();) {
    std::size_t end = at + 1;
    while (end < steps.size() && removes(end) == removes(at))
      ++end;
    auto run = steps.subspan(at, end - at);
    auto outcome = std::span(results).subspan(at, end - at);
    removes(at) ? remove(run, outcome) : put(run, outcome);
    at = end;
  }
  return results;
}

// All of it goes with the root; what came before it in the same run is not done twice.
void TcBackend::remove_all(std::span<Status> results) {
  Status done;
  if (root_is_ours_) {
    std::array<Operation, 1> operation{DeleteQdisc{kOurs}};
    done = explain(apply(operation).front(), options_.device + ": remove HTB 716d:");
    if (!done) {
      // Removed, or replaced, by somebody else?
      auto now = root();
      if (now && (!*now || (*now)->handle != kOurs)) done = {};
    }
  }
  if (done) {
    root_is_ours_ = false;
    nodes_.clear();
    leftovers_.clear();
    vpcs_.clear();
    drops_gone_.clear();
    minors_.assign(minors_.size(), false);
    lowest_ = kFirstMinor;
  }
  std::fill(results.begin(), results.end(), done);
}

void TcBackend::remove(std::span<const Step> steps, std::span<Status> results) {
  if (std::any_of(steps.begin(), steps.end(),
                  [](const Step& step) { return step.node.id.kind == Kind::kNic; })) {
    remove_all(results);
    return;
  }
  // Filters first: a class that one leads to is in use. Packets then go to `other`.
  std::vector<Operation> operations;
  std::vector<std::size_t> owners;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    auto at = nodes_.find(steps[i].node.id);
    if (at == nodes_.end() || !has_filters(at->first)) continue;
    for (const Filter& filter : filters_of(at->second.node, at->second.id)) {
      operations.emplace_back(DeleteFilter{filter.priority, filter.protocol, filter.handle});
      owners.push_back(i);
    }
  }
  auto outcome = apply(operations);
  for (std::size_t i = 0; i < outcome.size(); ++i) {
    if (outcome[i] || is_absent(outcome[i])) continue;
    results[owners[i]] =
        explain(outcome[i], options_.device + ": filter of " + to_string(steps[owners[i]].node.id));
  }

  operations.clear();
  owners.clear();
  for (std::size_t i = 0; i < steps.size(); ++i) {
    auto at = nodes_.find(steps[i].node.id);
    if (at == nodes_.end() || !results[i]) continue;
    operations.emplace_back(DeleteClass{at->second.id});
    owners.push_back(i);
  }
  outcome = apply(operations);
  for (std::size_t i = 0; i < outcome.size(); ++i) {
    NodeId id = steps[owners[i]].node.id;
    auto at = nodes_.find(id);
    if (at == nodes_.end()) continue;  // the same step twice
    if (outcome[i] || is_absent(outcome[i])) {
      drops_gone_[at->second.node.parent] += at->second.spec.stats.drops + drops_gone_[id];
      forget(id);
    } else {
      results[owners[i]] = explain(outcome[i], "remove " + where(id, at->second.id));
    }
  }
}

void TcBackend::forget(const NodeId& id) {
  auto at = nodes_.find(id);
  if (at == nodes_.end()) return;
  minors_[minor_of(at->second.id)] = false;
  lowest_ = std::min<std::size_t>(lowest_, std::max(minor_of(at->second.id), kFirstMinor));
  if (id.kind == Kind::kEndpoint) vpcs_.erase(EndpointUid{id.uid});
  drops_gone_.erase(id);
  nodes_.erase(at);
}

Status TcBackend::make_root() {
  if (root_is_ours_) return {};
  QMASQ_ASSIGN(auto there, root());
  if (there && there->handle != 0) return foreign(*there);
  std::array<Operation, 1> operation{AddQdisc{kOurs}};
  QMASQ_TRY(explain(apply(operation).front(), options_.device + ": add HTB 716d:"));
  root_is_ours_ = true;
  return {};
}

void TcBackend::put(std::span<const Step> steps, std::span<Status> results) {
  // Level by level: to HTB a class whose parent does not exist is one more at the top.
  for (int level = 0; level <= 2; ++level)
    put_level(level, steps, results);
}

std::uint32_t TcBackend::weight_of(const NodeId& vpc) const {
  auto at = nodes_.find(vpc);
  return at == nodes_.end() ? kDefaultWeight : at->second.node.weight;
}

Result<Handle> TcBackend::take_minor(const NodeId& id) {
  if (id.kind == Kind::kNic) return with_minor(kNicMinor);
  if (id.kind == Kind::kOther) return with_minor(kOtherMinor);
  while (lowest_ <= kLastMinor && minors_[lowest_])
    ++lowest_;
  if (lowest_ > kLastMinor) {
    return fail(Code::kResourceExhausted, options_.device + ": all " +
                                              std::to_string(kCapabilities.most_nodes) +
                                              " classes are in use");
  }
  minors_[lowest_] = true;
  return with_minor(static_cast<std::uint16_t>(lowest_));
}

Result<TcBackend::Item> TcBackend::prepare(const Step& step, std::size_t index,
                                           std::vector<Operation>& operations) {
  const Node& node = step.node;
  QMASQ_TRY(check(node));
  Node rounded = as_programmed(node);
  Handle parent = kRoot;
  if (node.id.kind != Kind::kNic) {
    auto above = nodes_.find(node.parent);
    if (above == nodes_.end()) {
      return fail(Code::kFailedPrecondition, options_.device + ": " + to_string(node.id) +
                                                 ": its parent, " + to_string(node.parent) +
                                                 ", is not programmed");
    }
    parent = above->second.id;
  }
  auto at = nodes_.find(node.id);
  if (at == nodes_.end()) {
    if (step.kind == Step::Kind::kChange) {
      return fail(Code::kNotFound,
                  options_.device + ": " + to_string(node.id) + " is not programmed");
    }
    if (node.id.kind == Kind::kNic) QMASQ_TRY(make_root());
    QMASQ_ASSIGN(Handle id, take_minor(node.id));
    Class spec = to_class(node, id, parent, weight_of(node.parent));
    operations.emplace_back(AddClass{spec});
    nodes_[node.id] = Held{rounded, id, spec};
    if (node.id.kind == Kind::kEndpoint) vpcs_[EndpointUid{node.id.uid}] = VpcUid{node.parent.uid};
    return Item{index, {}, true};
  }
  Held& held = at->second;
  if (held.node.parent != node.parent || held.node.ports != node.ports) {
    return fail(Code::kAlreadyExists,
                where(node.id, held.id) + " is there, with another parent or other ports");
  }
  Item item{index, held, false};
  Class spec = to_class(node, held.id, parent, weight_of(node.parent));
  spec.stats = held.spec.stats;
  operations.emplace_back(ChangeClass{spec});
  held.spec = spec;
  held.node = rounded;
  return item;
}

// HTB takes shares from endpoints alone.
std::vector<Operation> TcBackend::weigh_children(const Node& vpc) const {
  std::vector<Operation> operations;
  for (auto at = nodes_.lower_bound(NodeId{Kind::kEndpoint, 0}); at != nodes_.end(); ++at) {
    const Held& held = at->second;
    if (held.node.parent != vpc.id) continue;
    operations.emplace_back(
        ChangeClass{to_class(held.node, held.id, held.spec.parent, vpc.weight)});
  }
  return operations;
}

void TcBackend::put_level(int level, std::span<const Step> steps, std::span<Status> results) {
  std::vector<Operation> operations;
  std::vector<Item> items;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    if (level_of(steps[i].node.id) != level) continue;
    auto item = prepare(steps[i], i, operations);
    if (item) {
      items.push_back(*item);
    } else {
      results[i] = tl::unexpected(std::move(item).error());
    }
  }
  auto outcome = apply(operations);
  for (std::size_t i = 0; i < items.size(); ++i) {
    const Item& item = items[i];
    const Node& node = steps[item.step].node;
    auto at = nodes_.find(node.id);
    if (outcome[i]) {
      if (!item.added && node.id.kind == Kind::kVpc &&
          item.before.node.weight != at->second.node.weight) {
        for (Status& one : apply(weigh_children(at->second.node))) {
          if (!one) results[item.step] = explain(std::move(one), "share of " + to_string(node.id));
        }
      }
      continue;
    }
    bool gone = at == nodes_.end();  // what is changed here was to be added in the same run
    results[item.step] = explain(outcome[i], gone ? options_.device + ": " + to_string(node.id)
                                                  : where(node.id, at->second.id));
    if (gone) continue;
    if (!item.added) {
      at->second = item.before;
    } else if (!is_unknown(outcome[i])) {
      forget(node.id);
      if (node.id.kind == Kind::kNic) {
        // An HTB that limits nothing is not left behind.
        std::array<Operation, 1> undo{DeleteQdisc{kOurs}};
        if (apply(undo).front()) root_is_ours_ = false;
      }
    }
  }
  put_filters(steps, items, results);
}

void TcBackend::put_filters(std::span<const Step> steps, std::span<const Item> items,
                            std::span<Status> results) {
  std::vector<Operation> operations;
  std::vector<std::size_t> owners;
  for (const Item& item : items) {
    const NodeId& id = steps[item.step].node.id;
    auto at = nodes_.find(id);
    if (!item.added || !has_filters(id) || at == nodes_.end() || !results[item.step]) continue;
    for (Filter& filter : filters_of(at->second.node, at->second.id)) {
      operations.emplace_back(AddFilter{std::move(filter)});
      owners.push_back(item.step);
    }
  }
  auto outcome = apply(operations);
  for (std::size_t i = 0; i < outcome.size(); ++i) {
    std::size_t step = owners[i];
    if (outcome[i] || !results[step]) continue;
    const NodeId& id = steps[step].node.id;
    results[step] = explain(outcome[i], options_.device + ": filter of " + to_string(id));
  }
  // A class that its packets do not find is taken back, with the filter that did find it.
  std::vector<Operation> undo;
  std::vector<NodeId> undone;
  for (std::size_t i = 0; i < outcome.size(); ++i) {
    if (results[owners[i]]) continue;
    const Filter& filter = std::get<AddFilter>(operations[i]).spec;
    if (outcome[i] || is_unknown(outcome[i])) {
      undo.emplace_back(DeleteFilter{filter.priority, filter.protocol, filter.handle});
    }
    if (i + 1 == outcome.size() || owners[i + 1] != owners[i]) {
      undo.emplace_back(DeleteClass{filter.target});
      undone.push_back(steps[owners[i]].node.id);
    }
  }
  auto undoing = apply(undo);
  bool all_gone = std::all_of(undoing.begin(), undoing.end(),
                              [](const Status& one) { return one || is_absent(one); });
  for (const NodeId& id : undone)
    forget(id);
  // Then the kernel is read before anything else is done, and what is half there goes.
  stale_ = stale_ || !all_gone;
}

Result<std::map<NodeId, Counters>> TcBackend::counters() {
  std::map<NodeId, Counters> counters;
  if (stale_) QMASQ_TRY(reload());
  if (nodes_.empty()) return counters;
  auto classes = kernel_->classes(kOurs);
  if (!classes) return with_context(std::move(classes).error(), options_.device + ": classes");
  std::unordered_map<Handle, const Class*> by_id;
  for (const Class& one : *classes)
    by_id[one.id] = &one;
  if (!by_id.contains(with_minor(kNicMinor))) {
    return fail(Code::kNotFound, options_.device + ": HTB 716d: is gone; somebody removed it");
  }
  for (auto& [id, held] : nodes_) {
    auto at = by_id.find(held.id);
    if (at == by_id.end()) continue;
    held.spec.stats = at->second->stats;
    const ClassStats& stats = held.spec.stats;
    counters[id] = {stats.bytes, stats.packets, stats.drops, stats.overlimits, stats.backlog};
  }
  // HTB counts bytes and packets of inner classes, not what waits or is dropped below them.
  // Endpoints come last in the order of nodes, VPCs before them, the NIC first: from the end.
  for (const auto& [id, drops] : drops_gone_) {
    if (auto at = counters.find(id); at != counters.end()) at->second.drops += drops;
  }
  for (auto at = nodes_.rbegin(); at != nodes_.rend(); ++at) {
    auto own = counters.find(at->first);
    auto above = counters.find(at->second.node.parent);
    if (at->first.kind == Kind::kNic || own == counters.end() || above == counters.end()) continue;
    above->second.drops += own->second.drops;
    above->second.backlog += own->second.backlog;
  }
  return counters;
}

}  // namespace

Result<std::unique_ptr<Backend>> make_tc_backend(Options options) {
  QMASQ_ASSIGN(auto kernel, open_kernel(options.device));
  return make_tc_backend(std::move(options), std::move(kernel));
}

std::unique_ptr<Backend> make_tc_backend(Options options, std::unique_ptr<TcKernel> kernel) {
  return std::make_unique<TcBackend>(std::move(options), std::move(kernel));
}

}  // namespace qmasq::qos::tc

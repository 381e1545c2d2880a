// SPDX-License-Identifier: Apache-2.0
// What must hold whenever nothing is on its way: the agent's tables say what the kernel has, and
// the kernel has nothing that the rules forbid.
#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "tests/fuzz/intercept_script/arena.h"
#include "vbond/rename/permission.h"

namespace qmasq::fuzz {

namespace uverbs = vbond::uverbs;
namespace access_bits = uverbs::access;
using qos::Resource;
using uverbs::QpState;
using vbond::Attachment;
using vbond::Connection;
using vbond::Context;
using vbond::QpKey;

namespace {

constexpr std::uint32_t kRemoteAccess =
    access_bits::kRemoteRead | access_bits::kRemoteWrite | access_bits::kRemoteAtomic;

std::set<std::uint32_t> sorted(const std::vector<std::uint32_t>& handles) {
  return {handles.begin(), handles.end()};
}

template <typename Map>
std::set<std::uint32_t> keys(const Map& map) {
  std::set<std::uint32_t> out;
  for (const auto& each : map)
    out.insert(each.first);
  return out;
}

}  // namespace

void Arena::check() {
  std::size_t contexts = 0;
  std::size_t records = 0;
  std::size_t admissions = 0;
  std::size_t queue_pairs = 0;
  std::size_t cqs = 0;
  std::size_t srqs = 0;
  std::size_t regions = 0;
  for (const auto& attachment : attachments_) {
    for (const auto& context : attachment->contexts().all()) {
      ++contexts;
      check_context(*attachment, *context);
      const std::uint64_t file = kernel.file_behind(context->file->descriptor());
      queue_pairs += kernel.nic.queue_pairs_of(file).size();
      cqs += kernel.nic.completion_queues_of(file).size();
      srqs += kernel.nic.shared_receive_queues_of(file).size();
      regions += kernel.nic.memory_regions_of(file).size();
    }
  }
  // A program may keep the file of a context that was closed: nothing that counts is left in it.
  auto nowhere_else = [&](std::size_t all, std::size_t known, const char* what) {
    if (all != known) violated(std::string(what) + " in a file that is no context any more");
  };
  nowhere_else(kernel.nic.queue_pairs(), queue_pairs, "QPs");
  nowhere_else(kernel.nic.completion_queues(), cqs, "CQs");
  nowhere_else(kernel.nic.shared_receive_queues(), srqs, "SRQs");
  nowhere_else(kernel.nic.memory_regions(), regions, "memory regions");
  if (kernel.agent_descriptors() != contexts)
    violated("the agent has " + std::to_string(kernel.agent_descriptors()) + " descriptors for " +
             std::to_string(contexts) + " contexts");
  for (const Connection& each : world.connections.list({})) {
    ++records;
    if (each.admission.serial != 0) ++admissions;
    bool found = false;
    for (const auto& attachment : attachments_) {
      for (const auto& context : attachment->contexts().all())
        found = found || context->info.id == each.key.context;
    }
    if (!found) violated("a connection of a context that is no more");
  }
  const auto counts = world.connections.counts();
  if (counts.total + counts.address_handles != records) violated("connections miscounted");
  if (world.tracker.size() != admissions)
    violated("the tracker has " + std::to_string(world.tracker.size()) + " admissions, the table " +
             std::to_string(admissions));
}

void Arena::check_context(const Attachment& attachment, Context& context) {
  const std::uint64_t file = kernel.file_behind(context.file->descriptor());
  if (file == 0) violated("a context without a file");
  if (context.info.endpoint != attachment.endpoint) violated("a context of another endpoint");
  check_queue_pairs(context, file);
  check_addresses(context, file);
  if (!mode.hardware) {
    if (sorted(context.inventory.handles(Resource::kCompletionQueues)) !=
        kernel.nic.completion_queues_of(file))
      violated("CQs of a context are not those that the kernel has");
    if (sorted(context.inventory.handles(Resource::kSharedReceiveQueues)) !=
        kernel.nic.shared_receive_queues_of(file))
      violated("SRQs of a context are not those that the kernel has");
  }
}

void Arena::check_queue_pairs(const Context& context, std::uint64_t file) {
  const auto have = kernel.nic.queue_pairs_of(file);
  for (std::uint32_t handle : context.queue_pairs.handles()) {
    auto at = have.find(handle);
    if (at == have.end()) violated("a QP that the kernel does not have");
    const auto record = world.connections.find({context.info.id, handle});
    if (!record) violated("a QP without a record");
    if (!mode.hardware && at->second.type != record->type) violated("a QP of another type");
  }
  if (!mode.hardware && context.queue_pairs.size() != have.size())
    violated("the kernel has a QP that the agent does not know");
  for (const auto& [handle, qp] : have) {
    if (qp.type != uverbs::QpType::kRc && qp.type != uverbs::QpType::kUc &&
        qp.type != uverbs::QpType::kUd)
      violated("a QP of type " + std::to_string(static_cast<unsigned>(qp.type)));
    const QpState state = qp.attributes.state;
    if (state == QpState::kReset || state == QpState::kErr) continue;
    if (qp.type == uverbs::QpType::kUd && now.never_datagrams(context.info.endpoint))
      violated("a UD QP lives although no rule admits datagrams");
    const uverbs::QpDest& dest = qp.attributes.dest;
    if (dest.dgid.is_zero()) continue;
    const auto record = world.connections.find({context.info.id, handle});
    if (!record || !record->path) violated("a QP with a peer and no path in its record");
    const auto admitted =
        now.judge(context.info.endpoint, record->path->virt.local, record->path->peer,
                  record->path->virt.remote, transport(file, context.info.id, handle));
    if (!admitted) violated("a QP in use with a peer that the rules forbid");
    if (Oracle::physical(now.find(record->path->peer)->host) != dest.dgid)
      violated("a QP leads to another host than its peer's");
    const std::uint32_t has = qp.attributes.access_flags & kRemoteAccess;
    if ((has & ~vbond::permitted_access(kRemoteAccess, admitted->on_own)) != 0)
      violated("a QP whose peer may do more than the rules permit");
  }
}

void Arena::check_addresses(Context& context, std::uint64_t file) {
  const auto have = kernel.nic.addresses_of(file);
  std::size_t recorded = 0;
  for (const auto& [handle, dest] : have) {
    const auto held = context.address_handles.find(handle);
    if (!held || !held->in_kernel) violated("an address handle that the agent does not know");
    if (!held->number) continue;  // keeps a place, see AddressHandles
    ++recorded;
    const auto record = world.connections.find({context.info.id, *held->number});
    if (!record || record->address_handle != handle) violated("an address handle without a record");
    if (!now.judge(context.info.endpoint, record->path->virt.local, record->path->peer,
                   record->path->virt.remote, conntrack::Transport::kUd))
      violated("an address handle for a peer that the rules forbid");
    if (Oracle::physical(now.find(record->path->peer)->host) != dest.dgid)
      violated("an address handle that leads elsewhere");
  }
  std::size_t records = 0;
  for (const Connection& each : world.connections.list({})) {
    if (each.key.context == context.info.id && vbond::is_address_handle(each.key)) ++records;
  }
  if (records != recorded) violated("a record of an address handle that is no more");
}

void Arena::check_counted(Context& context, std::uint64_t file) {
  if (context.inventory.in_doubt()) violated("something is expected still");
  auto same = [&](Resource kind, const std::set<std::uint32_t>& have, const char* what) {
    if (sorted(context.inventory.handles(kind)) != have)
      violated(std::string("counted ") + what + " are not those that the kernel has");
  };
  same(Resource::kQueuePairs, keys(kernel.nic.queue_pairs_of(file)), "QPs");
  same(Resource::kCompletionQueues, kernel.nic.completion_queues_of(file), "CQs");
  same(Resource::kSharedReceiveQueues, kernel.nic.shared_receive_queues_of(file), "SRQs");
  const auto regions = kernel.nic.memory_regions_of(file);
  same(Resource::kMemoryRegions, keys(regions), "memory regions");
  for (const auto& [handle, region] : regions) {
    const auto known = context.inventory.find(Resource::kMemoryRegions, handle);
    if (!known || known->length != region.length || known->iova != region.iova)
      violated("a memory region of another size");
  }
}

void Arena::check_settled() {
  std::map<const vbond::Tenancy*, qos::Amounts> have;
  for (const auto& attachment : attachments_) {
    qos::Amounts& sum = have[attachment->tenancy.get()];
    for (const auto& context : attachment->contexts().all()) {
      const std::uint64_t file = kernel.file_behind(context->file->descriptor());
      check_counted(*context, file);
      for (Resource kind : {Resource::kQueuePairs, Resource::kCompletionQueues,
                            Resource::kSharedReceiveQueues, Resource::kMemoryRegions}) {
        for (std::uint32_t handle : context->inventory.handles(kind)) {
          const auto region = context->inventory.find(kind, handle);
          const auto amounts = context->inventory.amounts(kind, region.value_or(vbond::Region{}));
          for (std::size_t i = 0; i < sum.size(); ++i)
            sum[i] += amounts[i];
        }
      }
    }
  }
  for (const auto& [tenancy, sum] : have) {
    if (tenancy->used() != sum) violated(tenancy->name() + " is charged for something else");
  }
}

void Arena::finish() {
  std::size_t contexts = 0;
  std::size_t queue_pairs = 0;
  for (const auto& attachment : attachments_) {
    for (const auto& context : attachment->contexts().all()) {
      ++contexts;
      queue_pairs += context->queue_pairs.size();
    }
  }
  if (world.metric("qmasq_vbond_contexts") != static_cast<double>(contexts))
    violated("the gauge of contexts is wrong");
  if (world.metric("qmasq_vbond_queue_pairs") != static_cast<double>(queue_pairs))
    violated("the gauge of QPs is wrong");
  for (const Task& task : tasks)
    kernel.exit(task.process);
  look_for_holders();
  for (const auto& attachment : attachments_) {
    if (attachment->contexts().size() != 0) violated("a context of dead tasks stays");
    if (attachment->tenancy->used() != qos::Amounts{})
      violated(attachment->tenancy->name() + " is charged for what dead tasks had");
  }
  check();
  auto none = [](std::size_t count, const char* what) {
    if (count != 0) violated(std::to_string(count) + " " + what + " stay when all tasks are gone");
  };
  none(kernel.open_verbs_files(), "files");
  none(kernel.agent_descriptors(), "descriptors");
  none(kernel.nic.queue_pairs(), "QPs");
  none(kernel.nic.addresses(), "address handles");
  none(kernel.nic.completion_queues(), "CQs");
  none(kernel.nic.shared_receive_queues(), "SRQs");
  none(kernel.nic.memory_regions(), "memory regions");
  none(world.tracker.size(), "admissions");
  none(world.connections.counts().total, "connections");
  none(world.connections.counts().address_handles, "connections of address handles");
  none(static_cast<std::size_t>(world.metric("qmasq_vbond_contexts")), "counted contexts");
  none(static_cast<std::size_t>(world.metric("qmasq_vbond_queue_pairs")), "counted QPs");
}

}  // namespace qmasq::fuzz

// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>

#include "vbond/events/event_log.h"
#include "vbond/intercept/device_path.h"
#include "vbond/intercept/dispatcher.h"
#include "vbond/intercept/holder_watch.h"
#include "vbond/intercept/quota.h"
#include "vbond/intercept/sealed_calls.h"
#include "vbond/rename/nic_table.h"
#include "vbond/survival/ledger.h"
#include "vbond/uverbs/abi.h"

// The part of Dispatcher that opens verbs devices for tenants.
namespace qmasq::vbond {
namespace {

// struct open_how of openat2(2); its size is checked by the kernel when the call runs.
constexpr std::size_t kOpenHowFlags = 8;

constexpr std::uint64_t kPageSize = 4096;

struct OpenArguments {
  std::uint64_t path = 0;
  std::uint64_t flags = 0;
  bool sound = true;
};

OpenArguments arguments_of(Trap& trap) {
  const auto& args = trap.call.args;
  OpenArguments out;
  switch (trap.call.nr) {
    case SYS_openat:
      out.path = args[1];
      out.flags = static_cast<std::uint32_t>(args[2]);
      break;
#ifdef SYS_open
    case SYS_open:
      out.path = args[0];
      out.flags = static_cast<std::uint32_t>(args[1]);
      break;
    case SYS_creat:
      out.path = args[0];
      out.flags = O_CREAT | O_WRONLY | O_TRUNC;
      break;
#endif
    case SYS_openat2: {
      out.path = args[1];
      std::array<std::byte, kOpenHowFlags> how{};
      out.sound = args[3] >= how.size() && trap.read(args[2], how) == 0;
      std::memcpy(&out.flags, how.data(), how.size());
      break;
    }
    default:
      out.sound = false;
      break;
  }
  return out;
}

// The path, up to its end or to what fits; nothing when it can not be read or is too long to be a
// device's.
std::optional<std::string> read_path(const Trap& trap, std::uint64_t address) {
  std::array<std::byte, kMaxDevicePath> bytes;
  std::size_t have = 0;
  while (have < bytes.size()) {
    // Page by page: the string may end right before one that is not there.
    const std::uint64_t at = address + have;
    const auto step = static_cast<std::size_t>(
        std::min<std::uint64_t>(bytes.size() - have, kPageSize - at % kPageSize));
    auto got =
        trap.services.parts.memory.read_some(trap.tid(), at, std::span(bytes).subspan(have, step));
    if (!got || *got == 0) return std::nullopt;
    const auto* begin = reinterpret_cast<const char*>(bytes.data());
    if (const void* end = std::memchr(begin + have, 0, *got)) {
      return std::string(begin, static_cast<const char*>(end));
    }
    have += *got;
  }
  return std::nullopt;
}

bool is_software(const std::string& driver) {
  return driver == "rxe" || driver == "siw";
}

// What the agent's own calls on a new context carry. Of a driver that is not here it is learnt from
// the first call that succeeds; until then the kernel refuses those of the agent, so what ran in
// the tenant cannot be looked up, or destroyed.
std::uint32_t driver_id_of(const std::string& driver) {
  using uverbs::DriverId;
  // As driver_name() of vbond/nic says them.
  static constexpr std::pair<std::string_view, DriverId> kDrivers[] = {
      {"rxe", DriverId::kRxe},     {"siw", DriverId::kSiw},     {"mlx5", DriverId::kMlx5},
      {"mlx4", DriverId::kMlx4},   {"cxgb4", DriverId::kCxgb4}, {"bnxt_re", DriverId::kBnxtRe},
      {"irdma", DriverId::kIrdma}, {"qedr", DriverId::kQedr},   {"hns", DriverId::kHns},
      {"hfi1", DriverId::kHfi1},   {"efa", DriverId::kEfa},     {"erdma", DriverId::kErdma},
  };
  for (const auto& [name, id] : kDrivers) {
    if (driver == name) return static_cast<std::uint32_t>(id);
  }
  return 0;
}

void record_opened(Trap& trap, const Context& context) {
  trap.services.metrics.add_contexts(1);
  Event event;
  event.type = EventType::kContextOpened;
  event.endpoint = trap.attachment.endpoint_name;
  event.pid = context.info.pid;
  event.command = context.info.command;
  event.reason = context.info.nic;
  trap.services.parts.events.record(std::move(event));
}

}  // namespace

bool Dispatcher::tenant_opens(const std::string& device) const {
  return services_.options.tenant_opens.contains(device);
}

Answer Dispatcher::serve_open(Trap& trap) {
  const OpenArguments open = arguments_of(trap);
  if (!open.sound) return Answer::run();  // the kernel finds the same fault
  auto path = read_path(trap, open.path);
  if (!path) return Answer::run();
  auto node = verbs_node_of(*path);
  // Whatever the path has become by the time the kernel reads it: behind a call that runs there is
  // no device that the tenant could open. The node is masked, and the descriptors it has been given
  // can not be opened anew through /proc.
  if (!node || (open.flags & O_PATH) != 0) return Answer::run();
  if (!trap.alive()) return Answer::gone();
  return open_device(trap, *node, open.flags);
}

Answer Dispatcher::open_device(Trap& trap, const std::string& node, std::uint64_t flags) {
  const char* verb = to_string(OtherCall::kOpen);
  NicPtr nic = services_.parts.nics.find(services_.parts.devices.rdma_device_of(node));
  if (nic && tenant_opens(nic->device)) return Answer::run();
  trap.row = InterceptMetrics::row(OtherCall::kOpen);
  // In the kernel's order for a node that exists.
  if ((flags & O_CREAT) != 0 && (flags & O_EXCL) != 0) return Answer::fails(EEXIST);
  if ((flags & O_DIRECTORY) != 0) return Answer::fails(ENOTDIR);
  if (trap.attachment.revoked()) return trap.refuse(verb, ENODEV, "the endpoint is gone");
  if (!nic) return trap.refuse(verb, ENODEV, "the agent knows no RDMA device behind " + node);
  if (auto ready = services_.guard().ready(); !ready)
    return trap.refuse(verb, ENODEV, ready.error().message);
  // Before anything is counted or made: the call may come once more.
  if (trap.attachment.sealed) {
    if (auto answer = trap.attachment.sealed->prepare(trap)) return *answer;
  }
  if (!admit(trap, verb, {qos::VerbKind::kContexts})) return over_rate();

  ContextTable& contexts = trap.attachment.contexts();
  if (contexts.size() >= services_.options.max_contexts && !watch_.collect(trap.attachment)) {
    return trap.refuse(verb, EMFILE,
                       "more than " + std::to_string(services_.options.max_contexts) +
                           " verbs devices open at once under one qmasq run");
  }
  TaskInspector& tasks = services_.parts.tasks;
  auto pid = tasks.process_of(trap.tid());
  if (!pid) return Answer::gone();
  auto number =
      tasks.free_descriptor(trap.tid(), static_cast<int>(services_.options.reserved_first),
                            static_cast<int>(services_.options.reserved_count));
  if (!number) {
    if (number.error() == ESRCH) return Answer::gone();
    return trap.refuse(verb, number.error(),
                       "no free descriptor number from " +
                           std::to_string(services_.options.reserved_first) +
                           " on (all in use, or above the limit of open files, ulimit -n)");
  }
  const int mode = static_cast<int>(flags & (O_ACCMODE | O_NONBLOCK));
  auto file = services_.parts.devices.open(node, mode);
  if (!file && (file.error() == EMFILE || file.error() == ENFILE) &&
      watch_.collect(trap.attachment)) {
    // Our own descriptors ran out before max_contexts did: on those of devices that the tenant has
    // closed and nobody has looked for yet.
    trap.attachment.wait_buried();
    file = services_.parts.devices.open(node, mode);
  }
  if (!file) {
    return trap.refuse(
        verb, file.error(),
        "the agent can not open " + node + ": errno " + std::to_string(file.error()));
  }
  ContextInfo info;
  info.id = services_.context_number();
  info.endpoint = trap.attachment.endpoint;
  info.nic = nic->device;
  info.pid = *pid;
  info.command = tasks.command_of(*pid);
  auto context = std::make_shared<Context>(
      std::move(info), std::move(*file), is_software(nic->driver), driver_id_of(nic->driver),
      TaskInspector::Holder{*pid, *number}, trap.attachment.tenancy, services_.metrics);
  if (int err = put_under_guard(trap, *context); err != 0)
    return Answer::fails(err, Outcome::kRefused);
  return hand_over(trap, context, (flags & O_CLOEXEC) != 0);
}

int Dispatcher::put_under_guard(Trap& trap, Context& context) {
  auto slot = services_.guard().manage(context.file->descriptor(), context.info.id);
  if (slot) {
    context.slot = *slot;
    return 0;
  }
  return trap
      .refuse(to_string(OtherCall::kOpen), slot.error() == ENOSPC ? EMFILE : ENODEV,
              slot.error() == ENOSPC ? "the guard can keep track of no more open devices"
                                     : "the guard does not know this open device")
      .err;
}

void Dispatcher::keep(Trap& trap, Context& context, int number) {
  Custody* custody = services_.custody();
  if (custody == nullptr || trap.attachment.number == 0) return;
  ContextTag tag;
  tag.id = context.info.id;
  tag.listener = trap.attachment.number;
  tag.nic = context.info.nic;
  tag.pid = context.info.pid;
  tag.command = context.info.command;
  tag.software = context.software;
  tag.driver_id = context.driver_id.load(std::memory_order_relaxed);
  tag.descriptor = number;
  context.custody = custody->put(tag, context.file->descriptor());
}

Answer Dispatcher::hand_over(Trap& trap, const std::shared_ptr<Context>& context,
                             bool close_on_exec) {
  Attachment& attachment = trap.attachment;
  // In the table first: as soon as the tenant has the descriptor, any of its threads may use it.
  // In custody before that: nobody may have a device that would be lost with the agent.
  const int number = context->holder.fd;
  keep(trap, *context, number);
  if (!attachment.contexts().add(context)) {
    if (context->custody != nullptr) services_.custody()->drop(context->custody);
    return Answer::fails(ENODEV, Outcome::kRefused);
  }
  record_opened(trap, *context);
  const int own = context->file->descriptor();
  int err = 0;
  if (trap.slot == nullptr) {
    err = attachment.port().inject(trap.call.id, own, number, close_on_exec);
  } else {
    trap.slot->context = context->info.id;
    trap.slot->handle = static_cast<std::uint32_t>(number);
    trap.slot->stage.store(CallStage::kPlacing, std::memory_order_release);
    err = attachment.port().place(trap.call.id, own, number, close_on_exec);
  }
  if (err == 0) {
    std::lock_guard lock(context->holder_mutex);
    context->handed_over = true;
    if (trap.slot == nullptr) return Answer::done();
    services_.ledger()->pass(Ledger::Point::kPlaced);
    return Answer::returns(number, Outcome::kExecuted);
  }
  if (attachment.contexts().remove(*context)) {
    close_context(services_, *context, attachment.endpoint_name, /*abandoned=*/false);
  }
  if (err == ENOENT) return Answer::gone();
  // The limit of open files was lowered in between.
  return Answer::fails(err == EBADF ? EMFILE : err);
}

ErrnoOr<std::shared_ptr<Context>> Dispatcher::adopt(Trap& trap, int fd, const std::string& node) {
  NicPtr nic = services_.parts.nics.find(services_.parts.devices.rdma_device_of(node));
  Attachment& attachment = trap.attachment;
  if (!nic || !tenant_opens(nic->device)) return tl::unexpected(ENOENT);
  if (attachment.revoked()) return tl::unexpected(ENODEV);
  // The open is done, but nothing can be done with it.
  if (!admit(trap, to_string(OtherCall::kOpen), {qos::VerbKind::kContexts}))
    return tl::unexpected(EAGAIN);
  if (attachment.contexts().size() >= services_.options.max_contexts &&
      !watch_.collect(attachment)) {
    return tl::unexpected(EMFILE);
  }
  TaskInspector& tasks = services_.parts.tasks;
  auto pid = tasks.process_of(trap.tid());
  if (!pid) return tl::unexpected(pid.error());
  auto taken = tasks.take(trap.tid(), fd);
  if (!taken) return tl::unexpected(taken.error());
  if (!trap.alive()) return tl::unexpected(ESRCH);
  // A context of another endpoint that came through a socket is not this one's to use.
  if (owned_elsewhere_(attachment, taken->get())) return tl::unexpected(ENOENT);
  auto file = services_.parts.devices.adopt(std::move(*taken));
  if (!file) return tl::unexpected(file.error());
  ContextInfo info;
  info.id = services_.context_number();
  info.endpoint = attachment.endpoint;
  info.nic = nic->device;
  info.pid = *pid;
  info.command = tasks.command_of(*pid);
  auto context = std::make_shared<Context>(
      std::move(info), std::move(*file), is_software(nic->driver), driver_id_of(nic->driver),
      TaskInspector::Holder{*pid, fd}, attachment.tenancy, services_.metrics);
  context->handed_over = true;
  if (int err = put_under_guard(trap, *context); err != 0) return tl::unexpected(ENODEV);
  keep(trap, *context, fd);
  // Two threads of the tenant may come with the same file at once; the table keeps the first.
  auto kept = attachment.contexts().add_or_find(context);
  if (kept && *kept == context) {
    record_opened(trap, *context);
  } else if (context->custody != nullptr) {
    services_.custody()->drop(context->custody);
  }
  return kept;
}

}  // namespace qmasq::vbond

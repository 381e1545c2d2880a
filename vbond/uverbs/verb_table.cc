// SPDX-License-Identifier: Apache-2.0
#include <cerrno>

#include "vbond/uverbs/verb.h"
#include "vbond/uverbs/verb_attrs.h"

// The rows. Sizes of the write commands are those of the kernel's uverbs_def_write_intf;
// a test holds them against the uapi structures.
namespace qmasq::vbond::uverbs {
namespace {

using enum VerbClass;
using enum RunIn;

constexpr VerbKey ioctl_key(Object object, std::uint16_t method) {
  return {Form::kIoctl, static_cast<std::uint16_t>(object), method};
}

// The forms of a name that the ABI has for what takes an object away.
constexpr bool frees(std::string_view name) {
  constexpr std::string_view kPrefixes[] = {"DESTROY_", "DEALLOC_", "DEREG_", "CLOSE_",
                                            "MLX5_FREE_"};
  for (std::string_view prefix : kPrefixes) {
    if (name.starts_with(prefix)) return true;
  }
  return false;
}

constexpr Verb ioctl(std::string_view name, Object object, std::uint16_t method,
                     VerbClass verb_class, RunIn run_in, Handler handler,
                     std::span<const AttrSpec> attrs) {
  return {name,       ioctl_key(object, method), verb_class, 0, run_in, handler, attrs, 0, 0,
          frees(name)};
}

constexpr Verb write(std::string_view name, WriteCommand command, VerbClass verb_class,
                     RunIn run_in, Handler handler, std::uint16_t core_in_min,
                     std::uint16_t core_out_min) {
  return {name,
          {Form::kWrite, 0, static_cast<std::uint16_t>(command)},
          verb_class,
          0,
          run_in,
          handler,
          specs::kInvokeWrite,
          core_in_min,
          core_out_min,
          frees(name)};
}

constexpr Verb write_ex(std::string_view name, WriteExCommand command, VerbClass verb_class,
                        RunIn run_in, Handler handler, std::uint16_t core_in_min,
                        std::uint16_t core_out_min) {
  return {name,
          {Form::kWriteEx, 0, static_cast<std::uint16_t>(command)},
          verb_class,
          0,
          run_in,
          handler,
          specs::kInvokeWrite,
          core_in_min,
          core_out_min,
          frees(name)};
}

constexpr Verb refused(std::string_view name, VerbKey key) {
  return {name, key, kRefused, EOPNOTSUPP, kNowhere, Handler::kNone, {}, 0, 0, false};
}
constexpr Verb refused(std::string_view name, Object object, std::uint16_t method) {
  return refused(name, ioctl_key(object, method));
}
constexpr Verb refused(std::string_view name, WriteCommand command) {
  return refused(name, {Form::kWrite, 0, static_cast<std::uint16_t>(command)});
}
constexpr Verb refused(std::string_view name, WriteExCommand command) {
  return refused(name, {Form::kWriteEx, 0, static_cast<std::uint16_t>(command)});
}
// A row for a whole object of a driver, or for what no other row takes.
constexpr std::uint16_t kAnyMethod = 0xffff;
constexpr std::uint16_t kAnyObject = 0xffff;
constexpr Verb refused_driver(std::string_view name, std::uint16_t object) {
  return refused(name, {Form::kIoctl, object, kAnyMethod});
}

// What has no need of the caller's memory is the agent's, whether there is something to judge in it
// or not: of what runs in the tenant another thread can make another verb.
constexpr Verb kVerbs[] = {
    // --- ioctl methods ---
    // Lists handles of this very file: harmless.
    ioctl("INFO_HANDLES", Object::kDevice, kMethodInfoHandles, kNeutral, kAgent, Handler::kNone,
          specs::kInfoHandles),
    ioctl("QUERY_PORT", Object::kDevice, kMethodQueryPort, kAddress, kAgent, Handler::kQueryPort,
          specs::kQueryPort),
    ioctl("GET_CONTEXT", Object::kDevice, kMethodGetContext, kNeutral, kAgent, Handler::kGetContext,
          specs::kGetContext),
    ioctl("QUERY_CONTEXT", Object::kDevice, kMethodQueryContext, kNeutral, kAgent, Handler::kNone,
          specs::kQueryContext),
    ioctl("QUERY_GID_TABLE", Object::kDevice, kMethodQueryGidTable, kAddress, kAgent,
          Handler::kQueryGidTable, specs::kQueryGidTable),
    ioctl("QUERY_GID_ENTRY", Object::kDevice, kMethodQueryGidEntry, kAddress, kAgent,
          Handler::kQueryGidEntry, specs::kQueryGidEntry),
    ioctl("DEALLOC_PD", Object::kPd, 0, kNeutral, kAgent, Handler::kDeallocPd, specs::kDestroyPd),
    // By the agent where nothing is pinned, so that it learns for certain what there is. Destroying
    // pins nothing anywhere, and the kernel unpins from whom it had pinned.
    ioctl("CREATE_CQ", Object::kCq, 0, kMemory, kAgentOnSoftwareNic, Handler::kCreateCq,
          specs::kCreateCq),
    ioctl("DESTROY_CQ", Object::kCq, 1, kNeutral, kAgent, Handler::kDestroyCq, specs::kDestroyCq),
    ioctl("CREATE_QP", Object::kQp, 0, kMemory, kAgentOnSoftwareNic, Handler::kCreateQp,
          specs::kCreateQp),
    ioctl("DESTROY_QP", Object::kQp, 1, kNeutral, kAgent, Handler::kDestroyQp, specs::kDestroyQp),
    ioctl("CREATE_SRQ", Object::kSrq, 0, kMemory, kAgentOnSoftwareNic, Handler::kCreateSrq,
          specs::kCreateSrq),
    ioctl("DESTROY_SRQ", Object::kSrq, 1, kNeutral, kAgent, Handler::kDestroySrq,
          specs::kDestroySrq),
    ioctl("DESTROY_AH", Object::kAh, 0, kNeutral, kAgent, Handler::kDestroyAh, specs::kDestroyAh),
    refused("REG_DM_MR", Object::kMr, 0),
    ioctl("DEREG_MR", Object::kMr, 1, kMemory, kAgent, Handler::kDeregMr, specs::kDestroyMr),
    // Hardware with on-demand paging fetches the pages before it answers, if asked to. That takes
    // as long as the tenant's memory wants, so it happens in the tenant.
    ioctl("ADVISE_MR", Object::kMr, 2, kMemory, kAgentOnSoftwareNic, Handler::kAdviseMr,
          specs::kAdviseMr),
    ioctl("QUERY_MR", Object::kMr, 3, kNeutral, kAgent, Handler::kNone, specs::kQueryMr),
    ioctl("REG_DMABUF_MR", Object::kMr, 4, kMemory, kTenant, Handler::kRegMr, specs::kRegDmabufMr),
    ioctl("DEALLOC_MW", Object::kMw, 0, kNeutral, kAgent, Handler::kDeallocMw, specs::kDestroyMw),
    refused("DESTROY_FLOW", Object::kFlow, 0),
    ioctl("CLOSE_XRCD", Object::kXrcd, 0, kNeutral, kAgent, Handler::kCloseXrcd,
          specs::kDestroyXrcd),
    refused("DESTROY_RWQ_IND_TBL", Object::kRwqIndTable, 0),
    refused("CREATE_WQ", Object::kWq, 0),
    refused("DESTROY_WQ", Object::kWq, 1),
    refused("CREATE_FLOW_ACTION_ESP", Object::kFlowAction, 0),
    refused("DESTROY_FLOW_ACTION", Object::kFlowAction, 1),
    refused("MODIFY_FLOW_ACTION_ESP", Object::kFlowAction, 2),
    refused("ALLOC_DM", Object::kDm, 0),
    refused("FREE_DM", Object::kDm, 1),
    refused("CREATE_COUNTERS", Object::kCounters, 0),
    refused("DESTROY_COUNTERS", Object::kCounters, 1),
    refused("READ_COUNTERS", Object::kCounters, 2),
    ioctl("ALLOC_ASYNC_EVENT", Object::kAsyncEvent, 0, kNeutral, kAgent, Handler::kMakeFd,
          specs::kAllocAsyncEvent),

    // --- write commands, by INVOKE_WRITE ---
    // This form makes the asynchronous event descriptor as well.
    write("GET_CONTEXT", WriteCommand::kGetContext, kNeutral, kAgent, Handler::kGetContext, 8, 8),
    // libibverbs probes with this one and no buffers at all, and expects ENOSPC.
    write("QUERY_DEVICE", WriteCommand::kQueryDevice, kAddress, kAgent, Handler::kQueryDevice, 8,
          176),
    write("QUERY_PORT", WriteCommand::kQueryPort, kAddress, kAgent, Handler::kQueryPort, 16, 40),
    write("ALLOC_PD", WriteCommand::kAllocPd, kNeutral, kAgent, Handler::kAllocPd, 8, 4),
    write("DEALLOC_PD", WriteCommand::kDeallocPd, kNeutral, kAgent, Handler::kDeallocPd, 4, 0),
    // Some libraries of hardware NICs write the address vector themselves and ask the kernel for
    // the MAC alone: what the agent renames there would not reach the NIC (see its handler).
    write("CREATE_AH", WriteCommand::kCreateAh, kAddress, kAgent, Handler::kCreateAh, 56, 4),
    refused("MODIFY_AH", WriteCommand::kModifyAh),
    refused("QUERY_AH", WriteCommand::kQueryAh),
    write("DESTROY_AH", WriteCommand::kDestroyAh, kNeutral, kAgent, Handler::kDestroyAh, 4, 0),
    write("REG_MR", WriteCommand::kRegMr, kMemory, kTenant, Handler::kRegMr, 40, 12),
    refused("REG_SMR", WriteCommand::kRegSmr),
    write("REREG_MR", WriteCommand::kReregMr, kMemory, kTenant, Handler::kReregMr, 48, 8),
    refused("QUERY_MR", WriteCommand::kQueryMr),
    write("DEREG_MR", WriteCommand::kDeregMr, kMemory, kAgent, Handler::kDeregMr, 4, 0),
    write("ALLOC_MW", WriteCommand::kAllocMw, kNeutral, kAgent, Handler::kAllocMw, 16, 8),
    refused("BIND_MW", WriteCommand::kBindMw),
    write("DEALLOC_MW", WriteCommand::kDeallocMw, kNeutral, kAgent, Handler::kDeallocMw, 4, 0),
    write("CREATE_COMP_CHANNEL", WriteCommand::kCreateCompChannel, kNeutral, kAgent,
          Handler::kMakeFd, 8, 4),
    write("CREATE_CQ", WriteCommand::kCreateCq, kMemory, kAgentOnSoftwareNic, Handler::kCreateCq,
          32, 8),
    write("RESIZE_CQ", WriteCommand::kResizeCq, kMemory, kAgentOnSoftwareNic, Handler::kNone, 16,
          8),
    write("DESTROY_CQ", WriteCommand::kDestroyCq, kNeutral, kAgent, Handler::kDestroyCq, 16, 8),
    // Providers poll in shared memory; the kernel's own polling and posting is for no NIC that the
    // agent serves, and POST_SEND would take a UD destination.
    refused("POLL_CQ", WriteCommand::kPollCq),
    refused("PEEK_CQ", WriteCommand::kPeekCq),
    // rxe arms its CQs by this.
    write("REQ_NOTIFY_CQ", WriteCommand::kReqNotifyCq, kNeutral, kAgent, Handler::kNone, 8, 0),
    write("CREATE_QP", WriteCommand::kCreateQp, kMemory, kAgentOnSoftwareNic, Handler::kCreateQp,
          56, 32),
    write("QUERY_QP", WriteCommand::kQueryQp, kAddress, kAgent, Handler::kQueryQp, 16, 128),
    write("MODIFY_QP", WriteCommand::kModifyQp, kAddress, kAgent, Handler::kModifyQp, 112, 0),
    write("DESTROY_QP", WriteCommand::kDestroyQp, kNeutral, kAgent, Handler::kDestroyQp, 16, 4),
    refused("POST_SEND", WriteCommand::kPostSend),
    refused("POST_RECV", WriteCommand::kPostRecv),
    refused("ATTACH_MCAST", WriteCommand::kAttachMcast),
    refused("DETACH_MCAST", WriteCommand::kDetachMcast),
    write("CREATE_SRQ", WriteCommand::kCreateSrq, kMemory, kAgentOnSoftwareNic, Handler::kCreateSrq,
          32, 16),
    // rxe writes the new queue's place to an address inside its driver data; what those of hardware
    // NICs name nobody here knows.
    write("MODIFY_SRQ", WriteCommand::kModifySrq, kMemory, kAgentOnSoftwareNic, Handler::kModifySrq,
          16, 0),
    write("QUERY_SRQ", WriteCommand::kQuerySrq, kNeutral, kAgent, Handler::kNone, 16, 16),
    write("DESTROY_SRQ", WriteCommand::kDestroySrq, kNeutral, kAgent, Handler::kDestroySrq, 16, 4),
    refused("POST_SRQ_RECV", WriteCommand::kPostSrqRecv),
    // By the agent, so that no thread can put a file in after the check.
    write("OPEN_XRCD", WriteCommand::kOpenXrcd, kNeutral, kAgent, Handler::kOpenXrcd, 16, 4),
    write("CLOSE_XRCD", WriteCommand::kCloseXrcd, kNeutral, kAgent, Handler::kCloseXrcd, 4, 0),
    write("CREATE_XSRQ", WriteCommand::kCreateXsrq, kMemory, kAgentOnSoftwareNic,
          Handler::kCreateXsrq, 48, 16),
    // Attaches to a QP of another process by its number.
    refused("OPEN_QP", WriteCommand::kOpenQp),

    // --- extended write commands, by INVOKE_WRITE ---
    // libibverbs falls back to QUERY_DEVICE on EOPNOTSUPP and ENOSYS.
    write_ex("EX_QUERY_DEVICE", WriteExCommand::kQueryDevice, kAddress, kAgent,
             Handler::kQueryDevice, 8, 184),
    write_ex("EX_CREATE_CQ", WriteExCommand::kCreateCq, kMemory, kAgentOnSoftwareNic,
             Handler::kCreateCq, 32, 16),
    write_ex("EX_CREATE_QP", WriteExCommand::kCreateQp, kMemory, kAgentOnSoftwareNic,
             Handler::kCreateQp, 52, 40),
    write_ex("EX_MODIFY_QP", WriteExCommand::kModifyQp, kAddress, kAgent, Handler::kModifyQp, 112,
             8),
    refused("EX_CREATE_FLOW", WriteExCommand::kCreateFlow),
    refused("EX_DESTROY_FLOW", WriteExCommand::kDestroyFlow),
    refused("EX_CREATE_WQ", WriteExCommand::kCreateWq),
    refused("EX_MODIFY_WQ", WriteExCommand::kModifyWq),
    refused("EX_DESTROY_WQ", WriteExCommand::kDestroyWq),
    refused("EX_CREATE_RWQ_IND_TBL", WriteExCommand::kCreateRwqIndTable),
    refused("EX_DESTROY_RWQ_IND_TBL", WriteExCommand::kDestroyRwqIndTable),
    // Interrupt moderation.
    write_ex("EX_MODIFY_CQ", WriteExCommand::kModifyCq, kNeutral, kAgent, Handler::kNone, 16, 0),

    // --- what drivers add, and what nobody knows ---
    // libmlx5 takes the doorbell page of each QP from here when the kernel offers it, and creates
    // no QP without. A doorbell page changes no QP.
    ioctl("MLX5_ALLOC_UAR", Object::kMlx5Uar, 0x1000, kNeutral, kAgent, Handler::kAllocUar,
          specs::kMlx5AllocUar),
    ioctl("MLX5_FREE_UAR", Object::kMlx5Uar, kMethodFreeUar, kNeutral, kAgent, Handler::kFreeUar,
          specs::kMlx5FreeUar),
    refused_driver("MLX5_DEVX", 0x1000),
    refused_driver("MLX5_DEVX_OBJ", 0x1001),
    refused_driver("MLX5_DEVX_UMEM", 0x1002),
    refused_driver("MLX5_FLOW_MATCHER", 0x1003),
    refused_driver("MLX5_DEVX_ASYNC_CMD_FD", 0x1004),
    refused_driver("MLX5_DEVX_ASYNC_EVENT_FD", 0x1005),
    refused_driver("MLX5_VAR", 0x1006),
    refused_driver("MLX5_PP", 0x1007),
    refused_driver("MLX5_UAR", 0x1008),
    refused_driver("MLX5_STEERING_ANCHOR", 0x1009),
    refused_driver("DRIVER_PRIVATE", kDriverNamespace | kAnyObject),
    refused("UNKNOWN", {Form::kIoctl, kAnyObject, kAnyMethod}),
    refused("UNKNOWN_WRITE", {Form::kWrite, 0, kAnyMethod}),
    refused("UNKNOWN_EX", {Form::kWriteEx, 0, kAnyMethod}),
};
constexpr std::size_t kNumVerbs = std::size(kVerbs);

constexpr std::size_t row_of(std::string_view name) {
  for (std::size_t i = 0; i < kNumVerbs; ++i) {
    if (kVerbs[i].name == name) return i;
  }
  return kNumVerbs;
}
constexpr std::size_t kDriverPrivate = row_of("DRIVER_PRIVATE");
constexpr std::size_t kUnknown = row_of("UNKNOWN");
constexpr std::size_t kUnknownWrite = row_of("UNKNOWN_WRITE");
constexpr std::size_t kUnknownEx = row_of("UNKNOWN_EX");
constexpr std::size_t kMlx5First = row_of("MLX5_DEVX");
constexpr std::size_t kMlx5Objects = kDriverPrivate - kMlx5First;
constexpr std::size_t kMlx5Uar = row_of("MLX5_ALLOC_UAR");
constexpr std::size_t kMlx5UarMethods = kMlx5First - kMlx5Uar;
constexpr std::size_t kCoreVerbs = kMlx5Uar;  // rows before it: the core's
static_assert(kUnknownEx + 1 == kNumVerbs && kNumVerbs < 255);

// Row numbers by object and method, by command: a look-up is two comparisons and a load.
constexpr std::size_t kMethods = 8;
struct Index {
  std::uint8_t ioctl[kObjects][kMethods];
  std::uint8_t write[kWriteCommands];
  std::uint8_t write_ex[kWriteExCommands];
};
constexpr Index make_index() {
  Index out{};
  for (auto& object : out.ioctl) {
    for (auto& row : object)
      row = kUnknown;
  }
  for (auto& row : out.write)
    row = kUnknownWrite;
  for (auto& row : out.write_ex)
    row = kUnknownEx;
  for (std::size_t i = 0; i < kCoreVerbs; ++i) {
    const VerbKey& key = kVerbs[i].key;
    // An index out of range or a row that is there twice ends the compilation.
    std::uint8_t& cell = key.form == Form::kIoctl   ? out.ioctl[key.object][key.method]
                         : key.form == Form::kWrite ? out.write[key.method]
                                                    : out.write_ex[key.method];
    if (cell < kCoreVerbs) throw "two rows for one verb";
    cell = static_cast<std::uint8_t>(i);
  }
  return out;
}
constexpr Index kIndex = make_index();

}  // namespace

const Verb* find_verb(const Call& call) {
  if (call.is_invoke_write()) {
    const std::uint32_t number = call.write_cmd() & kWriteCommandMask;
    if ((call.write_cmd() & kWriteExtended) != 0) {
      return &kVerbs[number < kWriteExCommands ? kIndex.write_ex[number] : kUnknownEx];
    }
    return &kVerbs[number < kWriteCommands ? kIndex.write[number] : kUnknownWrite];
  }
  const std::uint16_t object = call.object_id();
  const std::uint16_t method = call.method_id();
  if (object < kObjects && method < kMethods) return &kVerbs[kIndex.ioctl[object][method]];
  if ((object & kDriverNamespace) != 0) {
    if (call.driver_id() != static_cast<std::uint32_t>(DriverId::kMlx5)) {
      return &kVerbs[kDriverPrivate];
    }
    const std::size_t uar_method = method ^ kDriverNamespace;
    if (object == static_cast<std::uint16_t>(Object::kMlx5Uar) && uar_method < kMlx5UarMethods) {
      return &kVerbs[kMlx5Uar + uar_method];
    }
    const std::size_t number = object ^ kDriverNamespace;
    return &kVerbs[number < kMlx5Objects ? kMlx5First + number : kDriverPrivate];
  }
  return &kVerbs[(method & kDriverNamespace) != 0 ? kDriverPrivate : kUnknown];
}

std::span<const Verb> all_verbs() {
  return kVerbs;
}

}  // namespace qmasq::vbond::uverbs

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "vbond/uverbs/abi.h"
#include "vbond/uverbs/call.h"

// The verb table: one row for each verb of the stable ABI, what it is to the agent, and where its
// attributes point. Fail closed: what has no row finds a refusing one. README.md beside this file
// shows the table in full; a test keeps the two the same.
//
// What libibverbs (rdma-core 44) does with the errno of a refused call:
//   EOPNOTSUPP       passes it to the program. Exception: EX_QUERY_DEVICE, where it asks again with
//                    QUERY_DEVICE. So this is the answer to everything that is not offered.
//   EPROTONOSUPPORT  takes the ioctl method as unknown to the kernel, remembers that for the
//                    context, and uses the older write command (by INVOKE_WRITE, trapped as well)
//                    or, for GID queries, sysfs. Never given for a verb that has a row, but it is
//                    the kernel's answer to an unknown mandatory attribute and kept for that.
//   ENOTTY           gives up on ioctl altogether. Never given.
//   ENOSPC           expected by the probe at open: INVOKE_WRITE of QUERY_DEVICE with no buffers.
//                    Any errno but EPROTONOSUPPORT and ENOTTY tells it that INVOKE_WRITE works.
namespace qmasq::vbond::uverbs {

enum class VerbClass : std::uint8_t {
  kAddress,  // carries or shows addresses: the agent acts on its copy
  kMemory,   // pins the caller's memory on some NIC, or is subject to a quota
  kNeutral,  // neither: there is little to judge, if anything
  kRefused,  // Verb::refusal, counted by name
};

// Where the call may be executed.
enum class RunIn : std::uint8_t {
  kNowhere,  // refused
  // The tenant's own call is let through. The only way when it pins the caller's memory.
  kTenant,
  kAgent,               // the agent executes it, or answers by itself
  kAgentOnSoftwareNic,  // rxe and siw pin nothing here: the agent. Other NICs: the tenant
};

// The code that judges the call; kNone: nothing to judge.
enum class Handler : std::uint8_t {
  kNone,
  kGetContext,     // driver's back-door flags in UHW_IN
  kQueryDevice,    // node_guid and sys_image_guid hold the NIC's MAC
  kQueryPort,      // gid_tbl_len
  kQueryGidTable,  // answered from the endpoint's virtual GIDs
  kQueryGidEntry,  // likewise
  kModifyQp,
  kQueryQp,
  kCreateQp,  // QP type, quota, inventory
  kDestroyQp,
  kCreateCq,    // quota
  kDestroyCq,   // quota
  kCreateSrq,   // SRQ type, quota
  kCreateXsrq,  // likewise, write form
  kDestroySrq,  // quota
  kRegMr,       // quota
  kReregMr,     // quota
  kDeregMr,     // quota
  kCreateAh,    // destination of UD, and which rules admit it
  kDestroyAh,   // inventory
  kOpenXrcd,    // only without a file: one shared by inode would join tenants
  kCloseXrcd,
  kAllocPd,
  kDeallocPd,
  kAllocMw,
  kDeallocMw,
  kAllocUar,   // doorbell page of mlx5
  kFreeUar,    // likewise
  kModifySrq,  // rxe writes to an address that its driver data names
  kAdviseMr,   // must not wait for memory
  kMakeFd,     // the descriptor is made in the agent's table, and given to the caller
};

// What user space puts in an attribute. The kernel's table is the law here, never the call. The
// ABI has no attribute that is both input and output.
enum class Kind : std::uint8_t {
  kPtrIn,       // payload: inline up to 8 bytes, else behind a pointer
  kPtrOut,      // buffer of the caller, always a pointer
  kConstIn,     // 8 bytes inline, a number
  kFlagsIn,     // 4 or 8 bytes inline
  kEnumIn,      // elem_id and a payload like kPtrIn
  kIdrIn,       // handle of an existing object
  kIdrNew,      // the kernel writes the new handle into `data`
  kIdrDestroy,  // handle of the object that goes
  kIdrsIn,      // array of 32-bit handles, inline or behind a pointer like kPtrIn
  kFdIn,        // descriptor in the caller's table
  kFdNew,       // the kernel makes a descriptor in the caller's table and writes its number
  kRawFdIn,     // descriptor that is no uverbs object
};

struct AttrSpec {
  std::uint16_t id = 0;
  Kind kind = Kind::kPtrIn;
  bool mandatory = false;
  // Payload lengths the kernel takes. Above `max` only with `extensible`, where an input's surplus
  // must be zero and an output's surplus is zeroed.
  std::uint16_t min = 0;
  std::uint16_t max = 0;
  bool extensible = false;
  Object object = Object::kDevice;  // of handles and uverbs descriptors
};

enum class Form : std::uint8_t { kIoctl, kWrite, kWriteEx };

struct VerbKey {
  Form form = Form::kIoctl;
  std::uint16_t object = 0;  // kIoctl
  std::uint16_t method = 0;  // kIoctl; else the command number
  friend bool operator==(const VerbKey&, const VerbKey&) = default;
};

struct Verb {
  // Label of metrics and events. The forms of one verb share it, extended commands begin "EX_".
  std::string_view name;
  VerbKey key;
  VerbClass verb_class = VerbClass::kRefused;
  int refusal = 0;  // errno when kRefused, else 0
  RunIn run_in = RunIn::kNowhere;
  Handler handler = Handler::kNone;
  // Every attribute the kernel knows for it, UHW_IN and UHW_OUT included. Empty for refused verbs.
  std::span<const AttrSpec> attrs;
  // Write forms: least CORE_IN and CORE_OUT; less is ENOSPC. The kernel declares these sizes for
  // extended commands as well but does not hold callers to them, and takes what is missing as zero.
  // Here they hold: no library sends less, and there must be room to rename in place.
  std::uint16_t core_in_min = 0;
  std::uint16_t core_out_min = 0;
  // It takes something away and makes nothing: never refused for having been called too often.
  bool frees = false;
};

// The row of a call. Never null: what is not in the table gets a refusing row named UNKNOWN,
// UNKNOWN_WRITE or UNKNOWN_EX, or after the driver's object (MLX5_DEVX, DRIVER_PRIVATE).
[[nodiscard]] const Verb* find_verb(const Call& call);

// All rows, the refusing ones for unknown calls at the end. For metrics and documentation.
[[nodiscard]] std::span<const Verb> all_verbs();

// The spec of an attribute, or null when the verb knows no such attribute.
[[nodiscard]] const AttrSpec* find_spec(const Verb& verb, std::uint16_t attr_id);

// What to do with an attribute that the table does not know and that is not mandatory. The kernel
// skips what it does not know, but the one running may know more than this table.
enum class UnknownAttrs : std::uint8_t {
  kDrop,    // the agent executes the call, CallBuilder leaves them out
  kRefuse,  // the tenant's own call is to run: EPROTONOSUPPORT
};

// Checks the attributes against the row, as the kernel would: 0, or EINVAL (a length, a duplicate,
// a missing or malformed attribute), EPROTONOSUPPORT (unknown and mandatory), ENOSPC (CORE_IN or
// CORE_OUT too short). Refused verbs: their refusal. Whether handles and pointers are good only
// the kernel can tell.
[[nodiscard]] int check_attrs(const Call& call, const Verb& verb, UnknownAttrs unknown);

[[nodiscard]] std::string_view to_string(VerbClass verb_class);
[[nodiscard]] std::string_view to_string(RunIn run_in);
[[nodiscard]] std::string_view to_string(Handler handler);
[[nodiscard]] std::string_view to_string(Form form);

}  // namespace qmasq::vbond::uverbs

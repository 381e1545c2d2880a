// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include <tl/expected.hpp>

// Names for the numbers of the user verbs ABI (kernel uapi: rdma/ib_user_ioctl_cmds.h,
// rdma/ib_user_ioctl_verbs.h, rdma/ib_user_verbs.h, rdma/rdma_user_ioctl_cmds.h), so that users of
// this library need no uapi header. verb_table.cc proves at compile time that they are the
// kernel's. All integers are in host order; GIDs and GUIDs are in network order.
namespace qmasq::vbond::uverbs {

// A value, or the errno (positive) that the kernel gives in the same case. These functions run for
// each trapped call and their errors go to the tenant as they are, so they carry no text.
template <typename T>
using ErrnoOr = tl::expected<T, int>;

// ioctl(RDMA_VERBS_IOCTL). Compare under a 32-bit mask: the kernel truncates the command.
inline constexpr std::uint32_t kVerbsIoctl = 0xc0181b01;
inline constexpr std::size_t kHeaderSize = 24;
inline constexpr std::size_t kAttrSize = 16;
// The kernel takes up to PAGE_SIZE. Hosts with larger pages are held to the same 4096 here, far
// above what any library sends.
inline constexpr std::size_t kMaxCallSize = 4096;
inline constexpr std::size_t kMaxAttrs = (kMaxCallSize - kHeaderSize) / kAttrSize;

// A payload of at most this many bytes travels in Attr::data itself, not behind a pointer (input
// attributes only: outputs are always pointers).
inline constexpr std::size_t kInlineSize = 8;

inline constexpr std::uint16_t kAttrMandatory = 1U << 0;    // set by user space
inline constexpr std::uint16_t kAttrValidOutput = 1U << 1;  // set by the kernel

// Ids with this bit belong to the NIC's driver, whatever they number: object, method, attribute.
inline constexpr std::uint16_t kDriverNamespace = 0x1000;

enum class Object : std::uint16_t {
  kDevice = 0,
  kPd = 1,
  kCompChannel = 2,
  kCq = 3,
  kQp = 4,
  kSrq = 5,
  kAh = 6,
  kMr = 7,
  kMw = 8,
  kFlow = 9,
  kXrcd = 10,
  kRwqIndTable = 11,
  kWq = 12,
  kFlowAction = 13,
  kDm = 14,
  kCounters = 15,
  kAsyncEvent = 16,
  kMlx5Uar = 0x1008,  // of the driver's namespace
};
inline constexpr std::size_t kObjects = 17;  // of the core's namespace

inline constexpr std::uint16_t kMethodDestroy = 1;  // of CQ, QP, SRQ, MR
inline constexpr std::uint16_t kMethodQueryMr = 3;
inline constexpr std::uint16_t kMethodDestroySole = 0;  // of PD, MW, XRCD, AH: they have no other
inline constexpr std::uint16_t kMethodFreeUar = 0x1001;
// Methods of Object::kDevice. Most other objects have 0 = create, 1 = destroy.
inline constexpr std::uint16_t kMethodInvokeWrite = 0;
inline constexpr std::uint16_t kMethodInfoHandles = 1;
inline constexpr std::uint16_t kMethodQueryPort = 2;
inline constexpr std::uint16_t kMethodGetContext = 3;
inline constexpr std::uint16_t kMethodQueryContext = 4;
inline constexpr std::uint16_t kMethodQueryGidTable = 5;
inline constexpr std::uint16_t kMethodQueryGidEntry = 6;

// Attribute ids that handlers name. The verb table has them all.
namespace attr {
inline constexpr std::uint16_t kUhwIn = 0x1000;
inline constexpr std::uint16_t kUhwOut = 0x1001;
// DEVICE / INVOKE_WRITE
inline constexpr std::uint16_t kCoreIn = 0;
inline constexpr std::uint16_t kCoreOut = 1;
inline constexpr std::uint16_t kWriteCmd = 2;
// DEVICE / QUERY_PORT
inline constexpr std::uint16_t kQueryPortNum = 0;
inline constexpr std::uint16_t kQueryPortResp = 1;
// DEVICE / QUERY_GID_TABLE
inline constexpr std::uint16_t kGidTableEntrySize = 0;
inline constexpr std::uint16_t kGidTableFlags = 1;
inline constexpr std::uint16_t kGidTableRespEntries = 2;
inline constexpr std::uint16_t kGidTableRespNumEntries = 3;
// DEVICE / QUERY_GID_ENTRY
inline constexpr std::uint16_t kGidEntryPort = 0;
inline constexpr std::uint16_t kGidEntryIndex = 1;
inline constexpr std::uint16_t kGidEntryFlags = 2;
inline constexpr std::uint16_t kGidEntryResp = 3;
// QP / CREATE
inline constexpr std::uint16_t kCreateQpHandle = 0;
inline constexpr std::uint16_t kCreateQpXrcd = 1;
inline constexpr std::uint16_t kCreateQpPd = 2;
inline constexpr std::uint16_t kCreateQpSrq = 3;
inline constexpr std::uint16_t kCreateQpSendCq = 4;
inline constexpr std::uint16_t kCreateQpRecvCq = 5;
inline constexpr std::uint16_t kCreateQpIndTable = 6;
inline constexpr std::uint16_t kCreateQpUserHandle = 7;
inline constexpr std::uint16_t kCreateQpCap = 8;
inline constexpr std::uint16_t kCreateQpType = 9;
inline constexpr std::uint16_t kCreateQpFlags = 10;
inline constexpr std::uint16_t kCreateQpSourceQpn = 11;
inline constexpr std::uint16_t kCreateQpEventFd = 12;
inline constexpr std::uint16_t kCreateQpRespCap = 13;
inline constexpr std::uint16_t kCreateQpRespQpn = 14;
// QP / DESTROY
inline constexpr std::uint16_t kDestroyAhHandle = 0;
inline constexpr std::uint16_t kDestroyQpHandle = 0;
inline constexpr std::uint16_t kDestroyQpResp = 1;
// SRQ / CREATE
inline constexpr std::uint16_t kCreateSrqHandle = 0;
inline constexpr std::uint16_t kCreateSrqType = 9;
// CQ / CREATE
inline constexpr std::uint16_t kCreateCqHandle = 0;
inline constexpr std::uint16_t kCreateCqCqe = 1;
inline constexpr std::uint16_t kCreateCqUserHandle = 2;
inline constexpr std::uint16_t kCreateCqCompChannel = 3;
inline constexpr std::uint16_t kCreateCqCompVector = 4;
inline constexpr std::uint16_t kCreateCqRespCqe = 6;
// CQ, SRQ, MR / DESTROY
inline constexpr std::uint16_t kDestroyHandle = 0;
inline constexpr std::uint16_t kDestroyCqResp = 1;
inline constexpr std::uint16_t kDestroySrqResp = 1;
// Object::kMlx5Uar / destroy
inline constexpr std::uint16_t kFreeUarHandle = 0x1000;
// MR / ADVISE
inline constexpr std::uint16_t kAdviseMrFlags = 2;
// MR / QUERY
inline constexpr std::uint16_t kQueryMrHandle = 0;
inline constexpr std::uint16_t kQueryMrRespLkey = 1;
inline constexpr std::uint16_t kQueryMrRespRkey = 2;
inline constexpr std::uint16_t kQueryMrRespLength = 3;
inline constexpr std::uint16_t kQueryMrRespIova = 4;
// DEVICE / INFO_HANDLES
inline constexpr std::uint16_t kInfoHandlesObject = 0;
inline constexpr std::uint16_t kInfoHandlesTotal = 1;
inline constexpr std::uint16_t kInfoHandlesList = 2;
}  // namespace attr

// Commands of the write() interface. They also arrive by DEVICE / INVOKE_WRITE, which is the only
// form that works on a descriptor opened by another task.
enum class WriteCommand : std::uint8_t {
  kGetContext = 0,
  kQueryDevice = 1,
  kQueryPort = 2,
  kAllocPd = 3,
  kDeallocPd = 4,
  kCreateAh = 5,
  kModifyAh = 6,
  kQueryAh = 7,
  kDestroyAh = 8,
  kRegMr = 9,
  kRegSmr = 10,
  kReregMr = 11,
  kQueryMr = 12,
  kDeregMr = 13,
  kAllocMw = 14,
  kBindMw = 15,
  kDeallocMw = 16,
  kCreateCompChannel = 17,
  kCreateCq = 18,
  kResizeCq = 19,
  kDestroyCq = 20,
  kPollCq = 21,
  kPeekCq = 22,
  kReqNotifyCq = 23,
  kCreateQp = 24,
  kQueryQp = 25,
  kModifyQp = 26,
  kDestroyQp = 27,
  kPostSend = 28,
  kPostRecv = 29,
  kAttachMcast = 30,
  kDetachMcast = 31,
  kCreateSrq = 32,
  kModifySrq = 33,
  kQuerySrq = 34,
  kDestroySrq = 35,
  kPostSrqRecv = 36,
  kOpenXrcd = 37,
  kCloseXrcd = 38,
  kCreateXsrq = 39,
  kOpenQp = 40,
};
inline constexpr std::size_t kWriteCommands = 41;

// The extended commands keep the number of the plain command where there is one.
enum class WriteExCommand : std::uint8_t {
  kQueryDevice = 1,
  kCreateCq = 18,
  kCreateQp = 24,
  kModifyQp = 26,
  kCreateFlow = 50,
  kDestroyFlow = 51,
  kCreateWq = 52,
  kModifyWq = 53,
  kDestroyWq = 54,
  kCreateRwqIndTable = 55,
  kDestroyRwqIndTable = 56,
  kModifyCq = 57,
};
inline constexpr std::size_t kWriteExCommands = 58;  // one past the last number

inline constexpr std::uint32_t kWriteCommandMask = 0xff;
inline constexpr std::uint32_t kWriteExtended = 0x80000000U;

enum class DriverId : std::uint32_t {
  kUnknown = 0,
  kMlx5 = 1,
  kMlx4 = 2,
  kCxgb4 = 4,
  kBnxtRe = 6,
  kIrdma = 9,
  kQedr = 11,
  kHns = 12,
  kRxe = 14,
  kHfi1 = 15,
  kEfa = 17,
  kSiw = 18,
  kErdma = 19,
};

enum class QpType : std::uint32_t {
  kRc = 2,
  kUc = 3,
  kUd = 4,
  kRawPacket = 8,
  kXrcIni = 9,
  kXrcTgt = 10,
  kDriver = 0xff,
};

enum class QpState : std::uint8_t {
  kReset = 0,
  kInit = 1,
  kRtr = 2,
  kRts = 3,
  kSqd = 4,
  kSqe = 5,
  kErr = 6,
};

// Bits of attr_mask in MODIFY_QP and QUERY_QP (enum ib_qp_attr_mask of the kernel).
namespace qp_mask {
inline constexpr std::uint32_t kState = 1U << 0;
inline constexpr std::uint32_t kCurState = 1U << 1;
inline constexpr std::uint32_t kEnSqdAsyncNotify = 1U << 2;
inline constexpr std::uint32_t kAccessFlags = 1U << 3;
inline constexpr std::uint32_t kPkeyIndex = 1U << 4;
inline constexpr std::uint32_t kPort = 1U << 5;
inline constexpr std::uint32_t kQkey = 1U << 6;
inline constexpr std::uint32_t kAv = 1U << 7;
inline constexpr std::uint32_t kPathMtu = 1U << 8;
inline constexpr std::uint32_t kTimeout = 1U << 9;
inline constexpr std::uint32_t kRetryCount = 1U << 10;
inline constexpr std::uint32_t kRnrRetry = 1U << 11;
inline constexpr std::uint32_t kRqPsn = 1U << 12;
inline constexpr std::uint32_t kMaxRdAtomic = 1U << 13;
inline constexpr std::uint32_t kAltPath = 1U << 14;
inline constexpr std::uint32_t kMinRnrTimer = 1U << 15;
inline constexpr std::uint32_t kSqPsn = 1U << 16;
inline constexpr std::uint32_t kMaxDestRdAtomic = 1U << 17;
inline constexpr std::uint32_t kPathMigState = 1U << 18;
inline constexpr std::uint32_t kCap = 1U << 19;
inline constexpr std::uint32_t kDestQpn = 1U << 20;
inline constexpr std::uint32_t kRateLimit = 1U << 25;  // EX_MODIFY_QP only
// What plain MODIFY_QP accepts (IB_QP_ATTR_STANDARD_BITS).
inline constexpr std::uint32_t kStandard = (1U << 21) - 1;
}  // namespace qp_mask

// Bits of qp_access_flags and of a memory region's access_flags.
namespace access {
inline constexpr std::uint32_t kLocalWrite = 1U << 0;
inline constexpr std::uint32_t kRemoteWrite = 1U << 1;
inline constexpr std::uint32_t kRemoteRead = 1U << 2;
inline constexpr std::uint32_t kRemoteAtomic = 1U << 3;
inline constexpr std::uint32_t kMwBind = 1U << 4;
}  // namespace access

enum class GidType : std::uint32_t { kIb = 0, kRoceV1 = 1, kRoceV2 = 2 };

}  // namespace qmasq::vbond::uverbs

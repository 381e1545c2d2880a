// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "vbond/uverbs/verb.h"

// Attribute lists of the ioctl methods, for verb_table.cc alone. Kinds, sizes and obligations are
// those of the kernel's method definitions (Linux 6.1, drivers/infiniband/core/uverbs_std_types_*).
namespace qmasq::vbond::uverbs::specs {

inline constexpr std::uint16_t kAnySize = 0xffff;

constexpr AttrSpec in(std::uint16_t id, std::uint16_t size, bool mandatory = true) {
  return {id, Kind::kPtrIn, mandatory, size, size, false, Object::kDevice};
}
constexpr AttrSpec out(std::uint16_t id, std::uint16_t size, bool mandatory = true) {
  return {id, Kind::kPtrOut, mandatory, size, size, false, Object::kDevice};
}
// A structure that may grow: at least `min` bytes, `known` of them understood.
constexpr AttrSpec struct_in(std::uint16_t id, std::uint16_t min, std::uint16_t known) {
  return {id, Kind::kPtrIn, true, min, known, true, Object::kDevice};
}
constexpr AttrSpec struct_out(std::uint16_t id, std::uint16_t min, std::uint16_t known) {
  return {id, Kind::kPtrOut, true, min, known, true, Object::kDevice};
}
constexpr AttrSpec bytes_in(std::uint16_t id, std::uint16_t min, bool mandatory) {
  return {id, Kind::kPtrIn, mandatory, min, kAnySize, false, Object::kDevice};
}
constexpr AttrSpec bytes_out(std::uint16_t id, std::uint16_t min, bool mandatory) {
  return {id, Kind::kPtrOut, mandatory, min, kAnySize, false, Object::kDevice};
}
constexpr AttrSpec number(std::uint16_t id) {
  return {id, Kind::kConstIn, true, 8, 8, false, Object::kDevice};
}
constexpr AttrSpec flags(std::uint16_t id, bool mandatory) {
  return {id, Kind::kFlagsIn, mandatory, 4, 8, false, Object::kDevice};
}
constexpr AttrSpec idr(std::uint16_t id, Object object, bool mandatory) {
  return {id, Kind::kIdrIn, mandatory, 0, 0, false, object};
}
constexpr AttrSpec idr_new(std::uint16_t id, Object object) {
  return {id, Kind::kIdrNew, true, 0, 0, false, object};
}
constexpr AttrSpec idr_gone(std::uint16_t id, Object object) {
  return {id, Kind::kIdrDestroy, true, 0, 0, false, object};
}
constexpr AttrSpec fd(std::uint16_t id, Object object) {
  return {id, Kind::kFdIn, false, 0, 0, false, object};
}
constexpr AttrSpec fd_new(std::uint16_t id, Object object) {
  return {id, Kind::kFdNew, true, 0, 0, false, object};
}
inline constexpr AttrSpec kUhwInSpec = bytes_in(attr::kUhwIn, 0, false);
inline constexpr AttrSpec kUhwOutSpec = bytes_out(attr::kUhwOut, 0, false);

inline constexpr AttrSpec kInvokeWrite[] = {
    bytes_in(attr::kCoreIn, 4, false),
    bytes_out(attr::kCoreOut, 0, false),
    number(attr::kWriteCmd),
    kUhwInSpec,
    kUhwOutSpec,
};
inline constexpr AttrSpec kInfoHandles[] = {number(0), out(1, 4, false), bytes_out(2, 4, false)};
inline constexpr AttrSpec kQueryPort[] = {
    number(attr::kQueryPortNum),
    struct_out(attr::kQueryPortResp, 48, 48),  // ib_uverbs_query_port_resp_ex
};
inline constexpr AttrSpec kGetContext[] = {out(0, 4, false), out(1, 8, false), kUhwInSpec,
                                           kUhwOutSpec};
inline constexpr AttrSpec kQueryContext[] = {
    out(0, 4, false),
    out(1, 8, false),
    // mlx5: its allocation response over again, for contexts imported from another process. Other
    // drivers do not know it.
    bytes_out(kDriverNamespace, 0, false),
};
inline constexpr AttrSpec kQueryGidTable[] = {
    number(attr::kGidTableEntrySize),
    flags(attr::kGidTableFlags, false),
    bytes_out(attr::kGidTableRespEntries, 0, true),
    out(attr::kGidTableRespNumEntries, 8),
};
inline constexpr AttrSpec kQueryGidEntry[] = {
    number(attr::kGidEntryPort), number(attr::kGidEntryIndex), flags(attr::kGidEntryFlags, true),
    struct_out(attr::kGidEntryResp, 32, 32),  // ib_uverbs_gid_entry
};

inline constexpr AttrSpec kDestroyPd[] = {idr_gone(0, Object::kPd)};
inline constexpr AttrSpec kCreateCq[] = {
    idr_new(0, Object::kCq),
    in(1, 4),
    in(2, 8),
    fd(3, Object::kCompChannel),
    in(4, 4),
    flags(5, false),
    out(6, 4),
    fd(7, Object::kAsyncEvent),
    kUhwInSpec,
    kUhwOutSpec,
};
inline constexpr AttrSpec kDestroyCq[] = {idr_gone(0, Object::kCq), out(1, 8)};
inline constexpr AttrSpec kCreateQp[] = {
    idr_new(attr::kCreateQpHandle, Object::kQp),
    idr(attr::kCreateQpXrcd, Object::kXrcd, false),
    idr(attr::kCreateQpPd, Object::kPd, false),
    idr(attr::kCreateQpSrq, Object::kSrq, false),
    idr(attr::kCreateQpSendCq, Object::kCq, false),
    idr(attr::kCreateQpRecvCq, Object::kCq, false),
    idr(attr::kCreateQpIndTable, Object::kRwqIndTable, false),
    in(attr::kCreateQpUserHandle, 8),
    struct_in(attr::kCreateQpCap, 20, 20),  // ib_uverbs_qp_cap
    number(attr::kCreateQpType),
    flags(attr::kCreateQpFlags, false),
    in(attr::kCreateQpSourceQpn, 4, false),
    fd(attr::kCreateQpEventFd, Object::kAsyncEvent),
    struct_out(attr::kCreateQpRespCap, 20, 20),
    out(attr::kCreateQpRespQpn, 4),
    kUhwInSpec,
    kUhwOutSpec,
};
inline constexpr AttrSpec kDestroyQp[] = {idr_gone(attr::kDestroyQpHandle, Object::kQp),
                                          out(attr::kDestroyQpResp, 4)};
inline constexpr AttrSpec kCreateSrq[] = {
    idr_new(attr::kCreateSrqHandle, Object::kSrq),
    idr(1, Object::kPd, true),
    idr(2, Object::kXrcd, false),
    idr(3, Object::kCq, false),
    in(4, 8),
    in(5, 4),
    in(6, 4),
    in(7, 4),
    in(8, 4, false),
    number(attr::kCreateSrqType),
    fd(10, Object::kAsyncEvent),
    out(11, 4),
    out(12, 4),
    out(13, 4, false),
    kUhwInSpec,
    kUhwOutSpec,
};
inline constexpr AttrSpec kDestroySrq[] = {idr_gone(0, Object::kSrq), out(1, 4)};
inline constexpr AttrSpec kDestroyAh[] = {idr_gone(attr::kDestroyAhHandle, Object::kAh)};
inline constexpr AttrSpec kDestroyMr[] = {idr_gone(0, Object::kMr)};
inline constexpr AttrSpec kAdviseMr[] = {
    idr(0, Object::kPd, true), number(1), flags(2, true),
    bytes_in(3, 16, true),  // array of ib_uverbs_sge
};
inline constexpr AttrSpec kQueryMr[] = {idr(0, Object::kMr, true), out(1, 4), out(2, 4), out(3, 8),
                                        out(4, 8, false)};
inline constexpr AttrSpec kRegDmabufMr[] = {
    idr_new(0, Object::kMr),
    idr(1, Object::kPd, true),
    in(2, 8),
    in(3, 8),
    in(4, 8),
    in(5, 4),  // the dma-buf's descriptor, by its number: only the caller's own context will do
    flags(6, false),
    out(7, 4),
    out(8, 4),
};
inline constexpr AttrSpec kDestroyMw[] = {idr_gone(0, Object::kMw)};
inline constexpr AttrSpec kDestroyXrcd[] = {idr_gone(0, Object::kXrcd)};
inline constexpr AttrSpec kAllocAsyncEvent[] = {fd_new(0, Object::kAsyncEvent)};

// mlx5, object UAR: a doorbell page.
inline constexpr AttrSpec kMlx5AllocUar[] = {
    idr_new(0x1000, Object::kMlx5Uar),
    number(0x1001),
    out(0x1002, 8),
    out(0x1003, 4),
    out(0x1004, 4),
};
inline constexpr AttrSpec kMlx5FreeUar[] = {idr_gone(attr::kFreeUarHandle, Object::kMlx5Uar)};

}  // namespace qmasq::vbond::uverbs::specs

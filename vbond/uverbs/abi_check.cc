// SPDX-License-Identifier: Apache-2.0
// No code: proves at compile time that this library's numbers are those of the kernel headers it is
// built with.
#include <linux/types.h>
#include <rdma/ib_user_ioctl_cmds.h>
#include <rdma/ib_user_ioctl_verbs.h>
#include <rdma/ib_user_verbs.h>
#include <rdma/mlx5_user_ioctl_cmds.h>
#include <rdma/rdma_user_ioctl_cmds.h>

#include <cstddef>

#include "vbond/uverbs/abi.h"
#include "vbond/uverbs/device.h"
#include "vbond/uverbs/doorbell.h"
#include "vbond/uverbs/qp.h"

namespace qmasq::vbond::uverbs {
namespace {

template <typename T>
constexpr bool same(T ours, long long kernel) {
  return static_cast<long long>(ours) == kernel;
}

static_assert(kVerbsIoctl == RDMA_VERBS_IOCTL);
static_assert(kHeaderSize == sizeof(ib_uverbs_ioctl_hdr));
static_assert(kAttrSize == sizeof(ib_uverbs_attr));
static_assert(offsetof(ib_uverbs_attr, data) == 8 && offsetof(ib_uverbs_attr, flags) == 4);
static_assert(offsetof(ib_uverbs_ioctl_hdr, driver_id) == 16);
static_assert(kAttrMandatory == UVERBS_ATTR_F_MANDATORY);
static_assert(kAttrValidOutput == UVERBS_ATTR_F_VALID_OUTPUT);
static_assert(kDriverNamespace == 1U << UVERBS_ID_NS_SHIFT);

static_assert(same(Object::kDevice, UVERBS_OBJECT_DEVICE));
static_assert(same(Object::kQp, UVERBS_OBJECT_QP));
static_assert(same(Object::kMr, UVERBS_OBJECT_MR));
static_assert(same(Object::kXrcd, UVERBS_OBJECT_XRCD));
static_assert(same(Object::kFlowAction, UVERBS_OBJECT_FLOW_ACTION));
static_assert(same(Object::kAsyncEvent, UVERBS_OBJECT_ASYNC_EVENT));
static_assert(kMethodInvokeWrite == UVERBS_METHOD_INVOKE_WRITE);
static_assert(kMethodInfoHandles == UVERBS_METHOD_INFO_HANDLES);
static_assert(kMethodQueryPort == UVERBS_METHOD_QUERY_PORT);
static_assert(kMethodGetContext == UVERBS_METHOD_GET_CONTEXT);
static_assert(kMethodQueryContext == UVERBS_METHOD_QUERY_CONTEXT);
static_assert(kMethodQueryGidTable == UVERBS_METHOD_QUERY_GID_TABLE);
static_assert(kMethodQueryGidEntry == UVERBS_METHOD_QUERY_GID_ENTRY);

static_assert(attr::kUhwIn == UVERBS_ATTR_UHW_IN && attr::kUhwOut == UVERBS_ATTR_UHW_OUT);
static_assert(attr::kCoreIn == UVERBS_ATTR_CORE_IN && attr::kCoreOut == UVERBS_ATTR_CORE_OUT);
static_assert(attr::kWriteCmd == UVERBS_ATTR_WRITE_CMD);
static_assert(attr::kQueryPortResp == UVERBS_ATTR_QUERY_PORT_RESP);
static_assert(attr::kGidTableRespNumEntries == UVERBS_ATTR_QUERY_GID_TABLE_RESP_NUM_ENTRIES);
static_assert(attr::kGidEntryResp == UVERBS_ATTR_QUERY_GID_ENTRY_RESP_ENTRY);
static_assert(attr::kCreateQpSrq == UVERBS_ATTR_CREATE_QP_SRQ_HANDLE);
static_assert(attr::kCreateQpUserHandle == UVERBS_ATTR_CREATE_QP_USER_HANDLE);
static_assert(attr::kCreateQpType == UVERBS_ATTR_CREATE_QP_TYPE);
static_assert(attr::kCreateQpEventFd == UVERBS_ATTR_CREATE_QP_EVENT_FD);
static_assert(attr::kCreateQpRespQpn == UVERBS_ATTR_CREATE_QP_RESP_QP_NUM);
static_assert(attr::kDestroyQpResp == UVERBS_ATTR_DESTROY_QP_RESP);
static_assert(attr::kCreateSrqType == UVERBS_ATTR_CREATE_SRQ_TYPE);
static_assert(attr::kCreateCqCqe == UVERBS_ATTR_CREATE_CQ_CQE);
static_assert(attr::kCreateCqUserHandle == UVERBS_ATTR_CREATE_CQ_USER_HANDLE);
static_assert(attr::kCreateCqCompChannel == UVERBS_ATTR_CREATE_CQ_COMP_CHANNEL);
static_assert(attr::kCreateCqCompVector == UVERBS_ATTR_CREATE_CQ_COMP_VECTOR);
static_assert(attr::kCreateCqRespCqe == UVERBS_ATTR_CREATE_CQ_RESP_CQE);
static_assert(attr::kDestroyHandle == UVERBS_ATTR_DESTROY_CQ_HANDLE);
static_assert(attr::kDestroyHandle == UVERBS_ATTR_DESTROY_SRQ_HANDLE);
static_assert(attr::kDestroyHandle == UVERBS_ATTR_DESTROY_MR_HANDLE);
static_assert(attr::kDestroyCqResp == UVERBS_ATTR_DESTROY_CQ_RESP);
static_assert(attr::kDestroySrqResp == UVERBS_ATTR_DESTROY_SRQ_RESP);
static_assert(kMethodDestroy == UVERBS_METHOD_CQ_DESTROY);
static_assert(kMethodDestroy == UVERBS_METHOD_SRQ_DESTROY);
static_assert(kMethodDestroy == UVERBS_METHOD_MR_DESTROY);
static_assert(kMethodQueryMr == UVERBS_METHOD_QUERY_MR);
static_assert(attr::kQueryMrHandle == UVERBS_ATTR_QUERY_MR_HANDLE);
static_assert(attr::kQueryMrRespIova == UVERBS_ATTR_QUERY_MR_RESP_IOVA);
static_assert(attr::kInfoHandlesObject == UVERBS_ATTR_INFO_OBJECT_ID);
static_assert(attr::kInfoHandlesList == UVERBS_ATTR_INFO_HANDLES_LIST);

static_assert(same(WriteCommand::kReregMr, IB_USER_VERBS_CMD_REREG_MR));
static_assert(same(WriteCommand::kCreateCompChannel, IB_USER_VERBS_CMD_CREATE_COMP_CHANNEL));
static_assert(same(WriteCommand::kReqNotifyCq, IB_USER_VERBS_CMD_REQ_NOTIFY_CQ));
static_assert(same(WriteCommand::kModifyQp, IB_USER_VERBS_CMD_MODIFY_QP));
static_assert(same(WriteCommand::kPostSend, IB_USER_VERBS_CMD_POST_SEND));
static_assert(same(WriteCommand::kOpenXrcd, IB_USER_VERBS_CMD_OPEN_XRCD));
static_assert(same(WriteCommand::kOpenQp, IB_USER_VERBS_CMD_OPEN_QP));
static_assert(kWriteCommands == IB_USER_VERBS_CMD_OPEN_QP + 1);
static_assert(same(WriteExCommand::kQueryDevice, IB_USER_VERBS_EX_CMD_QUERY_DEVICE));
static_assert(same(WriteExCommand::kModifyQp, IB_USER_VERBS_EX_CMD_MODIFY_QP));
static_assert(same(WriteExCommand::kCreateFlow, IB_USER_VERBS_EX_CMD_CREATE_FLOW));
static_assert(same(WriteExCommand::kModifyCq, IB_USER_VERBS_EX_CMD_MODIFY_CQ));
static_assert(kWriteExCommands == IB_USER_VERBS_EX_CMD_MODIFY_CQ + 1);
static_assert(kWriteExtended == IB_USER_VERBS_CMD_FLAG_EXTENDED);
static_assert(kWriteCommandMask == IB_USER_VERBS_CMD_COMMAND_MASK);

static_assert(same(DriverId::kMlx5, RDMA_DRIVER_MLX5) && same(DriverId::kHns, RDMA_DRIVER_HNS));
static_assert(same(DriverId::kRxe, RDMA_DRIVER_RXE) && same(DriverId::kSiw, RDMA_DRIVER_SIW));
static_assert(same(DriverId::kIrdma, RDMA_DRIVER_IRDMA) &&
              same(DriverId::kErdma, RDMA_DRIVER_ERDMA));
static_assert(same(QpType::kRc, IB_UVERBS_QPT_RC) && same(QpType::kUd, IB_UVERBS_QPT_UD));
static_assert(same(QpType::kRawPacket, IB_UVERBS_QPT_RAW_PACKET));
static_assert(same(QpType::kXrcTgt, IB_UVERBS_QPT_XRC_TGT));
static_assert(same(QpType::kDriver, IB_UVERBS_QPT_DRIVER));
static_assert(same(GidType::kRoceV2, IB_UVERBS_GID_TYPE_ROCE_V2));
static_assert(access::kRemoteAtomic == IB_UVERBS_ACCESS_REMOTE_ATOMIC);
static_assert(access::kMwBind == IB_UVERBS_ACCESS_MW_BIND);
static_assert(MLX5_IB_OBJECT_DEVX == 0x1000 && MLX5_IB_OBJECT_STEERING_ANCHOR == 0x1009);
static_assert(same(Object::kMlx5Uar, MLX5_IB_OBJECT_UAR));
static_assert(MLX5_IB_METHOD_UAR_OBJ_ALLOC == 0x1000 && MLX5_IB_METHOD_UAR_OBJ_DESTROY == 0x1001);
static_assert(MLX5_IB_ATTR_UAR_OBJ_ALLOC_TYPE == 0x1001 &&
              MLX5_IB_ATTR_UAR_OBJ_ALLOC_MMAP_OFFSET == 0x1002 &&
              MLX5_IB_ATTR_UAR_OBJ_ALLOC_MMAP_LENGTH == 0x1003 &&
              MLX5_IB_ATTR_UAR_OBJ_ALLOC_PAGE_ID == 0x1004);
static_assert(MLX5_IB_ATTR_QUERY_CONTEXT_RESP_UCTX == kDriverNamespace);

static_assert(kQpDestSize == sizeof(ib_uverbs_qp_dest));
static_assert(kModifyQpSize == sizeof(ib_uverbs_modify_qp));
static_assert(kExModifyQpSize == sizeof(ib_uverbs_ex_modify_qp));
static_assert(kQueryQpSize == sizeof(ib_uverbs_query_qp));
static_assert(kQueryQpRespSize == sizeof(ib_uverbs_query_qp_resp));
static_assert(kQpCapSize == sizeof(ib_uverbs_qp_cap));
static_assert(kCreateQpSize == sizeof(ib_uverbs_create_qp));
static_assert(kExCreateQpSize == sizeof(ib_uverbs_ex_create_qp));
static_assert(kCreateQpRespSize == sizeof(ib_uverbs_create_qp_resp));
static_assert(kGidEntrySize == sizeof(ib_uverbs_gid_entry));
static_assert(kQueryPortSize == sizeof(ib_uverbs_query_port));
static_assert(kQueryPortRespSize == sizeof(ib_uverbs_query_port_resp));
static_assert(kQueryPortRespExSize == sizeof(ib_uverbs_query_port_resp_ex));
static_assert(kQueryDeviceRespSize == sizeof(ib_uverbs_query_device_resp));
static_assert(kDoorbellSize == sizeof(ib_uverbs_cmd_hdr) + sizeof(ib_uverbs_post_send));
static_assert(kDoorbellRespSize == sizeof(ib_uverbs_post_send_resp));

}  // namespace
}  // namespace qmasq::vbond::uverbs

// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <linux/types.h>
#include <rdma/ib_user_ioctl_cmds.h>
#include <rdma/ib_user_ioctl_verbs.h>
#include <rdma/ib_user_verbs.h>

#include <cerrno>
#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <string_view>

#include "tests/unit/uverbs/wire.h"
#include "vbond/uverbs/verb.h"

namespace qmasq::vbond::uverbs {
namespace {

const Verb& verb_of(const Wire& wire) {
  auto call = decode_call(wire.bytes());
  EXPECT_TRUE(call);
  const Verb* verb = find_verb(*call);
  EXPECT_NE(verb, nullptr);
  return *verb;
}

const Verb& write_verb(std::uint32_t cmd) {
  return verb_of(Wire::command(cmd));
}
const Verb& ex_verb(std::uint32_t cmd) {
  return verb_of(Wire::command(cmd | kWriteExtended));
}

TEST(VerbTableTest, EveryRowIsFoundByItsKey) {
  for (const Verb& verb : all_verbs()) {
    if (verb.key.method == 0xffff) continue;  // rows for whole objects and the unknown
    const bool of_mlx5 = (verb.key.object & kDriverNamespace) != 0;
    const Wire wire =
        verb.key.form == Form::kIoctl   ? Wire(verb.key.object, verb.key.method, of_mlx5 ? 1 : 14)
        : verb.key.form == Form::kWrite ? Wire::command(verb.key.method)
                                        : Wire::command(verb.key.method | kWriteExtended);
    EXPECT_EQ(&verb_of(wire), &verb) << verb.name;
  }
}

TEST(VerbTableTest, RowsAreConsistent) {
  for (const Verb& verb : all_verbs()) {
    SCOPED_TRACE(verb.name);
    const bool refused = verb.verb_class == VerbClass::kRefused;
    EXPECT_EQ(refused, verb.refusal != 0);
    EXPECT_EQ(refused, verb.run_in == RunIn::kNowhere);
    EXPECT_EQ(refused, verb.attrs.empty());
    EXPECT_LE(verb.attrs.size(), 32U);  // check_attrs() keeps a bit for each
    if (refused) {
      EXPECT_EQ(verb.handler, Handler::kNone);
    }
    // Whatever carries an address is in the agent's hands.
    if (verb.verb_class == VerbClass::kAddress) {
      EXPECT_EQ(verb.run_in, RunIn::kAgent);
      EXPECT_NE(verb.handler, Handler::kNone);
    }
    std::set<std::uint16_t> ids;
    for (const AttrSpec& spec : verb.attrs) {
      EXPECT_TRUE(ids.insert(spec.id).second) << spec.id;
      EXPECT_LE(spec.min, spec.max);
      if (spec.kind == Kind::kFdNew) {
        EXPECT_EQ(verb.handler, Handler::kMakeFd);
      }
    }
  }
}

// Of these alone can another thread make another verb.
TEST(VerbTableTest, OnlyWhatPinsMemoryRunsInTheTenant) {
  std::set<std::string_view> anywhere;
  std::set<std::string_view> on_hardware;
  for (const Verb& verb : all_verbs()) {
    if (verb.run_in == RunIn::kTenant) anywhere.insert(verb.name);
    if (verb.run_in == RunIn::kAgentOnSoftwareNic) on_hardware.insert(verb.name);
  }
  EXPECT_EQ(anywhere, (std::set<std::string_view>{"REG_MR", "REREG_MR", "REG_DMABUF_MR"}));
  EXPECT_EQ(on_hardware, (std::set<std::string_view>{"ADVISE_MR", "CREATE_CQ", "CREATE_QP",
                                                     "CREATE_SRQ", "CREATE_XSRQ", "EX_CREATE_CQ",
                                                     "EX_CREATE_QP", "MODIFY_SRQ", "RESIZE_CQ"}));
}

TEST(VerbTableTest, WhatFreesMakesNothing) {
  std::set<std::string_view> freeing;
  for (const Verb& verb : all_verbs()) {
    if (!verb.frees) continue;
    freeing.insert(verb.name);
    for (const AttrSpec& spec : verb.attrs)
      EXPECT_NE(spec.kind, Kind::kIdrNew) << verb.name;
  }
  EXPECT_EQ(freeing, (std::set<std::string_view>{"CLOSE_XRCD", "DEALLOC_MW", "DEALLOC_PD",
                                                 "DEREG_MR", "DESTROY_AH", "DESTROY_CQ",
                                                 "DESTROY_QP", "DESTROY_SRQ", "MLX5_FREE_UAR"}));
}

TEST(VerbTableTest, EveryWriteCommandOfTheAbiHasARow) {
  for (std::uint32_t cmd = 0; cmd <= IB_USER_VERBS_CMD_OPEN_QP; ++cmd) {
    EXPECT_NE(write_verb(cmd).name, "UNKNOWN_WRITE") << cmd;
  }
  for (std::uint32_t cmd = IB_USER_VERBS_CMD_OPEN_QP + 1; cmd <= 0xff; ++cmd) {
    EXPECT_EQ(write_verb(cmd).name, "UNKNOWN_WRITE") << cmd;
    EXPECT_EQ(write_verb(cmd).refusal, EOPNOTSUPP) << cmd;
  }
  const std::set<std::uint32_t> extended = {
      IB_USER_VERBS_EX_CMD_QUERY_DEVICE,        IB_USER_VERBS_EX_CMD_CREATE_CQ,
      IB_USER_VERBS_EX_CMD_CREATE_QP,           IB_USER_VERBS_EX_CMD_MODIFY_QP,
      IB_USER_VERBS_EX_CMD_CREATE_FLOW,         IB_USER_VERBS_EX_CMD_DESTROY_FLOW,
      IB_USER_VERBS_EX_CMD_CREATE_WQ,           IB_USER_VERBS_EX_CMD_MODIFY_WQ,
      IB_USER_VERBS_EX_CMD_DESTROY_WQ,          IB_USER_VERBS_EX_CMD_CREATE_RWQ_IND_TBL,
      IB_USER_VERBS_EX_CMD_DESTROY_RWQ_IND_TBL, IB_USER_VERBS_EX_CMD_MODIFY_CQ};
  for (std::uint32_t cmd = 0; cmd <= 0xff; ++cmd) {
    EXPECT_EQ(ex_verb(cmd).name != "UNKNOWN_EX", extended.contains(cmd)) << cmd;
  }
}

TEST(VerbTableTest, EveryIoctlMethodOfTheAbiHasARow) {
  const std::set<std::pair<int, int>> methods = {
      {UVERBS_OBJECT_DEVICE, UVERBS_METHOD_INFO_HANDLES},
      {UVERBS_OBJECT_DEVICE, UVERBS_METHOD_QUERY_PORT},
      {UVERBS_OBJECT_DEVICE, UVERBS_METHOD_GET_CONTEXT},
      {UVERBS_OBJECT_DEVICE, UVERBS_METHOD_QUERY_CONTEXT},
      {UVERBS_OBJECT_DEVICE, UVERBS_METHOD_QUERY_GID_TABLE},
      {UVERBS_OBJECT_DEVICE, UVERBS_METHOD_QUERY_GID_ENTRY},
      {UVERBS_OBJECT_PD, UVERBS_METHOD_PD_DESTROY},
      {UVERBS_OBJECT_CQ, UVERBS_METHOD_CQ_CREATE},
      {UVERBS_OBJECT_CQ, UVERBS_METHOD_CQ_DESTROY},
      {UVERBS_OBJECT_QP, UVERBS_METHOD_QP_CREATE},
      {UVERBS_OBJECT_QP, UVERBS_METHOD_QP_DESTROY},
      {UVERBS_OBJECT_SRQ, UVERBS_METHOD_SRQ_CREATE},
      {UVERBS_OBJECT_SRQ, UVERBS_METHOD_SRQ_DESTROY},
      {UVERBS_OBJECT_AH, UVERBS_METHOD_AH_DESTROY},
      {UVERBS_OBJECT_MR, UVERBS_METHOD_DM_MR_REG},
      {UVERBS_OBJECT_MR, UVERBS_METHOD_MR_DESTROY},
      {UVERBS_OBJECT_MR, UVERBS_METHOD_ADVISE_MR},
      {UVERBS_OBJECT_MR, UVERBS_METHOD_QUERY_MR},
      {UVERBS_OBJECT_MR, UVERBS_METHOD_REG_DMABUF_MR},
      {UVERBS_OBJECT_MW, UVERBS_METHOD_MW_DESTROY},
      {UVERBS_OBJECT_FLOW, UVERBS_METHOD_FLOW_DESTROY},
      {UVERBS_OBJECT_XRCD, UVERBS_METHOD_XRCD_DESTROY},
      {UVERBS_OBJECT_RWQ_IND_TBL, UVERBS_METHOD_RWQ_IND_TBL_DESTROY},
      {UVERBS_OBJECT_WQ, UVERBS_METHOD_WQ_CREATE},
      {UVERBS_OBJECT_WQ, UVERBS_METHOD_WQ_DESTROY},
      {UVERBS_OBJECT_FLOW_ACTION, UVERBS_METHOD_FLOW_ACTION_ESP_CREATE},
      {UVERBS_OBJECT_FLOW_ACTION, UVERBS_METHOD_FLOW_ACTION_DESTROY},
      {UVERBS_OBJECT_FLOW_ACTION, UVERBS_METHOD_FLOW_ACTION_ESP_MODIFY},
      {UVERBS_OBJECT_DM, UVERBS_METHOD_DM_ALLOC},
      {UVERBS_OBJECT_DM, UVERBS_METHOD_DM_FREE},
      {UVERBS_OBJECT_COUNTERS, UVERBS_METHOD_COUNTERS_CREATE},
      {UVERBS_OBJECT_COUNTERS, UVERBS_METHOD_COUNTERS_DESTROY},
      {UVERBS_OBJECT_COUNTERS, UVERBS_METHOD_COUNTERS_READ},
      {UVERBS_OBJECT_ASYNC_EVENT, UVERBS_METHOD_ASYNC_EVENT_ALLOC}};
  for (int object = 0; object < 40; ++object) {
    for (int method = 0; method < 40; ++method) {
      if (object == UVERBS_OBJECT_DEVICE && method == UVERBS_METHOD_INVOKE_WRITE) continue;
      const Verb& verb =
          verb_of(Wire(static_cast<std::uint16_t>(object), static_cast<std::uint16_t>(method)));
      EXPECT_EQ(verb.name != "UNKNOWN", methods.contains({object, method}))
          << object << "/" << method;
      if (verb.name == "UNKNOWN") {
        EXPECT_EQ(verb.refusal, EOPNOTSUPP);
      }
    }
  }
}

TEST(VerbTableTest, DriverNamespacesAreRefusedByName) {
  const auto name = [](std::uint16_t object, std::uint16_t method, DriverId driver) {
    const Verb& verb = verb_of(Wire(object, method, static_cast<std::uint32_t>(driver)));
    EXPECT_EQ(verb.verb_class, VerbClass::kRefused);
    EXPECT_EQ(verb.refusal, EOPNOTSUPP);
    return verb.name;
  };
  EXPECT_EQ(name(0x1000, 0x1000, DriverId::kMlx5), "MLX5_DEVX");
  EXPECT_EQ(name(0x1001, 0x1002, DriverId::kMlx5), "MLX5_DEVX_OBJ");
  EXPECT_EQ(name(0x1009, 0x1000, DriverId::kMlx5), "MLX5_STEERING_ANCHOR");
  EXPECT_EQ(name(0x100a, 0x1000, DriverId::kMlx5), "DRIVER_PRIVATE");
  EXPECT_EQ(name(0x1000, 0x1000, DriverId::kBnxtRe), "DRIVER_PRIVATE");
  EXPECT_EQ(name(0, 0x1000, DriverId::kMlx5), "DRIVER_PRIVATE");  // its own QUERY_PORT
  EXPECT_EQ(name(0xffff, 0xffff, DriverId::kMlx5), "DRIVER_PRIVATE");
  EXPECT_EQ(name(0x2000, 0, DriverId::kMlx5), "UNKNOWN");
}

TEST(VerbTableTest, OfMlx5sOwnObjectsTheDoorbellPageIsOffered) {
  const auto verb = [](std::uint16_t object, std::uint16_t method, std::uint32_t driver) -> auto& {
    return verb_of(Wire(object, method, driver));
  };
  EXPECT_EQ(verb(0x1008, 0x1000, 1).name, "MLX5_ALLOC_UAR");
  EXPECT_EQ(verb(0x1008, 0x1000, 1).run_in, RunIn::kAgent);
  EXPECT_EQ(verb(0x1008, 0x1001, 1).name, "MLX5_FREE_UAR");
  for (const std::uint16_t method : {0x0000, 0x0001, 0x1002, 0x3000, 0xffff}) {
    EXPECT_EQ(verb(0x1008, method, 1).name, "MLX5_UAR") << method;
    EXPECT_EQ(verb(0x1008, method, 1).verb_class, VerbClass::kRefused) << method;
  }
  EXPECT_EQ(verb(0x1008, 0x1000, 14).name, "DRIVER_PRIVATE");
  EXPECT_EQ(verb(0x3008, 0x1000, 1).name, "DRIVER_PRIVATE");
}

TEST(VerbTableTest, ClassesOfTheDesign) {
  const auto expect = [](const Verb& verb, VerbClass verb_class, RunIn run_in, Handler handler) {
    EXPECT_EQ(verb.verb_class, verb_class) << verb.name;
    EXPECT_EQ(verb.run_in, run_in) << verb.name;
    EXPECT_EQ(verb.handler, handler) << verb.name;
  };
  using enum VerbClass;
  using enum RunIn;
  expect(write_verb(26), kAddress, kAgent, Handler::kModifyQp);
  expect(ex_verb(26), kAddress, kAgent, Handler::kModifyQp);
  expect(write_verb(25), kAddress, kAgent, Handler::kQueryQp);
  expect(verb_of(Wire(0, 5)), kAddress, kAgent, Handler::kQueryGidTable);
  expect(verb_of(Wire(0, 6)), kAddress, kAgent, Handler::kQueryGidEntry);
  expect(verb_of(Wire(0, 2)), kAddress, kAgent, Handler::kQueryPort);
  expect(write_verb(2), kAddress, kAgent, Handler::kQueryPort);
  expect(verb_of(Wire(4, 0)), kMemory, kAgentOnSoftwareNic, Handler::kCreateQp);
  expect(write_verb(24), kMemory, kAgentOnSoftwareNic, Handler::kCreateQp);
  expect(ex_verb(24), kMemory, kAgentOnSoftwareNic, Handler::kCreateQp);
  expect(verb_of(Wire(4, 1)), kNeutral, kAgent, Handler::kDestroyQp);
  expect(write_verb(9), kMemory, kTenant, Handler::kRegMr);
  expect(write_verb(17), kNeutral, kAgent, Handler::kMakeFd);
  expect(verb_of(Wire(16, 0)), kNeutral, kAgent, Handler::kMakeFd);
  expect(write_verb(23), kNeutral, kAgent, Handler::kNone);  // rxe arms its CQs so
  expect(write_verb(37), kNeutral, kAgent, Handler::kOpenXrcd);
  expect(write_verb(5), kAddress, kAgent, Handler::kCreateAh);
  expect(write_verb(8), kNeutral, kAgent, Handler::kDestroyAh);
  expect(verb_of(Wire(6, 0)), kNeutral, kAgent, Handler::kDestroyAh);
  for (const std::uint32_t cmd : {28, 29, 30, 31, 36, 40}) {
    expect(write_verb(cmd), kRefused, kNowhere, Handler::kNone);
  }
}

// Least sizes of CORE_IN and CORE_OUT, from the uapi structures as the kernel's
// uverbs_def_write_intf names them.
#define END(type, member) (offsetof(type, member) + sizeof(type::member))
TEST(VerbTableTest, CoreSizesAreThoseOfTheStructures) {
  const struct {
    const Verb& verb;
    std::size_t in;
    std::size_t out;
  } rows[] = {
      {write_verb(0), sizeof(ib_uverbs_get_context), sizeof(ib_uverbs_get_context_resp)},
      {write_verb(1), sizeof(ib_uverbs_query_device), sizeof(ib_uverbs_query_device_resp)},
      {write_verb(2), sizeof(ib_uverbs_query_port), sizeof(ib_uverbs_query_port_resp)},
      {write_verb(3), sizeof(ib_uverbs_alloc_pd), sizeof(ib_uverbs_alloc_pd_resp)},
      {write_verb(4), sizeof(ib_uverbs_dealloc_pd), 0},
      {write_verb(5), sizeof(ib_uverbs_create_ah), sizeof(ib_uverbs_create_ah_resp)},
      {write_verb(8), sizeof(ib_uverbs_destroy_ah), 0},
      {write_verb(9), sizeof(ib_uverbs_reg_mr), sizeof(ib_uverbs_reg_mr_resp)},
      {write_verb(11), sizeof(ib_uverbs_rereg_mr), sizeof(ib_uverbs_rereg_mr_resp)},
      {write_verb(13), sizeof(ib_uverbs_dereg_mr), 0},
      {write_verb(14), sizeof(ib_uverbs_alloc_mw), sizeof(ib_uverbs_alloc_mw_resp)},
      {write_verb(16), sizeof(ib_uverbs_dealloc_mw), 0},
      {write_verb(17), sizeof(ib_uverbs_create_comp_channel),
       sizeof(ib_uverbs_create_comp_channel_resp)},
      {write_verb(18), sizeof(ib_uverbs_create_cq), sizeof(ib_uverbs_create_cq_resp)},
      {write_verb(19), sizeof(ib_uverbs_resize_cq), sizeof(ib_uverbs_resize_cq_resp)},
      {write_verb(20), sizeof(ib_uverbs_destroy_cq), sizeof(ib_uverbs_destroy_cq_resp)},
      {write_verb(23), sizeof(ib_uverbs_req_notify_cq), 0},
      {write_verb(24), sizeof(ib_uverbs_create_qp), sizeof(ib_uverbs_create_qp_resp)},
      {write_verb(25), sizeof(ib_uverbs_query_qp), sizeof(ib_uverbs_query_qp_resp)},
      {write_verb(26), sizeof(ib_uverbs_modify_qp), 0},
      {write_verb(27), sizeof(ib_uverbs_destroy_qp), sizeof(ib_uverbs_destroy_qp_resp)},
      {write_verb(32), sizeof(ib_uverbs_create_srq), sizeof(ib_uverbs_create_srq_resp)},
      {write_verb(33), sizeof(ib_uverbs_modify_srq), 0},
      {write_verb(34), sizeof(ib_uverbs_query_srq), sizeof(ib_uverbs_query_srq_resp)},
      {write_verb(35), sizeof(ib_uverbs_destroy_srq), sizeof(ib_uverbs_destroy_srq_resp)},
      {write_verb(37), sizeof(ib_uverbs_open_xrcd), sizeof(ib_uverbs_open_xrcd_resp)},
      {write_verb(38), sizeof(ib_uverbs_close_xrcd), 0},
      {write_verb(39), sizeof(ib_uverbs_create_xsrq), sizeof(ib_uverbs_create_srq_resp)},
      {ex_verb(1), END(ib_uverbs_ex_query_device, reserved),
       END(ib_uverbs_ex_query_device_resp, response_length)},
      {ex_verb(18), END(ib_uverbs_ex_create_cq, reserved),
       END(ib_uverbs_ex_create_cq_resp, response_length)},
      {ex_verb(24), END(ib_uverbs_ex_create_qp, comp_mask),
       END(ib_uverbs_ex_create_qp_resp, response_length)},
      {ex_verb(26), END(ib_uverbs_ex_modify_qp, base),
       END(ib_uverbs_ex_modify_qp_resp, response_length)},
      {ex_verb(57), sizeof(ib_uverbs_ex_modify_cq), 0},
  };
  std::set<const Verb*> seen;
  for (const auto& row : rows) {
    EXPECT_EQ(row.verb.core_in_min, row.in) << row.verb.name;
    EXPECT_EQ(row.verb.core_out_min, row.out) << row.verb.name;
    seen.insert(&row.verb);
  }
  for (const Verb& verb : all_verbs()) {
    if (verb.key.form == Form::kIoctl || verb.verb_class == VerbClass::kRefused) continue;
    EXPECT_TRUE(seen.contains(&verb)) << verb.name << " is not compared";
  }
}

int check(const Wire& wire, UnknownAttrs unknown = UnknownAttrs::kDrop) {
  auto call = decode_call(wire.bytes());
  EXPECT_TRUE(call);
  return check_attrs(*call, *find_verb(*call), unknown);
}

TEST(CheckAttrsTest, WhatLibibverbsSendsPasses) {
  // The probe at open comes as far as the kernel's ENOSPC.
  EXPECT_EQ(check(Wire::command(1)), ENOSPC);
  EXPECT_EQ(check(Wire::command(1).attr(0, 8, 0).attr(1, 176, 0x1000)), 0);
  EXPECT_EQ(check(Wire::command(26).attr(0, 112, 0x1000)), 0);
  EXPECT_EQ(check(Wire(0, 6).attr(0, 8, 1).attr(1, 8, 0).attr(2, 4, 0).attr(3, 32, 0x1000)), 0);
  EXPECT_EQ(check(Wire(0, 5).attr(0, 8, 32).attr(1, 4, 0).attr(2, 3200, 0x1000).attr(3, 8, 0x9)),
            0);
  EXPECT_EQ(check(Wire(0, 2).attr(0, 8, 1).attr(1, 48, 0x1000)), 0);
  EXPECT_EQ(check(Wire(0, 3).attr(0, 4, 0x1000).attr(1, 8, 0x2000)), 0);
  EXPECT_EQ(check(Wire(16, 0).attr(0, 0, 0)), 0);
  EXPECT_EQ(check(Wire(4, 1).attr(0, 0, 3).attr(1, 4, 0x1000)), 0);
}

TEST(CheckAttrsTest, RefusedVerbsGiveTheirRefusal) {
  EXPECT_EQ(check(Wire::command(30)), EOPNOTSUPP);
  EXPECT_EQ(check(Wire(99, 3).attr(7, 7, 7)), EOPNOTSUPP);
}

TEST(CheckAttrsTest, KernelErrors) {
  const auto entry = [] { return Wire(0, 6).attr(0, 8, 1).attr(1, 8, 0).attr(2, 4, 0); };
  EXPECT_EQ(check(entry()), EINVAL);                                    // no response
  EXPECT_EQ(check(entry().attr(3, 31, 0x1000)), EINVAL);                // too short
  EXPECT_EQ(check(entry().attr(3, 64, 0x1000)), 0);                     // may grow
  EXPECT_EQ(check(entry().attr(3, 32, 0x1000).attr(1, 8, 5)), EINVAL);  // twice
  EXPECT_EQ(check(entry().attr(3, 32, 0x1000, 1, 0x0001)), EINVAL);     // elem_id
  EXPECT_EQ(check(entry().attr(3, 32, 0x1000, 1, 0x0100)), EINVAL);     // reserved
  EXPECT_EQ(check(entry().attr(3, 32, 0x1000).attr(9, 4, 0)), EPROTONOSUPPORT);
  EXPECT_EQ(check(entry().attr(3, 32, 0x1000).attr(9, 4, 0, 0)), 0);  // optional: dropped
  EXPECT_EQ(check(entry().attr(3, 32, 0x1000).attr(9, 4, 0, 0), UnknownAttrs::kRefuse),
            EPROTONOSUPPORT);
  EXPECT_EQ(check(Wire(0, 6).attr(2, 5, 0)), EINVAL);                     // flags of 5 bytes
  EXPECT_EQ(check(Wire(0, 6).attr(0, 4, 1)), EINVAL);                     // number of 4 bytes
  EXPECT_EQ(check(Wire(4, 1).attr(0, 4, 3).attr(1, 4, 0x1000)), EINVAL);  // handle with a length
  EXPECT_EQ(check(Wire(4, 1).attr(0, 0, 3).attr(1, 8, 0x1000)), EINVAL);  // fixed size
  EXPECT_EQ(check(Wire::command(26).attr(0, 111, 0x1000)), ENOSPC);
  EXPECT_EQ(check(Wire::command(25).attr(0, 16, 0x1000).attr(1, 127, 0x2000)), ENOSPC);
  EXPECT_EQ(check(Wire::command(26).attr(0, 3, 0)), EINVAL);  // CORE_IN below 4
  EXPECT_EQ(check(Wire::command(26).attr(2, 8, 25).attr(0, 112, 0x1000)), EINVAL);  // two commands
  // UHW belongs to methods that have driver data.
  EXPECT_EQ(check(entry().attr(3, 32, 0x1000).attr(0x1000, 4, 0)), EPROTONOSUPPORT);
}

// README.md shows the table in full. To renew it, run this test and paste what it prints.
std::string readme_table() {
  std::ostringstream out;
  out << "| verb | form | number | class | runs in | handler |\n|---|---|---|---|---|---|\n";
  for (const Verb& verb : all_verbs()) {
    out << "| " << verb.name << " | " << to_string(verb.key.form) << " | ";
    const bool any = verb.key.method == 0xffff;
    if (verb.key.form != Form::kIoctl) {
      out << (any ? "any" : std::to_string(verb.key.method));
    } else if (verb.key.object == 0xffff) {
      out << "any";
    } else if ((verb.key.object & kDriverNamespace) != 0) {
      out << "0x" << std::hex << verb.key.object << "/";
      if (any) {
        out << "any";
      } else {
        out << "0x" << verb.key.method;
      }
      out << std::dec;
    } else {
      out << verb.key.object << "/" << verb.key.method;
    }
    out << " | " << to_string(verb.verb_class);
    if (verb.refusal != 0) out << (verb.refusal == EOPNOTSUPP ? " EOPNOTSUPP" : " EPERM");
    out << " | " << to_string(verb.run_in) << " | "
        << (verb.handler == Handler::kNone ? "" : to_string(verb.handler)) << " |\n";
  }
  return out.str();
}

TEST(VerbTableTest, ReadmeShowsTheTable) {
  std::ifstream file("vbond/uverbs/README.md");
  ASSERT_TRUE(file) << "run from the root of the source tree";
  std::stringstream text;
  text << file.rdbuf();
  EXPECT_NE(text.str().find(readme_table()), std::string::npos)
      << "vbond/uverbs/README.md is stale. Its table should be:\n"
      << readme_table();
}

}  // namespace
}  // namespace qmasq::vbond::uverbs

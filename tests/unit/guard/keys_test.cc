// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <cstring>
#include <set>
#include <string>

#include "vbond/guard/violation.h"
#include "vbond/uverbs/verb.h"

namespace qmasq::vbond {
namespace {

using ::testing::HasSubstr;

TEST(MethodKeys, AreTheKernels) {
  // uapi_key_obj(id) | uapi_key_ioctl_method(id), by hand from include/rdma/uverbs_ioctl.h.
  EXPECT_EQ(method_key(0, 0), 0x40U);                               // DEVICE, INVOKE_WRITE
  EXPECT_EQ(method_key(0, 3), 4U << 6);                             // DEVICE, GET_CONTEXT
  EXPECT_EQ(method_key(7, 4), (7U << 11) | (5U << 6));              // MR, REG_DMABUF_MR
  EXPECT_EQ(method_key(0x1008, 0x1000), (28U << 11) | (22U << 6));  // MLX5_UAR, ALLOC
}

TEST(MethodKeys, OfNothingAreZero) {
  EXPECT_EQ(method_key(20, 0), 0U);
  EXPECT_EQ(method_key(0, 21), 0U);
  EXPECT_EQ(method_key(0x1000 + 12, 0x1000), 0U);
  EXPECT_EQ(method_key(0x1000, 0x1000 + 8), 0U);
  EXPECT_EQ(method_key(0xffff, 0xffff), 0U);
}

TEST(MethodKeys, TellAllVerbsApart) {
  std::set<std::uint32_t> keys;
  for (const uverbs::Verb& verb : uverbs::all_verbs()) {
    if (verb.key.form != uverbs::Form::kIoctl || verb.verb_class == uverbs::VerbClass::kRefused)
      continue;
    const std::uint32_t key = method_key(verb.key.object, verb.key.method);
    EXPECT_NE(key, 0U) << verb.name;
    EXPECT_TRUE(keys.insert(key).second) << verb.name;
    EXPECT_EQ(verb_of_method(key), verb.name);
  }
}

// The kernel's side sees the very number that the agent's does, and takes the agent's own command
// for no verb.
TEST(SharedLayout, IsWhatBothSidesTakeItFor) {
  EXPECT_EQ(QMASQ_GUARD_VERBS, uverbs::kVerbsIoctl);
  EXPECT_NE(QMASQ_GUARD_BIND, QMASQ_GUARD_VERBS);
  EXPECT_EQ(sizeof(qmasq_guard_slot), 64U) << "a cache line each";
  EXPECT_EQ(sizeof(qmasq_guard_slot::argument), sizeof(Guard::Call::argument));
}

TEST(Violations, SayWhichVerbItWas) {
  qmasq_guard_event event{};
  event.context = 7;
  event.pid = 100;
  event.tid = 101;
  event.what = QMASQ_DID_COMMAND;
  event.command = 26;
  std::snprintf(event.name, sizeof event.name, "bad\x01name");
  Violation violation = violation_of(event);
  EXPECT_EQ(violation.context, 7U);
  EXPECT_EQ(violation.pid, 100);
  EXPECT_EQ(violation.tid, 101);
  EXPECT_STREQ(violation.what, "command");
  EXPECT_THAT(violation.reason, HasSubstr("MODIFY_QP was called"));
  EXPECT_EQ(violation.command, "bad?name");

  event.command = 0x80000000U | 26U;
  EXPECT_THAT(violation_of(event).reason, HasSubstr("EX_MODIFY_QP"));
  event.command = 200;
  EXPECT_THAT(violation_of(event).reason, HasSubstr("command 0xc8"));
  event.what = QMASQ_DID_METHOD;
  event.method = method_key(0, 5);
  EXPECT_THAT(violation_of(event).reason, HasSubstr("QUERY_GID_TABLE"));
  event.what = 99;
  EXPECT_STREQ(violation_of(event).what, "unknown");
}

// A name of full length has no end.
TEST(Violations, BoundNames) {
  qmasq_guard_event event{};
  event.what = QMASQ_DID_WRITE;
  std::memset(event.name, 'x', sizeof event.name);
  EXPECT_EQ(violation_of(event).command, std::string(sizeof event.name, 'x'));
}

}  // namespace
}  // namespace qmasq::vbond

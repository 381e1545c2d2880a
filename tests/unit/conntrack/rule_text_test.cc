// SPDX-License-Identifier: Apache-2.0
#include "conntrack/rule_text.h"

#include <gtest/gtest.h>

#include "tests/unit/conntrack/values.h"

namespace qmasq::conntrack {
namespace {

using namespace test;  // NOLINT: all of this is about values

TEST(RuleText, SaysARuleInOneLine) {
  EXPECT_EQ(to_string(allow_in("r1", sg(7))), "in allow 100 any from sg:g7");
  Rule rule = allow_in("r2", cidr("10.0.0.0/8"), 2000);
  rule.transport = Transport::kRc;
  rule.operations = {Operations::kSend | Operations::kRead};
  rule.log = true;
  rule.shadow = true;
  EXPECT_EQ(to_string(rule), "in allow 2000 rc from 10.0.0.0/8 ops send,read log shadow");
  EXPECT_EQ(to_string(deny_out("r3", any(), 0)), "out deny 0 any to any");
}

TEST(RuleText, OperationsThereAndBack) {
  for (std::uint8_t bits = 1; bits <= Operations::kAll; ++bits) {
    auto back = parse_operations(to_string(Operations{bits}));
    ASSERT_TRUE(back) << static_cast<int>(bits);
    EXPECT_EQ(back->bits, bits);
  }
  EXPECT_EQ(to_string(Operations{}), "none");
  for (const char* text : {"", "none", "send,", ",send", "send,send", "SEND", "send read", "x"})
    EXPECT_FALSE(parse_operations(text)) << text;
}

TEST(RuleText, Transports) {
  for (Transport transport : {Transport::kRc, Transport::kUc, Transport::kUd, Transport::kXrc})
    EXPECT_EQ(parse_transport(to_string(transport)).value(), transport);
  EXPECT_EQ(parse_transport("any").value(), std::nullopt);
  EXPECT_FALSE(parse_transport("tcp"));
  EXPECT_FALSE(parse_transport(""));
}

}  // namespace
}  // namespace qmasq::conntrack

// SPDX-License-Identifier: Apache-2.0
#include "conntrack/verdict.h"

#include <gtest/gtest.h>

#include "tests/unit/conntrack/values.h"

namespace qmasq::conntrack {
namespace {

using namespace test;  // NOLINT: all of this is about values

// Two endpoints: 10.0.0.1 with the first groups, 10.0.0.2 with the second.
struct Pair {
  Pair(const std::vector<Group>& first_groups, const std::vector<Group>& second_groups)
      : first(set_of(first_groups)), second(set_of(second_groups)) {}

  [[nodiscard]] Verdict judge(Transport transport = Transport::kRc) const {
    return evaluate(first->party(first_address), second->party(second_address), transport);
  }
  GroupSetPtr first;
  GroupSetPtr second;
  IpAddress first_address = ip("10.0.0.1");
  IpAddress second_address = ip("10.0.0.2");
};

TEST(Verdict, NothingComesInByDefault) {
  Pair pair({}, {});
  const Verdict verdict = pair.judge();
  EXPECT_FALSE(verdict.allowed);
  EXPECT_TRUE(verdict.first_opens.egress.admits);
  EXPECT_FALSE(verdict.first_opens.ingress.admits);
  EXPECT_EQ(explain(verdict, "vpcs/blue/endpoints/a", "vpcs/blue/endpoints/b"),
            "vpcs/blue/endpoints/b does not admit vpcs/blue/endpoints/a: no rule matches: default "
            "deny in of vpcs/blue/endpoints/b; and vpcs/blue/endpoints/a does not admit "
            "vpcs/blue/endpoints/b: no rule matches: default deny in of vpcs/blue/endpoints/a");
}

TEST(Verdict, OneSideThatMayOpenIsEnough) {
  Rule rule = allow_in("r1", sg(1));
  rule.operations = {Operations::kSend | Operations::kRead};
  Pair pair({group(1, {})}, {group(2, {rule})});
  const Verdict verdict = pair.judge();
  EXPECT_TRUE(verdict.allowed);
  EXPECT_TRUE(verdict.first_opens.open());
  EXPECT_FALSE(verdict.second_opens.open());
  // The second's rule speaks for its memory; the first opened by default, with all.
  EXPECT_EQ(verdict.on_second, rule.operations);
  EXPECT_EQ(verdict.on_first, Operations::all());
}

TEST(Verdict, BothHostsComeToTheSame) {
  Rule rule = allow_in("r1", sg(1));
  rule.operations = {Operations::kRead};
  Pair here({group(1, {deny_out("r1", cidr("10.0.0.3/32"))})}, {group(2, {rule})});
  Verdict there = evaluate(here.second->party(here.second_address),
                           here.first->party(here.first_address), Transport::kRc);
  const Verdict verdict = here.judge();
  EXPECT_EQ(there.allowed, verdict.allowed);
  EXPECT_EQ(there.on_first, verdict.on_second);
  EXPECT_EQ(there.on_second, verdict.on_first);
  EXPECT_EQ(there.second_opens, verdict.first_opens);
}

TEST(Verdict, BothOpeningsGiveTheUnion) {
  Rule in = allow_in("in", any());
  in.operations = {Operations::kRead};
  Rule out = allow_out("out", any());
  out.operations = {Operations::kWrite};
  Pair pair({group(1, {in, out})}, {group(2, {in, out})});
  const Verdict verdict = pair.judge();
  EXPECT_EQ(verdict.on_first, (Operations{Operations::kRead | Operations::kWrite}));
  EXPECT_EQ(verdict.on_second, (Operations{Operations::kRead | Operations::kWrite}));
}

TEST(Verdict, HighestPriorityDecidesAndDenyGoesFirstAmongEquals) {
  auto admits = [](std::vector<Rule> rules) {
    return Pair({group(1, {})}, {group(2, std::move(rules))}).judge().first_opens.ingress;
  };
  EXPECT_TRUE(admits({allow_in("a", any(), 10), deny_in("d", any(), 9)}).admits);
  EXPECT_FALSE(admits({allow_in("a", any(), 9), deny_in("d", any(), 10)}).admits);
  EXPECT_FALSE(admits({allow_in("a", any(), 10), deny_in("d", any(), 10)}).admits);
  // However specific the remote is.
  EXPECT_FALSE(admits({allow_in("a", cidr("10.0.0.1/32"), 10), deny_in("d", any(), 10)}).admits);
  EXPECT_FALSE(admits({allow_in("a", sg(1), 9), deny_in("d", cidr("10.0.0.0/8"), 10)}).admits);
  EXPECT_TRUE(
      admits({allow_in("a", cidr("0.0.0.0/0"), 11), deny_in("d", cidr("10.0.0.1/32"), 10)}).admits);
}

TEST(Verdict, RulesOfOnePriorityPermitTogether) {
  Rule read = allow_in("read", sg(1));
  read.operations = {Operations::kRead};
  Rule write = allow_in("write", cidr("10.0.0.0/24"));
  write.operations = {Operations::kWrite};
  write.log = true;
  const Pair one({group(1, {})}, {group(2, {read, write})});
  const auto decision = one.judge().first_opens.ingress;
  EXPECT_EQ(decision.operations, (Operations{Operations::kRead | Operations::kWrite}));
  EXPECT_TRUE(decision.log);
  EXPECT_EQ(decision.deciding_rule()->id, "read");
  // Of several groups, too.
  const Pair two({group(1, {})}, {group(2, {write}), group(3, {read})});
  const auto both = two.judge().first_opens.ingress;
  EXPECT_EQ(both.operations, decision.operations);
  EXPECT_EQ(both.deciding_rule()->id, "write");
}

TEST(Verdict, AGroupMayNameItselfAndGroupsEachOther) {
  Pair self({group(1, {allow_in("r", sg(1))})}, {group(1, {allow_in("r", sg(1))})});
  EXPECT_TRUE(self.judge().allowed);
  Pair cycle({group(1, {allow_in("r", sg(2))})}, {group(2, {allow_in("r", sg(1))})});
  EXPECT_TRUE(cycle.judge().allowed);
  EXPECT_TRUE(cycle.judge().first_opens.open());
  EXPECT_TRUE(cycle.judge().second_opens.open());
}

TEST(Verdict, AddressesOfEachFamilyOnlyMatchTheirOwn) {
  auto open_to = [](const char* range, const char* from) {
    Pair pair({}, {group(2, {allow_in("r", cidr(range))})});
    pair.first_address = ip(from);
    return pair.judge().allowed;
  };
  EXPECT_TRUE(open_to("0.0.0.0/0", "10.0.0.1"));
  EXPECT_FALSE(open_to("0.0.0.0/0", "fd00::1"));
  EXPECT_TRUE(open_to("::/0", "fd00::1"));
  EXPECT_FALSE(open_to("::/0", "10.0.0.1"));
  EXPECT_TRUE(open_to("::/0", "fe80::1"));
  EXPECT_TRUE(open_to("10.0.0.1/32", "10.0.0.1"));
  EXPECT_FALSE(open_to("10.0.0.1/32", "10.0.0.2"));
  EXPECT_TRUE(open_to("fd00::/127", "fd00::1"));
  EXPECT_FALSE(open_to("fd00::/127", "fd00::2"));
  EXPECT_TRUE(open_to("fd00::1/128", "fd00::1"));
  EXPECT_TRUE(open_to("8.0.0.0/5", "15.255.255.255"));
  EXPECT_FALSE(open_to("8.0.0.0/5", "16.0.0.0"));
}

TEST(Verdict, UdMustBeNamedToBeAllowed) {
  Rule named = allow_in("ud", any());
  named.transport = Transport::kUd;
  Rule named_out = allow_out("ud-out", any());
  named_out.transport = Transport::kUd;
  const Group open = group(1, {allow_in("r", any()), allow_out("o", any())});
  EXPECT_FALSE(Pair({open}, {open}).judge(Transport::kUd).allowed);
  EXPECT_TRUE(Pair({open}, {open}).judge(Transport::kXrc).allowed);
  EXPECT_FALSE(Pair({open}, {group(2, {named})}).judge(Transport::kUd).allowed);
  EXPECT_TRUE(Pair({group(1, {named_out})}, {group(2, {named})}).judge(Transport::kUd).allowed);
  // Who denies any denies UD.
  EXPECT_FALSE(Pair({group(1, {named_out})}, {group(2, {named, deny_in("d", any(), 200)})})
                   .judge(Transport::kUd)
                   .allowed);
}

TEST(Verdict, OfATransportOnlyItsRules) {
  Rule uc = allow_in("uc", any());
  uc.transport = Transport::kUc;
  Pair pair({}, {group(2, {uc})});
  EXPECT_FALSE(pair.judge(Transport::kRc).allowed);
  EXPECT_TRUE(pair.judge(Transport::kUc).allowed);
}

TEST(Verdict, ShadowRulesDecideNothingAndAreNoticed) {
  Rule shadow = deny_in("shadow", any(), 500);
  shadow.shadow = true;
  Pair pair({}, {group(2, {allow_in("r", any()), shadow})});
  const Verdict verdict = pair.judge();
  EXPECT_TRUE(verdict.allowed);
  auto hit =
      shadow_decision(Direction::kIngress, Transport::kRc, pair.second->party(pair.second_address),
                      pair.first->party(pair.first_address), verdict.first_opens.ingress);
  ASSERT_NE(hit.program, nullptr);
  EXPECT_EQ(hit.deciding_rule()->id, "shadow");
  EXPECT_FALSE(hit.admits);
  // Behind what decides it would not come to be asked.
  Pair behind({}, {group(2, {allow_in("r", any(), 600), shadow})});
  hit = shadow_decision(
      Direction::kIngress, Transport::kRc, behind.second->party(behind.second_address),
      behind.first->party(behind.first_address), behind.judge().first_opens.ingress);
  EXPECT_EQ(hit.program, nullptr);
}

TEST(Verdict, WhatCouldNeverBeAdmittedIsKnownBeforeThereIsAPeer) {
  auto could = [](std::vector<Rule> rules, Transport transport) {
    return could_use(set_of({group(1, std::move(rules))})->party(ip("10.0.0.1")), transport);
  };
  EXPECT_TRUE(could({}, Transport::kRc));
  EXPECT_FALSE(could({}, Transport::kUd));
  EXPECT_FALSE(could({deny_out("o", any())}, Transport::kRc));
  EXPECT_TRUE(could({deny_out("o", any()), allow_in("i", sg(9))}, Transport::kRc));
  EXPECT_TRUE(could({deny_out("o", any()), allow_out("p", sg(9), 200)}, Transport::kRc));
  EXPECT_FALSE(could({deny_out("o", any()), allow_out("p", sg(9), 50)}, Transport::kRc));
  EXPECT_FALSE(
      could({deny_out("o", any()), deny_in("d", any()), allow_in("i", sg(9))}, Transport::kRc));
}

TEST(Verdict, TenThousandRulesInOneGroup) {
  std::vector<Rule> rules;
  for (std::uint32_t i = 0; i < kMostRules; ++i) {
    Remote remote;
    remote.kind = Remote::Kind::kCidr;
    remote.cidr = {IpAddress::from_v4(0x0a000000U + i), 32};
    rules.push_back(allow_in("r" + std::to_string(i), remote));
  }
  Pair pair({}, {group(2, std::move(rules))});
  pair.first_address = ip("10.0.39.15");
  EXPECT_TRUE(pair.judge().allowed);
  EXPECT_EQ(pair.judge().first_opens.ingress.deciding_rule()->id, "r9999");
  pair.first_address = ip("10.0.39.16");
  EXPECT_FALSE(pair.judge().allowed);
}

TEST(Verdict, AllThatMatchForPeople) {
  Rule shadow = deny_in("s", any(), 700);
  shadow.shadow = true;
  auto program =
      Program::compile(group(2, {allow_in("low", any(), 1), allow_in("other", sg(9)),
                                 allow_in("high", sg(1), 800), shadow, deny_out("out", any())}));
  const std::vector<SecurityGroupUid> groups{SecurityGroupUid{1}};
  auto found = program->all_matching(Direction::kIngress, Transport::kRc, groups, ip("10.0.0.1"));
  std::vector<std::string> ids;
  ids.reserve(found.size());
  for (auto index : found)
    ids.push_back(program->group().rules[index].id);
  EXPECT_EQ(ids, (std::vector<std::string>{"high", "s", "low"}));
}

}  // namespace
}  // namespace qmasq::conntrack

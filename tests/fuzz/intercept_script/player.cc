// SPDX-License-Identifier: Apache-2.0
#include "tests/fuzz/intercept_script/player.h"

#include <cstdio>

namespace qmasq::fuzz {

void Player::play(const Step& step) {
  if (arena_.trace) {
    std::fprintf(stderr, "step op %u who %u a %u b %u c %u d %u e %u f %u x %#x y %#x\n",
                 step.op % 32U, step.who, step.a, step.b, step.c, step.d, step.e, step.f, step.x,
                 step.y);
  }
  switch (step.op % 32U) {
    case 0:
    case 1:
      return rules(step);
    case 2:
      return endpoint(step);
    case 3:
      return policy(step);
    case 4:
      return host(step);
    default:
      break;
  }
  const Task* found = actor(step);
  if (found == nullptr) return;
  const Task task = *found;  // the vector may grow
  switch (step.op % 32U) {
    case 5:
    case 6:
    case 7:
      return open(task, step);
    case 8:
    case 9:
    case 10:
      return any_verb(task, step);
    case 11:
    case 12:
      (void)create_qp(task, step);
      return;
    case 13:
    case 14:
    case 15:
    case 16:
      return modify_qp(task, step);
    case 17:
    case 18:
      return connect(task, step);
    case 19:
    case 20:
      return address_handle(task, step);
    case 21:
    case 22:
      return memory_region(task, step);
    case 23:
    case 24:
      return query(task, step);
    case 25:
      return destroy(task, step);
    case 26:
      return write(task, step);
    case 27:
    case 28:
      return descriptors(task, step);
    case 29:
      return processes(task, step);
    default:
      return disturb(task, step);
  }
}

const Player::Task* Player::actor(const Step& step) const {
  const Task& task = arena_.tasks[(step.who & 7U) % arena_.tasks.size()];
  return arena_.alive(task) ? &task : nullptr;
}

int Player::descriptor(std::uint8_t pick) {
  if (pick >= 0xe0) return pick % 8;  // where none was given
  return static_cast<int>(Arena::kReserved) + (pick % 16 < 10 ? 0 : pick % 4);
}

std::uint32_t Player::handle(std::uint8_t pick) {
  constexpr std::uint32_t kOdd[] = {0xffffffff, 0x80000000, 0x80000001, 0x7fffffff};
  if (pick >= 0xf0) return kOdd[pick % 4];
  return pick % 6;
}

// --- rules, endpoints, policies ---

namespace {

conntrack::Rule rule_of(std::uint8_t pick, VpcUid vpc, std::uint32_t bits) {
  using namespace conntrack;  // NOLINT: all of this is about rules
  Rule out;
  out.id = "r" + std::to_string(pick % 12U);
  out.priority = static_cast<std::uint16_t>(bits >> 8U & 3U);
  out.shadow = (bits & 0x10000U) != 0;
  switch (pick % 12U) {
    case 0:
    case 1:  // members
      out.remote.kind = Remote::Kind::kGroup;
      out.remote.group = SecurityGroupUid{vpc.value * 1000 + 1 + (pick & 1U)};
      break;
    case 2:  // everybody
      break;
    case 3:
      out.action = Action::kDeny;
      break;
    case 4:
      out.remote.kind = Remote::Kind::kCidr;
      out.remote.cidr = parse_prefix("10.0.0.0/30").value();
      break;
    case 5:
      out.action = Action::kDeny;
      out.remote.kind = Remote::Kind::kCidr;
      out.remote.cidr = parse_prefix("10.0.0.2/32").value();
      break;
    case 6:
      out.transport = Transport::kUd;
      break;
    case 7:
      out.transport = Transport::kUd;
      out.direction = Direction::kEgress;
      break;
    case 8:
      out.operations = {static_cast<std::uint8_t>(bits & Operations::kAll)};
      break;
    case 9:
      out.direction = Direction::kEgress;
      out.action = Action::kDeny;
      break;
    case 10:
      out.direction = Direction::kEgress;
      out.operations = {static_cast<std::uint8_t>(bits & Operations::kAll)};
      break;
    default:
      out.transport = Transport::kUc;
      out.direction = (bits & 1U) != 0 ? Direction::kEgress : Direction::kIngress;
      break;
  }
  return out;
}

}  // namespace

void Player::rules(const Step& step) {
  const VpcUid vpc = (step.a & 1U) != 0 ? Oracle::kRed : Oracle::kBlue;
  conntrack::Group group;
  group.vpc = vpc;
  group.uid = SecurityGroupUid{vpc.value * 1000 + 1 + (step.a >> 1U & 1U)};
  group.name = std::string(vpc == Oracle::kBlue ? "vpcs/blue" : "vpcs/red") + "/securityGroups/" +
               ((step.a & 2U) != 0 ? "web" : "default");
  if (step.a >= 0xf0) {
    if (arena_.now.groups.contains(group.uid.value)) arena_.change(arena_.now.remove(group.uid));
    return;
  }
  for (unsigned i = 0; i < step.d % 4U; ++i) {
    const std::uint8_t picks[] = {step.b, step.c, step.e};
    conntrack::Rule rule = rule_of(picks[i], vpc, step.x >> (i * 4U));
    rule.id += "-" + std::to_string(i);
    group.rules.push_back(std::move(rule));
  }
  arena_.change(arena_.now.put(group));
}

void Player::endpoint(const Step& step) {
  constexpr std::uint64_t kAll[] = {11, 12, 13, 14, 21, 22, 23};
  const EndpointUid uid{kAll[step.a % std::size(kAll)]};
  const vbond::EndpointView* found = arena_.now.find(uid);
  if (found == nullptr) return arena_.change(arena_.now.put(Oracle::at_first(uid)));
  vbond::EndpointView view = *found;
  const bool local = view.host == Oracle::kHere;
  switch (step.b % 6U) {
    case 0:
    case 1:
      view.groups.clear();
      for (std::uint64_t i = 0; i < 2; ++i) {
        if ((step.c >> i & 1U) != 0)
          view.groups.push_back(SecurityGroupUid{view.vpc.value * 1000 + 1 + i});
      }
      break;
    case 2:
      view.host = HostUid{local ? 1 : 2 + step.c % 2U};
      break;
    case 3:
      view.addresses = Oracle::at_first(uid).addresses;
      if ((step.c & 1U) != 0)
        view.addresses.push_back(parse_ip("10.0.1." + std::to_string(uid.value)).value());
      if ((step.c & 2U) != 0) view.addresses.erase(view.addresses.begin());
      if (view.addresses.empty())
        view.addresses.push_back(parse_ip("10.0.2." + std::to_string(uid.value)).value());
      break;
    default:
      // One whose programs are cut off for good comes seldom.
      if (local && step.b < 0xc0) return;
      return arena_.change(arena_.now.remove(uid));
  }
  arena_.change(arena_.now.put(view));
}

void Player::policy(const Step& step) {
  if (arena_.now.find(test::AgentWorld::kEndpoint) == nullptr) return;
  qos::Policy own;
  qos::Policy of_vpc;
  qos::Policy& one = (step.c & 1U) != 0 ? of_vpc : own;
  if (step.b < 0xe0) {
    const std::uint64_t unit = step.a % qos::kResources == 4 ? 4096 : 1;
    one.quotas.limits[step.a % qos::kResources] = (step.b % 5U) * unit;
  }
  arena_.world.set_policies(own, of_vpc);
}

void Player::host(const Step& step) {
  switch (step.a % 6U) {
    case 0:
      return arena_.set_nic(false);
    case 1:
      return arena_.set_nic(true);
    case 2:
    case 3:
      return arena_.look_for_holders();
    default:
      arena_.settle_all();
      return arena_.check_settled();
  }
}

}  // namespace qmasq::fuzz

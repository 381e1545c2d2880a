// SPDX-License-Identifier: Apache-2.0
#include "tests/fake_netlink/contract.h"

#include <poll.h>

#include <algorithm>
#include <string>
#include <vector>

#include "tests/fake_netlink/fake_kernel.h"

namespace qmasq::test {

using namespace vbond::netlink;  // NOLINT(google-build-using-namespace): the suite is all about it

namespace {

Mac mac(std::uint8_t last) {
  return Mac{{0x02, 0x71, 0, 0, 0, last}};
}
IpAddress ip(const char* text) {
  return *parse_ip(text);
}

AddLink bridge(const std::string& name) {
  AddLink add;
  add.link.name = name;
  add.link.kind = LinkKind::kBridge;
  add.link.group = kLinkGroup;
  return add;
}

AddLink vxlan(const std::string& name, std::uint32_t vni, int target) {
  AddLink add;
  add.link.name = name;
  add.link.kind = LinkKind::kVxlan;
  add.link.group = kLinkGroup;
  add.link.mtu = 1400;
  add.link.vxlan = VxlanOptions{Vni{vni}, ip("127.0.0.1"), 4789, false};
  add.target = target;
  return add;
}

AddLink veth(const std::string& name, const std::string& peer, int peer_target) {
  AddLink add;
  add.link.name = name;
  add.link.kind = LinkKind::kVeth;
  add.link.group = kLinkGroup;
  add.peer.emplace();
  add.peer->name = peer;
  add.peer->mac = mac(9);
  add.peer->mtu = 1450;
  add.peer->group = kLinkGroup;
  add.peer_target = peer_target;
  return add;
}

SetLink up(const std::string& name, const std::string& master = "") {
  SetLink set;
  set.name = name;
  if (!master.empty()) set.master = master;
  set.no_link_local = true;
  set.up = true;
  return set;
}

int err_of(const Status& status) {
  return status ? 0 : status.error().err;
}

}  // namespace

void NetlinkContract::SetUp() {
  namespaces_ = GetParam()();
  auto one = namespaces_->create("qmtest-one", "qmasq:test:1");
  auto two = namespaces_->create("qmtest-two", "qmasq:test:2");
  ASSERT_TRUE(one) << one.error().message;
  ASSERT_TRUE(two) << two.error().message;
  one_ = std::move(*one);
  two_ = std::move(*two);
  a_ = std::move(*namespaces_->connect(one_.get()));
  b_ = std::move(*namespaces_->connect(two_.get()));
}

void NetlinkContract::TearDown() {
  a_.reset();
  b_.reset();
  for (const char* name : {"qmtest-one", "qmtest-two"}) {
    if (auto done = namespaces_->remove(name); !done) {
      EXPECT_EQ(done.error().code, Code::kNotFound) << done.error().message;
    }
  }
}

Status NetlinkContract::run(Netlink& net, const Operation& operation) {
  return net.apply(std::span<const Operation>(&operation, 1)).front();
}

Link NetlinkContract::link_named(Netlink& net, const std::string& name) {
  auto links = net.links();
  EXPECT_TRUE(links) << links.error().message;
  for (const Link& link : *links) {
    if (link.name == name) return link;
  }
  ADD_FAILURE() << "no link " << name;
  return {};
}

bool NetlinkContract::has_link(Netlink& net, const std::string& name) {
  auto links = net.links();
  EXPECT_TRUE(links) << links.error().message;
  return std::any_of(links->begin(), links->end(),
                     [&](const Link& link) { return link.name == name; });
}

TEST_P(NetlinkContract, NamespacesAreMarkedListedAndRemoved) {
  auto names = namespaces_->names();
  ASSERT_TRUE(names);
  EXPECT_EQ(std::count(names->begin(), names->end(), "qmtest-one"), 1);
  Link loopback = link_named(*a_, "lo");
  EXPECT_EQ(loopback.kind, LinkKind::kLoopback);
  EXPECT_EQ(loopback.alias, "qmasq:test:1");
  EXPECT_TRUE(loopback.up);

  auto again = namespaces_->create("qmtest-one", "other");
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, Code::kAlreadyExists);
  EXPECT_EQ(link_named(*a_, "lo").alias, "qmasq:test:1");

  ASSERT_TRUE(namespaces_->open("qmtest-one"));
  ASSERT_TRUE(namespaces_->remove("qmtest-one"));
  auto gone = namespaces_->open("qmtest-one");
  ASSERT_FALSE(gone);
  EXPECT_EQ(gone.error().code, Code::kNotFound);
  EXPECT_FALSE(namespaces_->remove("qmtest-one"));
  // The one who holds it goes on.
  EXPECT_TRUE(run(*a_, bridge("still")));
}

TEST_P(NetlinkContract, LinksComeWithTheirMarkAndOptions) {
  ASSERT_TRUE(run(*a_, bridge("br")));
  Link made = link_named(*a_, "br");
  EXPECT_EQ(made.kind, LinkKind::kBridge);
  EXPECT_EQ(made.group, kLinkGroup);
  EXPECT_FALSE(made.up);
  EXPECT_EQ(err_of(run(*a_, bridge("br"))), EEXIST);

  SetLink set = up("br");
  set.alias = "qmasq:bridge:1";
  ASSERT_TRUE(run(*a_, set));
  made = link_named(*a_, "br");
  EXPECT_TRUE(made.up);
  EXPECT_EQ(made.alias, "qmasq:bridge:1");

  EXPECT_EQ(err_of(run(*a_, DeleteLink{"nothing"})), ENODEV);
  EXPECT_EQ(err_of(run(*a_, up("nothing"))), ENODEV);
  ASSERT_TRUE(run(*a_, DeleteLink{"br"}));
  EXPECT_FALSE(has_link(*a_, "br"));
}

TEST_P(NetlinkContract, AVxlanDeviceCanLiveElsewhereThanItsSocket) {
  ASSERT_TRUE(run(*a_, vxlan("vx", 77, two_.get())));
  EXPECT_FALSE(has_link(*a_, "vx"));
  Link made = link_named(*b_, "vx");
  EXPECT_EQ(made.kind, LinkKind::kVxlan);
  EXPECT_EQ(made.mtu, 1400U);
  EXPECT_EQ(made.group, kLinkGroup);
  ASSERT_TRUE(made.vxlan);
  EXPECT_EQ(*made.vxlan, (VxlanOptions{Vni{77}, ip("127.0.0.1"), 4789, false}));
  // The number is taken where the socket is, whatever the name and the place.
  EXPECT_EQ(err_of(run(*a_, vxlan("vx2", 77, -1))), EEXIST);
  EXPECT_TRUE(run(*b_, vxlan("vx2", 77, -1)));
}

TEST_P(NetlinkContract, AVethPairSpansNamespacesAndGoesAsOne) {
  ASSERT_TRUE(run(*a_, veth("port", "eth0", two_.get())));
  Link tenant = link_named(*b_, "eth0");
  EXPECT_EQ(tenant.kind, LinkKind::kVeth);
  EXPECT_EQ(tenant.mac, mac(9));
  EXPECT_EQ(tenant.mtu, 1450U);
  EXPECT_EQ(tenant.group, kLinkGroup);
  EXPECT_EQ(err_of(run(*a_, veth("port2", "eth0", two_.get()))), EEXIST);
  EXPECT_FALSE(has_link(*a_, "port2"));
  ASSERT_TRUE(run(*a_, DeleteLink{"port"}));
  EXPECT_FALSE(has_link(*b_, "eth0"));
}

TEST_P(NetlinkContract, PortFlagsHoldOnAPort) {
  ASSERT_TRUE(run(*a_, bridge("br")));
  ASSERT_TRUE(run(*a_, veth("port", "eth0", two_.get())));
  SetLink set = up("port", "br");
  BridgePort quiet;
  quiet.learning = quiet.unicast_flood = quiet.multicast_flood = quiet.broadcast_flood = false;
  quiet.locked = true;
  set.port = quiet;
  ASSERT_TRUE(run(*a_, set));
  Link port = link_named(*a_, "port");
  EXPECT_EQ(port.master, link_named(*a_, "br").index);
  ASSERT_TRUE(port.port);
  EXPECT_EQ(*port.port, quiet);
  EXPECT_EQ(err_of(run(*a_, up("port", "nothing"))), ENODEV);
  ASSERT_TRUE(run(*a_, DeleteLink{"br"}));
  EXPECT_EQ(link_named(*a_, "port").master, 0);
  EXPECT_FALSE(link_named(*a_, "port").port);
}

TEST_P(NetlinkContract, AddressesAreOursAndIdempotent) {
  ASSERT_TRUE(run(*a_, veth("port", "eth0", two_.get())));
  ASSERT_TRUE(run(*a_, up("port")));
  ASSERT_TRUE(run(*b_, up("eth0")));
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(run(*b_, AddAddress{"eth0", ip("10.0.0.1"), 24}));
    ASSERT_TRUE(run(*b_, AddAddress{"eth0", ip("fd00::1"), 64}));
  }
  int index = link_named(*b_, "eth0").index;
  auto addresses = b_->addresses();
  ASSERT_TRUE(addresses);
  auto count = [&](const char* text, std::uint8_t prefix) {
    return std::count(addresses->begin(), addresses->end(),
                      Address{index, ip(text), prefix, kProtocol});
  };
  EXPECT_EQ(count("10.0.0.1", 24), 1);
  EXPECT_EQ(count("fd00::1", 64), 1);
  ASSERT_TRUE(run(*b_, DeleteAddress{"eth0", ip("10.0.0.1"), 24}));
  EXPECT_EQ(err_of(run(*b_, DeleteAddress{"eth0", ip("10.0.0.1"), 24})), EADDRNOTAVAIL);
  EXPECT_EQ(err_of(run(*b_, AddAddress{"nothing", ip("10.0.0.1"), 24})), ENODEV);
}

TEST_P(NetlinkContract, NeighboursAreReplacedAndForgottenWhenDown) {
  ASSERT_TRUE(run(*a_, veth("port", "eth0", two_.get())));
  ASSERT_TRUE(run(*a_, up("port")));
  ASSERT_TRUE(run(*b_, up("eth0")));
  ASSERT_TRUE(run(*b_, AddAddress{"eth0", ip("10.0.0.1"), 24}));
  ASSERT_TRUE(run(*b_, PutNeighbour{"eth0", ip("10.0.0.2"), mac(2)}));
  ASSERT_TRUE(run(*b_, PutNeighbour{"eth0", ip("10.0.0.2"), mac(3)}));
  ASSERT_TRUE(run(*b_, PutNeighbour{"eth0", ip("fe80::2"), mac(3)}));
  int index = link_named(*b_, "eth0").index;
  auto ours = [&] {
    auto all = b_->neighbours();
    EXPECT_TRUE(all);
    all->erase(std::remove_if(all->begin(), all->end(),
                              [&](const Neighbour& n) {
                                return n.link != index || n.protocol != kProtocol || !n.permanent;
                              }),
               all->end());
    return *all;
  };
  auto found = ours();
  ASSERT_EQ(found.size(), 2U);
  EXPECT_EQ(std::count(found.begin(), found.end(),
                       Neighbour{index, ip("10.0.0.2"), mac(3), true, kProtocol}),
            1);
  ASSERT_TRUE(run(*b_, DeleteNeighbour{"eth0", ip("10.0.0.2")}));
  EXPECT_EQ(ours().size(), 1U);
  EXPECT_EQ(err_of(run(*b_, DeleteNeighbour{"eth0", ip("10.0.0.77")})), ENOENT);
  SetLink down;
  down.name = "eth0";
  down.up = false;
  ASSERT_TRUE(run(*b_, down));
  EXPECT_TRUE(ours().empty());
}

TEST_P(NetlinkContract, ForwardingEntriesOfBridgeAndDevice) {
  ASSERT_TRUE(run(*a_, bridge("br")));
  ASSERT_TRUE(run(*a_, vxlan("vx", 78, -1)));
  ASSERT_TRUE(run(*a_, veth("port", "eth0", two_.get())));
  ASSERT_TRUE(run(*a_, up("br")));
  ASSERT_TRUE(run(*a_, up("vx", "br")));
  ASSERT_TRUE(run(*a_, up("port", "br")));
  using Table = FdbEntry::Table;
  ASSERT_TRUE(run(*a_, PutFdb{"vx", Table::kBridge, mac(2), {}}));
  ASSERT_TRUE(run(*a_, PutFdb{"vx", Table::kDevice, mac(2), ip("192.0.2.1")}));
  ASSERT_TRUE(run(*a_, PutFdb{"vx", Table::kDevice, mac(2), ip("192.0.2.2")}));
  auto ours = [&] {
    auto all = a_->fdb();
    EXPECT_TRUE(all);
    all->erase(std::remove_if(all->begin(), all->end(),
                              [&](const FdbEntry& e) { return e.mac != mac(2); }),
               all->end());
    return *all;
  };
  int vx = link_named(*a_, "vx").index;
  int port = link_named(*a_, "port").index;
  auto found = ours();
  ASSERT_EQ(found.size(), 2U);
  EXPECT_EQ(
      std::count(found.begin(), found.end(), FdbEntry{vx, Table::kBridge, mac(2), {}, true, false}),
      1);
  EXPECT_EQ(std::count(found.begin(), found.end(),
                       FdbEntry{vx, Table::kDevice, mac(2), ip("192.0.2.2"), true, false}),
            1);
  // The endpoint moves here: one entry for a MAC in a bridge.
  ASSERT_TRUE(run(*a_, PutFdb{"port", Table::kBridge, mac(2), {}}));
  ASSERT_TRUE(run(*a_, DeleteFdb{"vx", Table::kDevice, mac(2), ip("192.0.2.2")}));
  found = ours();
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0], (FdbEntry{port, Table::kBridge, mac(2), {}, true, false}));
  EXPECT_EQ(err_of(run(*a_, DeleteFdb{"vx", Table::kBridge, mac(2), {}})), ENOENT);
  EXPECT_EQ(err_of(run(*a_, DeleteFdb{"vx", Table::kDevice, mac(2), ip("192.0.2.2")})), ENOENT);
  EXPECT_EQ(err_of(run(*b_, PutFdb{"eth0", Table::kBridge, mac(2), {}})), EOPNOTSUPP);
}

TEST_P(NetlinkContract, ABatchGoesOnAfterAFailure) {
  ASSERT_TRUE(run(*a_, bridge("br")));
  ASSERT_TRUE(run(*a_, vxlan("vx", 79, -1)));
  ASSERT_TRUE(run(*a_, up("vx", "br")));
  std::vector<Operation> operations;
  for (int i = 0; i < 1000; ++i) {
    Mac one{{0x02, 0x72, 0, 0, static_cast<std::uint8_t>(i / 256), static_cast<std::uint8_t>(i)}};
    operations.emplace_back(
        PutFdb{i == 500 ? "nothing" : "vx", FdbEntry::Table::kDevice, one, ip("192.0.2.1")});
  }
  operations.emplace_back(DeleteFdb{"vx", FdbEntry::Table::kDevice, mac(99), ip("192.0.2.1")});
  std::vector<Status> results = a_->apply(operations);
  ASSERT_EQ(results.size(), operations.size());
  for (std::size_t i = 0; i < results.size(); ++i) {
    int expected = i == 500 ? ENODEV : i == 1000 ? ENOENT : 0;
    EXPECT_EQ(err_of(results[i]), expected) << i;
  }
  EXPECT_NE(results[500].error().message.find("nothing"), std::string::npos);
  auto all = a_->fdb();
  ASSERT_TRUE(all);
  EXPECT_EQ(std::count_if(all->begin(), all->end(),
                          [](const FdbEntry& entry) { return entry.mac.bytes[1] == 0x72; }),
            999);
}

TEST_P(NetlinkContract, AMonitorTellsOfItsOwnNamespaceOnly) {
  ASSERT_TRUE(run(*a_, veth("port", "eth0", two_.get())));
  ASSERT_TRUE(run(*a_, up("port")));
  ASSERT_TRUE(run(*b_, up("eth0")));
  auto monitor = namespaces_->monitor(two_.get());
  ASSERT_TRUE(monitor) << monitor.error().message;
  auto readable = [&](int wait_ms) {
    pollfd ready{(*monitor)->fd(), POLLIN, 0};
    return ::poll(&ready, 1, wait_ms) == 1;
  };
  // Bringing the pair up still has things to tell, the last of them, of IPv6 addresses, at any time
  // in the next seconds. One told of both namespaces would have news each time.
  bool told = true;
  for (int i = 0; i < 5 && told; ++i) {
    while (readable(200))
      ASSERT_TRUE((*monitor)->drain());
    ASSERT_TRUE(run(*a_, bridge("elsewhere" + std::to_string(i))));
    told = readable(50);
  }
  EXPECT_FALSE(told);
  ASSERT_TRUE(run(*b_, AddAddress{"eth0", ip("10.0.0.1"), 24}));
  ASSERT_TRUE(readable(2000));
  auto news = (*monitor)->drain();
  ASSERT_TRUE(news);
  EXPECT_TRUE(*news);
  // It has read all that there was.
  bool more = readable(0);
  for (int i = 0; i < 5 && more; ++i) {
    ASSERT_TRUE((*monitor)->drain());
    more = readable(0);
  }
  EXPECT_FALSE(more);
}

}  // namespace qmasq::test

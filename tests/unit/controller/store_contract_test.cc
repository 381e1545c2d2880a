// SPDX-License-Identifier: Apache-2.0
// What every Store must do. A new implementation joins by one more factory at the end.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <random>
#include <thread>

#include "controller/store/sqlite/sqlite_store.h"
#include "tests/support/manual_clock.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/controller/store_support.h"

namespace qmasq::controller {
namespace {

using testing::add_endpoint;
using testing::add_host;
using testing::add_vpc;
using testing::dump;

// Opens the same set of data each time it is called; the one before is gone by then.
struct Backend {
  virtual ~Backend() = default;
  virtual std::unique_ptr<Store> open(const Clock& clock) = 0;
};
using MakeBackend = std::function<std::unique_ptr<Backend>()>;

class StoreContract : public ::testing::TestWithParam<MakeBackend> {
 protected:
  void SetUp() override {
    backend_ = GetParam()();
    open();
  }
  void open() {
    store_.reset();
    store_ = backend_->open(clock_);
    ASSERT_NE(store_, nullptr);
    store_->listen([this](const Commit& commit) { commits_.push_back(commit); });
  }
  void write(const Store::WriteFn& fn) {
    auto status = store_->write(fn);
    ASSERT_TRUE(status) << status.error().message;
  }
  // blue with endpoint a at 10.0.0.1 on hostA.
  void fill() {
    write([&](WriteView& view) -> Status {
      QMASQ_ASSIGN(vpc_, add_vpc(view, "blue", 4096));
      QMASQ_ASSIGN(host_, add_host(view, "hostA"));
      QMASQ_ASSIGN(endpoint_, add_endpoint(view, vpc_, host_, "a", {"10.0.0.1", "10.0.0.9"}));
      return {};
    });
  }
  Revision revision() {
    Revision out;
    EXPECT_TRUE(store_->read([&](ReadView& view) -> Status {
      QMASQ_ASSIGN(out, view.revision());
      return {};
    }));
    return out;
  }

  qmasq::testing::ManualClock clock_;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Store> store_;
  std::vector<Commit> commits_;
  VpcPtr vpc_;
  HostPtr host_;
  EndpointPtr endpoint_;
};

TEST_P(StoreContract, ANewStoreIsEmptyAndHasAnIdThatStays) {
  EXPECT_EQ(revision().value, 0U);
  std::string id = store_->store_id();
  EXPECT_EQ(id.size(), 32U);
  open();
  EXPECT_EQ(store_->store_id(), id);
  auto other = GetParam()();
  EXPECT_NE(other->open(clock_)->store_id(), id);
}

TEST_P(StoreContract, OneTransactionIsOneRevisionWithAllItsChanges) {
  fill();
  EXPECT_EQ(revision().value, 1U);
  ASSERT_EQ(commits_.size(), 1U);
  EXPECT_EQ(commits_[0].revision.value, 1U);
  ASSERT_EQ(commits_[0].endpoints.size(), 1U);
  EXPECT_EQ(commits_[0].endpoints[0].before, nullptr);
  EXPECT_EQ(commits_[0].endpoints[0].after->id, "a");
  ASSERT_TRUE(store_->read([&](ReadView& view) -> Status {
    QMASQ_ASSIGN(auto log, view.log({}, 100));
    EXPECT_EQ(log.size(), 3U);
    EXPECT_EQ(log[2], (LogEntry{Revision{1}, Kind::kEndpoint, Op::kCreate, endpoint_->uid.value,
                                vpc_->uid, host_->uid, HostUid{}}));
    QMASQ_ASSIGN(auto rest, view.log(Revision{1}, 100));
    EXPECT_TRUE(rest.empty());
    return {};
  }));
}

TEST_P(StoreContract, ValuesComeBackAsTheyWentIn) {
  clock_.advance(std::chrono::seconds(5));
  write([&](WriteView& view) -> Status {
    QMASQ_ASSIGN(vpc_, add_vpc(view, "blue", 5000, {"10.0.0.0/16", "fd00::/64"}));
    Host host;
    host.uid = HostUid{view.new_uid().value()};
    host.id = "hostA";
    host.description = "rack 4 \xc3\xa4";
    host.underlay = parse_ip("192.0.2.1").value();
    host.joined = true;
    host.agent_version = "1";
    host.kernel_release = "6.1";
    Nic nic;
    nic.device = "rxe0";
    nic.port = 1;
    nic.active = true;
    nic.active_mtu = 1024;
    nic.rate_bps = 100'000'000'000;
    nic.primary_gid = Gid::from_ip(host.underlay);
    nic.gids = {{1, nic.primary_gid, GidType::kRoceV2}, {5, nic.primary_gid, GidType::kIbRoceV1}};
    host.nics = {nic, {}};
    host.nics[1].device = "mlx5_0";
    host.nics[1].vpc_gid_prefix = parse_gid("fd00:0:0:1:c000:201::").value();
    QMASQ_ASSIGN(host_, view.put(host, true));
    QMASQ_ASSIGN(endpoint_, add_endpoint(view, vpc_, host_, "a", {"fd00::5", "10.0.0.9"}));
    return {};
  });
  open();
  ASSERT_TRUE(store_->read([&](ReadView& view) -> Status {
    QMASQ_ASSIGN(auto vpc, view.get_vpc(vpc_->uid));
    EXPECT_EQ(vpc->ranges, vpc_->ranges);
    EXPECT_EQ(vpc->vni, vpc_->vni);
    EXPECT_EQ(vpc->create_time, clock_.wall());
    QMASQ_ASSIGN(auto host, view.find_host("hostA"));
    EXPECT_EQ(host->nics, host_->nics);
    EXPECT_EQ(host->underlay, host_->underlay);
    EXPECT_EQ(host->description, host_->description);
    EXPECT_TRUE(host->joined);
    QMASQ_ASSIGN(auto endpoint, view.find_endpoint(vpc_->uid, "a"));
    EXPECT_EQ(endpoint->addresses, endpoint_->addresses);
    EXPECT_EQ(endpoint->mac, endpoint_->mac);
    EXPECT_EQ(endpoint->host_id, "hostA");
    EXPECT_EQ(endpoint->vpc_id, "blue");
    return {};
  }));
}

TEST_P(StoreContract, AFailedFunctionLeavesNothing) {
  fill();
  std::string before = dump(*store_);
  auto status = store_->write([&](WriteView& view) -> Status {
    QMASQ_TRY(add_vpc(view, "red", 4097));
    QMASQ_TRY(view.remove(endpoint_));
    return fail(Code::kInvalidArgument, "on second thoughts");
  });
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().message, "on second thoughts");
  EXPECT_EQ(dump(*store_), before);
  EXPECT_EQ(commits_.size(), 1U);
}

TEST_P(StoreContract, AnExceptionLeavesNothing) {
  fill();
  std::string before = dump(*store_);
  EXPECT_THROW((void)store_->write([&](WriteView& view) -> Status {
    (void)add_vpc(view, "red", 4097);
    throw std::bad_alloc();
  }),
               std::bad_alloc);
  EXPECT_EQ(dump(*store_), before);
  write([&](WriteView& view) -> Status { return view.remove(endpoint_); });
}

TEST_P(StoreContract, ADryRunSeesItsChangesAndKeepsNone) {
  fill();
  std::string before = dump(*store_);
  std::uint64_t uid = 0;
  auto status = store_->write(
      [&](WriteView& view) -> Status {
        QMASQ_ASSIGN(auto red, add_vpc(view, "red", 4097));
        uid = red->uid.value;
        QMASQ_ASSIGN(auto found, view.find_vpc("red"));
        EXPECT_NE(found, nullptr);
        return {};
      },
      WriteMode::kDryRun);
  ASSERT_TRUE(status);
  EXPECT_EQ(dump(*store_), before);
  EXPECT_EQ(commits_.size(), 1U);
  EXPECT_GT(uid, 0U);
}

TEST_P(StoreContract, UidsAreNeverGivenTwice) {
  fill();
  std::uint64_t last = endpoint_->uid.value;
  write([&](WriteView& view) -> Status { return view.remove(endpoint_); });
  open();
  write([&](WriteView& view) -> Status {
    QMASQ_ASSIGN(auto uid, view.new_uid());
    EXPECT_GT(uid, last);
    return {};
  });
}

TEST_P(StoreContract, UniqueThingsAreUnique) {
  fill();
  std::string before = dump(*store_);
  auto refused = [&](const Store::WriteFn& fn) {
    auto status = store_->write(fn);
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().code, Code::kAlreadyExists) << status.error().message;
  };
  refused([&](WriteView& v) -> Status {
    QMASQ_TRY(add_vpc(v, "blue", 9));
    return {};
  });
  refused([&](WriteView& v) -> Status {
    QMASQ_TRY(add_vpc(v, "red", 4096));
    return {};
  });
  refused([&](WriteView& v) -> Status {
    QMASQ_TRY(add_host(v, "hostA"));
    return {};
  });
  refused([&](WriteView& v) -> Status {
    QMASQ_TRY(add_endpoint(v, vpc_, host_, "a", {"10.0.0.2"}));
    return {};
  });
  refused([&](WriteView& v) -> Status {
    QMASQ_TRY(add_endpoint(v, vpc_, host_, "b", {"10.0.0.2", "10.0.0.9"}));
    return {};
  });
  refused([&](WriteView& v) -> Status {
    Endpoint twin = *endpoint_;
    twin.uid = EndpointUid{v.new_uid().value()};
    twin.id = "b";
    twin.addresses.clear();
    QMASQ_TRY(v.put(twin));
    return {};
  });
  EXPECT_EQ(dump(*store_), before);
  // Another VPC may use the same addresses and names.
  write([&](WriteView& v) -> Status {
    QMASQ_ASSIGN(auto red, add_vpc(v, "red", 4097));
    QMASQ_TRY(add_endpoint(v, red, host_, "a", {"10.0.0.1"}));
    return {};
  });
}

TEST_P(StoreContract, WhatIsReferredToStays) {
  fill();
  std::string before = dump(*store_);
  for (bool vpc : {true, false}) {
    auto status = store_->write(
        [&](WriteView& view) { return vpc ? view.remove(vpc_) : view.remove(host_); });
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().code, Code::kFailedPrecondition) << status.error().message;
  }
  EXPECT_EQ(dump(*store_), before);
  write([&](WriteView& view) -> Status {
    QMASQ_TRY(view.remove(endpoint_));
    QMASQ_TRY(view.remove(vpc_));
    return view.remove(host_);
  });
  auto again = store_->write([&](WriteView& view) { return view.remove(host_); });
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, Code::kNotFound);
}

TEST_P(StoreContract, AQuietHostChangeMakesNoRevision) {
  fill();
  Host host = *host_;
  host.description = "new";
  write([&](WriteView& view) -> Status {
    QMASQ_ASSIGN(auto after, view.put(host, false));
    EXPECT_EQ(after->version, 2U);
    EXPECT_EQ(after->revision.value, 1U);
    return {};
  });
  EXPECT_EQ(revision().value, 1U);
  ASSERT_EQ(commits_.size(), 2U);
  EXPECT_EQ(commits_[1].revision.value, 1U);
  EXPECT_EQ(commits_[1].hosts[0].after->description, "new");
  write([&](WriteView& view) -> Status {
    QMASQ_TRY(view.put(host, true));
    return {};
  });
  EXPECT_EQ(revision().value, 2U);
}

TEST_P(StoreContract, AMoveIsLoggedWithBothHosts) {
  fill();
  HostPtr other;
  write([&](WriteView& view) -> Status {
    QMASQ_ASSIGN(other, add_host(view, "hostB"));
    return {};
  });
  write([&](WriteView& view) -> Status {
    Endpoint moved = *endpoint_;
    moved.host = other->uid;
    moved.host_id = other->id;
    QMASQ_TRY(view.put(moved));
    return {};
  });
  ASSERT_TRUE(store_->read([&](ReadView& view) -> Status {
    QMASQ_ASSIGN(auto log, view.log(Revision{2}, 10));
    EXPECT_THAT(log, ::testing::ElementsAre(LogEntry{Revision{3}, Kind::kEndpoint, Op::kUpdate,
                                                     endpoint_->uid.value, vpc_->uid, other->uid,
                                                     host_->uid}));
    return {};
  }));
  EXPECT_EQ(commits_.back().endpoints[0].before->host, host_->uid);
}

TEST_P(StoreContract, AnswersWhoHasWhat) {
  fill();
  ASSERT_TRUE(store_->read([&](ReadView& view) -> Status {
    auto ip = [](const char* text) { return parse_ip(text).value(); };
    QMASQ_ASSIGN(auto owner, view.address_owner(vpc_->uid, ip("10.0.0.9")));
    EXPECT_EQ(owner->uid, endpoint_->uid);
    QMASQ_ASSIGN(owner, view.address_owner(vpc_->uid, ip("10.0.0.2")));
    EXPECT_EQ(owner, nullptr);
    QMASQ_ASSIGN(auto use, view.first_address(vpc_->uid, ip("10.0.0.2"), ip("10.0.255.255")));
    EXPECT_EQ(to_string(use->address), "10.0.0.9");
    QMASQ_ASSIGN(use, view.first_address(vpc_->uid, ip("10.0.0.10"), ip("fd00::")));
    EXPECT_FALSE(use.has_value());
    QMASQ_ASSIGN(owner, view.mac_owner(vpc_->uid, endpoint_->mac));
    EXPECT_EQ(owner->uid, endpoint_->uid);
    QMASQ_ASSIGN(auto vpc, view.vni_owner(Vni{4096}));
    EXPECT_EQ(vpc->uid, vpc_->uid);
    QMASQ_ASSIGN(vpc, view.find_vpc("red"));
    EXPECT_EQ(vpc, nullptr);
    return {};
  }));
}

TEST_P(StoreContract, ListsGoOnWhereTheyStopped) {
  HostPtr hosts[2];
  write([&](WriteView& view) -> Status {
    QMASQ_ASSIGN(hosts[0], add_host(view, "hostA"));
    QMASQ_ASSIGN(hosts[1], add_host(view, "hostB"));
    // Not in the order of names; "a" is in front of "a-b", whatever '-' sorts like.
    std::uint32_t vni = 4096;
    for (std::string id : {"c", "a-b", "empty", "a"}) {
      QMASQ_ASSIGN(auto vpc, add_vpc(view, id, vni++));
      if (id == "empty") continue;
      for (int i = 9; i > 0; --i) {
        QMASQ_TRY(add_endpoint(view, vpc, hosts[i % 2], fmt::format("e{}", i),
                               {fmt::format("10.0.0.{}", i)}));
      }
    }
    return {};
  });
  auto walk = [&](EndpointQuery query) {
    std::string out;
    query.limit = 2;
    EXPECT_TRUE(store_->read([&](ReadView& view) -> Status {
      for (;;) {
        QMASQ_ASSIGN(auto page, view.list_endpoints(query));
        EXPECT_LE(page.size(), 2U);
        if (page.empty()) return {};
        for (const auto& e : page)
          out += e->vpc_id + "/" + e->id + " ";
        query.after_vpc = page.back()->vpc_id;
        query.after_endpoint = page.back()->id;
      }
    }));
    return out;
  };
  EXPECT_EQ(walk({}),
            "a/e1 a/e2 a/e3 a/e4 a/e5 a/e6 a/e7 a/e8 a/e9 a-b/e1 a-b/e2 a-b/e3 a-b/e4 a-b/e5 "
            "a-b/e6 a-b/e7 a-b/e8 a-b/e9 c/e1 c/e2 c/e3 c/e4 c/e5 c/e6 c/e7 c/e8 c/e9 ");
  EndpointQuery on_host;
  on_host.host = hosts[0]->uid;
  EXPECT_EQ(walk(on_host), "a/e2 a/e4 a/e6 a/e8 a-b/e2 a-b/e4 a-b/e6 a-b/e8 c/e2 c/e4 c/e6 c/e8 ");
  ASSERT_TRUE(store_->read([&](ReadView& view) -> Status {
    QMASQ_ASSIGN(auto vpc, view.find_vpc("c"));
    EndpointQuery both = on_host;
    both.vpc = vpc->uid;
    QMASQ_ASSIGN(auto page, view.list_endpoints(both));
    EXPECT_EQ(page.size(), 4U);
    QMASQ_ASSIGN(auto vpcs, view.list_vpcs({"a", 2}));
    EXPECT_EQ(vpcs.size(), 2U);
    EXPECT_EQ(vpcs[0]->id, "a-b");
    QMASQ_ASSIGN(auto hosts_behind, view.list_hosts({"hostA", 10}));
    EXPECT_EQ(hosts_behind.size(), 1U);
    return {};
  }));
}

TEST_P(StoreContract, RequestsAreKeptForADay) {
  const RequestRecord record{"123e4567-e89b-12d3-a456-426614174000", "CreateVpc",
                             std::string("a\0b", 3), "answer"};
  write([&](WriteView& view) { return view.put_request(record); });
  EXPECT_EQ(revision().value, 0U);
  auto found = [&] {
    bool out = false;
    EXPECT_TRUE(store_->write([&](WriteView& view) -> Status {
      QMASQ_ASSIGN(auto kept, view.find_request(record.id));
      out = kept.has_value();
      if (out) {
        EXPECT_EQ(kept->method, record.method);
        EXPECT_EQ(kept->request, record.request);
        EXPECT_EQ(kept->response, record.response);
      }
      return {};
    }));
    return out;
  };
  clock_.advance(std::chrono::hours(24) - std::chrono::seconds(1));
  EXPECT_TRUE(found());
  clock_.advance(std::chrono::seconds(2));
  EXPECT_FALSE(found());
  write([&](WriteView& view) { return view.put_request(record); });
  EXPECT_TRUE(found());
}

TEST_P(StoreContract, AReadSeesOneStateWhileWritesGoOn) {
  fill();
  ASSERT_TRUE(store_->read([&](ReadView& view) -> Status {
    QMASQ_ASSIGN(auto before, view.revision());
    std::thread writer([&] {
      EXPECT_TRUE(store_->write([](WriteView& w) -> Status {
        QMASQ_TRY(add_vpc(w, "red", 4097));
        return {};
      }));
    });
    writer.join();
    QMASQ_ASSIGN(auto after, view.revision());
    EXPECT_EQ(before, after);
    QMASQ_ASSIGN(auto red, view.find_vpc("red"));
    EXPECT_EQ(red, nullptr);
    return {};
  }));
  EXPECT_EQ(revision().value, 2U);
}

TEST_P(StoreContract, ManyThreadsGetDifferentRevisionsInOrder) {
  constexpr int kThreads = 4;
  constexpr int kEach = 25;
  std::vector<std::thread> threads;
  threads.reserve(kThreads);
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kEach; ++i) {
        EXPECT_TRUE(store_->write([&](WriteView& view) -> Status {
          QMASQ_TRY(add_host(view, fmt::format("host-{}-{}", t, i)));
          return {};
        }));
        EXPECT_NE(dump(*store_), "");
      }
    });
  }
  for (auto& thread : threads)
    thread.join();
  ASSERT_EQ(commits_.size(), std::size_t{kThreads} * kEach);
  for (std::size_t i = 0; i < commits_.size(); ++i)
    EXPECT_EQ(commits_[i].revision.value, i + 1);
}

// Random changes, some of them refused, against a trivial model of VPCs and addresses.
TEST_P(StoreContract, BehavesLikeItsModel) {
  std::mt19937 random(11);
  std::map<std::string, std::set<std::uint32_t>> model;  // vpc -> addresses
  std::map<std::pair<std::string, std::string>, std::set<std::uint32_t>> endpoints;
  HostPtr host;
  write([&](WriteView& view) -> Status {
    QMASQ_ASSIGN(host, add_host(view, "h"));
    return {};
  });
  std::uint64_t expected_revision = 1;
  for (int step = 0; step < 400; ++step) {
    std::string vpc_id = fmt::format("v{}", random() % 4);
    std::string id = fmt::format("e{}", random() % 6);
    std::set<std::uint32_t> addresses;
    for (auto n = random() % 3; n > 0; --n)
      addresses.insert(0x0a000001 + random() % 12);
    bool removes = random() % 3 == 0;
    auto status = store_->write([&](WriteView& view) -> Status {
      QMASQ_ASSIGN(auto vpc, view.find_vpc(vpc_id));
      if (!vpc) {
        QMASQ_TRY(add_vpc(view, vpc_id, 1 + static_cast<std::uint32_t>(vpc_id[1])));
        return {};
      }
      QMASQ_ASSIGN(auto before, view.find_endpoint(vpc->uid, id));
      if (removes) return before ? view.remove(before) : fail(Code::kNotFound, "none");
      Endpoint endpoint;
      if (before) endpoint = *before;
      if (!before) {
        endpoint.uid = EndpointUid{view.new_uid().value()};
        endpoint.vpc = vpc->uid;
        endpoint.id = id;
        endpoint.host = host->uid;
        endpoint.mac = Mac{{2, 0, 0, 0, 0, static_cast<std::uint8_t>(id[1])}};
      }
      endpoint.addresses.clear();
      for (auto a : addresses)
        endpoint.addresses.push_back(IpAddress::from_v4(a));
      QMASQ_TRY(view.put(endpoint));
      return {};
    });
    bool expected = true;
    auto key = std::pair(vpc_id, id);
    if (!model.contains(vpc_id)) {
      model[vpc_id];
    } else if (removes) {
      expected = endpoints.contains(key);
      if (expected) {
        for (auto a : endpoints[key])
          model[vpc_id].erase(a);
        endpoints.erase(key);
      }
    } else {
      auto others = model[vpc_id];
      if (endpoints.contains(key)) {
        for (auto a : endpoints[key])
          others.erase(a);
      }
      for (auto a : addresses)
        expected = expected && !others.contains(a);
      if (expected) {
        others.insert(addresses.begin(), addresses.end());
        model[vpc_id] = others;
        endpoints[key] = addresses;
      }
    }
    ASSERT_EQ(status.has_value(), expected) << step;
    if (expected) ++expected_revision;
    ASSERT_EQ(revision().value, expected_revision);
  }
  open();
  for (const auto& entry : model) {
    ASSERT_TRUE(store_->read([&](ReadView& view) -> Status {
      QMASQ_ASSIGN(auto vpc, view.find_vpc(entry.first));
      for (std::uint32_t a = 0x0a000001; a < 0x0a000001 + 12; ++a) {
        QMASQ_ASSIGN(auto owner, view.address_owner(vpc->uid, IpAddress::from_v4(a)));
        EXPECT_EQ(owner != nullptr, entry.second.contains(a));
      }
      return {};
    }));
  }
}

struct SqliteBackend : Backend {
  std::unique_ptr<Store> open(const Clock& clock) override {
    auto store = sqlite::open_store({dir.path()}, clock);
    if (!store) ADD_FAILURE() << store.error().message;
    return store ? std::move(*store) : nullptr;
  }
  qmasq::testing::TempDir dir;
};

INSTANTIATE_TEST_SUITE_P(Sqlite, StoreContract, ::testing::Values(MakeBackend([] {
                           return std::make_unique<SqliteBackend>();
                         })));

}  // namespace
}  // namespace qmasq::controller

// SPDX-License-Identifier: Apache-2.0
#include "vbond/intercept/interceptor.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <future>
#include <thread>

#include "tests/support/eventually.h"
#include "tests/unit/intercept/tenant.h"

namespace qmasq::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// A program that attached, with its calls going the whole way through the receivers.
class Program {
 public:
  Program(AgentWorld& world, FakeKernel& kernel, vbond::Interceptor& interceptor,
          const std::string& name)
      : kernel_(kernel), pid_(kernel.add_process(name)) {
    (void)world;
    attached_ = interceptor.attach(kernel.listen(pid_), AgentWorld::kEndpoint, pid_, name);
  }
  [[nodiscard]] pid_t pid() const { return pid_; }
  [[nodiscard]] const Status& attached() const { return attached_; }

  std::uint64_t begin(pid_t tid, int nr, std::initializer_list<std::uint64_t> args) {
    std::vector<std::uint64_t> list(args);
    auto call = kernel_.make_trap(tid, nr, list);
    kernel_.post(call);
    return call.id;
  }
  CallResult call(int nr, std::initializer_list<std::uint64_t> args) {
    return kernel_.wait(begin(pid_, nr, args));
  }
  int open_device() {
    auto path = kernel_.map(pid_, bytes_of("/dev/infiniband/uverbs0"));
    return static_cast<int>(call(SYS_openat, {0, path, O_RDWR}).value);
  }
  CallResult query_gid(int fd) {
    using namespace vbond::uverbs;  // NOLINT
    TenantCall verb(Object::kDevice, kMethodQueryGidEntry);
    verb.number(attr::kGidEntryPort, 1)
        .number(attr::kGidEntryIndex, 1)
        .number(attr::kGidEntryFlags, 0, 4)
        .out(attr::kGidEntryResp, kGidEntrySize);
    auto header = verb.place(kernel_, pid_);
    return call(SYS_ioctl, {static_cast<std::uint64_t>(fd), kVerbsIoctl, header});
  }
  std::uint64_t begin_create_qp(pid_t tid, int fd) {
    auto verb = Bench::create_qp_call(vbond::uverbs::QpType::kRc);
    auto header = verb.place(kernel_, pid_);
    return begin(tid, SYS_ioctl,
                 {static_cast<std::uint64_t>(fd), vbond::uverbs::kVerbsIoctl, header});
  }

 private:
  FakeKernel& kernel_;
  const pid_t pid_;
  Status attached_;
};

class InterceptorTest : public ::testing::Test {
 protected:
  Program attach(const std::string& name) { return {world_, kernel_, interceptor_, name}; }
  static vbond::InterceptOptions options() {
    vbond::InterceptOptions out;
    out.holder_check = milliseconds(5);
    out.max_receivers = 4;
    return out;
  }

  AgentWorld world_;
  FakeKernel kernel_;
  vbond::Interceptor interceptor_{world_.parts(kernel_), options()};
};

// A gate at which calls of one verb wait.
class Gate {
 public:
  void wait() {
    ++waiting;
    opened_.wait();
  }
  void open() { promise_.set_value(); }
  std::atomic<int> waiting{0};

 private:
  std::promise<void> promise_;
  std::shared_future<void> opened_ = promise_.get_future().share();
};

TEST_F(InterceptorTest, ServesOpensAndVerbs) {
  auto program = attach("one");
  ASSERT_TRUE(program.attached());
  int fd = program.open_device();
  EXPECT_EQ(fd, 960);
  EXPECT_EQ(program.query_gid(fd).err, 0);
  auto stats = interceptor_.stats();
  EXPECT_EQ(stats.attachments, 1U);
  EXPECT_EQ(stats.contexts, 1U);
  EXPECT_EQ(world_.last_event(vbond::EventType::kAttached).endpoint, "vpcs/blue/endpoints/a");
}

TEST_F(InterceptorTest, AStalledTenantDelaysNobodyElseAndNotItselfForLong) {
  Gate gate;
  kernel_.nic.set_hook([&](const std::string& verb) {
    if (verb == "CREATE_QP") gate.wait();
  });
  auto slow = attach("slow");
  auto other = attach("other");
  int slow_fd = slow.open_device();
  int other_fd = other.open_device();
  auto stuck = slow.begin_create_qp(slow.pid(), slow_fd);
  ASSERT_TRUE(eventually([&] { return gate.waiting == 1; }));
  EXPECT_EQ(other.query_gid(other_fd).err, 0);
  // The only receiver of the slow one is busy; the steward gives it a second. Its other device is
  // free; the device that is busy makes its next verb wait.
  int second_fd = slow.open_device();
  EXPECT_EQ(second_fd, 961);
  EXPECT_EQ(slow.query_gid(second_fd).err, 0);
  EXPECT_FALSE(kernel_.result(stuck));
  gate.open();
  EXPECT_EQ(kernel_.wait(stuck).err, 0);
}

TEST_F(InterceptorTest, ReceiversOfOneAttachmentAreBounded) {
  Gate gate;
  kernel_.nic.set_hook([&](const std::string& verb) {
    if (verb == "CREATE_QP") gate.wait();
  });
  auto greedy = attach("greedy");
  auto other = attach("other");
  std::vector<std::uint64_t> stuck;
  for (int i = 0; i < 10; ++i) {
    int fd = 0;
    if (i < 4) fd = greedy.open_device();
    stuck.push_back(greedy.begin_create_qp(greedy.pid(), i < 4 ? fd : 960 + i % 4));
    if (i < 4) {
      ASSERT_TRUE(eventually([&] { return gate.waiting == i + 1; }));
    }
  }
  for (const auto& info : interceptor_.list())
    EXPECT_LE(info.receivers, 4U);
  EXPECT_EQ(other.query_gid(other.open_device()).err, 0);
  gate.open();
  for (auto call : stuck)
    EXPECT_EQ(kernel_.wait(call).err, 0);
}

TEST_F(InterceptorTest, ClosesEverythingWhenTheLastProcessIsGone) {
  auto program = attach("short");
  int fd = program.open_device();
  ASSERT_EQ(kernel_.wait(program.begin_create_qp(program.pid(), fd)).err, 0);
  kernel_.exit(program.pid());
  kernel_.hang_up(program.pid());
  EXPECT_TRUE(eventually([&] { return world_.metric("qmasq_vbond_attachments") == 0; }));
  EXPECT_EQ(kernel_.open_verbs_files(), 0U);
  EXPECT_EQ(kernel_.nic.queue_pairs(), 0U);
  EXPECT_EQ(world_.connections.counts().total, 0U);
  EXPECT_EQ(world_.last_event(vbond::EventType::kDetached).command, "short");
  EXPECT_EQ(world_.metric("qmasq_vbond_receivers"), 0);
}

TEST_F(InterceptorTest, NoticesClosedDevicesOfAProgramThatLivesOn) {
  auto program = attach("long");
  int fd = program.open_device();
  ASSERT_EQ(kernel_.wait(program.begin_create_qp(program.pid(), fd)).err, 0);
  kernel_.close_fd(program.pid(), fd);
  EXPECT_TRUE(eventually([&] { return kernel_.open_verbs_files() == 0; }));
  EXPECT_EQ(program.open_device(), 960);
}

TEST_F(InterceptorTest, AKilledTenantIsNoError) {
  Gate gate;
  kernel_.nic.set_hook([&](const std::string& verb) {
    if (verb == "CREATE_QP") gate.wait();
  });
  auto program = attach("victim");
  int fd = program.open_device();
  auto call = program.begin_create_qp(program.pid(), fd);
  ASSERT_TRUE(eventually([&] { return gate.waiting == 1; }));
  kernel_.exit(program.pid());
  kernel_.hang_up(program.pid());
  EXPECT_EQ(kernel_.wait(call).how, CallResult::How::kGone);
  gate.open();
  EXPECT_TRUE(eventually([&] { return world_.metric("qmasq_vbond_attachments") == 0; }));
  EXPECT_EQ(kernel_.nic.queue_pairs(), 0U);
}

TEST_F(InterceptorTest, AnEndpointThatGoesTakesItsQps) {
  auto program = attach("orphan");
  int fd = program.open_device();
  ASSERT_EQ(kernel_.wait(program.begin_create_qp(program.pid(), fd)).err, 0);
  interceptor_.detach_endpoint(EndpointUid{999});
  EXPECT_EQ(kernel_.nic.queue_pairs(), 1U);
  interceptor_.detach_endpoint(AgentWorld::kEndpoint);
  EXPECT_EQ(kernel_.nic.queue_pairs(), 0U);
  // The program lives: other files open, verbs do not.
  auto path = kernel_.map(program.pid(), bytes_of("/tmp/x"));
  EXPECT_EQ(program.call(SYS_openat, {0, path, O_WRONLY}).how, CallResult::How::kRan);
  EXPECT_NE(program.query_gid(fd).err, 0);
  path = kernel_.map(program.pid(), bytes_of("/dev/infiniband/uverbs0"));
  EXPECT_EQ(program.call(SYS_openat, {0, path, O_RDWR}).err, ENODEV);
}

TEST_F(InterceptorTest, ADeadlineOnStopping) {
  Gate gate;
  kernel_.nic.set_hook([&](const std::string& verb) {
    if (verb == "CREATE_QP") gate.wait();
  });
  auto program = attach("held");
  int fd = program.open_device();
  auto call = program.begin_create_qp(program.pid(), fd);
  ASSERT_TRUE(eventually([&] { return gate.waiting == 1; }));
  EXPECT_FALSE(interceptor_.stop(milliseconds(20)));
  EXPECT_FALSE(attach("late").attached());
  gate.open();
  EXPECT_TRUE(interceptor_.stop(std::chrono::seconds(10)));
  (void)kernel_.wait(call);
  EXPECT_EQ(kernel_.open_verbs_files(), 1U);  // the tenant's own descriptor
}

TEST_F(InterceptorTest, RefusesAnEndpointThatIsNotHere) {
  pid_t pid = kernel_.add_process("lost");
  auto status = interceptor_.attach(kernel_.listen(pid), EndpointUid{999}, pid, "lost");
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, Code::kNotFound);
}

// Two tenants flood; a third must not notice more than that the machine is busy.
TEST_F(InterceptorTest, FloodsLeaveTheThirdTenantSane) {
  auto third = attach("third");
  int fd = third.open_device();
  std::atomic<bool> stop{false};
  std::vector<std::thread> floods;
  for (int tenant = 0; tenant < 2; ++tenant) {
    auto flooder =
        std::make_shared<Program>(world_, kernel_, interceptor_, "flood" + std::to_string(tenant));
    int flood_fd = flooder->open_device();
    for (int thread = 0; thread < 4; ++thread) {
      floods.emplace_back([&stop, flooder, flood_fd] {
        while (!stop)
          (void)flooder->query_gid(flood_fd);
      });
    }
  }
  std::vector<milliseconds> took;
  for (int i = 0; i < 50; ++i) {
    auto start = steady_clock::now();
    EXPECT_EQ(third.query_gid(fd).err, 0);
    took.push_back(std::chrono::duration_cast<milliseconds>(steady_clock::now() - start));
  }
  stop = true;
  for (auto& flood : floods)
    flood.join();
  std::sort(took.begin(), took.end());
  EXPECT_LT(took[took.size() / 2], milliseconds(200));
}

}  // namespace
}  // namespace qmasq::test

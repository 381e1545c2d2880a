// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fcntl.h>
#include <sys/syscall.h>

#include <cstring>
#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/agent_world.h"
#include "vbond/intercept/attachment.h"
#include "vbond/intercept/dispatcher.h"
#include "vbond/intercept/holder_watch.h"
#include "vbond/intercept/quota.h"
#include "vbond/intercept/services.h"
#include "vbond/uverbs/doorbell.h"

namespace qmasq::test {

inline std::vector<std::byte> bytes_of(const std::string& text) {
  std::vector<std::byte> out(text.size() + 1);
  std::memcpy(out.data(), text.c_str(), out.size());
  return out;
}

inline vbond::uverbs::ModifyQp to_rtr(std::uint32_t handle, const Gid& dgid) {
  using namespace vbond::uverbs;  // NOLINT
  ModifyQp out;
  out.qp_handle = handle;
  out.attr_mask = qp_mask::kState | qp_mask::kAv | qp_mask::kDestQpn | qp_mask::kPathMtu;
  out.state = QpState::kRtr;
  out.dest.dgid = dgid;
  out.dest.is_global = true;
  out.dest.sgid_index = 1;
  out.dest.hop_limit = 64;
  out.dest.port_num = 1;
  out.dest_qpn = Qpn{99};
  out.path_mtu = 3;
  return out;
}

// One attachment without threads: calls are served here and now, so that a test says what happens
// in which order.
struct Bench {
  explicit Bench(vbond::InterceptOptions options = {})
      : services{world.parts(kernel), std::move(options), vbond::InterceptMetrics(*world.registry)},
        watch(services),
        dispatcher(services, watch,
                   [this](const vbond::Attachment&, int own) { return elsewhere(own); }) {
    services.reclaim = [this](const vbond::Tenancy& tenancy, bool all_of_vpc) {
      auto all = others;
      all.push_back(attachment);
      vbond::reclaim(all, watch, kernel, tenancy, all_of_vpc);
    };
    process = kernel.add_process("tenant");
    attachment = std::make_shared<vbond::Attachment>(
        services, kernel.listen(process),
        vbond::Attachment::Identity{
            AgentWorld::kEndpoint, "vpcs/blue/endpoints/a", process, "tenant", 0, {}, false},
        [](vbond::Attachment&, const vbond::Notification&, vbond::CallSlot*) {}, [] {});
  }

  CallResult trap(pid_t tid, int nr, std::initializer_list<std::uint64_t> args) {
    std::vector<std::uint64_t> list(args);
    auto call = kernel.make_trap(tid, nr, list);
    dispatcher.handle(*attachment, call, nullptr);
    return kernel.result(call.id).value_or(CallResult{CallResult::How::kGone, 0, 0});
  }
  CallResult open_at(pid_t tid, const std::string& path, int flags) {
    auto address = kernel.map(kernel.process_of(tid).value(), bytes_of(path));
    return trap(tid, SYS_openat,
                {static_cast<std::uint64_t>(AT_FDCWD), address, static_cast<std::uint64_t>(flags)});
  }
  // The descriptor, or -1.
  int open_device(pid_t tid) {
    auto result = open_at(tid, "/dev/infiniband/uverbs0", O_RDWR | O_CLOEXEC);
    bool good = result.how == CallResult::How::kReturned && result.err == 0;
    return good ? static_cast<int>(result.value) : -1;
  }
  CallResult verb(pid_t tid, int fd, TenantCall& call) {
    auto header = call.place(kernel, kernel.process_of(tid).value());
    return trap(tid, SYS_ioctl,
                {static_cast<std::uint64_t>(fd), vbond::uverbs::kVerbsIoctl, header});
  }
  CallResult verb(pid_t tid, int fd, TenantCall&& call) { return verb(tid, fd, call); }

  static TenantCall create_qp_call(vbond::uverbs::QpType type) {
    using namespace vbond::uverbs;  // NOLINT
    TenantCall call(Object::kQp, 0);
    std::array<std::byte, kQpCapSize> cap{};
    cap[0] = std::byte{16};
    call.handle(attr::kCreateQpHandle, 0)
        .handle(attr::kCreateQpPd, 1)
        .handle(attr::kCreateQpSendCq, 1)
        .handle(attr::kCreateQpRecvCq, 1)
        .number(attr::kCreateQpUserHandle, 42)
        .in(attr::kCreateQpCap, cap)
        .number(attr::kCreateQpType, static_cast<std::uint64_t>(type))
        .out(attr::kCreateQpRespCap, kQpCapSize)
        .out(attr::kCreateQpRespQpn, 4);
    return call;
  }
  static TenantCall modify_call(const vbond::uverbs::ModifyQp& command) {
    using namespace vbond::uverbs;  // NOLINT
    std::array<std::byte, kModifyQpSize> core_in{};
    (void)encode_modify_qp(command, Form::kWrite, core_in);
    auto call = TenantCall::write_form(WriteCommand::kModifyQp);
    call.in(attr::kCoreIn, core_in);
    return call;
  }
  // Handle of a new RC QP.
  std::uint32_t make_qp(pid_t tid, int fd) {
    auto call = create_qp_call(vbond::uverbs::QpType::kRc);
    auto result = verb(tid, fd, call);
    if (result.how != CallResult::How::kReturned || result.err != 0) return UINT32_MAX;
    return static_cast<std::uint32_t>(call.data(vbond::uverbs::attr::kCreateQpHandle));
  }

  bool elsewhere(int own) {
    for (const auto& other : others) {
      if (other->contexts().has_file(own)) return true;
    }
    return false;
  }

  // The tests' stand-in for the two rounds of the watcher that an abandoned context takes.
  void watch_twice() {
    for (int i = 0; i < 2; ++i) {
      // A search is followed by ten times its own length of rest.
      while (true) {
        unsigned before = kernel.holder_searches();
        watch.round({attachment});
        if (kernel.holder_searches() != before || !suspicious()) break;
      }
    }
    attachment->wait_buried();
  }
  bool suspicious() {
    for (const auto& context : attachment->contexts().all()) {
      auto order =
          kernel.compare(context->file->descriptor(), context->holder.pid, context->holder.fd);
      if (!order || *order != 0) return true;
    }
    return false;
  }

  AgentWorld world;
  FakeKernel kernel;
  vbond::Services services;
  vbond::HolderWatch watch;
  vbond::Dispatcher dispatcher;
  pid_t process = 0;
  std::shared_ptr<vbond::Attachment> attachment;
  std::vector<std::shared_ptr<vbond::Attachment>> others;
};

}  // namespace qmasq::test

// SPDX-License-Identifier: Apache-2.0
#include "controller/service/sync_service.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <memory>
#include <mutex>

#include "common/resource_name.h"
#include "common/seen_order.h"
#include "controller/service/actions.h"
#include "controller/wire/convert.h"
#include "schema/grpc_status.h"

namespace qmasq::controller {
namespace {

constexpr std::uint32_t kProtocolVersion = 3;
constexpr std::size_t kMaxVersionText = 128;
constexpr std::string_view kSync = "SyncService/Sync";
// What one stream may say. All endpoints of a host report at once after Welcome; a report of the
// host is a write.
constexpr qos::VerbRate kMessages{2000, 20'000};
constexpr qos::VerbRate kReports{2, 30};

// Lives until gRPC is done with it and the hub has let go of it. Reads one message at a time: the
// next is read when the one before was dealt with, so an agent cannot fill our memory.
class SyncStream final : public grpc::ServerBidiReactor<v1::SyncRequest, v1::SyncResponse>,
                         public SyncPeer,
                         public std::enable_shared_from_this<SyncStream> {
 public:
  SyncStream(const ServiceContext& context, Watch& watch)
      : context_(context),
        watch_(watch),
        id_(watch.new_id()),
        messages_(kMessages, context.clock.now()),
        reports_(kReports, context.clock.now()) {}

  void start(grpc::CallbackServerContext& rpc) {
    self_ = shared_from_this();
    auto caller = context_.gate.admit(rpc, kSync, nullptr);
    if (!caller) return finish(to_grpc(caller.error()));
    caller_ = std::move(*caller);
    auto live = context_.gate.live().add(caller_.name, caller_.certificate_serial,
                                         [weak = weak_from_this()](Error why) {
                                           if (auto self = weak.lock()) self->close(std::move(why));
                                         });
    if (!live) return finish(to_grpc(live.error()));
    live_ = *live;
    if (auto still = context_.gate.check(caller_); !still) return finish(to_grpc(still.error()));
    read_next();
  }

  // Watch thread.
  void send(v1::SyncResponse message) override {
    std::lock_guard lock(mutex_);
    if (finished_) return;
    outgoing_ = std::move(message);
    StartWrite(&outgoing_);
  }
  void close(Error reason) override { finish(to_grpc(reason)); }

 private:
  void read_next() {
    std::lock_guard lock(mutex_);
    if (finished_) return;
    StartRead(&incoming_);
  }

  void finish(grpc::Status status) {
    std::lock_guard lock(mutex_);
    if (std::exchange(finished_, true)) return;
    Finish(std::move(status));
  }

  // gRPC calls the next three in an order of its own making; OnDone comes last.
  void OnReadDone(bool ok) override {
    SeenOrder order(this);
    if (!ok) {  // the agent closed, or is gone
      finish(grpc::Status::OK);
      return;
    }
    try {
      if (auto status = take(); !status) {
        spdlog::warn("an agent's stream ends: {}", status.error().message);
        finish(to_grpc(status.error()));
      }
    } catch (const std::exception& error) {
      finish({grpc::StatusCode::INTERNAL, error.what()});
    }
  }

  // A host may not keep the disk or the watch thread busy for all others.
  Status check_rate() {
    const auto now = context_.clock.now();
    const bool report = incoming_.has_host_report();
    if (!messages_.has(now) || (report && !reports_.has(now))) {
      return fail(Code::kResourceExhausted,
                  fmt::format("{} says too much: connect again, and slower", caller_.name));
    }
    messages_.take();
    if (report) reports_.take();
    return {};
  }

  Status take() {
    // Not only when it began: its certificate may have expired since.
    QMASQ_TRY(context_.gate.check(caller_));
    QMASQ_TRY(check_rate());
    if (!host_) return take_hello();
    switch (incoming_.kind_case()) {
      case v1::SyncRequest::kHello:
        return fail(Code::kInvalidArgument, "a second Hello on one stream");
      case v1::SyncRequest::KIND_NOT_SET:
        return fail(Code::kInvalidArgument, "an empty message");
      case v1::SyncRequest::kHostReport:
        QMASQ_TRY(store_report(context_, caller_, *host_, incoming_.host_report()));
        break;
      default:
        break;
    }
    auto message = std::make_shared<v1::SyncRequest>(std::move(incoming_));
    watch_.post([self = shared_from_this(), message](Hub& hub) {
      hub.message(self->id_, *message);
      self->read_next();
    });
    return {};
  }

  Status take_hello() {
    if (!incoming_.has_hello()) return fail(Code::kInvalidArgument, "the first message is Hello");
    auto hello = std::make_shared<v1::Hello>(std::move(*incoming_.mutable_hello()));
    QMASQ_TRY(check_host(hello->host()));
    QMASQ_ASSIGN(HostUid host, join_host(context_, caller_, *hello));
    host_ = host;
    watch_.post([self = shared_from_this(), host, hello](Hub& hub) {
      hub.attach(self->id_, self, host, *hello);
      self->read_next();
    });
    return {};
  }

  // An agent speaks for its own host only.
  Status check_host(const std::string& host) {
    if (caller_.local_admin() || host == caller_.name) return {};
    auto refused = fail(
        Code::kPermissionDenied,
        fmt::format("the certificate is of {}: it may not speak for another host", caller_.name),
        "hello.host");
    // What it says is quoted only where it is a host's name.
    const bool named = parse_host_name(host).has_value();
    context_.gate.refused(caller_, kSync, {named ? host : std::string(), {}}, refused.value());
    return refused;
  }

  void OnWriteDone(bool ok) override {
    SeenOrder order(this);
    // A failed write means that the stream is dead; the read says so too.
    if (!ok) return;
    watch_.post([id = id_](Hub& hub) { hub.written(id); });
  }

  void OnDone() override {
    { SeenOrder order(this); }  // ends here: this object may be gone any moment now
    context_.gate.live().remove(live_);
    watch_.post([id = id_](Hub& hub) { hub.detach(id); });
    self_.reset();
  }

  const ServiceContext& context_;
  Watch& watch_;
  const PeerId id_;
  Caller caller_;           // set before the first read
  std::uint64_t live_ = 0;  // the same
  // gRPC's thread of the read only, as is host_.
  qos::TokenBucket messages_;
  qos::TokenBucket reports_;
  std::optional<HostUid> host_;  // gRPC's thread of the read only
  v1::SyncRequest incoming_;
  std::mutex mutex_;  // guards the below, and that nothing starts after Finish
  bool finished_ = false;
  v1::SyncResponse outgoing_;
  std::shared_ptr<SyncStream> self_;
};

}  // namespace

Result<HostUid> join_host(const ServiceContext& context, const Caller& caller,
                          const v1::Hello& hello) {
  Store& store = context.store;
  if (hello.protocol_version() != kProtocolVersion) {
    return fail(Code::kFailedPrecondition,
                fmt::format("the agent speaks version {} of the protocol, this controller {}: "
                            "upgrade the older of the two",
                            hello.protocol_version(), kProtocolVersion),
                "hello.protocol_version");
  }
  QMASQ_ASSIGN(std::string id, in_field(parse_host_name(hello.host()), "hello.host"));
  if (hello.agent_version().size() > kMaxVersionText ||
      hello.kernel_release().size() > kMaxVersionText) {
    return fail(Code::kInvalidArgument, "a version text is too long", "hello.agent_version");
  }
  HostUid uid;
  // Most agents that connect are known and have not changed: they must get in on a full disk, too.
  auto known = store.read([&](ReadView& view) -> Status {
    QMASQ_ASSIGN(HostPtr host, view.find_host(id));
    uid = host && host->joined && host->agent_version == hello.agent_version() &&
                  host->kernel_release == hello.kernel_release()
              ? host->uid
              : HostUid{};
    return {};
  });
  QMASQ_TRY(known);
  if (uid.value != 0) return uid;
  auto written = store.write([&](WriteView& view) -> Status {
    QMASQ_ASSIGN(HostPtr before, view.find_host(id));
    Host host;
    if (before) {
      host = *before;
    } else {
      host.id = id;
      QMASQ_ASSIGN(host.uid.value, view.new_uid());
    }
    host.joined = true;
    host.agent_version = hello.agent_version();
    host.kernel_release = hello.kernel_release();
    uid = host.uid;
    QMASQ_TRY(context.gate.check(caller));
    QMASQ_TRY(view.put(std::move(host), false));
    return audit_change(view, caller, kSync, context.retention);
  });
  QMASQ_TRY(written);
  return uid;
}

Status store_report(const ServiceContext& context, const Caller& caller, HostUid uid,
                    const v1::HostReport& report) {
  QMASQ_ASSIGN(auto reported, read_report(report));
  return context.store.write([&](WriteView& view) -> Status {
    QMASQ_ASSIGN(HostPtr before, view.get_host(uid));
    if (!before)
      return fail(Code::kUnavailable, "the host was deleted: connect again to join anew");
    if (before->underlay == reported.underlay && before->nics == reported.nics) return {};
    Host host = *before;
    host.underlay = reported.underlay;
    host.nics = reported.nics;
    QMASQ_TRY(context.gate.check(caller));
    QMASQ_TRY(view.put(std::move(host), true));
    return audit_change(view, caller, kSync, context.retention);
  });
}

grpc::ServerBidiReactor<v1::SyncRequest, v1::SyncResponse>* SyncServiceImpl::Sync(
    grpc::CallbackServerContext* rpc) {
  auto stream = std::make_shared<SyncStream>(context_, watch_);
  stream->start(*rpc);
  return stream.get();
}

}  // namespace qmasq::controller

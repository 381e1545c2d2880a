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

// Lives until gRPC is done with it and the hub has let go of it. Reads one message at a time: the
// next is read when the one before was dealt with, so an agent cannot fill our memory.
class SyncStream final : public grpc::ServerBidiReactor<v1::SyncRequest, v1::SyncResponse>,
                         public SyncPeer,
                         public std::enable_shared_from_this<SyncStream> {
 public:
  SyncStream(Store& store, Watch& watch) : store_(store), watch_(watch), id_(watch.new_id()) {}

  void start() {
    self_ = shared_from_this();
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

  Status take() {
    if (!host_) return take_hello();
    switch (incoming_.kind_case()) {
      case v1::SyncRequest::kHello:
        return fail(Code::kInvalidArgument, "a second Hello on one stream");
      case v1::SyncRequest::KIND_NOT_SET:
        return fail(Code::kInvalidArgument, "an empty message");
      case v1::SyncRequest::kHostReport:
        QMASQ_TRY(store_report(store_, *host_, incoming_.host_report()));
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
    QMASQ_ASSIGN(HostUid host, join_host(store_, *hello));
    host_ = host;
    watch_.post([self = shared_from_this(), host, hello](Hub& hub) {
      hub.attach(self->id_, self, host, *hello);
      self->read_next();
    });
    return {};
  }

  void OnWriteDone(bool ok) override {
    SeenOrder order(this);
    // A failed write means that the stream is dead; the read says so too.
    if (!ok) return;
    watch_.post([id = id_](Hub& hub) { hub.written(id); });
  }

  void OnDone() override {
    { SeenOrder order(this); }  // ends here: this object may be gone any moment now
    watch_.post([id = id_](Hub& hub) { hub.detach(id); });
    self_.reset();
  }

  Store& store_;
  Watch& watch_;
  const PeerId id_;
  std::optional<HostUid> host_;  // gRPC's thread of the read only
  v1::SyncRequest incoming_;
  std::mutex mutex_;  // guards the below, and that nothing starts after Finish
  bool finished_ = false;
  v1::SyncResponse outgoing_;
  std::shared_ptr<SyncStream> self_;
};

}  // namespace

Result<HostUid> join_host(Store& store, const v1::Hello& hello) {
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
    QMASQ_TRY(view.put(std::move(host), false));
    return {};
  });
  QMASQ_TRY(written);
  return uid;
}

Status store_report(Store& store, HostUid uid, const v1::HostReport& report) {
  QMASQ_ASSIGN(auto reported, read_report(report));
  return store.write([&](WriteView& view) -> Status {
    QMASQ_ASSIGN(HostPtr before, view.get_host(uid));
    if (!before)
      return fail(Code::kUnavailable, "the host was deleted: connect again to join anew");
    if (before->underlay == reported.underlay && before->nics == reported.nics) return {};
    Host host = *before;
    host.underlay = reported.underlay;
    host.nics = reported.nics;
    QMASQ_TRY(view.put(std::move(host), true));
    return {};
  });
}

grpc::ServerBidiReactor<v1::SyncRequest, v1::SyncResponse>* SyncServiceImpl::Sync(
    grpc::CallbackServerContext*) {
  auto stream = std::make_shared<SyncStream>(store_, watch_);
  stream->start();
  return stream.get();
}

}  // namespace qmasq::controller

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "tests/integration/controller/controller_process.h"
#include "tests/unit/controller/watch_model.h"

namespace qmasq::controller::testing {

// A stream of one agent: sends and reads when the test says so, and applies what comes to a model.
class FakeAgent {
 public:
  FakeAgent(const ControllerProcess& process, std::string host)
      : client_(process, true), host_("hosts/" + std::move(host)) {}
  ~FakeAgent() { hang_up(); }

  void connect(const v1::Hello* hello = nullptr) {
    hang_up();
    model.disconnect();
    in_sync_ = false;
    context_ = Client::context(240);
    stream_ = client_.sync->Sync(context_.get());
    v1::SyncRequest request;
    *request.mutable_hello() = hello != nullptr ? *hello : model.hello(store_id, host_);
    stream_->Write(request);
  }
  void hang_up() {
    if (!stream_) return;
    context_->TryCancel();
    status();
  }
  grpc::Status status() {
    v1::SyncResponse rest;
    while (stream_->Read(&rest)) {
    }
    auto status = stream_->Finish();
    stream_.reset();
    return status;
  }
  bool write(const v1::SyncRequest& request) { return stream_->Write(request); }
  bool read(v1::SyncResponse* message) { return stream_->Read(message); }
  // Reads, applies and acknowledges until InSync says `revision` or more; false: the stream ended.
  bool follow(std::uint64_t revision) {
    v1::SyncResponse message;
    while (model.revision().value < revision || !in_sync_) {
      if (!stream_->Read(&message)) return false;
      take(message);
      if (message.has_in_sync() && message.in_sync().revision() >= revision) return true;
    }
    return true;
  }
  void take(const v1::SyncResponse& message) {
    if (message.has_welcome()) {
      store_id = message.welcome().store_id();
      in_sync_ = false;
    }
    if (message.has_in_sync()) in_sync_ = true;
    if (!message.has_batch()) return;
    ++batches;
    snapshots += message.batch().snapshot() ? 1 : 0;
    largest = std::max(largest, message.ByteSizeLong());
    model.take(message.batch());
    if (message.batch().more()) return;
    v1::SyncRequest ack;
    ack.mutable_ack()->set_revision(model.revision().value);
    stream_->Write(ack);
  }
  void report(const std::string& underlay) {
    v1::SyncRequest request;
    request.mutable_host_report()->set_underlay_address(underlay);
    auto* nic = request.mutable_host_report()->add_nics();
    nic->set_device("rxe0");
    nic->set_port(1);
    nic->set_active(true);
    nic->set_primary_gid("::ffff:" + underlay);
    auto* gid = nic->add_gids();
    gid->set_index(1);
    gid->set_gid("::ffff:" + underlay);
    gid->set_type(v1::ROCE_V2);
    stream_->Write(request);
  }

  AgentModel model;
  std::string store_id;
  int batches = 0;
  int snapshots = 0;
  std::size_t largest = 0;

 private:
  Client client_;
  std::string host_;
  std::unique_ptr<grpc::ClientContext> context_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::SyncRequest, v1::SyncResponse>> stream_;
  bool in_sync_ = false;
};

}  // namespace qmasq::controller::testing

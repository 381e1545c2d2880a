// SPDX-License-Identifier: Apache-2.0
#include "tests/integration/agent/fake_controller.h"

#include <grpcpp/grpcpp.h>

#include <thread>
#include <utility>

namespace qmasq::test {

constexpr std::size_t kPart = 3;

FakeController::FakeController(std::string socket, std::string store_id)
    : socket_(std::move(socket)), model_(std::make_unique<ControllerModel>(std::move(store_id))) {}

FakeController::~FakeController() {
  stop();
}

void FakeController::start() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = false;
  }
  grpc::ServerBuilder builder;
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 100);
  builder.AddListeningPort("unix:" + socket_, grpc::InsecureServerCredentials());
  builder.RegisterService(this);
  server_ = builder.BuildAndStart();
}

void FakeController::stop() {
  if (!server_) return;
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  server_->Shutdown(std::chrono::system_clock::now());
  server_->Wait();
  server_.reset();
}

void FakeController::replace_store(std::string store_id) {
  std::lock_guard lock(mutex_);
  model_ = std::make_unique<ControllerModel>(std::move(store_id));
}

void FakeController::name_host(const std::string& host, std::uint64_t uid) {
  std::lock_guard lock(mutex_);
  host_uids_[host] = uid;
}

WorldState FakeController::state() const {
  std::lock_guard lock(mutex_);
  return model_->state();
}

std::uint64_t FakeController::revision() const {
  std::lock_guard lock(mutex_);
  return model_->revision();
}

void FakeController::refuse_streams(bool refuse) {
  std::lock_guard lock(mutex_);
  refuse_ = refuse;
}

void FakeController::ask(v1::Query query) {
  {
    std::lock_guard lock(mutex_);
    query.set_id(queries_.size() + 1);
    queries_.push_back(std::move(query));
  }
  wake_.notify_all();
}

void FakeController::stay_silent(bool silent) {
  std::lock_guard lock(mutex_);
  silent_ = silent;
}

void FakeController::send_nonsense(bool nonsense) {
  {
    std::lock_guard lock(mutex_);
    nonsense_ = nonsense;
  }
  wake_.notify_all();
}

FakeController::Heard FakeController::heard(const std::string& host) const {
  std::lock_guard lock(mutex_);
  auto found = heard_.find(host);
  return found == heard_.end() ? Heard{} : found->second;
}

std::uint64_t FakeController::host_uid(const std::string& host) {
  return host_uids_.try_emplace(host, 1000 + host_uids_.size()).first->second;
}

void FakeController::listen(grpc::ServerReaderWriter<v1::SyncResponse, v1::SyncRequest>& stream,
                            const std::string& host, bool& ended, bool& rejected) {
  v1::SyncRequest request;
  while (stream.Read(&request)) {
    {
      std::lock_guard lock(mutex_);
      Heard& heard = heard_[host];
      if (request.has_ack()) heard.acks.push_back(request.ack().revision());
      if (request.has_reject()) {
        heard.rejects.push_back(request.reject());
        rejected = true;
      }
      if (request.has_host_report()) heard.host_reports.push_back(request.host_report());
      if (request.has_endpoint_report()) {
        heard.endpoint_reports.push_back(request.endpoint_report());
      }
      if (request.has_answer()) heard.answers.push_back(request.answer());
      if (request.has_heartbeat()) ++heard.heartbeats;
    }
    wake_.notify_all();
  }
  {
    std::lock_guard lock(mutex_);
    ended = true;
  }
  wake_.notify_all();
}

grpc::Status FakeController::Sync(
    grpc::ServerContext* context,
    grpc::ServerReaderWriter<v1::SyncResponse, v1::SyncRequest>* stream) {
  v1::SyncRequest first;
  if (!stream->Read(&first) || !first.has_hello()) {
    return {grpc::StatusCode::INVALID_ARGUMENT, "no Hello"};
  }
  const std::string host = first.hello().host();
  std::unique_lock lock(mutex_);
  heard_[host].hellos.push_back(first.hello());
  wake_.notify_all();
  if (refuse_) return {grpc::StatusCode::ABORTED, "another agent joined as " + host};
  bool ended = false;
  bool rejected = false;
  std::thread reader;
  auto send = [&](std::vector<v1::SyncResponse> messages) {
    bool nonsense = nonsense_;
    lock.unlock();
    for (auto& message : messages) {
      if (nonsense && message.has_batch()) {
        for (auto& endpoint : *message.mutable_batch()->mutable_endpoints()) {
          endpoint.set_mac("nonsense");
        }
      }
      stream->Write(message);
    }
    lock.lock();
  };
  if (!silent_) {
    auto messages = model_->catch_up(first.hello(), kPart);
    messages.insert(messages.begin(), model_->welcome(host_uid(host), 200));
    auto sent = model_->revision();
    std::size_t asked = 0;
    send(std::move(messages));
    reader = std::thread([&] { listen(*stream, host, ended, rejected); });
    while (!stopping_ && !ended && !context->IsCancelled()) {
      if (rejected && !nonsense_) {
        rejected = false;
        sent = model_->revision();
        send(model_->catch_up({}, kPart));
        continue;
      }
      if (!rejected && sent < model_->revision()) {
        auto more = model_->changes(sent, model_->revision(), kPart);
        more.push_back(model_->in_sync());
        sent = model_->revision();
        send(std::move(more));
        continue;
      }
      if (asked < queries_.size()) {
        v1::SyncResponse query;
        *query.mutable_query() = queries_[asked++];
        send({query});
        continue;
      }
      wake_.wait(lock);
    }
  } else {
    while (!stopping_ && !context->IsCancelled())
      wake_.wait_for(lock, std::chrono::milliseconds(20));
  }
  bool killed = stopping_;
  lock.unlock();
  if (reader.joinable()) {
    if (killed) context->TryCancel();
    reader.join();
  }
  return grpc::Status::OK;
}

}  // namespace qmasq::test

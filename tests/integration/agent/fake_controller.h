// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "qmasq/v1/sync.grpc.pb.h"
#include "tests/support/controller_model.h"

namespace grpc {
class Server;
}

namespace qmasq::test {

// A controller in this process: a ControllerModel behind a real gRPC server on a Unix socket. It
// can go away and come back, answer late, send nonsense, and it notes what agents say.
class FakeController final : public v1::SyncService::Service {
 public:
  FakeController(std::string socket, std::string store_id);
  ~FakeController() override;

  void start();
  // As kill -9 looks from the agent: connections end, nothing is said.
  void stop();

  // Changes the state and tells the streams.
  template <typename Change>
  void change(Change&& change) {
    {
      std::lock_guard lock(mutex_);
      change(*model_);
    }
    wake_.notify_all();
  }
  void replace_store(std::string store_id);
  // Who a host is told that it is; hosts that nobody named get numbers from 1000 on.
  void name_host(const std::string& host, std::uint64_t uid);
  [[nodiscard]] WorldState state() const;
  [[nodiscard]] std::uint64_t revision() const;

  // Of every stream that stands or comes.
  void ask(v1::Query query);

  // Next streams end at once with ABORTED, as for a host name that another agent took.
  void refuse_streams(bool refuse);
  // Welcome does not come.
  void stay_silent(bool silent);
  // Put into every batch of endpoints from now on. What was rejected is followed by a snapshot once
  // that is over.
  void send_nonsense(bool nonsense);

  struct Heard {
    std::vector<v1::Hello> hellos;
    std::vector<std::uint64_t> acks;
    std::vector<v1::Reject> rejects;
    std::vector<v1::HostReport> host_reports;
    std::vector<v1::EndpointReport> endpoint_reports;
    std::vector<v1::Answer> answers;
    int heartbeats = 0;
  };
  [[nodiscard]] Heard heard(const std::string& host) const;
  // Waits for it, at most ten seconds.
  template <typename Condition>
  [[nodiscard]] bool wait(Condition&& condition) {
    std::unique_lock lock(mutex_);
    return wake_.wait_for(lock, std::chrono::seconds(10), [&] { return condition(heard_); });
  }

  grpc::Status Sync(grpc::ServerContext* context,
                    grpc::ServerReaderWriter<v1::SyncResponse, v1::SyncRequest>* stream) override;

 private:
  void listen(grpc::ServerReaderWriter<v1::SyncResponse, v1::SyncRequest>& stream,
              const std::string& host, bool& ended, bool& rejected);
  [[nodiscard]] std::uint64_t host_uid(const std::string& host);

  const std::string socket_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::unique_ptr<ControllerModel> model_;
  std::map<std::string, Heard> heard_;
  std::map<std::string, std::uint64_t> host_uids_;
  bool stopping_ = false;
  bool refuse_ = false;
  bool silent_ = false;
  bool nonsense_ = false;
  std::vector<v1::Query> queries_;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace qmasq::test

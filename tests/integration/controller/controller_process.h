// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <grpcpp/channel.h>
#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "qmasq/v1/endpoint.grpc.pb.h"
#include "qmasq/v1/host.grpc.pb.h"
#include "qmasq/v1/qos.grpc.pb.h"
#include "qmasq/v1/sync.grpc.pb.h"
#include "qmasq/v1/vpc.grpc.pb.h"
#include "tests/support/temp_dir.h"

namespace qmasq::controller::testing {

// Runs a program to its end and collects what it says on standard error and output.
struct Finished {
  int status = -1;  // exit code, or 128 + signal
  std::string output;
};
[[nodiscard]] Finished run_program(const std::vector<std::string>& arguments);

// The real qmasq-controller in a directory of its own, on its Unix socket and a TCP port that the
// kernel chose. Ended, by SIGKILL if it must be, when this goes.
class ControllerProcess {
 public:
  ControllerProcess();
  ControllerProcess(const ControllerProcess&) = delete;
  ControllerProcess& operator=(const ControllerProcess&) = delete;
  ~ControllerProcess();

  // Starts it and waits until it is ready. `more`: further flags. `tmpfs_kib` > 0: the data
  // directory is a file system of that size, seen by this process alone (needs CAP_SYS_ADMIN).
  void start(const std::vector<std::string>& more = {}, int tmpfs_kib = 0);
  // Its log goes to `path`, and is not read: ready is when it answers on its socket.
  void start_with_log(const std::string& path);
  void kill9() { end(9); }
  // SIGTERM; gives the exit status.
  int stop() { return end(15); }

  [[nodiscard]] std::string data_dir() const { return dir_.file("data"); }
  [[nodiscard]] std::string socket() const { return dir_.file("controller.sock"); }
  // "127.0.0.1:PORT", from the line that says that it is ready.
  [[nodiscard]] std::string address() const { return address_; }
  [[nodiscard]] pid_t pid() const { return pid_; }
  [[nodiscard]] std::string log() const;
  // A new channel each time: one of a dead process would back off. `tcp`: as agents connect.
  [[nodiscard]] std::shared_ptr<grpc::Channel> channel(bool tcp = false) const;

 private:
  int end(int signal);

  qmasq::testing::TempDir dir_;
  pid_t pid_ = -1;
  std::string address_;
};

// Calls with a deadline, so that a hang is a failure.
struct Client {
  explicit Client(const ControllerProcess& process, bool tcp = false);
  [[nodiscard]] static std::unique_ptr<grpc::ClientContext> context(int seconds = 20);

  grpc::Status create_vpc(const std::string& id, const std::vector<std::string>& ranges,
                          v1::Vpc* out = nullptr, const std::string& request_id = "",
                          std::uint32_t vni = 0);
  grpc::Status create_host(const std::string& id, v1::Host* out = nullptr);
  grpc::Status create_endpoint(const std::string& vpc, const std::string& id,
                               const std::string& host, const std::vector<std::string>& addresses,
                               v1::Endpoint* out = nullptr, const std::string& request_id = "");
  // All endpoints of "vpcs/ID" or "vpcs/-", over all pages.
  [[nodiscard]] std::vector<v1::Endpoint> list_endpoints(const std::string& parent,
                                                         int page_size = 0);

  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<v1::VpcService::Stub> vpcs;
  std::unique_ptr<v1::EndpointService::Stub> endpoints;
  std::unique_ptr<v1::HostService::Stub> hosts;
  std::unique_ptr<v1::QosService::Stub> qos;
  std::unique_ptr<v1::SyncService::Stub> sync;
};

}  // namespace qmasq::controller::testing

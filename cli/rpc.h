// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/support/status.h>

#include <chrono>
#include <memory>
#include <string>

#include "cli/failure.h"
#include "cli/shell.h"

namespace qmasq::cli {

// A server to call: the controller, or this host's agent. Errors come as failures that name the
// server and say how to start it.
class Server {
 public:
  // Looks at the socket first when the address is one: that tells "not running" from "no such path"
  // at once and in plain words.
  [[nodiscard]] static Outcome<Server> controller(const CommonOptions& options);
  [[nodiscard]] static Outcome<Server> agent(const CommonOptions& options);

  [[nodiscard]] const std::shared_ptr<grpc::Channel>& channel() const { return channel_; }

  // Calls `method` of a stub. `extra` is added to the deadline for calls that wait by design.
  template <typename Stub, typename Request, typename Response>
  [[nodiscard]] Outcome<Response> call(
      Stub& stub, grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
      const Request& request, std::chrono::milliseconds extra = {}) const {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + timeout_ + extra);
    Response response;
    grpc::Status status = (stub.*method)(&context, request, &response);
    if (!status.ok()) return tl::unexpected<Failure>(explain(status));
    return response;
  }

  // What to tell about a call that failed.
  [[nodiscard]] Failure explain(const grpc::Status& status) const;

 private:
  Server(std::string who, const std::string& address, std::string hint,
         std::chrono::milliseconds timeout);
  // `certificates`: a directory, or empty.
  [[nodiscard]] Outcome<Server> opened(const std::string& certificates = {}) &&;

  std::string who_;      // "the controller"
  std::string address_;  // "unix:/run/qmasq/controller.sock"
  std::string hint_;
  std::chrono::milliseconds timeout_;
  std::shared_ptr<grpc::Channel> channel_;
};

// "unix:PATH" of an absolute path or unix: URI, else as it is.
[[nodiscard]] std::string normal_address(const std::string& text);

}  // namespace qmasq::cli

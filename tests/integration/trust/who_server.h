// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>

#include "qmasq/v1/auth.grpc.pb.h"
#include "trust/peer_socket.h"
#include "trust/tls.h"

namespace qmasq::trust::testing {

// Tells its caller who it seems to be.
class WhoService final : public v1::AuthService::Service {
 public:
  const PeerSocket* socket = nullptr;

  grpc::Status WhoAmI(grpc::ServerContext* context, const v1::WhoAmIRequest*,
                      v1::Caller* response) override {
    response->set_peer(context->peer());
    if (socket != nullptr) {
      auto peer = socket->find(context->peer());
      response->set_name(peer ? to_string(*peer) : "unknown");
    } else {
      response->set_name(peer_certificate(*context->auth_context()));
    }
    return grpc::Status::OK;
  }
};

inline grpc::Status who(grpc::Channel* channel, v1::Caller* caller) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
  auto stub = v1::AuthService::NewStub(std::shared_ptr<grpc::Channel>(channel, [](auto*) {}));
  return stub->WhoAmI(&context, {}, caller);
}

// Each a connection of its own: gRPC would share one among channels with equal arguments.
inline std::shared_ptr<grpc::Channel> connect(
    const std::string& target, const std::shared_ptr<grpc::ChannelCredentials>& credentials) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return grpc::CreateCustomChannel(target, credentials, arguments);
}

}  // namespace qmasq::trust::testing

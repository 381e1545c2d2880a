// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "controller/service/calls.h"
#include "controller/watch/watch.h"
#include "qmasq/v1/sync.grpc.pb.h"

namespace qmasq::controller {

// schema/proto/qmasq/v1/sync.proto. On gRPC's callback API: hundreds of agents hold a stream each,
// nearly always silent, and a thread for each of them would be waste. A stream's reactor only moves
// messages; what they mean is decided on the watch thread. Only Hello and HostReport touch the
// store, on the gRPC thread that read them: they are rare, and their agent waits for nobody else.
class SyncServiceImpl final : public v1::SyncService::CallbackService {
 public:
  SyncServiceImpl(const ServiceContext& context, Watch& watch) : context_(context), watch_(watch) {}

  grpc::ServerBidiReactor<v1::SyncRequest, v1::SyncResponse>* Sync(
      grpc::CallbackServerContext* context) override;

 private:
  const ServiceContext& context_;
  Watch& watch_;
};

// Brings a host's row up to date with its Hello, or makes it. Gives its uid.
[[nodiscard]] Result<HostUid> join_host(const ServiceContext& context, const Caller& caller,
                                        const v1::Hello& hello);
// Stores what a host reports of itself; a revision only when others must know.
[[nodiscard]] Status store_report(const ServiceContext& context, const Caller& caller, HostUid host,
                                  const v1::HostReport& report);

}  // namespace qmasq::controller
